"""How an escalation ends, and how its answer gets to everybody who waits for it.

The end, the waiters' turn to `ready` and the wake of their runs are one commit. Whether a run's code got the answer is
seen afterwards: its run carries the escalation's handle in `waiting_for` until then.
"""

from __future__ import annotations

import itertools

import msgspec

from agentmemo.crashpoints import reach
from agentmemo.engine import audit, inhibition, notifications, waits
from agentmemo.engine.call import Call
from agentmemo.engine.escalation_views import changed, existing
from agentmemo.model import escalations as model
from agentmemo.model.runs import FINISHED
from agentmemo.model.runs import WAITING as RUN_WAITS
from agentmemo.model.values import encode
from agentmemo.store import escalations as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.blobs import PLAIN, Packed
from agentmemo.store.database import Row, Transaction

ACTS = {
    model.DECIDED: "decide",
    model.DEFAULTED: "default",
    model.AUTO_DECIDED: "auto_decide",
    model.WITHDRAWN: "withdraw",
    model.SUPERSEDED: "supersede",
}


def end(
    tx: Transaction,
    call: Call,
    row: rows.EscalationRow,
    state: str,
    answer: model.Answer | None = None,
    *,
    reason: str = "",
    uses: int = 0,
    superseded_by: str | None = None,
) -> None:
    """Reach a terminal state; with an answer, everybody who waits is given it."""
    act = ACTS[state]
    model.next_state(row.state, act, row.handle)
    text = msgspec.json.encode(answer).decode() if answer else None
    tx.write(
        "escalation_end",
        expect=1,
        id=row.id,
        revision=row.revision,
        state=state,
        decision=answer.decision if answer else None,
        answer=text,
        execute_by=answer.execute_by if answer else None,
        uses=uses,
        superseded_by=superseded_by,
        reason="" if answer else reason,
        now=tx.now,
    )
    subject = {"kind": "escalation", "id": row.handle}
    if answer:
        subject |= {"decision": answer.decision} | ({"choice": answer.choice} if answer.choice else {})
    audit.record(
        tx,
        call,
        f"escalation.{act}",
        subject,
        stream=row.handle,
        from_version=row.revision,
        to_version=row.revision + 1,
        contents={"answer": text.encode()} if text else None,
        reason=reason or (answer.comment if answer else ""),
    )
    notifications.outdated(tx, row.id)
    inhibition.free(tx, call, f"{row.handle} is over", row.handle)
    for waiter in rows.waiters(tx, row.id):
        _give(tx, call, row, waiter, answer, reason)


def leased(tx: Transaction, run: run_rows.RunRow) -> None:
    """Somebody holds the run again that is to get an answer."""
    _move(tx, run, "lease")


def came_back(tx: Transaction, run: run_rows.RunRow, *, error: str | None) -> None:
    """Its holder is gone before its code had the answer, or failed before."""
    _move(tx, run, "fail" if error else "lose", error or "")


def run_ended(tx: Transaction, call: Call, run: run_rows.RunRow, waiters: list[Row]) -> None:
    """Nobody waits in a run that is over; a question that nobody waits for any more is withdrawn.

    `waiters` are those of the run whose answers its code does not have.
    """
    if run.wake == "person" and (own := rows.same(tx, call.workspace, f"{model.GIVEN}{model.RUN_KEY}{run.handle}")):
        end(tx, call, own, model.WITHDRAWN, reason=f"the run {run.handle} is over")
    for waiter in itertools.starmap(rows.WaiterRow, waiters):
        if not waiter.waits:
            continue
        _set(tx, waiter, "leave")
        # By the waiter, not by what the run waits for: it may ask something else by now, and still lack this answer.
        row = rows.of_key(tx, call.workspace, waiter.key or "")
        if row is None or row.state not in model.UNDECIDED:
            continue
        if not any(other.state == model.WAITING for other in rows.waiters(tx, row.id)):
            end(tx, call, row, model.WITHDRAWN, reason=f"the run {run.handle} that asked is over")


