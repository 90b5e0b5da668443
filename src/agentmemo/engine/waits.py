"""What parks a run, holding nothing, and what wakes it: time, a signal, a child, a person."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.crashpoints import reach
from agentmemo.engine import audit, handoff_moves
from agentmemo.engine.call import Call
from agentmemo.engine.claims import check_own_course, existing, held, make_ready, overdue_at, worked_us
from agentmemo.engine.run_views import budget_of, changed, view
from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model import runs as model
from agentmemo.model.handoffs import handoff_of_run
from agentmemo.model.state import check_name
from agentmemo.model.values import decode, encode
from agentmemo.store import blobs
from agentmemo.store import runs as rows
from agentmemo.store.blobs import NOTHING, PLAIN, Packed
from agentmemo.store.database import Transaction

KINDS = ("timer", "signal", "child", "person")
WAIT_EFFECT = "wait"
SECONDS_MAX = 10 * 365 * 86400.0
TIMED_OUT = "timed out"
# Question of a run itself -> the decisions that fit.
FITTING = {
    "in_doubt": ("happened", "retry"),
    "mismatch": ("reuse", "rerun"),
    "budget": ("continue",),
    "takeovers": ("continue",),
}


def park(tx: Transaction, call: Call, request: model.ParkRun) -> model.Parked:
    """Wait as the step (name, key). Idempotent: on replay a wait that ended answers at once."""
    run = held(tx, call, request.run)
    check_own_course(run, run.handle)
    model.check_choice(request.kind, KINDS, "kind of wait")
    step = rows.get_step(tx, run.id, request.name, request.key)
    if step and step.state in (model.COMPLETED, model.FAILED):
        content = blobs.unpack(tx, call.workspace, step.codec, step.value, step.blob)
        timed_out = step.state == model.FAILED
        return model.Parked(done=True, timed_out=timed_out, value=decode(content) if content else None, epoch=run.epoch)
    if request.child and not ids.is_handle(request.child, "run"):
        # By its whole handle: the run is woken by it.
        request = msgspec.structs.replace(request, child=existing(tx, call, request.child).handle)
    started_at = step.started_at if step else tx.now
    wake_at = _wake_at(request, started_at)
    packed = _already(tx, call, run, request, wake_at)
    if packed is not None:
        _put_wait(tx, run, (request.name, request.key), model.COMPLETED, started_at, packed)
        audit.record(
            tx,
            call,
            "step.complete",
            {"kind": "wait", "id": run.handle, "for": request.kind},
            stream=run.handle,
            epoch=run.epoch,
            step=f"{request.name}/{request.key}",
            contents={"value": packed} if packed.source else None,
        )
        return model.Parked(done=True, value=packed.original, epoch=run.epoch)
    waiting_for = {"timer": None, "signal": request.signal, "child": request.child}[request.kind]
    step_of = (request.name, request.key)
    wait_for(tx, call, run, step_of, request.kind, waiting_for, wake_at=wake_at, started_at=started_at)
    return model.Parked(done=False, wake_at=wake_at, epoch=run.epoch)


def wait_for(
    tx: Transaction,
    call: Call,
    run: rows.RunRow,
    step: tuple[str, str],
    wake: str,
    waiting_for: str | None,
    *,
    wake_at: int | None = None,
    started_at: int | None = None,
) -> None:
    """Park a run that is held until its cause comes, with the wait as a step of its own."""
    what = f"waits for {wake}" + (f" {waiting_for}" if waiting_for else "")
    _put_wait(tx, run, step, model.STARTED, tx.now if started_at is None else started_at, NOTHING)
    tx.write(
        "run_park",
        expect=1,
        id=run.id,
        epoch=run.epoch,
        wake=wake,
        wake_at=wake_at,
        waiting_for=waiting_for,
        wait_name=step[0],
        wait_key=step[1],
        deadline=None if wake_at else overdue_at(tx, call),
        reason=what,
        worked=worked_us(tx, call, run),
        now=tx.now,
    )
    audit.record(
        tx,
        call,
        "run.park",
        {"kind": "run", "id": run.handle, "for": wake},
        stream=run.handle,
        epoch=run.epoch,
        step=f"{step[0]}/{step[1]}",
    )
    park_handoff(tx, call, run, f"its run {what}")
    reach("wait.after_park")


def ask(
    tx: Transaction,
    call: Call,
    run: rows.RunRow,
    question: str,
    detail: str,
    step: tuple[str, str] | None = None,
) -> None:
    """Pause a run until a person decides; the question stays with the run."""
    tx.write(
        "run_ask",
        expect=1,
        id=run.id,
        epoch=run.epoch,
        question=question,
        wait_name=step[0] if step else None,
        wait_key=step[1] if step else None,
        deadline=overdue_at(tx, call),
        reason=detail,
        worked=worked_us(tx, call, run, by_lease=question == "takeovers"),
        now=tx.now,
    )
    tx.write("ready_remove", run=run.id)
    audit.record(
        tx,
        call,
        "run.ask",
        {"kind": "run", "id": run.handle, "question": question},
        stream=run.handle,
        epoch=run.epoch,
        step=f"{step[0]}/{step[1]}" if step else None,
        reason=detail,
    )
    park_handoff(tx, call, run, f"its run asks a person: {question}")


def signal(tx: Transaction, call: Call, request: model.SendSignal) -> model.Run:
    """Keep a signal until the run waits for it; if it does already, wake it."""
    check_name(request.name, "signal name", model.NAME_MAX)
    run = existing(tx, call, request.run)
    if run.state in model.FINISHED:
        raise InvalidTransition(
            f"Run {run.handle} is {run.state}; nobody will receive the signal.", next_call="Signal an unfinished run."
        )
    deliver(tx, call, run, request.name, request.value)
    return changed(tx, call, run)


def deliver(tx: Transaction, call: Call, run: rows.RunRow, name: str, packed: Packed) -> None:
    """Keep a signal for an unfinished run, and wake the run if it waits for this one."""
    tx.write("signal_add", run=run.id, name=name, author=call.actor, now=tx.now, **packed.columns())
    audit.record(
        tx,
        call,
        "run.signal",
        {"kind": "signal", "id": run.handle, "name": name},
        stream=run.handle,
        contents={"value": packed},
    )
    if run.state == model.WAITING and run.wake == "signal" and run.waiting_for == name:
        end_wait(tx, call, run, _take_signal(tx, run.id, name) or NOTHING, f"signal {name} came")


def child_ended(tx: Transaction, call: Call, waiting: str, child: str) -> None:
    """Wake a run that waits for this one, its child or not."""
    run = existing(tx, call, waiting)
    if run.state == model.WAITING and run.wake == "child" and run.waiting_for == child:
        end_wait(tx, call, run, _outcome(tx, call, child), f"child {child} ended")


def time_came(tx: Transaction, call: Call, run: rows.RunRow) -> None:
    """A timer's wait is over; a wait for something else has timed out."""
    if run.state != model.WAITING or run.wake_at is None or run.wake_at > tx.now:
        return
    if run.wake == "timer":
        end_wait(tx, call, run, NOTHING, "the time came")
    else:
        end_wait(tx, call, run, None, f"{run.wake} {run.waiting_for} did not come in time")


