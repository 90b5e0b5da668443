"""Steps: announced, completed with everything buffered in them, failed."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.crashpoints import reach
from agentmemo.engine import audit, waits
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.claims import existing, lost
from agentmemo.engine.run_views import step_view
from agentmemo.engine.state import check_limit
from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model import runs as model
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.state import check_name
from agentmemo.store import runs as rows
from agentmemo.store.blobs import NOTHING, Packed
from agentmemo.store.database import Row, Transaction

_budget_decoder = msgspec.json.Decoder(model.Budget)
UNBOUNDED = "{}"


def start(tx: Transaction, call: Call, request: model.StartStep) -> model.Step:
    """Announce a step; durable before its function runs, so that a crash leaves it in doubt and never unseen."""
    reach("step.before_start")
    _check(request.name, request.key, request.effect)
    claim = call.claim_on(request.run)
    fenced = tx.one(
        "run_fence",
        handle=request.run,
        workspace=call.workspace,
        epoch=claim.epoch,
        holder=call.actor,
        current_step=f"{request.name}/{request.key}",
        now=tx.now,
    )
    if fenced is None:
        raise lost(existing(tx, call, request.run), claim.epoch)
    run, steps, run_attempt = fenced
    found = rows.get_step(tx, run, request.name, request.key)
    model.next_step_state(found.state if found else "absent", "start", request.name)
    _put(
        tx,
        call,
        run,
        request,
        model.STARTED,
        number=steps + 1,
        run_attempt=run_attempt,
        packed=NOTHING,
        started_at=tx.now,
    )
    _record(tx, call, request, "step.start", None)
    reach("step.after_start")
    row = rows.get_step(tx, run, request.name, request.key)
    assert row is not None  # noqa: S101 - just written
    return step_view(tx, call, request.run, row)


def complete(tx: Transaction, call: Call, request: model.CompleteStep) -> model.Step:
    """One commit: the epoch check, the result, the buffered calls, the charge and the events."""
    reach("step.before_complete")
    _check(request.name, request.key, request.effect)
    claim = call.claim_on(request.run)
    counted = tx.one(
        "run_count_step",
        handle=request.run,
        workspace=call.workspace,
        epoch=claim.epoch,
        holder=call.actor,
        tokens=request.tokens,
        nanousd=request.nanousd,
        now=tx.now,
    )
    if counted is None:
        raise lost(existing(tx, call, request.run), claim.epoch)
    run, number, run_attempt, *_ = counted
    packed: Packed = request.result
    started_at = request.started_at or tx.now
    _put(
        tx,
        call,
        run,
        request,
        model.COMPLETED,
        number=number,
        run_attempt=run_attempt,
        packed=packed,
        started_at=started_at,
    )
    _record(tx, call, request, "step.complete", packed if packed.source else None)
    for prepared in request.calls:
        call.engine.perform(tx, call, prepared)
    paused = _pause_if_overspent(tx, call, request.run, counted)
    reach("step.after_complete")
    return model.Step(
        run=request.run,
        name=request.name,
        key=request.key,
        number=number,
        state=model.COMPLETED,
        effect=request.effect,
        attempt=request.attempt,
        epoch=claim.epoch,
        run_attempt=run_attempt,
        fingerprint=request.fingerprint,
        started_at=started_at,
        finished_at=tx.now,
        size_bytes=packed.size,
        paused=paused,
    )


def fail(tx: Transaction, call: Call, request: model.FailStep) -> model.Step:
    """Record a failed attempt; its error is kept, what it buffered is not.

    Raises InvalidTransition when this very attempt was recorded as completed and only its answer was lost.
    """
    _check(request.name, request.key, request.effect)
    claim = call.claim_on(request.run)
    fenced = tx.one(
        "run_fence",
        handle=request.run,
        workspace=call.workspace,
        epoch=claim.epoch,
        holder=call.actor,
        current_step=None,
        now=tx.now,
    )
    if fenced is None:
        raise lost(existing(tx, call, request.run), claim.epoch)
    run, steps, run_attempt = fenced
    found = rows.get_step(tx, run, request.name, request.key)
    if found and _is_result_of(found, request, claim.epoch):
        raise InvalidTransition(
            f"Step {request.name}/{request.key} is completed; its result stands.",
            why="Its attempt was recorded before, even if the answer was lost.",
            next_call="Read the step, or open the run again: it replays the result.",
        )
    started_at = request.started_at or tx.now
    _put(
        tx,
        call,
        run,
        request,
        model.FAILED,
        number=steps + 1,
        run_attempt=run_attempt,
        packed=NOTHING,
        started_at=started_at,
        error=request.error,
    )
    audit.record(
        tx,
        call,
        "step.fail",
        {"kind": "step", "id": request.run},
        stream=request.run,
        step=f"{request.name}/{request.key}",
        to_version=request.attempt,
        reason=request.error,
    )
    row = rows.get_step(tx, run, request.name, request.key)
    assert row is not None  # noqa: S101 - just written
    return step_view(tx, call, request.run, row)


def find(tx: Transaction, call: Call, request: model.FindStep) -> model.Step:
    row = tx.one("step_find", handle=request.run, workspace=call.workspace, name=request.name, key=request.key)
    if row is None:
        raise not_found("step", f"{request.name}/{request.key}")
    return step_view(tx, call, request.run, rows.StepRow(*row))


def list_(tx: Transaction, call: Call, request: model.ListSteps) -> Page:
    limit = check_limit(request.limit)
    bound = [request.run, request.state]
    after = read_cursor(request.cursor, "step.list", bound) or 0
    run = existing(tx, call, request.run)
    found = [
        rows.StepRow(*row) for row in tx.all("step_list", run=run.id, after=after, state=request.state, limit=limit + 1)
    ]
    items = [step_view(tx, call, run.handle, row) for row in found[:limit]]
    cursor = make_cursor("step.list", bound, found[limit - 1].id) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def _is_result_of(found: rows.StepRow, request: model.FailStep, epoch: int) -> bool:
    """A rerun with other inputs may fail over an old result; the attempt that made the result may not."""
    made = (found.state, found.epoch, found.attempt, found.fingerprint)
    return made == (model.COMPLETED, epoch, request.attempt, request.fingerprint)


def _check(name: str, key: str, effect: str) -> None:
    check_name(name, "step name", model.NAME_MAX)
    check_name(key, "step key", model.NAME_MAX)
    if effect not in model.EFFECTS:
        raise InvalidInput(f"Unknown effect {effect!r}.", next_call=f"Use one of: {', '.join(model.EFFECTS)}.")


def _put(
    tx: Transaction,
    call: Call,
    run: int,
    request: model.StartStep | model.CompleteStep | model.FailStep,
    state: str,
    *,
    number: int,
    run_attempt: int,
    packed: Packed,
    started_at: int,
    error: str | None = None,
) -> None:
    columns: dict[str, Any] = packed.columns()
    tx.write(
        "step_put",
        run=run,
        name=request.name,
        key=request.key,
        number=number,
        state=state,
        effect=request.effect,
        attempt=request.attempt,
        epoch=call.claim_on(request.run).epoch,
        run_attempt=run_attempt,
        fingerprint=request.fingerprint,
        started_at=started_at,
        finished_at=None if state == model.STARTED else tx.now,
        error=error,
        **columns,
    )


def _record(
    tx: Transaction,
    call: Call,
    request: model.StartStep | model.CompleteStep,
    operation: str,
    packed: Packed | None,
) -> None:
    audit.record(
        tx,
        call,
        operation,
        {"kind": "step", "effect": request.effect},
        stream=request.run,
        step=f"{request.name}/{request.key}",
        to_version=request.attempt,
        contents={"result": packed} if packed else None,
    )


def _pause_if_overspent(tx: Transaction, call: Call, handle: str, counted: Row) -> str | None:
    """A step may overshoot a bound once; then the run waits for a person."""
    _, steps, _, budget, worked_us, tokens, nanousd = counted
    if budget == UNBOUNDED:
        return None
    spent = model.Spent(steps=steps, seconds=worked_us / 1_000_000, tokens=tokens, nanousd=nanousd)
    over = model.overspent(_budget_decoder.decode(budget), spent)
    if not over:
        return None
    waits.ask(tx, call, existing(tx, call, handle), "budget", f"The budget is spent: {', '.join(over)}.")
    return "budget"
