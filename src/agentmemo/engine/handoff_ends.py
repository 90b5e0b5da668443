"""How a handoff ends or comes back, and what its sender is told; and how a run ends, since either may end the other."""

from __future__ import annotations

import msgspec

from agentmemo.engine import audit, claims, escalation_delivery, handoff_moves, observations, waits
from agentmemo.engine.call import Call
from agentmemo.engine.handoff_moves import free_token, offer, package_of, pause_seconds, record
from agentmemo.model import handoffs as model
from agentmemo.model import runs as run_model
from agentmemo.store import handoffs as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction

REASON_SHOWN = 2000


def end(
    tx: Transaction,
    call: Call,
    row: rows.HandoffRow,
    act: str,
    *,
    reason: str = "",
    percent: int | None = None,
    contents: dict[str, audit.Content] | None = None,
    told: bool = True,
) -> rows.HandoffRow:
    """End it, and see to it that its sender hears: as a notice, and in the run that handed it over."""
    state = model.next_state(row.state, act, row.handle)
    free_token(tx, call, row)
    ended = msgspec.structs.replace(
        row,
        state=state,
        wake=None,
        offered=0,
        worker=None,
        limited=0,
        due_at=None,
        reason=reason[:REASON_SHOWN],
        percent=row.percent if percent is None else float(percent),
        notice_at=tx.now if told and not row.verifies else None,
        received_at=None,
        escalated_at=tx.now if state == model.DEAD else row.escalated_at,
        ended_at=tx.now,
        updated_at=tx.now,
    )
    tx.write(
        "handoff_end",
        expect=1,
        id=row.id,
        epoch=row.epoch,
        state=state,
        reason=ended.reason,
        percent=percent,
        notice_at=ended.notice_at,
        escalated_at=tx.now if state == model.DEAD else None,
        now=tx.now,
    )
    record(tx, call, row, act, reason=reason, contents=contents)
    _end_its_run(tx, call, row, state, reason)
    for run in (row.sender_run or "").split():
        _signal_sender(tx, call, row, run, state, reason)
    if row.verifies:
        _verdict(tx, call, row, state, reason)
    return ended


def give_back(
    tx: Transaction, call: Call, row: rows.HandoffRow, outcome: str, reason: str, *, counts: bool, pause: bool = False
) -> None:
    """From its holder back to the queue. What `counts` is an attempt; the last one buries it, with the work kept."""
    note_attempt(tx, row, outcome, reason)
    act = "reject" if row.state == model.SUBMITTED else "release"
    if counts and row.attempt >= row.max_attempts:
        end(tx, call, row, "bury", reason=f"{row.attempt} attempts failed; the last: {reason}")
        return
    seconds = pause_seconds(package_of(tx, row), row.attempt) if pause and counts else 0.0
    offer(tx, call, row, act, reason=reason, attempt=row.attempt + counts, pause_seconds=seconds)


def note_attempt(tx: Transaction, row: rows.HandoffRow, outcome: str, reason: str) -> None:
    if row.holder is not None:
        tx.write(
            "handoff_attempt_add",
            handoff=row.id,
            epoch=row.epoch,
            holder=row.holder,
            started_at=row.claimed_at or tx.now,
            outcome=outcome,
            reason=reason[:REASON_SHOWN],
            now=tx.now,
        )


def of_worker(tx: Transaction, call: Call, worker: str, reason: str, *, lost: bool) -> list[str]:
    """Everything a worker holds comes back: as a failed attempt when it was `lost`, else as none."""
    freed = []
    for (handle,) in tx.all("handoff_of_worker", worker=worker):
        row = rows.get(tx, call.workspace, handle)
        if row is not None and row.state == model.CLAIMED:
            give_back(tx, call, row, "lost" if lost else "released", reason, counts=lost)
            freed.append(handle)
    return freed