def resolve(tx: Transaction, call: Call, request: model.ResolveRun) -> model.Run:
    """A person's decision. Which decisions fit depends on the question the run waits for."""
    run = existing(tx, call, request.run)
    if run.state != model.WAITING or run.wake != "person":
        raise InvalidTransition(
            f"Run {run.handle} asks nothing now; it is {run.state}.",
            next_call=f"See agent.runs.explain('{run.handle}').",
        )
    if request.asked is not None and request.asked != run.updated_at:
        raise InvalidTransition(
            f"Run {run.handle} asks something else by now.",
            why="The decision was for the question as it was seen; it was not saved.",
            next_call=f"See agent.runs.explain('{run.handle}'), then decide again.",
            details={"asked": request.asked, "current": run.updated_at},
        )
    question = run.waiting_for or ""
    if question not in FITTING:
        raise InvalidTransition(
            f"Run {run.handle} waits for the answer to {question}.",
            next_call=f"Answer it: agent.inbox.answer('{question}', decision).",
            details={"run": run.handle, "escalation": question},
        )
    model.check_choice(request.decision, FITTING[question], f"decision for the question {question!r}:")
    packed: Packed = request.result
    _apply_decision(tx, run, request, packed)
    audit.record(
        tx,
        call,
        "run.resolve",
        {"kind": "run", "id": run.handle, "question": question, "decision": request.decision},
        stream=run.handle,
        step=f"{run.wait_name}/{run.wait_key}" if run.wait_name else None,
        contents={"result": packed} if packed.source else None,
        reason=request.comment,
    )
    wake(tx, call, run, f"{call.caller.actor} decided: {request.decision}")
    return changed(tx, call, run)


