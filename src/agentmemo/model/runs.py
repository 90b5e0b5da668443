"""Runs and steps: what they are, how they may change, and what wakes them.

A run moves along RUN_TRANSITIONS and a step along STEP_TRANSITIONS; every pair that is not in the table is
refused. An unfinished run has exactly one `wake`, the thing that will move it next:

    lease     it is running; when its holder's lease ends somebody may take it over
    ready     a worker that registered its task will claim it
    caller    whoever opens its key again continues it (a run opened inline by `with`)
    timer     `wake_at` passes
    signal    a signal of a given name arrives, or `wake_at` passes
    child     another run ends
    person    somebody decides a question (in doubt, mismatch, budget, takeovers)
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
from msgspec import UNSET

from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model.state import check_name
from agentmemo.model.wire import Request, Response, one_of, unknown_word

# The task of a run that executes a workflow; any worker that drives workflows may claim it.
EXECUTION = "workflow"
PENDING, RUNNING, WAITING = "pending", "running", "waiting"
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
FINISHED = (COMPLETED, FAILED, CANCELLED)
UNFINISHED = (PENDING, RUNNING, WAITING)
RunFilter = Annotated[str, one_of((*UNFINISHED, *FINISHED, "unfinished"))]
NOTE_KINDS = ("decision", "finding", "tried")

RUN_TRANSITIONS: dict[tuple[str, str], str] = {
    (PENDING, "claim"): RUNNING,
    (RUNNING, "claim"): RUNNING,
    (WAITING, "claim"): RUNNING,
    (RUNNING, "park"): WAITING,
    (WAITING, "wake"): PENDING,
    (RUNNING, "release"): PENDING,
    (RUNNING, "complete"): COMPLETED,
    (RUNNING, "fail"): FAILED,
    (PENDING, "fail"): FAILED,
    (WAITING, "fail"): FAILED,
    (PENDING, "cancel"): CANCELLED,
    (RUNNING, "cancel"): CANCELLED,
    (WAITING, "cancel"): CANCELLED,
}

STARTED, IN_DOUBT = "started", "in_doubt"
STEP_TRANSITIONS: dict[tuple[str, str], str] = {
    ("absent", "start"): STARTED,
    ("absent", "complete"): COMPLETED,
    ("absent", "fail"): FAILED,
    (STARTED, "complete"): COMPLETED,
    (STARTED, "fail"): FAILED,
    (STARTED, "doubt"): IN_DOUBT,
    (STARTED, "start"): STARTED,
    (FAILED, "start"): STARTED,
    (FAILED, "complete"): COMPLETED,
    (FAILED, "fail"): FAILED,
    (IN_DOUBT, "start"): STARTED,
    (IN_DOUBT, "complete"): COMPLETED,
    (IN_DOUBT, "fail"): FAILED,
    (COMPLETED, "start"): STARTED,
    (COMPLETED, "complete"): COMPLETED,
    (COMPLETED, "fail"): FAILED,
}

StepFilter = Annotated[str, one_of((STARTED, COMPLETED, FAILED, IN_DOUBT))]
EFFECTS = ("none", "read", "write", "irreversible")
# Effects whose function must not start before the store knows that it will.
ANNOUNCED_EFFECTS = ("write", "irreversible")
ON_MISMATCH = ("reuse", "rerun", "ask")
QUESTIONS = ("in_doubt", "mismatch", "budget", "takeovers")
DECISIONS = ("happened", "retry", "reuse", "rerun", "continue")
TAKEOVERS_WITHOUT_STEP_MAX = 3
NAME_MAX = 256
# What a run asks people stands among its steps under these names.
QUESTION_STEPS = ("escalate", "stuck")
RUN_KEY_MAX = 512


class Budget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Upper bounds of a run; None is unbounded. Seconds count working time, not waiting time."""

    steps: int | None = None
    seconds: float | None = None
    tokens: int | None = None
    nanousd: int | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and not math.isfinite(self.seconds):
            raise InvalidInput(
                f"A budget's seconds are finite, not {self.seconds}.",
                why="It would be kept as no bound at all.",
                next_call="Send a number, or leave it out for no bound.",
            )


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    steps: int = 0
    seconds: float = 0.0
    tokens: int = 0
    nanousd: int = 0


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often a failing step is tried, with exponential backoff; jitter comes from the step's own key."""

    max_attempts: int = 3
    first_delay_seconds: float = 0.5
    factor: float = 2.0
    max_delay_seconds: float = 60.0

    def delay_seconds(self, attempt: int) -> float:
        """The pause after failed attempt number `attempt` (1 is the first)."""
        try:
            return min(self.first_delay_seconds * self.factor ** (attempt - 1), self.max_delay_seconds)
        except OverflowError:
            return self.max_delay_seconds