def end_run(
    tx: Transaction,
    call: Call,
    run: run_rows.RunRow,
    state: str,
    *,
    error: str | None = None,
    reason: str = "",
    percent: float | None = None,
    contents: dict[str, audit.Content] | None = None,
) -> None:
    """End a run, and wake whoever waits for it; the handoff that it worked on comes back, or ends with it."""
    act = {run_model.COMPLETED: "complete", run_model.FAILED: "fail", run_model.CANCELLED: "cancel"}[state]
    run_model.next_run_state(run.state, act, run.handle)
    waiters, joining = tx.fetch(("waiter_of_run", {"run": run.handle}), ("run_joining", {"child": run.handle}))
    tx.write(
        "run_finish",
        expect=1,
        id=run.id,
        epoch=run.epoch,
        state=state,
        error=error,
        reason=reason,
        percent=percent,
        # Whoever cancels it is another than who holds it.
        worked=claims.worked_us(tx, call, run, by_lease=state == run_model.CANCELLED),
        now=tx.now,
    )
    tx.write("ready_remove", run=run.id)
    audit.record(
        tx,
        call,
        f"run.{act}",
        {"kind": "run", "id": run.handle},
        stream=run.handle,
        epoch=run.epoch,
        contents=contents,
        reason=error or reason,
    )
    escalation_delivery.run_ended(tx, call, run, waiters)
    if state == run_model.FAILED and error:
        observations.failed(tx, call, run, error)
    for (waiting,) in joining:
        waits.child_ended(tx, call, waiting, run.handle)
    if handoff := model.handoff_of_run(run.name, run.key):
        _run_ended(tx, call, handoff, run.handle, state, error or reason)


def cancel_run(tx: Transaction, call: Call, run: run_rows.RunRow, reason: str) -> None:
    """Cancel a run, and then its unfinished children, whose end wakes nobody any more."""
    end_run(tx, call, run, run_model.CANCELLED, reason=reason)
    for (handle,) in tx.all("run_children", parent=run.handle, workspace=call.workspace):
        cancel_run(tx, call, claims.existing(tx, call, handle), f"its parent {run.handle} was cancelled: {reason}")


def _end_its_run(tx: Transaction, call: Call, row: rows.HandoffRow, state: str, reason: str) -> None:
    """Nobody goes on with the run of work that is over."""
    run = run_rows.get(tx, call.workspace, row.run) if row.run else None
    if run is None or run.state in run_model.FINISHED:
        return
    if state == model.FAILED:
        end_run(tx, call, run, run_model.FAILED, error=reason, reason=reason)
    else:
        cancel_run(tx, call, run, f"its handoff {row.handle} is {state}" + (f": {reason}" if reason else ""))


def _run_ended(tx: Transaction, call: Call, handle: str, run: str, state: str, reason: str) -> None:
    """The run that worked on it ended without completing it. What failed for good is not tried again."""
    row = rows.get(tx, call.workspace, handle)
    if row is None or row.run != run or row.state != model.CLAIMED or state == run_model.COMPLETED:
        return
    if state == run_model.FAILED:
        note_attempt(tx, row, "failed", reason)
        end(tx, call, row, "fail", reason=reason)
    else:
        give_back(tx, call, row, "released", f"its run {run} was {state}: {reason}", counts=True, pause=True)


def _signal_sender(tx: Transaction, call: Call, row: rows.HandoffRow, handle: str, state: str, reason: str) -> None:
    """A run that handed it over, or asked what comes of it, may wait for a signal with the handoff's handle as name."""
    run = run_rows.get(tx, call.workspace, handle)
    if run is None or run.state in run_model.FINISHED:
        return
    waits.deliver(tx, call, run, row.handle, handoff_moves.outcome_of(tx, row, state, reason))


def _verdict(tx: Transaction, call: Call, row: rows.HandoffRow, state: str, reason: str) -> None:
    """The verifier has spoken, or will never speak: then the work is kept for a person."""
    judged = rows.get(tx, call.workspace, row.verifies or "")
    if judged is None or judged.state != model.SUBMITTED:
        return
    verdict = handoff_moves.result_of(tx, row) if state == model.COMPLETED else None
    if not isinstance(verdict, dict) or not isinstance(verdict.get("accepted"), bool):
        end(tx, call, judged, "bury", reason=f"its verification {row.handle} is {state}: {reason}")
    elif verdict["accepted"]:
        end(tx, call, judged, "accept", percent=100)
    else:
        why = str(verdict.get("reason") or "the verifier gave no reason")
        give_back(tx, call, judged, "rejected", f"rejected by {row.address}: {why}", counts=True)


def tell(tx: Transaction, call: Call, row: rows.HandoffRow, act: str, reason: str, *, rung: int | None = None) -> None:
    """Something is late or nobody came: the sender and the people get to know, and the work goes on."""
    told = msgspec.structs.replace(
        row,
        rung=row.rung if rung is None else rung,
        late=1 if act == "overdue" else row.late,
        progress_at=None if act == "stall" else row.progress_at,
    )
    tx.write(
        "handoff_tell",
        expect=1,
        id=row.id,
        rung=told.rung,
        late=told.late,
        progress_at=told.progress_at,
        due_at=handoff_moves.next_due(told),
        reason=reason[:REASON_SHOWN],
        now=tx.now,
    )
    record(tx, call, row, act, reason=reason)