def wake(tx: Transaction, call: Call, run: rows.RunRow, reason: str, *, answer_of: str | None = None) -> None:
    """From waiting to pending: for a worker when the run's task is registered, else for its caller.

    `answer_of` is the escalation whose answer the run is to be given; it stands with the run until it has it.
    """
    model.next_run_state(run.state, "wake", run.handle)
    registered = run.task is not None
    tx.write(
        "run_wake",
        expect=1,
        id=run.id,
        wake="ready" if registered else "caller",
        waiting_for=answer_of,
        deadline=overdue_at(tx, call),
        reason=reason,
        now=tx.now,
    )
    if registered:
        make_ready(tx, call, run, tx.now)
    audit.record(
        tx, call, "run.wake", {"kind": "run", "id": run.handle}, stream=run.handle, epoch=run.epoch, reason=reason
    )
    if handoff := handoff_of_run(run.name, run.key):
        handoff_moves.wake(tx, call, handoff, run.handle, reason)


def park_handoff(tx: Transaction, call: Call, run: rows.RunRow, reason: str) -> None:
    """A handoff that is worked on by a run waits with it."""
    if handoff := handoff_of_run(run.name, run.key):
        handoff_moves.park(tx, call, handoff, run.handle, reason)


def mark_doubtful(tx: Transaction, call: Call, run: rows.RunRow, epoch: int) -> None:
    """Announced steps of an earlier holder may or may not have happened; from now on they say so."""
    for step, name, key in tx.all("step_started_before", run=run.id, epoch=epoch):
        tx.write("step_set_state", id=step, state=model.IN_DOUBT)
        audit.record(
            tx,
            call,
            "step.doubt",
            {"kind": "step", "id": run.handle},
            stream=run.handle,
            epoch=epoch,
            step=f"{name}/{key}",
            reason="its worker is gone; the effect may or may not have happened",
        )


def _apply_decision(tx: Transaction, run: rows.RunRow, request: model.ResolveRun, packed: Packed) -> None:
    if run.waiting_for == "budget":
        bounds = request.budget or model.Budget()
        merged = msgspec.structs.asdict(budget_of(run))
        merged |= {name: bound for name, bound in msgspec.structs.asdict(bounds).items() if bound is not None}
        if request.budget is None:
            raise InvalidInput(
                "A budget question is decided with a larger budget.",
                next_call="Send budget={...} with the bounds to raise.",
            )
        tx.write(
            "run_set_budget", id=run.id, budget=encode({k: v for k, v in merged.items() if v is not None}).decode()
        )
    elif run.wait_name is not None:
        step = rows.get_step(tx, run.id, run.wait_name, run.wait_key or "")
        if step is None:
            return
        if request.decision == "happened":
            columns = _columns((step.name, step.key), model.COMPLETED, step.started_at, packed, tx.now)
            columns |= {
                "number": step.number,
                "effect": step.effect,
                "attempt": step.attempt,
                "epoch": step.epoch,
                "run_attempt": step.run_attempt,
                "fingerprint": step.fingerprint,
            }
            tx.write("step_put", run=run.id, **columns)
        else:
            tx.write("step_set_decision", id=step.id, decision=request.decision)


