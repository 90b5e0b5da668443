"""Runs: opening by key, taking over, finishing, giving back, cancelling, forking."""

from __future__ import annotations

import hashlib

import msgspec

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.crashpoints import reach
from agentmemo.engine import audit, escalation_delivery, handoff_moves, ledger, liveness, run_questions, waits
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.claims import check_own_course, existing, held, lost, make_ready, overdue_at, worked_us
from agentmemo.engine.handoff_ends import cancel_run, end_run
from agentmemo.engine.run_views import changed, view
from agentmemo.errors import IdempotencyMismatch, InvalidInput, InvalidTransition, PermissionDenied, RunHeld
from agentmemo.model import runs as model
from agentmemo.model.executions import is_execution
from agentmemo.model.handoffs import CLAIMED, ENDED, handoff_of_run
from agentmemo.model.kinds import described
from agentmemo.model.state import check_name
from agentmemo.model.values import encode_sorted
from agentmemo.store import handoffs as handoff_rows
from agentmemo.store import runs as rows
from agentmemo.store.blobs import NOTHING, Packed
from agentmemo.store.database import Transaction

ATTEMPTS_MAX = 1000
_SHOWN = 500
EVERY_STEP = 1 << 60


def start(tx: Transaction, call: Call, request: model.StartRun) -> model.Claimed:
    """Open a run: create it, continue it, take it over from the dead, or replay it. Idempotent by key."""
    check_new(request.name, request.key, request.max_attempts)
    check_handoff(tx, call, request.name, request.key)
    check_execution(request.name)
    found = rows.find(tx, call.workspace, request.name, request.key) if request.key is not None else None
    if found is None:
        run = create(
            tx,
            call,
            name=request.name,
            key=request.key,
            inputs=request.inputs,
            budget=request.budget,
            max_attempts=request.max_attempts,
            worker=request.worker,
            parent=request.parent,
        )
        _work_on_handoff(tx, call, request, run.id)
        return model.Claimed(run=run, outcome="created", lease_seconds=request.lease_seconds, stored_steps=0)
    check_same_inputs(tx, call, found, request.inputs)
    _work_on_handoff(tx, call, request, found.handle)
    return reopen(tx, call, found, request.worker, request.lease_seconds)


def reopen(tx: Transaction, call: Call, run: rows.RunRow, worker: str, lease_seconds: float) -> model.Claimed:
    """Continue an existing run, whatever state it is in."""
    if run.state == model.COMPLETED and not run.pruned:
        return claimed(tx, call, run, outcome="replay", lease_seconds=lease_seconds)
    if run.state in model.FINISHED:
        what = "pruned" if run.pruned else run.state
        raise InvalidTransition(
            f"Run {run.handle} ({run.name}/{run.key}) is {what}; its key cannot be opened again.",
            why=run.error or run.reason or "Its steps were removed by retention; the tombstone keeps the key.",
            next_call="Use another key."
            if run.pruned
            else f"Use another key, or agent.runs.fork('{run.handle}', from_step=...) to go on from its steps.",
            details={"run": run.handle, "state": run.state},
        )
    if run.wake == "person":
        # Who claimed its handoff since, when it had been given back, finds it waiting.
        waits.park_handoff(tx, call, run, f"its run asks a person: {run.waiting_for}")
        return claimed(tx, call, run, outcome="waiting", lease_seconds=lease_seconds)
    taken_over = run.state == model.RUNNING
    if taken_over and liveness.is_alive(tx, call.engine, call.workspace, run.worker):
        raise _held(tx, call, run)
    return claim(tx, call, run, worker, lease_seconds, taken_over=taken_over)


