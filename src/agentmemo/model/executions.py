"""Executions: a workflow document on its way, as a run; one step at a time, whoever does it.

`Progress` is where an execution stands. The functions here move it and decide nothing that needs a look at the world:
`engine/execution_course.py` evaluates conditions and reads outputs, and moves it with these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from agentmemo.model import workflows
from agentmemo.model.prices import Usage
from agentmemo.model.runs import EFFECTS, RunFilter
from agentmemo.model.wire import Request, Response
from agentmemo.model.workflows import Step, WorkflowDocument

# The run of an execution has the workflow's name behind this.
RUN_PREFIX = "workflow:"
PLANE, CALLER, TRIAL = "plane", "caller", "trial"
# Who may be asked to drive; a trial drives what it started itself.
DRIVERS = (PLANE, CALLER)
PASSED, FAILED, ABSTAINED, TIMED_OUT, ERROR = "passed", "failed", "abstained", "timeout", "error"
OUTCOMES = ("output", ABSTAINED, TIMED_OUT, ERROR)
RETRY, SUPPLY, STOP, CONTINUE = "retry", "supply", "stop", "continue"
# Rows of a step that hold no attempt of it.
INPUTS_KEY = "inputs"
PROBLEMS_SHOWN = 5
TEXT_SHOWN = 2000


def is_execution(run_name: str) -> bool:
    """Whether a run of this name carries out a workflow."""
    return run_name.startswith(RUN_PREFIX)


class Frame(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A list of steps that is being gone through: a document's, or those inside a `foreach` for one of its items."""

    workflow: str
    document: str
    prefix: str = ""
    at: int = 0
    index: int | None = None
    count: int = 0


