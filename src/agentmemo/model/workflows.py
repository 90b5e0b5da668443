"""Workflow documents: what a strong model or a person designs once, and cheap models then execute, checked.

A document is immutable; its version is the SHA-256 of its canonical JSON. It moves along TRANSITIONS, and every pair
that is not in the table is refused. Expressions read what is there: `$inputs.pr_number`, `$steps.fetch.output.files`,
`$item` and `$index` inside `foreach`; a text may hold them in braces: `Review {$inputs.title}`. Conditions are CEL over
`inputs`, `steps` and `item`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agentmemo.model.documents import Document
from agentmemo.model.values import encode_sorted

DRAFT, SHADOW, CANARY, ACTIVE, RETIRED = "draft", "shadow", "canary", "active", "retired"
STATES = (DRAFT, SHADOW, CANARY, ACTIVE, RETIRED)
# Moves to the right need evidence; to the left, a person who may.
TRANSITIONS: dict[tuple[str, str], Literal["evidence", "person"]] = {
    (DRAFT, SHADOW): "person",
    (DRAFT, CANARY): "evidence",
    (DRAFT, ACTIVE): "evidence",
    (SHADOW, CANARY): "evidence",
    (SHADOW, ACTIVE): "evidence",
    (CANARY, ACTIVE): "evidence",
    (SHADOW, DRAFT): "person",
    (CANARY, DRAFT): "person",
    (CANARY, SHADOW): "person",
    (ACTIVE, CANARY): "person",
    (ACTIVE, SHADOW): "person",
    (ACTIVE, DRAFT): "person",
    (DRAFT, RETIRED): "person",
    (SHADOW, RETIRED): "person",
    (CANARY, RETIRED): "person",
    (ACTIVE, RETIRED): "person",
    (RETIRED, DRAFT): "person",
}
TOOL, LLM, ASSERT, BRANCH, FOREACH, WORKFLOW, HUMAN = (
    "tool", "llm", "assert", "branch", "foreach", "workflow", "human",
)  # fmt: skip
KINDS = (TOOL, LLM, ASSERT, BRANCH, FOREACH, WORKFLOW, HUMAN)
# The rung of a ladder that asks no model: the nearest examples answer, where they agree.
NO_MODEL = "none"
END = "end"
DEPTH_MAX = 8
STEPS_MAX = 200
ITEMS_MAX = 10_000

# As the Agent Skills specification has it: lower-case letters, digits and single hyphens.
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=64)]
StepId = Annotated[str, Meta(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*\Z", max_length=64)]
Share = Annotated[float, Meta(ge=0, le=1)]
Nanousd = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class DesignedBy(Document):
    """Who wrote a document: a model or a person, and what that cost in nano-dollars. A plain string is a model."""

    model: str | None = None
    person: str | None = None
    model_version: str | None = None
    prompt_hash: str | None = None
    cost_nanousd: Nanousd | None = None


class Rung(Document):
    """One way to have a step done, cheapest first in a ladder. `model` is a configured name, or `none`.

    `none` asks no model: the nearest examples answer, where all of them agree and their mean likeness to the case is at
    least `likeness`. Agreement alone lets through what is like none of them.
    """

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    likeness: Share = 0.45
    max_output_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class Quality(Document):
    """What evidence must show: the share of successes per step and per run, and the chance of being wrong about it."""

    step_bar: Annotated[float, Meta(gt=0, lt=1)] = 0.95
    run_bar: Annotated[float, Meta(gt=0, lt=1)] = 0.90
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    min_runs: Annotated[int, Meta(ge=1, le=100_000)] = 20
    audit_share: Share = 0.05
    canary_share: Share = 0.10


class Bounds(Document):
    """Money and tokens that one execution, or one step of it, may take."""

    run_nanousd: Nanousd | None = None
    step_nanousd: Nanousd | None = None
    run_tokens: Annotated[int, Meta(ge=0)] | None = None


class EdgeCase(Document):
    """When this, then that. `when` is words for whoever executes, or a condition where `matches` holds one (CEL).

    `then` is words; `escalate` and `stop` do something where `matches` is true before a step (all steps, or the one
    named). `source` is `designed`, or the execution whose failure taught it.
    """

    id: StepId
    when: Annotated[str, Meta(min_length=1, max_length=1000)]
    then: Annotated[str, Meta(min_length=1, max_length=1000)]
    matches: Annotated[str, Meta(max_length=1000)] | None = None
    step: StepId | None = None
    action: Literal["tell", "escalate", "stop"] = "tell"
    source: Annotated[str, Meta(max_length=128)] = "designed"


class Example(Document):
    """A worked case: an input and its right output, of the whole workflow or of one step."""

    input: Any
    output: Any
    step: StepId | None = None
    source: Annotated[str, Meta(max_length=128)] = "designed"


class Check(Document):
    """What an output must be. A hard one that fails stops the step; a soft one is noted, and is no evidence.

    schema: a JSON Schema. expression: CEL over `output`, `inputs`, `steps`. regex: matches somewhere in a text output
    (linear time). tool: a registered tool is given {output, inputs} and answers true, or {passed, detail}.
    second_model: another model is asked whether `instruction` holds; always soft.
    """

    kind: Literal["schema", "expression", "regex", "tool", "second_model"]
    id: StepId | None = None
    severity: Literal["hard", "soft"] = "hard"
    schema: dict[str, Any] | None = None
    expression: Annotated[str, Meta(max_length=1000)] | None = None
    pattern: Annotated[str, Meta(max_length=1000)] | None = None
    tool: Annotated[str, Meta(max_length=128)] | None = None
    model: Annotated[str, Meta(max_length=128)] | None = None
    instruction: Annotated[str, Meta(max_length=4000)] | None = None
    message: Annotated[str, Meta(max_length=500)] = ""


class Escalate(Document):
    """When a step leaves its rung, and where to: the next rung, or a person at once."""

    on: list[Literal["check_failed", "abstained", "timeout", "error"]] = msgspec.field(
        default_factory=lambda: ["check_failed", "abstained", "timeout", "error"]
    )
    to: Literal["next", "person"] = "next"


class Context(Document):
    """What a model is shown beside the instruction. More than `max_tokens` is cut: examples first, farthest first."""

    examples: Annotated[int, Meta(ge=0, le=50)] = 5
    edge_cases: Literal["matching", "all", "none"] = "matching"
    max_tokens: Annotated[int, Meta(ge=256, le=1_000_000)] = 20_000


class Case(Document):
    """One way of a branch: the first whose condition is true is taken. `goto`: a later step's id, or `end`."""

    when: Annotated[str, Meta(min_length=1, max_length=1000)]
    goto: StepId