def _wake_at(request: model.ParkRun, started_at: int) -> int | None:
    if request.seconds is None:
        if request.kind == "timer":
            raise InvalidInput("A timer needs seconds.", next_call="Send seconds=...")
        return None
    if not 0 <= request.seconds <= SECONDS_MAX:
        raise InvalidInput(f"seconds is 0 to {SECONDS_MAX:.0f}, not {request.seconds}.", next_call="Wait less long.")
    return started_at + round(request.seconds * SECOND)


def _already(
    tx: Transaction, call: Call, run: rows.RunRow, request: model.ParkRun, wake_at: int | None
) -> Packed | None:
    """What the wait yields if its condition holds now."""
    if request.kind == "timer":
        return NOTHING if wake_at is not None and wake_at <= tx.now else None
    if request.kind == "signal":
        check_name(request.signal or "", "signal name", model.NAME_MAX)
        taken = _take_signal(tx, run.id, request.signal or "")
        if taken is None:
            handoff = request.signal or ""
            return handoff_moves.await_end(tx, call, handoff, run.handle) if ids.is_handle(handoff, "hof") else None
        content = blobs.unpack(tx, call.workspace, taken.codec, taken.value, taken.blob)
        return Packed(taken.size, taken.codec, taken.value, taken.blob, content, decode(content) if content else None)
    child = existing(tx, call, request.child or "")
    return _outcome(tx, call, child.handle) if child.state in model.FINISHED else None


def _take_signal(tx: Transaction, run: int, name: str) -> Packed | None:
    row = tx.one("signal_next", run=run, name=name)
    if row is None:
        return None
    tx.write("signal_remove", id=row[0])
    return blobs.packed_row(row[1:])


def _outcome(tx: Transaction, call: Call, child: str) -> Packed:
    """What a parent receives of an ended child: its state, result and error."""
    ended = view(tx, call, existing(tx, call, child))
    value = {"run": ended.id, "state": ended.state, "result": ended.result, "error": ended.error}
    content = encode(value)
    return Packed(len(content), PLAIN, content, None, content, value)


def end_wait(
    tx: Transaction, call: Call, run: rows.RunRow, packed: Packed | None, reason: str, *, answer_of: str | None = None
) -> None:
    """Record the wait's outcome as its step, None meaning that it timed out, and wake the run."""
    name, key = run.wait_name or "", run.wait_key or ""
    step = rows.get_step(tx, run.id, name, key)
    started_at = step.started_at if step else tx.now
    state = model.FAILED if packed is None else model.COMPLETED
    _put_wait(tx, run, (name, key), state, started_at, packed or NOTHING)
    wake(tx, call, run, reason, answer_of=answer_of)


def _put_wait(
    tx: Transaction, run: rows.RunRow, step: tuple[str, str], state: str, started_at: int, packed: Packed
) -> None:
    columns = _columns(step, state, started_at, packed, tx.now)
    columns |= {
        "number": run.steps + 1,
        "effect": WAIT_EFFECT,
        "attempt": 1,
        "epoch": run.epoch,
        "run_attempt": run.attempt,
        "fingerprint": "",
    }
    tx.write("step_put", run=run.id, **columns)


def _columns(step: tuple[str, str], state: str, started_at: int, packed: Packed, now: int) -> dict[str, Any]:
    return {
        "name": step[0],
        "key": step[1],
        "state": state,
        "started_at": started_at,
        "finished_at": None if state == model.STARTED else now,
        "error": TIMED_OUT if state == model.FAILED else None,
        **packed.columns(),
    }