class Run(Response, kw_only=True):
    """A run as everybody sees it. `wake` says what moves it next; it is None once finished."""

    id: str
    name: str
    key: str | None
    state: str
    epoch: int
    attempt: int
    max_attempts: int
    agent: str
    created_at: int
    updated_at: int
    inputs: Any = None
    result: Any = None
    error: str | None = None
    reason: str = ""
    wake: str | None = None
    wake_at: int | None = None
    waiting_for: str | None = None
    deadline: int | None = None
    worker: str | None = None
    task: str | None = None
    task_version: str | None = None
    parent: str | None = None
    forked_from: str | None = None
    steps: int = 0
    percent: float | None = None
    progress: str = ""
    current_step: str | None = None
    budget: Budget = Budget()
    spent: Spent = Spent()
    finished_at: int | None = None
    pruned: bool = False


class Claimed(Response, kw_only=True):
    """The answer to a claim: the run, and whether its stored steps must be consulted."""

    run: Run
    outcome: str  # created, claimed, taken_over, replay, waiting
    lease_seconds: float
    stored_steps: int


class Step(Response, kw_only=True):
    """One recorded unit of work. `result` is set when completed, `error` when failed.

    The answer to its completion has no `result`: whoever sent it has it.
    """

    run: str
    name: str
    key: str
    number: int
    state: str
    effect: str
    attempt: int
    epoch: int
    run_attempt: int
    fingerprint: str
    started_at: int
    finished_at: int | None = None
    result: Any = None
    error: str | None = None
    decision: str | None = None
    size_bytes: int = 0
    paused: str | None = None  # set when this step passed a budget: the run waits for a person


class Note(Response, kw_only=True):
    kind: str  # decision, finding, tried
    text: str
    because: str
    step: str | None
    at: int
    author: str
    trust: str
    revision: int


class Explanation(Response, kw_only=True):
    """Why a run is where it is, as data and as one paragraph."""

    run: str
    state: str
    since: int
    text: str
    held_by: str | None = None
    wake: str | None = None
    wake_at: int | None = None
    next_call: str = ""
    in_doubt: list[str] = []


class StartRun(Request, kw_only=True):
    """Open a run by name and key: created, claimed, taken over or replayed."""

    name: str
    key: str | None = None
    inputs: Any = None
    budget: Budget | None = None
    max_attempts: int = 3
    worker: str
    lease_seconds: float = 10.0
    parent: str | None = None


class ResumeRun(Request, kw_only=True):
    """Claim a parked run again at the epoch it was parked with; long-polls until it may move."""

    run: str
    epoch: int
    worker: str
    wait_seconds: float = 0.0


class GetRun(Request, kw_only=True):
    run: str
    wait_seconds: float = 0.0
    after_updated: int | None = None


class FindRun(Request, kw_only=True):
    name: str
    key: str


class ListRuns(Request, kw_only=True):
    name: str | None = None
    state: RunFilter | None = None
    agent: str | None = None
    parent: str | None = None
    cursor: str | None = None
    limit: int = 100


class CompleteRun(Request, kw_only=True):
    run: str
    result: Any = None


class FailRun(Request, kw_only=True):
    run: str
    reason: str


class ReleaseRun(Request, kw_only=True):
    """Give a run back; with an error it counts as a failed attempt, without as a clean stop."""

    run: str
    error: str | None = None
    retry_after_seconds: float = 0.0