class Step(Document):
    """One thing to be done. Which fields a kind needs is checked by `model/workflow_rules.py`.

    tool: calls `tool` with `input`. llm: a model follows `instruction` on its `input`, without one on the inputs and
    all outputs so far; `tools` (of effect none or read) may be used on the way. assert: its checks must hold. branch:
    goes on at one of `cases`, else at the next step. foreach: `steps` for each of `items`, giving the list of the last
    one's outputs. workflow: another document, pinned to a version when it is reached. human: a person is asked
    `instruction`. `compare` says (CEL) whether an `output` that is audited is as good as `other`, the stronger model's.
    """

    id: StepId
    kind: Literal["tool", "llm", "assert", "branch", "foreach", "workflow", "human"] = "llm"
    title: Annotated[str, Meta(max_length=200)] = ""
    when: Annotated[str, Meta(max_length=1000)] | None = None
    input: dict[str, Any] | str | None = None
    instruction: Annotated[str, Meta(max_length=20_000)] | None = None
    output_schema: dict[str, Any] | None = None
    tool: Annotated[str, Meta(max_length=128)] | None = None
    tools: list[Annotated[str, Meta(max_length=128)]] = []
    effect: Literal["none", "read", "write", "irreversible"] = "none"
    in_doubt: Literal["ask", "retry"] = "ask"
    cases: list[Case] = []
    items: Annotated[str, Meta(max_length=1000)] | None = None
    steps: list[Step] = []
    workflow: Name | None = None
    version: Annotated[str, Meta(max_length=64)] | None = None
    severity: Literal["critical", "high", "medium", "low"] = "medium"
    suggested_actions: list[Annotated[str, Meta(max_length=200)]] = []
    checks: list[Check] = []
    compare: Annotated[str, Meta(max_length=1000)] | None = None
    attempts: Annotated[int, Meta(ge=1, le=10)] = 2
    escalate: Escalate = Escalate()
    ladder: list[Rung] = []
    context: Context = Context()
    timeout_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300.0