def claim(
    tx: Transaction, call: Call, run: rows.RunRow, worker: str, lease_seconds: float, *, taken_over: bool = False
) -> model.Claimed:
    """Raise the epoch: from here on only this worker's writes are accepted."""
    takeovers = run.takeovers + 1 if taken_over else run.takeovers
    if takeovers > model.TAKEOVERS_WITHOUT_STEP_MAX:
        detail = f"{takeovers} workers died on this run without finishing a step."
        run_questions.ask(tx, call, run, "takeovers", detail)
        return claimed(tx, call, *rows.reload(tx, run), outcome="waiting", lease_seconds=lease_seconds)
    model.next_run_state(run.state, "claim", run.handle)
    liveness.renew(tx, call, worker)
    tx.write(
        "run_claim",
        expect=1,
        id=run.id,
        epoch=run.epoch,
        attempt=run.attempt,
        worker=worker,
        holder=call.actor,
        task_version=None,
        takeovers=takeovers,
        worked=worked_us(tx, call, run, by_lease=taken_over),
        boot=call.engine.clock.boot_us(),
        now=tx.now,
    )
    tx.write("ready_remove", run=run.id)
    audit.record(
        tx,
        call,
        "run.takeover" if taken_over else "run.claim",
        {"kind": "run", "id": run.handle, "worker": worker},
        stream=run.handle,
        from_version=run.epoch,
        to_version=run.epoch + 1,
        epoch=run.epoch + 1,
        reason=f"{run.worker} is gone" if taken_over else "",
    )
    if run.epoch:
        waits.mark_doubtful(tx, call, run, run.epoch + 1)
        ledger.abandon_of_run(tx, call, run.handle, run.epoch + 1)
    if ids.is_handle(run.waiting_for or "", "esc"):
        if taken_over:
            escalation_delivery.came_back(tx, run, error=None)
        escalation_delivery.leased(tx, run)
    reach("run.after_claim")
    outcome = "taken_over" if taken_over else "claimed"
    return claimed(tx, call, *rows.reload(tx, run), outcome=outcome, lease_seconds=lease_seconds)


def check_handoff(tx: Transaction, call: Call, name: str, key: str | None) -> None:
    """The run of a handoff is opened by its holder only: its steps are what the next holder believes."""
    handoff = handoff_of_run(name, key)
    claim_ = call.caller.claim
    if handoff is None or (claim_ is not None and claim_.run == handoff):
        return
    if handoff_rows.get(tx, call.workspace, handoff) is not None:
        raise PermissionDenied(
            f"The run of handoff {handoff} is opened under its claim only.",
            why="Whoever takes the handoff over goes on from the run's steps.",
            next_call="Claim the handoff and work on it: agent.handoff.work(handler).",
            details={"handoff": handoff},
        )


def check_execution(name: str) -> None:
    """The run of an execution is opened as one only: its steps are those of its document."""
    if is_execution(name):
        raise InvalidInput(
            f"The run name {name!r} belongs to the execution of a workflow.",
            why="Its steps are those of its document, each checked before it is kept.",
            next_call="Start it with agent.workflows.start(...), or go on with agent.workflows.resume(id).",
        )


def _check_its_handoff(tx: Transaction, call: Call, run: rows.RunRow) -> None:
    """The run that works on a handoff is stopped by its holder, or by whoever might cancel the handoff."""
    handle = handoff_of_run(run.name, run.key)
    handoff = handoff_rows.get(tx, call.workspace, handle) if handle else None
    if handoff is None or handoff.run != run.handle or handoff.state in ENDED:
        return
    if handoff.state != CLAIMED or handoff.holder != call.actor:
        handoff_moves.check_concerned(tx, call, handoff)


def _work_on_handoff(tx: Transaction, call: Call, request: model.StartRun, run: str) -> None:
    """A run of this name, opened under the claim of the handoff that is its key, works on it."""
    claim_ = call.caller.claim
    if claim_ is not None and claim_.run == handoff_of_run(request.name, request.key):
        handoff_moves.bind_run(tx, call, claim_.run, run)


def resume(tx: Transaction, call: Call, request: model.ResumeRun) -> model.Claimed:
    """Claim a run that was parked at `epoch`; `waiting` is answered while its cause has not come."""
    run = existing(tx, call, request.run)
    lease = call.engine.settings.lease_seconds
    if run.epoch != request.epoch or run.state not in (model.PENDING, model.WAITING):
        raise lost(run, request.epoch)
    if run.state == model.WAITING:
        return claimed(tx, call, run, outcome="waiting", lease_seconds=lease)
    check_handoff(tx, call, run.name, run.key)
    return claim(tx, call, run, request.worker, lease)


def complete(tx: Transaction, call: Call, request: model.CompleteRun) -> model.Run:
    run = held(tx, call, request.run)
    check_own_course(run, run.handle)
    reach("run.before_complete")
    packed: Packed = request.result
    rows.set_value(tx, run.id, "result", packed)
    end_run(tx, call, run, model.COMPLETED, percent=100.0, contents={"result": packed})
    reach("run.after_complete")
    return changed(tx, call, run)


def fail(tx: Transaction, call: Call, request: model.FailRun) -> model.Run:
    """Fail for good; no further attempts."""
    run = held(tx, call, request.run)
    end_run(tx, call, run, model.FAILED, error=request.reason)
    return changed(tx, call, run)


def release(tx: Transaction, call: Call, request: model.ReleaseRun) -> model.Run:
    run = held(tx, call, request.run)
    if request.error is not None and run.attempt >= run.max_attempts:
        end_run(tx, call, run, model.FAILED, error=request.error)
    else:
        give_back(tx, call, run, error=request.error, delay_seconds=request.retry_after_seconds)
    return changed(tx, call, run)


