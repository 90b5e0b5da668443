"""What comes next in an execution, decided on the caller's thread from one look at the store."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from agentmemo import ids
from agentmemo.engine import comparisons
from agentmemo.engine.attempt_evidence import look, takes_model
from agentmemo.engine.attempts import Attempted
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.evidence import chance
from agentmemo.engine.execution_course import Course, Ending, Made, current
from agentmemo.engine.packing import pack
from agentmemo.engine.run_views import view
from agentmemo.engine.workflows import document_of, find
from agentmemo.errors import Error, InvalidInput, InvalidTransition
from agentmemo.model import executions as model
from agentmemo.model import runs as run_model
from agentmemo.model.evidence import in_share
from agentmemo.model.evidence_calls import CompareStep
from agentmemo.model.executions import Moment
from agentmemo.model.handoffs import Acceptance
from agentmemo.model.values import encode_sorted
from agentmemo.model.workflows import ACTIVE, CANARY, LLM, RETIRED, TOOL, Quality, Rung
from agentmemo.store import executions as rows
from agentmemo.store import runs as run_rows
from agentmemo.store import workflows as workflow_rows
from agentmemo.store.blobs import NOTHING, Packed
from agentmemo.store.database import Transaction

HASH_SHOWN = 32
Asked = model.StartExecution | model.ResumeExecution | model.SubmitStep | CompareStep


class Decision(NamedTuple):
    """What is to be written: `revision` is that of the execution it was decided on; None where there is none yet."""

    execution: str
    revision: int | None
    progress: model.Progress
    models: model.Askable
    made: list[tuple[Made, Packed]]
    ending: Ending | None
    result: Packed
    next_step: model.NextStep | None
    supplied: list[tuple[Moment, list[Rung]]]
    quality: Quality
    attempted: Attempted | None = None


class _Found(NamedTuple):
    """A course that has been followed, and under which name its decision is looked for."""

    name: str
    course: Course
    revision: int | None
    next_step: model.NextStep | None
    attempted: Attempted | None = None
    given: Packed | None = None


def consider(call: Call, request: Asked) -> None:
    """Before the transaction: look, judge and decide. What is refused is refused here, and nothing is written."""
    if isinstance(request, CompareStep):
        comparisons.consider(call, request, course_of)
        return
    if isinstance(request, model.StartExecution):
        _check_start(request)
        found = call.engine.database.read(lambda tx: _look_at_start(tx, call, request))
    elif isinstance(request, model.ResumeExecution):
        found = call.engine.database.read(lambda tx: _look_at_resumption(tx, call, request.execution, request.models))
    else:
        run_model.check_choice(request.outcome, model.OUTCOMES, "outcome")
        found = call.engine.database.read(lambda tx: _look_at_result(tx, call, request))
    if found is not None:
        call.decisions[found.name] = _decided(call, found)


def course_of(tx: Transaction, call: Call, handle: str) -> Course:
    """The course of an execution from where it stands. Raises NotFound."""
    row = rows.get(tx, call.workspace, handle)
    run = run_rows.get(tx, call.workspace, handle) if row else None
    if row is None or run is None:
        raise not_found("execution", handle)
    return Course(tx, call, row, run, view(tx, call, run).inputs or {})


def other_attempt(course: Course, attempt: int | None) -> Error:
    now = course.progress.attempt + 1
    return InvalidTransition(
        f"The next attempt at this step is number {now}, not {attempt}.",
        next_call=f"Do the `next_step`: agent.workflows.execution('{course.row.handle}').",
    )


def _look_at_start(tx: Transaction, call: Call, request: model.StartExecution) -> _Found | None:
    name = model.RUN_PREFIX + request.name
    known = run_rows.find(tx, call.workspace, name, request.key) if request.key is not None else None
    if known is not None:
        return _look_at_resumption(tx, call, known.handle, request.models)
    handle = ids.mint("run", tx.now)
    version, document = find(tx, call, request.name, request.version or _canary(tx, call, request.name, handle))
    if version.state == RETIRED and request.version is None:
        raise InvalidTransition(
            f"Every version of the workflow {request.name} is retired.",
            next_call=f"Name the one to execute all the same, such as version={version.number}.",
        )
    inputs = request.inputs.original or {}
    problems = call.engine.judge.problems(Acceptance(schema=document.inputs), inputs, None) if document.inputs else []
    if problems:
        raise InvalidInput(
            f"The inputs do not fit the workflow {request.name}: {'; '.join(problems).replace('result', 'inputs')}.",
            next_call=f"See the `inputs` of its document: agent.workflows.get({request.name!r}).",
            details={"problems": problems},
        )
    progress = msgspec.json.encode(model.beginning(request.name, version.version)).decode()
    models = msgspec.json.encode(request.models).decode()
    driver = request.driver if request.trial is None else model.TRIAL
    row = rows.ExecutionRow(0, handle, request.name, version.version, 0, driver, models, progress, 0)
    course = Course(tx, call, row, None, inputs)
    return _Found(request.name, course, None, course.advance())


def _canary(tx: Transaction, call: Call, name: str, handle: str) -> str | None:
    """The version that is tried on this execution instead of the active one: by chance, a share of them."""
    workflow = workflow_rows.find(tx, call.workspace, name)
    tried = workflow_rows.in_state(tx, workflow.id, CANARY) if workflow else None
    if workflow is None or tried is None or workflow_rows.in_state(tx, workflow.id, ACTIVE) is None:
        return None
    share = document_of(tx, call, tried).quality.canary_share
    return tried.version if in_share(chance(call, handle), "version", share) else None


def _look_at_resumption(tx: Transaction, call: Call, handle: str, models: model.Askable) -> _Found | None:
    """None where nothing can be done: it has ended, or waits for a person."""
    course = course_of(tx, call, handle)
    run = course.run
    assert run is not None  # noqa: S101 - an execution is a run
    if run.state in run_model.FINISHED or run.wake == "person":
        return None
    course.models = models if models.models else course.models
    return _Found(run.handle, course, course.row.revision, course.advance(resumed=True))


def _look_at_result(tx: Transaction, call: Call, request: model.SubmitStep) -> _Found | None:
    """None where this very attempt is recorded already, and only its answer was lost."""
    course = course_of(tx, call, request.execution)
    if _was_submitted(course, request):
        return None
    found = current(course, request.step)
    _check_submission(course, found, request)
    if request.reservation is None and takes_model(course, found):
        course.progress.unasked = True
    before = msgspec.structs.replace(course.progress)
    tried = look(course, found, request.model)
    instruction = course.scope.resolve(course.progress, found.step.instruction)
    asked = encode_sorted([instruction, course.scope.given(course.progress, found)])
    if request.outcome == "output":
        judgement = course.accept(found, request.result.original, request.checks)
        verdict = model.FAILED if judgement.problems else model.PASSED
        problems, checks = judgement.problems, judgement.outcomes
    else:
        verdict, problems, checks = request.outcome, [request.reason or request.outcome], []
        course.refuse(found, model.Failure(verdict, problems, ""))
    attempted = Attempted(
        path=found.path,
        step=found.step,
        step_hash=found.hash,
        number=before.attempt + 1,
        rung=before.rung,
        first_rung=before.first_rung,
        verdict=verdict,
        problems=problems,
        checks=list(checks),
        input_hash=hashlib.sha256(asked).hexdigest()[:HASH_SHOWN],
        tried=tried,
    )
    given = request.result if verdict == model.PASSED else None
    return _Found(request.execution, course, course.row.revision, course.advance(), attempted, given)


def _decided(call: Call, found: _Found) -> Decision:
    """With what is to be kept packed; the first output is the one that was given, if one was."""
    course = found.course
    packed = [
        (made, found.given if found.given is not None and number == 0 else pack(call, made.output, "result"))
        for number, made in enumerate(course.made)
    ]
    ending = course.ending
    result = NOTHING if ending is None or ending.result is None else pack(call, ending.result, "result")
    return Decision(
        course.row.handle,
        found.revision,
        course.progress,
        course.models,
        packed,
        ending,
        result,
        found.next_step,
        course.supplied,
        course.documents[course.progress.frames[0].document].quality,
        found.attempted,
    )


def _check_start(request: model.StartExecution) -> None:
    run_model.check_choice(request.driver, model.DRIVERS, "driver")
    given = request.inputs.original
    if given is not None and not isinstance(given, dict):
        raise InvalidInput("The inputs of a workflow are an object.", next_call='Send {"name": value, ...}.')


def _check_submission(course: Course, found: Moment, request: model.SubmitStep) -> None:
    if found.step.kind not in (TOOL, LLM) or course.progress.person:
        raise InvalidTransition(
            f"Step {found.path} is a person's.",
            why="Only a person answers for a person.",
            next_call=f"Ask the question of its `next_step`: agent.workflows.execution('{request.execution}').",
        )
    if request.attempt not in (None, course.progress.attempt + 1):
        raise other_attempt(course, request.attempt)


def _was_submitted(course: Course, request: model.SubmitStep) -> bool:
    if request.attempt is None or course.run is None:
        return False
    found = run_rows.get_step(course.tx, course.run.id, request.step, str(request.attempt))
    return found is not None and found.state in (run_model.COMPLETED, run_model.FAILED)