class Progress(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Where an execution stands: its frames from the outermost in, and what became of the current step so far.

    `attempt` counts the attempts at the current step, `tries` those on its current rung. `person` says why a person is
    asked, once nobody else is left to do it; `allowed` that a person let the step go on. `audit` is the model that does
    the step too, `shadow` the version whose step is tried beside it. Of the whole execution: `told` is whether checks
    say that what was made last is right, `helped` whether a person did what was not theirs to do, `unasked` whether an
    output of a model's step came from no model that the plane knows of.
    """

    frames: list[Frame]
    attempt: int = 0
    tries: int = 0
    rung: int | None = None
    first_rung: int | None = None
    problems: list[str] = []
    last: str = ""
    person: str = ""
    allowed: bool = False
    audit: str = ""
    shadow: str = ""
    told: bool = False
    helped: bool = False
    unasked: bool = False


class Moment(NamedTuple):
    """One position in the course: the step to do, where its document stands, and its path."""

    step: Step
    document: WorkflowDocument
    frame: Frame
    path: str

    @property
    def hash(self) -> str:
        """What evidence on the step belongs to."""
        return workflows.step_hash(self.step, self.document.edge_cases)


Documents = Mapping[str, WorkflowDocument]


def beginning(workflow: str, version: str) -> Progress:
    return Progress(frames=[Frame(workflow=workflow, document=version)])


def steps_of(progress: Progress, documents: Documents, depth: int) -> list[Step]:
    """The steps of the frame at that depth: its document's, or those of the `foreach` around it."""
    frame = progress.frames[depth]
    if frame.index is None:
        return documents[frame.document].steps
    return steps_of(progress, documents, depth - 1)[progress.frames[depth - 1].at].steps


def moment(progress: Progress, documents: Documents) -> Moment | None:
    """The current step, or None where the innermost list is done."""
    frame = progress.frames[-1]
    steps = steps_of(progress, documents, len(progress.frames) - 1)
    if frame.at >= len(steps):
        return None
    step = steps[frame.at]
    return Moment(step, documents[frame.document], frame, frame.prefix + step.id)


def pass_on(progress: Progress, to: int | None = None) -> None:
    """To the next step of the innermost list, or to the one numbered `to`."""
    frame = progress.frames[-1]
    frame.at = frame.at + 1 if to is None else to
    forget(progress)


def forget(progress: Progress) -> None:
    """Nothing has been tried at this step yet."""
    progress.attempt = progress.tries = 0
    progress.rung = progress.first_rung = None
    progress.problems, progress.last, progress.person, progress.allowed = [], "", "", False
    progress.audit = progress.shadow = ""


def enter_document(progress: Progress, found: Moment, version: str) -> None:
    """Into the document that a step of kind workflow names."""
    progress.frames.append(Frame(workflow=found.step.workflow or "", document=version, prefix=f"{found.path}/"))
    forget(progress)


def enter_loop(progress: Progress, found: Moment, count: int) -> None:
    """Into the steps of a `foreach`, for the first of `count` items."""
    outer = found.frame
    progress.frames.append(
        Frame(workflow=outer.workflow, document=outer.document, prefix=f"{found.path}[0]/", index=0, count=count)
    )
    forget(progress)


def leave(progress: Progress) -> bool:
    """Out of a list that is done: to the next item, else to the step around it, which is done then. False outermost."""
    frame = progress.frames[-1]
    if frame.index is not None and frame.index + 1 < frame.count:
        outer = frame.prefix[: frame.prefix.rindex("[")]
        frame.index, frame.at = frame.index + 1, 0
        frame.prefix = f"{outer}[{frame.index}]/"
        forget(progress)
        return True
    if len(progress.frames) == 1:
        return False
    progress.frames.pop()
    forget(progress)
    return True


class Failure(NamedTuple):
    """An attempt that did not do: what it was (failed, abstained, timeout, error), and why."""

    verdict: str
    problems: list[str]
    last: str


def after_failure(progress: Progress, step: Step, rungs: int, failure: Failure) -> None:
    """Once more on this rung with the failure shown, then the next rung for this step only, then a person.

    A model that abstained knows that it cannot: the same is not asked again. What cannot be taken back is not repeated.
    """
    progress.attempt += 1
    progress.tries += 1
    progress.problems = failure.problems[:PROBLEMS_SHOWN]
    progress.last = failure.last[:TEXT_SHOWN]
    repeatable = failure.verdict != ABSTAINED and step.effect != "irreversible"
    if repeatable and progress.tries < step.attempts:
        return
    kind = "check_failed" if failure.verdict == FAILED else failure.verdict
    if (
        progress.rung is not None
        and progress.rung + 1 < rungs
        and step.escalate.to == "next"
        and kind in step.escalate.on
    ):
        progress.rung += 1
        progress.tries = 0
        return
    progress.person = f"Step {step.id} {_WHY[failure.verdict]}: {'; '.join(progress.problems) or 'no reason given'}"


_WHY = {
    FAILED: "did not pass its checks",
    ABSTAINED: "was given up by every model that may do it",
    TIMED_OUT: "took too long",
    ERROR: "failed",
}


def goto(progress: Progress, documents: Documents, target: str) -> int:
    """The number of a step in the innermost list; `end` is behind the last."""
    steps = steps_of(progress, documents, len(progress.frames) - 1)
    if target == workflows.END:
        return len(steps)
    return next(number for number, step in enumerate(steps) if step.id == target)


class ReportedCheck(Request, kw_only=True):
    """What whoever executed found of a check that the plane cannot do itself: a tool's or another model's."""

    check: str
    passed: bool
    detail: str = ""


class Execution(Response, kw_only=True):
    """An execution as its driver sees it. `next_step` is what to do now; None once it has ended, or while it waits."""

    id: str
    workflow: str
    version: str
    state: str
    epoch: int
    unproven: bool
    driver: str
    steps: int = 0
    next_step: NextStep | None = None
    waiting_for: str | None = None
    result: Any = None
    error: str | None = None
    reason: str = ""
    key: str | None = None
    lease_seconds: float = 0.0


class NextStep(Response, kw_only=True):
    """One step to be done now, with everything it takes.

    `step` is its path. For a tool: call `tool` with `input`, and where there is `idempotency_key`, hand it on. For a
    model: follow `instruction` with `input`, minding `edge_cases`, as in `examples`; `problems` say what was wrong with
    the `last` attempt. `checks` are what the output is held to. For a person: ask `question`, as the step (`step`,
    `attempt`) of this run. With `in_doubt` an earlier attempt may have had its effect already. An `untrusted` step is
    of a workflow from elsewhere that no person has moved on: whoever drives it gives it no tools. `template` is the
    instruction with what came from elsewhere left out, which is in `values`; a model is shown these two instead.
    `beside` is what models are asked too, once the step is handed in: to be compared, without effect on the execution.
    Each of `examples` has its `likeness` to this case; the rung without a model asks for `likeness` of them.
    """

    step: str
    kind: str
    attempt: int
    title: str = ""
    instruction: str = ""
    template: str = ""
    values: dict[str, Any] = {}
    input: Any = None
    tool: str | None = None
    tools: list[str] = []
    output_schema: dict[str, Any] | None = None
    checks: list[dict[str, Any]] = []
    edge_cases: list[str] = []
    examples: list[dict[str, Any]] = []
    likeness: float = 0.0
    effect: str = EFFECTS[0]
    idempotency_key: str | None = None
    in_doubt: bool = False
    in_doubt_policy: str = "ask"
    rung: int | None = None
    model: str | None = None
    max_output_tokens: int | None = None
    max_tokens: int = 20_000
    problems: list[str] = []
    last: str = ""
    timeout_seconds: float = 300.0
    question: dict[str, Any] | None = None
    untrusted: bool = False
    next_call: str = ""
    beside: list[Beside] = []


class Beside(Response, kw_only=True):
    """A model that is asked a step as well: the stronger one (role `audit`), or a candidate's (`shadow`).

    `asked` is the candidate's step, as a NextStep; without it, the step is the same.
    """

    role: str
    model: str
    max_output_tokens: int | None = None
    asked: dict[str, Any] | None = None


class Askable(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True, forbid_unknown_fields=True):
    """The models that a driver can ask, and its `ladder`, cheapest first, for documents that have none."""

    models: list[str] = []
    ladder: list[str] = []


class StartExecution(Request, kw_only=True):
    """Execute a workflow, or go on with the execution of a key.

    `driver` is who acts: `plane` (a worker with models and tools) or `caller`. Without a `worker` a caller's claim
    lasts as long as it keeps calling, and the plane's execution waits for a worker. `models` are those that the driver
    can ask, cheapest first, for documents that name no ladder. With `trial` it belongs to one: its ladder is the model
    that is tried, and it is no evidence but what the trial makes of it.
    """

    name: str
    inputs: Any = None
    key: str | None = None
    version: str | None = None
    driver: str = CALLER
    worker: str | None = None
    lease_seconds: float | None = None
    models: Askable = Askable()
    trial: str | None = None


class ResumeExecution(Request, kw_only=True):
    """Go on with an execution that was given back, was answered, or whose holder is gone."""

    execution: str
    worker: str | None = None
    lease_seconds: float | None = None
    models: Askable = Askable()


class GetExecution(Request, kw_only=True):
    execution: str


class ListExecutions(Request, kw_only=True):
    workflow: str | None = None
    version: str | None = None
    state: RunFilter | None = None
    cursor: str | None = None
    limit: int = 100


class ListAttempts(Request, kw_only=True):
    """Every attempt at every step of an execution, in their order."""

    execution: str


class StepAttempt(Response, kw_only=True):
    """What became of one attempt at a step. `checks` are [id, kind, severity, whether it held]."""

    step: str
    number: int
    verdict: str
    at: int
    rung: int | None = None
    model: str | None = None
    served_model: str | None = None
    problems: list[str] = []
    checks: list[list[Any]] = []
    reservation: str | None = None
    step_hash: str = ""


class BeginStep(Request, kw_only=True):
    """Before acting: reserve what the attempt may cost at most, and announce an effect. Idempotent.

    With a `role` (audit, shadow) it is for what is asked beside the step; then nothing is announced.
    """

    execution: str
    step: str
    attempt: int
    model: str | None = None
    input_tokens: int = 0
    max_output_tokens: int = 0
    role: str | None = None


class Begun(Response, kw_only=True):
    execution: str
    step: str
    attempt: int
    reservation: str | None = None
    reserved_nanousd: int | None = None


class SubmitStep(Request, kw_only=True):
    """What became of a step: an output to be checked and kept, or why there is none. The answer has the next step.

    `outcome`: output, abstained, timeout, error (`reason` says why). Submitted again, it is the same. With a
    `reservation`: the tokens that the provider counted, None where it did not say; not `billed` where it never got
    there.
    """

    execution: str
    step: str
    result: Any = None
    attempt: int | None = None
    outcome: str = "output"
    reason: str = ""
    checks: list[ReportedCheck] = []
    model: str | None = None
    served_model: str | None = None
    reservation: str | None = None
    billed: bool = True
    usage: Usage | None = None
    provider_nanousd: int | None = None
    request_id: str | None = None
    started_at: int | None = None
