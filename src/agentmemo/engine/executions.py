"""Executions of workflow documents: started, gone on with, their steps begun and submitted.

What comes next was decided before the transaction (`engine/execution_decisions.py`): conditions, checks and expressions
take as long as they take. The transaction writes it, if nobody else has moved the execution meanwhile.
"""

from __future__ import annotations

import msgspec

from agentmemo import ids
from agentmemo.crashpoints import reach
from agentmemo.engine import attempt_evidence, audit, comparisons, ledger, liveness, model_calls, runs, steps
from agentmemo.engine.attempts import Attempted
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.claims import held
from agentmemo.engine.execution_course import Course, Made, current
from agentmemo.engine.execution_decisions import Decision, course_of, other_attempt
from agentmemo.engine.handoff_ends import end_run
from agentmemo.engine.run_views import changed
from agentmemo.engine.state import check_limit
from agentmemo.engine.workflows import find
from agentmemo.errors import InvalidTransition
from agentmemo.model import executions as model
from agentmemo.model import ledger as ledger_model
from agentmemo.model import runs as run_model
from agentmemo.model.access import Claim
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.workflows import ACTIVE
from agentmemo.store import executions as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction

NEWEST = 1 << 60
ATTEMPTS_MAX = 1000
WORKER_ATTEMPTS_MAX = 20


def start(tx: Transaction, call: Call, request: model.StartExecution) -> model.Execution:
    """Begin one, or go on with the one of this key. Idempotent by key."""
    name, key = model.RUN_PREFIX + request.name, request.key
    found = run_rows.find(tx, call.workspace, name, key) if key is not None else None
    if found is not None:
        runs.check_same_inputs(tx, call, found, request.inputs)
        return _go_on(tx, call, found, request)
    if request.trial is not None:
        held(tx, call, request.trial)
    decision: Decision | None = call.decisions.get(request.name)
    pinned = decision.progress.frames[0].document if decision else request.version
    version, document = find(tx, call, request.name, pinned)
    worker = _worker(tx, call, request)
    waits = worker is None
    run = runs.create(
        tx,
        call,
        name=name,
        key=key,
        inputs=request.inputs,
        budget=run_model.Budget(nanousd=document.budget.run_nanousd, tokens=document.budget.run_tokens),
        max_attempts=WORKER_ATTEMPTS_MAX if waits else ATTEMPTS_MAX,
        worker=worker,
        task=run_model.EXECUTION if waits else None,
        handle=decision.execution if decision else None,
    )
    row = run_rows.get(tx, call.workspace, run.id)
    assert row is not None  # noqa: S101 - it was just made
    progress = decision.progress if decision and not waits else model.beginning(request.name, version.version)
    tx.write(
        "execution_add",
        run=row.id,
        workspace=call.workspace,
        workflow=request.name,
        version=version.version,
        unproven=int(version.state != ACTIVE),
        driver=request.driver if request.trial is None else model.TRIAL,
        models=msgspec.json.encode(request.models).decode(),
        progress=msgspec.json.encode(progress).decode(),
    )
    subject = {"kind": "execution", "id": run.id, "workflow": request.name, "version": version.version}
    audit.record(tx, call, "workflow.execute", subject, stream=run.id, epoch=row.epoch)
    if decision is None or waits:
        return _view(tx, call, run.id)
    if decision.made or decision.ending:
        _write(tx, _under(call, run.id, row.epoch), row, decision)
    reach("execution.after_start")
    return _view(tx, call, run.id, decision.next_step, _lease_seconds(call, request))


def resume(tx: Transaction, call: Call, request: model.ResumeExecution) -> model.Execution:
    """Claim it again. While it waits for a person it is answered as it is."""
    found = run_rows.get(tx, call.workspace, request.execution)
    if found is None or rows.get(tx, call.workspace, request.execution) is None:
        raise not_found("execution", request.execution)
    return _go_on(tx, call, found, request)