class CancelRun(Request, kw_only=True):
    run: str
    reason: str


class SetProgress(Request, kw_only=True):
    run: str
    percent: float | None = None
    text: str = ""
    current_step: str | None = None


class AddNote(Request, kw_only=True):
    run: str
    kind: str
    text: str
    because: str = ""
    step: str | None = None
    key: str | None = None  # the same kind and key again is the same note


class ListNotes(Request, kw_only=True):
    run: str
    kind: Annotated[str, one_of(NOTE_KINDS)] | None = None
    cursor: str | None = None
    limit: int = 100


class SendSignal(Request, kw_only=True):
    run: str
    name: str
    value: Any = None


class ForkRun(Request, kw_only=True):
    """A new run with the finished steps before `from_step` (all of them when None). A rewind is a fork."""

    run: str
    from_step: str | None = None
    key: str | None = None
    reason: str = ""


class ResolveRun(Request, kw_only=True):
    """A person's decision on the question a run waits for.

    `asked` is the run's `updated_at` as the person saw it: a decision never lands on a later question.
    `happened` comes with the `result` that the step returned, also where that was null.
    """

    run: str
    decision: str
    asked: int | None = None
    result: Any = UNSET
    budget: Budget | None = None
    comment: str = ""


class ExplainRun(Request, kw_only=True):
    run: str


class FindStep(Request, kw_only=True):
    run: str
    name: str
    key: str


class ListSteps(Request, kw_only=True):
    """Steps in the order they were made. A page ends before its limit where the results come to more than 1 MiB."""

    run: str
    state: StepFilter | None = None
    cursor: str | None = None
    limit: int = 100


class StartStep(Request, kw_only=True):
    """Announce a step whose effect leaves the store, before its function runs."""

    run: str
    name: str
    key: str
    effect: str
    fingerprint: str = ""
    attempt: int = 1


class BufferedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call collected inside a step or a transaction, sent with it."""

    operation: str
    request: dict[str, Any]


class CompleteStep(Request, kw_only=True):
    """Record a result; the buffered `calls` and the charge commit with it, or nothing does."""

    run: str
    name: str
    key: str
    result: Any = None
    effect: str = "none"
    fingerprint: str = ""
    attempt: int = 1
    started_at: int | None = None
    calls: list[BufferedCall] = []
    tokens: int = 0
    nanousd: int = 0


class FailStep(Request, kw_only=True):
    run: str
    name: str
    key: str
    error: str
    effect: str = "none"
    fingerprint: str = ""
    attempt: int = 1
    started_at: int | None = None


class ParkRun(Request, kw_only=True):
    """Wait without holding anything, as the step (name, key). `kind`: timer, signal, child or person."""

    run: str
    name: str
    key: str
    kind: str
    seconds: float | None = None
    signal: str | None = None
    child: str | None = None
    question: str | None = None
    detail: str = ""


class Parked(Response, kw_only=True):
    """`done` means the condition already held and the run goes on; else it waits until `wake_at` or the cause."""

    done: bool
    timed_out: bool = False
    value: Any = None
    wake_at: int | None = None
    epoch: int = 0


class StartTask(Request, kw_only=True):
    """Start registered code by its task name, now, at a time (UTC microseconds) or by a cron expression."""

    name: str
    inputs: Any = None
    key: str | None = None
    at: int | None = None
    cron: str | None = None
    budget: Budget | None = None
    max_attempts: int = 3
    priority: int = 0
    parent: str | None = None


class Schedule(Response, kw_only=True):
    id: str
    name: str
    cron: str
    next_at: int
    inputs: Any = None


class StartedTask(Response, kw_only=True):
    """The run that was made, or the schedule that will make runs."""

    run: Run | None = None
    schedule: Schedule | None = None


class ListSchedules(Request, kw_only=True):
    cursor: str | None = None
    limit: int = 100


class DeleteSchedule(Request, kw_only=True):
    id: str


class ClaimTask(Request, kw_only=True):
    """Take the next ready run of the tasks this worker registered; long-polls up to `wait_seconds`."""

    worker: str
    tasks: list[str]
    wait_seconds: float = 0.0


class ClaimedTask(Response, kw_only=True):
    claimed: Claimed | None = None


class RegisterWorker(Request, kw_only=True):
    """Announce one incarnation of a worker. A library heartbeats (10 s lease); a model over tools cannot (10 min)."""

    lease_seconds: float = 10.0
    tasks: list[str] = []
    host: str = ""
    process: int = 0


class Worker(Response, kw_only=True):
    id: str
    lease_seconds: float


class Heartbeat(Request, kw_only=True):
    """Renew the leases of everything this worker holds; `steps` tells what each run is doing.

    `holds` names everything the worker knows it holds. What it was given longer than a lease ago and does not name is
    given back: the answer to that claim never reached it.
    """

    worker: str
    steps: dict[str, str] = {}
    holds: list[str] | None = None


class HeartbeatAnswer(Response, kw_only=True):
    """Runs whose claim is lost or that somebody cancelled."""

    lost: list[str] = []
    cancelled: list[str] = []


class StopWorker(Request, kw_only=True):
    """Clean end: what it still holds is released at once."""

    worker: str


class GetBriefing(Request, kw_only=True):
    agent: str | None = None


class Briefing(Response, kw_only=True):
    """About 300 tokens for an agent that starts: `text` to read, `data` with the same for programs."""

    text: str
    data: dict[str, Any]

    def __str__(self) -> str:
        return self.text


def how_to_decide(run: str, waiting_for: str | None) -> str:
    """The command with which a person answers what a run waits for: an escalation, or a question of its own."""
    if waiting_for is not None and waiting_for.startswith("esc_"):
        return f"agentmemo inbox show {waiting_for}, then agentmemo inbox answer {waiting_for} DECISION"
    if waiting_for == "in_doubt":
        return f"agentmemo runs resolve {run} happened --result JSON, or: agentmemo runs resolve {run} retry"
    if waiting_for == "mismatch":
        return f"agentmemo runs resolve {run} reuse, or: agentmemo runs resolve {run} rerun"
    if waiting_for == "budget":
        return f"agentmemo runs resolve {run} continue --steps N, or --seconds, --tokens, --nanousd"
    return f"agentmemo runs resolve {run} continue"


def check_step_name(name: str) -> None:
    """A run's questions are steps of their own, kept under names that no other step has. Raises InvalidInput."""
    check_name(name, "step name", NAME_MAX)
    if name in QUESTION_STEPS or name.startswith(f"{QUESTION_STEPS[0]}:"):
        raise InvalidInput(
            f"{name!r} is the name of questions to people.",
            why="The step and the question would have one place in the run.",
            next_call="Call the step something else.",
        )


def next_run_state(state: str, act: str, run: str) -> str:
    """The state after `act`. Raises InvalidTransition where the table has no such arrow."""
    try:
        return RUN_TRANSITIONS[state, act]
    except KeyError:
        raise InvalidTransition(
            f"Run {run} is {state}; it cannot {act}.",
            next_call=f"See agent.runs.explain('{run}').",
            details={"run": run, "state": state, "act": act},
        ) from None


def next_step_state(state: str, act: str, step: str) -> str:
    try:
        return STEP_TRANSITIONS[state, act]
    except KeyError:
        raise InvalidTransition(
            f"Step {step} is {state}; it cannot {act}.", next_call="Look at it again: agent.runs.steps(run)."
        ) from None


def check_choice(value: str, choices: tuple[str, ...], what: str) -> str:
    if value not in choices:
        raise unknown_word(what, value, choices)
    return value


def overspent(budget: Budget, spent: Spent) -> list[str]:
    """The bounds that are passed, each as a short phrase."""
    return [
        f"{name} {getattr(spent, name)} of {bound}"
        for name in ("steps", "seconds", "tokens", "nanousd")
        if (bound := getattr(budget, name)) is not None and getattr(spent, name) > bound
    ]