def give_back(
    tx: Transaction,
    call: Call,
    run: rows.RunRow,
    *,
    error: str | None = None,
    reason: str = "",
    lost: bool = False,
    delay_seconds: float = 0.0,
) -> None:
    """From running to pending. An error counts as an attempt; a lost lease counts as a takeover."""
    model.next_run_state(run.state, "release", run.handle)
    registered = run.task is not None
    tx.write(
        "run_release",
        expect=1,
        id=run.id,
        epoch=run.epoch,
        wake="ready" if registered else "caller",
        wake_at=None,
        deadline=overdue_at(tx, call),
        attempt=run.attempt + (error is not None),
        error=error,
        reason=error or reason,
        takeovers=run.takeovers + lost,
        worked=worked_us(tx, call, run, by_lease=lost),
        now=tx.now,
    )
    if registered:
        make_ready(tx, call, run, tx.now + round(delay_seconds * SECOND))
    if ids.is_handle(run.waiting_for or "", "esc"):
        escalation_delivery.came_back(tx, run, error=error)
    audit.record(
        tx,
        call,
        "run.release",
        {"kind": "run", "id": run.handle},
        stream=run.handle,
        epoch=run.epoch,
        reason=error or reason,
    )


def cancel(tx: Transaction, call: Call, request: model.CancelRun) -> model.Run:
    """Cancel a run and its unfinished children. The holder is told at its next call."""
    run = existing(tx, call, request.run)
    if run.state in model.FINISHED:
        model.next_run_state(run.state, "cancel", run.handle)
    _check_its_handoff(tx, call, run)
    cancel_run(tx, call, run, request.reason)
    return changed(tx, call, run)


def fork(tx: Transaction, call: Call, request: model.ForkRun) -> model.Run:
    """A new pending run with the inputs and the completed steps before `from_step`."""
    source = existing(tx, call, request.run)
    if source.pruned:
        raise InvalidTransition(
            f"Run {source.handle} was pruned; its steps are gone.", next_call="Start a new run under another key."
        )
    before = EVERY_STEP
    if request.from_step is not None:
        row = tx.one("step_first_named", run=source.id, name=request.from_step)
        if row is None or row[0] is None:
            raise not_found("step", request.from_step, f"agent.runs.steps({source.handle!r})")
        before = row[0]
    # What a handoff's run is forked into is nobody's handoff.
    stem = source.handle if handoff_of_run(source.name, source.key) else source.key or source.handle
    key = request.key or f"{stem}~{ids.mint('run', tx.now)[4:]}"
    check_new(source.name, key, source.max_attempts)
    check_handoff(tx, call, source.name, key)
    check_execution(source.name)
    if rows.find(tx, call.workspace, source.name, key):
        raise InvalidTransition(f"The key {key!r} of {source.name} is taken.", next_call="Fork under another key.")
    return changed(tx, call, fork_of(tx, call, source, key, before, reason=request.reason))


def fork_of(
    tx: Transaction,
    call: Call,
    source: rows.RunRow,
    key: str,
    before: int = EVERY_STEP,
    *,
    agent: int | None = None,
    reason: str = "",
) -> rows.RunRow:
    """A pending run under another key, with the source's inputs and its completed steps `before` that one."""
    stored = rows.values(tx, source.id).get("inputs", NOTHING)
    run = create(
        tx,
        call,
        name=source.name,
        key=key,
        inputs=stored,
        budget=msgspec.json.decode(source.budget, type=described(model.Budget)),
        max_attempts=source.max_attempts,
        task=source.task,
        forked_from=source.handle,
        inputs_hash=source.inputs_hash,
        agent=agent,
        reason=reason,
    )
    made = existing(tx, call, run.id)
    tx.write("step_copy", to_run=made.id, from_run=source.id, before=before)
    tx.write("run_set_steps", id=made.id)
    return made