def begin(tx: Transaction, call: Call, request: model.BeginStep) -> model.Begun:
    """Commit before acting: the most that it may cost, and that an effect is about to happen."""
    if request.role is not None:
        return _begun(request, comparisons.reserve(tx, call, request, course_of(tx, call, request.execution)))
    call = _as_holder(tx, call, request.execution)
    run = held(tx, call, request.execution)
    course = course_of(tx, call, request.execution)
    found = current(course, request.step)
    if request.attempt != course.progress.attempt + 1:
        raise other_attempt(course, request.attempt)
    step = found.step
    if step.effect in run_model.ANNOUNCED_EFFECTS:
        stored = run_rows.get_step(tx, run.id, found.path, str(request.attempt))
        if stored is None or stored.state != run_model.STARTED or stored.epoch < run.epoch:
            steps.start(tx, call, _start_step(request, found), of_document=True)
    reserved = _reserve(tx, call, request, course) if request.model is not None else None
    reach("execution.after_begin")
    return _begun(request, reserved)


def _begun(request: model.BeginStep, reserved: ledger_model.LedgerRow | None) -> model.Begun:
    return model.Begun(
        execution=request.execution,
        step=request.step,
        attempt=request.attempt,
        reservation=reserved.id if reserved else None,
        reserved_nanousd=reserved.worst_nanousd if reserved else None,
    )


def submit(tx: Transaction, call: Call, request: model.SubmitStep) -> model.Execution:
    """One commit: the settlement, the checks' verdict, the output, and where it goes on."""
    reach("execution.before_submit")
    decision = call.decisions.get(request.execution)
    call = _as_holder(tx, call, request.execution)
    run = held(tx, call, request.execution)
    if decision is None:  # it was submitted before
        return _view(tx, call, request.execution, course_of(tx, call, request.execution).advance())
    used = model_calls.settle_of_step(tx, call, request)
    row = rows.get(tx, call.workspace, request.execution)
    assert row is not None and decision.attempted is not None  # noqa: S101, PT018 - both were looked at before
    if row.driver != model.TRIAL:  # a trial says itself what it has shown
        _note_attempt(tx, call, row, request, decision.attempted)
        attempt_evidence.note_attempt(tx, call, row, request, decision.attempted, used)
    _write(tx, call, run, decision)
    if not decision.made:
        steps.fail(tx, call, _fail_step(request, decision.attempted), of_document=True)
    reach("execution.after_submit")
    return _view(tx, call, request.execution, decision.next_step)


def get(tx: Transaction, call: Call, request: model.GetExecution) -> model.Execution:
    """As it is; with its next step where it is at one."""
    course = course_of(tx, call, request.execution)
    run = course.run
    assert run is not None  # noqa: S101 - an execution is a run
    next_step = course.advance() if run.state in (run_model.RUNNING, run_model.PENDING) else None
    return _view(tx, call, request.execution, next_step)


def attempts(tx: Transaction, call: Call, request: model.ListAttempts) -> Page:
    row = rows.get(tx, call.workspace, request.execution)
    if row is None:
        raise not_found("execution", request.execution)
    return Page(items=[_attempt(each) for each in rows.attempts(tx, row.run)])


def list_(tx: Transaction, call: Call, request: model.ListExecutions) -> Page:
    limit = check_limit(request.limit)
    bound = [request.workflow, request.version, request.state]
    before = read_cursor(request.cursor, "workflow.executions", bound, NEWEST)
    found = rows.listed(
        tx, call.workspace, before, limit + 1, workflow=request.workflow, version=request.version, state=request.state
    )
    items = [_view(tx, call, row.handle) for row in found[:limit]]
    cursor = make_cursor("workflow.executions", bound, found[limit - 1].run) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def _go_on(
    tx: Transaction, call: Call, found: run_rows.RunRow, request: model.StartExecution | model.ResumeExecution
) -> model.Execution:
    """Claim an execution that exists, unless it has ended or waits for a person."""
    decision = call.decisions.get(found.handle)
    if decision is None:
        return _view(tx, call, found.handle)
    worker = _worker(tx, call, request)
    if worker is None:
        return _view(tx, call, found.handle)
    lease = _lease_seconds(call, request)
    if found.state != run_model.RUNNING or not _is_held_by(found, call, worker):
        claimed = runs.reopen(tx, call, found, worker, lease)
        if claimed.outcome == "waiting":
            return _view(tx, call, found.handle)
    run = run_rows.get(tx, call.workspace, found.handle)
    assert run is not None  # noqa: S101 - it was just claimed
    subject = {"kind": "execution", "id": run.handle}
    audit.record(tx, call, "workflow.resume", subject, stream=run.handle, epoch=run.epoch)
    _write(tx, _under(call, run.handle, run.epoch), run, decision)
    return _view(tx, call, found.handle, decision.next_step, lease)