def waits_now(tx: Transaction, call: Call, row: rows.EscalationRow, waiter: rows.WaiterRow) -> rows.WaiterRow:
    """Who only asked at first waits by now: the answer is owed to them."""
    if waiter.waits or waiter.state in (model.APPLIED, model.GONE):
        return waiter
    waiter = waiter._replace(waits=1)
    _set(tx, waiter, "wait", error=waiter.error)
    subject = {"kind": "escalation", "id": row.handle} | ({"run": waiter.run} if waiter.run else {})
    audit.record(tx, call, "escalation.join", subject, stream=row.handle, count=row.occurrences)
    return waiter


def apply(tx: Transaction, call: Call, row: rows.EscalationRow, waiter: rows.WaiterRow) -> None:
    """The waiter's code has the answer; an implicit replay key is free again."""
    if waiter.state == model.APPLIED:
        return
    reach("escalation.before_apply")
    key = None if waiter.implicit else waiter.key
    _set(tx, waiter, "apply", key=key)
    tx.write("escalation_touch", id=row.id, now=tx.now)
    audit.record(
        tx,
        call,
        "escalation.apply",
        {"kind": "escalation", "id": row.handle} | ({"run": waiter.run} if waiter.run else {}),
        stream=row.handle,
    )
    if waiter.run:
        run = run_rows.get(tx, call.workspace, waiter.run)
        if run is not None and run.waiting_for == row.handle:
            tx.write("run_has_answer", id=run.id)


def retry(tx: Transaction, call: Call, request: model.RetryDelivery) -> model.Escalation:
    """Failed deliveries are ready again: whoever opens or works on their runs gives them the stored answer."""
    row = existing(tx, call, request.escalation)
    failed = [waiter for waiter in rows.waiters(tx, row.id) if waiter.state == model.FAILED]
    for waiter in failed:
        _set(tx, waiter, "retry")
    if failed:
        tx.write("escalation_touch", id=row.id, now=tx.now)
        audit.record(
            tx, call, "escalation.retry", {"kind": "escalation", "id": row.handle}, stream=row.handle, count=len(failed)
        )
    return changed(tx, call, row)


def _give(
    tx: Transaction,
    call: Call,
    row: rows.EscalationRow,
    waiter: rows.WaiterRow,
    answer: model.Answer | None,
    reason: str,
) -> None:
    if waiter.state != model.WAITING:
        return
    run = run_rows.get(tx, call.workspace, waiter.run) if waiter.run else None
    if run is None:
        _set(tx, waiter, "decide")
    elif run.state == RUN_WAITS and run.waiting_for == row.handle:
        _set(tx, waiter, "decide")
        content = encode(msgspec.to_builtins(answer or no_answer(row, reason)))
        packed = Packed(len(content), PLAIN, content, None, content)
        waits.end_wait(tx, call, run, packed, f"{row.handle} is answered", answer_of=row.handle)
    else:
        _set(tx, waiter, "leave" if run.state in FINISHED else "decide")


def no_answer(row: rows.EscalationRow, reason: str = "") -> model.Answer:
    """What is waited for when the question was taken back: a refusal, in nobody's name."""
    return model.taken_back(row.handle, reason or row.ended_reason)


def _move(tx: Transaction, run: run_rows.RunRow, act: str, error: str = "") -> None:
    for waiter in rows.waiters_of_run(tx, run.handle):
        if waiter.waits and (waiter.state, act) in model.DELIVERY:
            _set(tx, waiter, act, error=error)


def _set(tx: Transaction, waiter: rows.WaiterRow, act: str, *, error: str = "", key: str | object | None = ...) -> None:
    tx.write(
        "waiter_set",
        id=waiter.id,
        state=model.next_delivery(waiter.state, act),
        waits=waiter.waits,
        attempts=waiter.attempts + (act in ("lease", "fail")),
        error=error,
        key=waiter.key if key is ... else key,
        now=tx.now,
    )
