"""Noticing that a run is stuck, from what it tells of its calls; and that many runs fail in the same way."""

from __future__ import annotations

import msgspec

from agentmemo.clock import SECOND
from agentmemo.engine import audit, escalations
from agentmemo.engine.call import Call
from agentmemo.engine.claims import held
from agentmemo.errors import InvalidInput
from agentmemo.model import escalations as escalation_model
from agentmemo.model import observations as model
from agentmemo.model import stuck
from agentmemo.model.runs import QUESTION_STEPS
from agentmemo.model.values import encode
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction

RUNS_SHOWN = 10
_memory_decoder = msgspec.json.Decoder(stuck.Memory)


def observe(tx: Transaction, call: Call, request: model.ObserveCall) -> model.Observed:
    """Remember one call, and say how the run looks. The same number again changes nothing."""
    run = held(tx, call, request.run)
    row = tx.one("watch_get", run=run.id)
    known, memory = (row[0], _memory_decoder.decode(row[1])) if row else (0, stuck.Memory())
    if request.step is None and request.number <= known:
        return _known(tx, call, request)
    if request.step is None and request.number < 1:
        raise InvalidInput("Observations are counted from 1.", next_call="Send number=1 with the first.")
    told = _as_call(request, tx.now)
    if request.before:
        if (asked := _known(tx, call, request)).rung == stuck.ESCALATE:
            return asked
        if stuck.blocked(memory, told) is None:
            return model.Observed(rung=stuck.OK)
        told = msgspec.structs.replace(told, refused=True)
    memory, verdict = stuck.observe(memory, told)
    if verdict.rung == stuck.ESCALATE:
        # A person is asked next: their word ends the streak.
        memory = stuck.resume(memory)
    number = max(known, request.number)
    tx.write("watch_set", run=run.id, number=number, memory=msgspec.json.encode(memory), now=tx.now)
    audit.record(
        tx,
        call,
        "run.observe",
        {"kind": "run", "id": run.handle, "tool": request.tool[:64], "rung": verdict.rung},
        stream=run.handle,
        epoch=run.epoch,
        contents={"arguments": encode(request.arguments), "result": request.result},
        reason=verdict.text,
        step=request.step,
        count=request.number,
    )
    return _observed(verdict)


def _known(tx: Transaction, call: Call, request: model.ObserveCall) -> model.Observed:
    """What was asked about it then is asked again under the same place, which finds the answer."""
    place = request.step or str(request.number)
    asked = tx.one("waiter_find", workspace=call.workspace, key=f"{request.run}/{QUESTION_STEPS[1]}/{place}")
    return model.Observed(rung=stuck.ESCALATE if asked else stuck.OK, replayed=True)


def _as_call(request: model.ObserveCall, now: int) -> stuck.Call:
    wait = None
    if request.until is not None:
        wait = stuck.Wait(until=request.until, change_within_seconds=request.change_within_seconds)
    return stuck.Call(
        tool=request.tool,
        arguments=request.arguments,
        result=request.result.original,
        error=request.error,
        at=now,
        turn=request.turn,
        poll=request.poll,
        read_only=request.read_only,
        idempotent=request.idempotent,
        cost_nanousd=request.nanousd,
        tokens=request.tokens,
        progress=request.progress,
        wait=wait,
        confidence=request.confidence,
        refused=request.refused,
    )


def _observed(verdict: stuck.Verdict) -> model.Observed:
    return model.Observed(
        rung=verdict.rung,
        signal=verdict.signal,
        score=verdict.score,
        text=verdict.text,
        key=verdict.key,
        diagnosis=verdict.diagnosis,
    )


def failed(tx: Transaction, call: Call, run: run_rows.RunRow, error: str) -> None:
    """Count a run that failed for good; the same failure in several runs is one question to people."""
    fingerprint = stuck.failure_fingerprint(error)
    since = tx.now - round(model.SAME_FAILURE_SECONDS * SECOND)
    tx.write("failure_add", workspace=call.workspace, fingerprint=fingerprint, run=run.handle, now=tx.now)
    (count,) = tx.one("failure_count", workspace=call.workspace, fingerprint=fingerprint, since=since) or (0,)
    if count < model.SAME_FAILURE_RUNS:
        return
    found = tx.all("failure_runs", workspace=call.workspace, fingerprint=fingerprint, since=since, limit=RUNS_SHOWN)
    escalations.raise_for(
        tx,
        call,
        escalation_model.CreateEscalation(
            severity="medium",
            kind="failure",
            reason=f"{count} runs failed in the same way within an hour.",
            collapse_key=f"failure:{fingerprint}",
        ),
        escalation_model.Question(
            context={"error": error[:2000], "runs": [handle for (handle,) in found]},
            detail={"fingerprint": fingerprint},
        ),
    )