def _write(tx: Transaction, call: Call, run: run_rows.RunRow, decision: Decision) -> None:
    """What was decided, if the execution is still where it was then."""
    expected = decision.revision if decision.revision is not None else 1
    if not tx.run(
        "execution_move",
        run=run.id,
        revision=expected,
        progress=msgspec.json.encode(decision.progress).decode(),
        models=msgspec.json.encode(decision.models).decode(),
    ):
        raise InvalidTransition(
            f"Execution {run.handle} was moved on by somebody else.",
            why="What was decided was for another step.",
            next_call=f"Look again: agent.workflows.execution('{run.handle}').",
            retry_safe=True,
        )
    for made, packed in decision.made:
        steps.keep(tx, call, _complete_step(run.handle, made, packed), of_document=True)
    if decision.ending is not None:
        state = run_model.COMPLETED if decision.ending.error is None else run_model.FAILED
        row = run_rows.get(tx, call.workspace, run.handle)
        assert row is not None  # noqa: S101 - it is held
        run_rows.set_value(tx, run.id, "result", decision.result)
        contents: dict[str, audit.Content] | None = {"result": decision.result} if decision.result.source else None
        end_run(tx, call, row, state, error=decision.ending.error, percent=100.0, contents=contents)
    _note_course(tx, call, run, decision)


def _note_course(tx: Transaction, call: Call, run: run_rows.RunRow, decision: Decision) -> None:
    """What was decided on the way is evidence too: that a person had to do a step, and how the whole came out."""
    ended = decision.ending is not None and decision.ending.counts
    if not decision.supplied and not ended:
        return
    row = rows.get(tx, call.workspace, run.handle)
    assert row is not None  # noqa: S101 - it was just written
    if row.driver == model.TRIAL:
        return
    for found, ladder in decision.supplied:
        attempt_evidence.note_supplied(tx, call, row, found, ladder)
    if decision.ending is not None and ended:
        failed = decision.ending.error is not None
        attempt_evidence.note_run(tx, call, row, run, decision.progress, decision.quality, failed=failed)


def _worker(tx: Transaction, call: Call, request: model.StartExecution | model.ResumeExecution) -> str | None:
    """Who holds it: the caller's worker, or one that stands for a caller without; None for any worker of the plane."""
    if request.worker is not None:
        return request.worker
    if isinstance(request, model.StartExecution):
        driver = request.driver
    else:
        row = rows.get(tx, call.workspace, request.execution)
        driver = row.driver if row else model.CALLER
    return liveness.unattended(tx, call, request.lease_seconds) if driver == model.CALLER else None


def _lease_seconds(call: Call, request: model.StartExecution | model.ResumeExecution) -> float:
    settings = call.engine.settings
    usual = settings.lease_seconds if request.worker is not None else settings.unattended_lease_seconds
    return request.lease_seconds or usual


def _as_holder(tx: Transaction, call: Call, handle: str) -> Call:
    """The call under the claim of whoever keeps calling without one, which is made where nobody holds it.

    Raises RunHeld where somebody else does, or InvalidTransition where there is nothing to hold.
    """
    run = run_rows.get(tx, call.workspace, handle)
    if call.caller.claim is not None or run is None:
        return call
    worker = liveness.unattended(tx, call, None)
    if run.state == run_model.RUNNING and run.worker in call.engine.unattended[call.actor]:
        return _under(call, handle, run.epoch)
    claimed = runs.reopen(tx, call, run, worker, call.engine.settings.unattended_lease_seconds)
    if claimed.run.state != run_model.RUNNING:
        raise InvalidTransition(
            f"Execution {handle} is {claimed.run.state}; no step of it can be handed in.",
            why=claimed.run.reason,
            next_call=f"See agent.workflows.execution('{handle}').",
        )
    return _under(call, handle, claimed.run.epoch)


def _is_held_by(run: run_rows.RunRow, call: Call, worker: str) -> bool:
    return run.worker == worker and run.holder == call.actor