def create(
    tx: Transaction,
    call: Call,
    *,
    name: str,
    key: str | None,
    inputs: Packed,
    budget: model.Budget | None,
    max_attempts: int,
    worker: str | None = None,
    parent: str | None = None,
    task: str | None = None,
    at: int | None = None,
    priority: int = 0,
    forked_from: str | None = None,
    inputs_hash: str | None = None,
    agent: int | None = None,
    reason: str = "",
    handle: str | None = None,
) -> model.Run:
    """Insert a run: running under `worker`, else pending for a registered task or for whoever opens its key.

    It is the caller's, unless another `agent` is to go on with it.
    """
    handle = handle or ids.mint("run", tx.now)
    running = worker is not None
    if parent is not None:
        # By its whole handle, and only if it exists: it is woken and cancels by it.
        parent = existing(tx, call, parent).handle
    if worker is not None:
        liveness.renew(tx, call, worker)
    position = _record_start(
        tx, call, handle, name, key, running=running, forked=forked_from is not None, inputs=inputs, reason=reason
    )
    tx.write(
        "run_add",
        id=position,
        handle=handle,
        workspace=call.workspace,
        name=name,
        key=key,
        state=model.RUNNING if running else model.PENDING,
        epoch=int(running),
        attempt=1,
        max_attempts=max_attempts,
        agent=call.actor if agent is None else agent,
        inputs_hash=inputs_hash or hash_inputs(inputs),
        wake="lease" if running else "ready" if task else "caller",
        wake_at=None,
        deadline=None if running else overdue_at(tx, call, at),
        worker=worker,
        task=task,
        task_version=None,
        priority=priority,
        parent=parent,
        forked_from=forked_from,
        budget=msgspec.json.encode(budget or model.Budget()).decode(),
        holder=call.actor if running else None,
        claimed_at=call.engine.clock.boot_us() if running else None,
        now=tx.now,
    )
    rows.set_value(tx, position, "inputs", inputs)
    run = existing(tx, call, handle)
    if task:
        make_ready(tx, call, run, at or tx.now)
    return view(tx, call, run, {"inputs": inputs} if inputs is not NOTHING else {})


def _record_start(
    tx: Transaction,
    call: Call,
    handle: str,
    name: str,
    key: str | None,
    *,
    running: bool,
    forked: bool,
    inputs: Packed,
    reason: str,
) -> int:
    """The position of the event; it is the run's number in the store too."""
    subject = {"kind": "run", "id": handle, "name": name}
    if key is not None:
        subject["key"] = key
    return audit.record(
        tx,
        call,
        "run.fork" if forked else "run.start",
        subject,
        stream=handle,
        from_version=0,
        to_version=int(running),
        epoch=int(running),
        contents={"inputs": inputs} if inputs.source else None,
        reason=reason,
        begins=True,
    )


def claimed(
    tx: Transaction,
    call: Call,
    run: rows.RunRow,
    values: dict[str, Packed] | None = None,
    *,
    outcome: str,
    lease_seconds: float,
) -> model.Claimed:
    # Of its first holder, and without a source to copy steps from: there are none.
    fresh = outcome == "claimed" and run.epoch == 1 and run.forked_from is None
    row = None if fresh else tx.one("step_count", run=run.id)
    return model.Claimed(
        run=view(tx, call, run, values),
        outcome=outcome,
        lease_seconds=lease_seconds,
        stored_steps=row[0] if row else 0,
    )


def check_new(name: str, key: str | None, max_attempts: int) -> None:
    check_name(name, "run name", model.NAME_MAX)
    if key is not None:
        check_name(key, "run key", model.RUN_KEY_MAX)
    if not 1 <= max_attempts <= ATTEMPTS_MAX:
        raise InvalidInput(f"max_attempts is 1 to {ATTEMPTS_MAX}, not {max_attempts}.", next_call="Leave it out for 3.")


def check_same_inputs(tx: Transaction, call: Call, run: rows.RunRow, inputs: Packed) -> None:
    if run.inputs_hash == hash_inputs(inputs):
        return
    known = view(tx, call, run).inputs
    raise IdempotencyMismatch(
        f"Run {run.name}/{run.key} was opened before with other inputs.",
        why="A key stands for one piece of work; other inputs are other work.",
        next_call="Open it with the first inputs, or choose another key.",
        details={
            "run": run.handle,
            "first": encode_sorted(known).decode()[:_SHOWN],
            "now": encode_sorted(inputs.original).decode()[:_SHOWN],
        },
    )


def hash_inputs(inputs: Packed) -> str:
    return hashlib.sha256(encode_sorted(inputs.original)).hexdigest()


def _held(tx: Transaction, call: Call, run: rows.RunRow) -> RunHeld:
    worker = rows.get_worker(tx, call.workspace, run.worker) if run.worker else None
    holder = liveness.seen_as(worker) if worker else str(run.worker)
    return RunHeld(
        f"Run {run.handle} ({run.name}/{run.key}) is held by {holder}.",
        why=liveness.why_alive(tx, call, worker) if worker else "",
        next_call=f"Try again when that is over; who holds it says agent.runs.explain('{run.handle}').",
        details={"run": run.handle, "worker": run.worker, "holder": holder, "epoch": run.epoch},
    )