class WorkflowDocument(Document):
    """The one source of truth; `SKILL.md` and pages are made from it.

    `ladder`: rungs, cheapest first; empty is the ladder that whoever executes has configured. `output`: an expression,
    or an object of expressions, that makes the result; without it the last step's output is the result. `tools` are the
    only ones it may use; empty stands for those its steps name. `parent` is the version that this one was made from,
    `changes` say what is different and why.
    """

    name: Name
    designed_by: DesignedBy
    steps: Annotated[list[Step], Meta(min_length=1, max_length=STEPS_MAX)]
    description: Annotated[str, Meta(max_length=1024)] = ""
    triggers: Annotated[list[Annotated[str, Meta(min_length=1, max_length=500)]], Meta(max_length=500)] = []
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    ladder: Annotated[list[Rung], Meta(max_length=20)] = []
    quality: Quality = Quality()
    budget: Bounds = Bounds()
    edge_cases: Annotated[list[EdgeCase], Meta(max_length=200)] = []
    examples: Annotated[list[Example], Meta(max_length=20_000)] = []
    output: dict[str, Any] | str | None = None
    tools: list[Annotated[str, Meta(max_length=128)]] = []
    license: Annotated[str, Meta(max_length=200)] = ""
    parent: Annotated[str, Meta(max_length=64)] | None = None
    changes: Annotated[str, Meta(max_length=4000)] = ""


# What a step is called, and who may do it, changes nothing in what it asks.
_NOT_ASKED = ("id", "title", "ladder")


def plain(value: Any) -> Any:
    """A document as JSON that leaves out whatever is as it is by default, so that one document has one form."""
    if isinstance(value, msgspec.Struct):
        return {
            field.encode_name: plain(held)
            for field in _fields(type(value))
            if (held := getattr(value, field.name)) != _default(field)
        }
    return [plain(each) for each in value] if isinstance(value, list) else value


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def canonical(document: WorkflowDocument) -> bytes:
    """The bytes that are kept, and that the version is made of."""
    return encode_sorted(plain(document))


def version_of(document: WorkflowDocument) -> str:
    """The version: SHA-256 of the canonical JSON, in hexadecimal digits."""
    return hashlib.sha256(canonical(document)).hexdigest()


def step_hash(step: Step, edge_cases: Iterable[EdgeCase] = ()) -> str:
    """What evidence on a step belongs to: everything that the step asks, with the edge cases that it is told.

    Equal hashes ask the same, so what one showed holds for the other. Its id, its title and the models that may do it
    are no part of that. An edge case of another step is none of this one's. Examples are looked for in each run, so
    one more of them is the same question.
    """
    asked = {name: value for name, value in plain(step).items() if name not in _NOT_ASKED}
    told = [plain(case) for case in edge_cases if is_told(step, case)]
    for case in told:
        case.pop("source", None)
        case.pop("step", None)
        case.pop("id", None)
    return hashlib.sha256(encode_sorted([asked, told])).hexdigest()


def is_told(step: Step, case: EdgeCase) -> bool:
    """Whether who does a step is told of an edge case: one of its own, or, of those for all steps, a model."""
    return case.step == step.id if case.step else step.kind == LLM and step.context.edge_cases != "none"


def walk(steps: list[Step]) -> Iterator[Step]:
    """Every step, those inside others after them."""
    for step in steps:
        yield step
        yield from walk(step.steps)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