def _under(call: Call, run: str, epoch: int) -> Call:
    """The same call under the claim that it has just made."""
    call.caller = msgspec.structs.replace(call.caller, claim=Claim(run=run, epoch=epoch))
    return call


def _reserve(tx: Transaction, call: Call, request: model.BeginStep, course: Course) -> ledger_model.LedgerRow:
    progress = course.progress
    climbed = progress.rung is not None and progress.rung != progress.first_rung
    return ledger.reserve(
        tx,
        call,
        ledger_model.ReserveUsage(
            id=ids.mint("use", tx.now),
            model=request.model or "",
            input_tokens=request.input_tokens,
            max_output_tokens=request.max_output_tokens,
            role="verify" if course.row.driver == model.TRIAL else "escalate" if climbed else "execute",
            workflow=course.row.workflow,
            version=course.row.version,
            run=request.execution,
            step=request.step,
            attempt=request.attempt,
            rung=progress.rung,
            caps=model_calls.caps_of(course.documents[progress.frames[0].document]),
        ),
    )


def _note_attempt(
    tx: Transaction, call: Call, row: rows.ExecutionRow, request: model.SubmitStep, attempted: Attempted
) -> None:
    tx.write(
        "attempt_add",
        run=row.run,
        workspace=call.workspace,
        workflow=row.workflow,
        version=row.version,
        path=attempted.path,
        step=attempted.step.id,
        step_hash=attempted.step_hash,
        number=attempted.number,
        rung=attempted.rung,
        first_rung=attempted.first_rung,
        model=request.model,
        served_model=request.served_model,
        verdict=attempted.verdict,
        problems=msgspec.json.encode(attempted.problems).decode(),
        input_hash=attempted.input_hash,
        reservation=request.reservation,
        checks=msgspec.json.encode(attempted.checks).decode(),
        now=tx.now,
    )


def _start_step(request: model.BeginStep, found: model.Moment) -> run_model.StartStep:
    return run_model.StartStep(
        run=request.execution,
        name=request.step,
        key=str(request.attempt),
        effect=found.step.effect,
        fingerprint=found.hash,
        attempt=request.attempt,
    )


def _complete_step(run: str, made: Made, packed: Packed) -> run_model.CompleteStep:
    attempt = int(made.key) if made.key.isdigit() else 1
    return run_model.CompleteStep(
        run=run, name=made.path, key=made.key, result=packed, effect=made.effect, fingerprint=made.hash, attempt=attempt
    )


def _fail_step(request: model.SubmitStep, attempted: Attempted) -> run_model.FailStep:
    return run_model.FailStep(
        run=request.execution,
        name=attempted.path,
        key=str(attempted.number),
        error="; ".join(attempted.problems),
        effect=attempted.step.effect,
        fingerprint=attempted.step_hash,
        attempt=attempted.number,
    )


def _attempt(row: rows.AttemptRow) -> model.StepAttempt:
    return model.StepAttempt(
        step=row.path,
        number=row.number,
        verdict=row.verdict,
        at=row.at,
        rung=row.rung,
        model=row.model,
        served_model=row.served_model,
        problems=msgspec.json.decode(row.problems),
        checks=msgspec.json.decode(row.checks),
        reservation=row.reservation,
        step_hash=row.step_hash,
    )


def _view(
    tx: Transaction,
    call: Call,
    handle: str,
    next_step: model.NextStep | None = None,
    lease_seconds: float | None = None,
) -> model.Execution:
    row, run_row = rows.get(tx, call.workspace, handle), run_rows.get(tx, call.workspace, handle)
    assert row is not None and run_row is not None  # noqa: S101, PT018 - whoever asks for the view has met it
    run = changed(tx, call, run_row)
    return model.Execution(
        id=run.id,
        workflow=row.workflow,
        version=row.version,
        state=run.state,
        epoch=run.epoch,
        unproven=bool(row.unproven),
        driver=row.driver,
        steps=run.steps,
        next_step=next_step if run.state == run_model.RUNNING else None,
        waiting_for=run.waiting_for,
        result=run.result,
        error=run.error,
        reason=run.reason,
        key=run.key,
        lease_seconds=lease_seconds or call.engine.settings.lease_seconds,
    )
