"""Evidence as it is asked for, given and shown: who does which step, on what evidence, and what would change it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from agentmemo.model.evidence import Verdict
from agentmemo.model.executions import ReportedCheck
from agentmemo.model.prices import Usage
from agentmemo.model.wire import Request, Response

# Where evidence comes from. What a caller did by itself is shown, and promotes nothing.
PLANE, CALLER, TRIAL = "plane", "caller", "trial"
TESTING, QUALIFIED, REJECTED, DEMOTED = "testing", "qualified", "rejected", "demoted"
AUDIT, SHADOW, PERSON = "audit", "shadow", "person"
DUE, SAME, DIFFERENT, UNCLEAR = "due", "same", "different", "unclear"
# How likely a model is to do a step right so many times in a row, of the same input.
IN_A_ROW = 4

ModelName = Annotated[str, Meta(min_length=1, max_length=128)]


class GetEvidence(Request, kw_only=True):
    """What is known of each model at each step of a version, and of the version as a whole."""

    name: str
    version: str | None = None


class ExplainWorkflow(Request, kw_only=True):
    """In words: which model does which step, why, on what evidence, and what would change it."""

    name: str
    version: str | None = None


class StepEvidence(Response, kw_only=True):
    """One model at one step; of the whole version where `step` is empty.

    `status`, `since` and `reasons` are what was decided, `verdict` the figures behind it. `successes`, `failures` and
    `abstained` are all there were, `low` and `high` their 95 % interval, for display. `source` is `plane`, `trial` (a
    planned replay), or `caller`: what an agent said that it did, which promotes nothing. `in_a_row` is how often it
    does the same input right four times running, None where no input was met so often. `served` is what answered under
    the model's name.
    """

    step: str
    step_hash: str
    model: str
    served: str
    source: str
    status: str
    since: int
    reasons: list[str]
    successes: int
    failures: int
    abstained: int
    inputs: int
    low: float
    high: float
    verdict: Verdict
    in_a_row: float | None = None
    audits: int = 0
    trials: int = 0


class StepChoice(Response, kw_only=True):
    """Who does a step now, and who is tried: `model` is None where the ladder is that of whoever executes."""

    step: str
    model: str | None
    tried: str | None
    audited: float
    why: str
    would_change: str


class WorkflowEvidence(Response, kw_only=True):
    name: str
    version: str
    state: str
    evidence: list[StepEvidence]
    choices: list[StepChoice]


class WorkflowExplanation(Response, kw_only=True):
    """`text` is for people; `evidence` is what it says, as data."""

    text: str
    evidence: WorkflowEvidence


class DemoteModel(Request, kw_only=True):
    """A person takes a model off a step, until a person resets it."""

    name: str
    step: str
    model: ModelName
    reason: str = ""
    version: str | None = None


class ResetModel(Request, kw_only=True):
    """A person lets a model be tested at a step anew; what was counted before is not."""

    name: str
    step: str
    model: ModelName
    reason: str = ""
    version: str | None = None


class JudgeStep(Request, kw_only=True):
    """A person says whether what a step of an execution gave is right. The first word counts."""

    execution: str
    step: str
    right: bool
    reason: str = ""


class CompareStep(Request, kw_only=True):
    """What a model said that was asked beside a step. It never moves the execution. Sent again, it is the same."""

    execution: str
    step: str
    role: str
    result: Any = None
    outcome: str = "output"
    reason: str = ""
    checks: list[ReportedCheck] = []
    served_model: str | None = None
    reservation: str | None = None
    billed: bool = True
    usage: Usage | None = None
    provider_nanousd: int | None = None
    request_id: str | None = None


class Comparison(Response, kw_only=True):
    """`verdict`: same, different, or unclear, where the two say nothing about each other."""

    execution: str
    step: str
    role: str
    model: str
    verdict: str
    reason: str = ""
