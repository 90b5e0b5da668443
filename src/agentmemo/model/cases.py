"""Cases: what a workflow, or one step of it, is tried on; and failures, which are where cases come from.

A case of the whole workflow has its inputs as `input`. One of a step has what the step's expressions can see:
`{"inputs": ..., "steps": {"fetch": output}, "item": ..., "index": ...}`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any

from msgspec import Meta

from agentmemo.errors import InvalidInput
from agentmemo.model import workflows
from agentmemo.model.documents import Document
from agentmemo.model.values import encode_sorted
from agentmemo.model.wire import Request, Response
from agentmemo.model.workflow_rules import NOT_EMPTY
from agentmemo.model.workflows import StepId, WorkflowDocument, walk

EXAMPLE, PERSON, FAILURE, SUCCESS = "example", "person", "failure", "success"
SEEN = ("inputs", "steps", "item", "index")
CASES_MAX = 1000
DIGITS_MIN = 6
TEXT_SHOWN = 200
# What failed where no check of a name did.
EXPECTED, EFFECTS, EMPTY = "expected", "effects", "empty"
_SOURCE = re.compile(r"^(example|person|(failure|success):[\w:.-]{1,100})\Z")


class Effect(Document):
    """What a step that writes would have done: the tool and what it is given; `output` stands for what it would give.

    `step` is its path. In a trial it is compared and never done.
    """

    step: Annotated[str, Meta(max_length=1000)]
    tool: Annotated[str, Meta(max_length=128)]
    input: Any = None
    output: Any = None


class NewCase(Document):
    """An input and what is right for it. Without `expected` the hard checks alone decide.

    `effects` are all that the workflow would do to the world, in order; without, nobody compares them.
    """

    input: Any
    expected: Any = None
    step: StepId | None = None
    effects: list[Effect] | None = None
    source: Annotated[str, Meta(max_length=128)] | None = None


class Case(Response, kw_only=True):
    """A kept case. `id` is the hash of what it holds, so the same is kept once."""

    id: str
    workflow: str
    step: str | None
    input: Any
    expected: Any
    effects: list[Effect] | None
    source: str
    author: str
    created_at: int
    removed: bool = False


class AddCases(Request, kw_only=True):
    """Keep cases. Without any: the examples of the document that are of the whole workflow."""

    name: str
    cases: list[Any] | None = None


class CasesAdded(Response, kw_only=True):
    """The ids of all that were given, and how many of them are new."""

    workflow: str
    cases: list[str]
    added: int


class ListCases(Request, kw_only=True):
    """Newest first."""

    name: str
    step: str | None = None
    cursor: str | None = None
    limit: int = 100


class RemoveCase(Request, kw_only=True):
    """Try nothing on this case any more; a person's call, as it may be what stands against a version."""

    name: str
    case: str
    reason: str = ""


class KeepCase(Request, kw_only=True):
    """Make a case of an execution that happened: of the whole of it, or of the step at a path.

    `expected` is what would have been right; without it, what came out where it passed, else the hard checks alone.
    """

    execution: str
    step: str | None = None
    expected: Any = None


class ListFailures(Request, kw_only=True):
    """What failed lately, in clusters by step and check; newest first."""

    name: str
    version: str | None = None
    limit: int = 20


class FailureExample(Response, kw_only=True):
    """One failure of a cluster: in an execution, or on a case in a trial. `input` is what the step could see."""

    model: str | None
    problems: list[str]
    execution: str | None = None
    step: str | None = None
    attempt: int | None = None
    trial: str | None = None
    case: str | None = None
    input: Any = None


class Failures(Response, kw_only=True):
    """Attempts that failed alike: the same check of the same step. `check` is its id, or what it was instead."""

    step: str
    check: str
    count: int
    executions: int
    models: dict[str, int]
    first_at: int
    last_at: int
    example: FailureExample


def digest_of(case: NewCase) -> str:
    """What makes a case the same: what it holds, whoever brought it."""
    held = [case.step, case.input, case.expected, workflows.plain(case.effects)]
    return hashlib.sha256(encode_sorted(held)).hexdigest()


def input_hash_of(case: NewCase) -> str:
    return hashlib.sha256(encode_sorted([case.step, case.input])).hexdigest()[:32]


def check_case(case: NewCase, document: WorkflowDocument, path: str) -> None:
    """Raises InvalidInput for what cannot be tried, or would show nothing."""
    if case.source is not None and not _SOURCE.match(case.source):
        raise InvalidInput(
            f"At {path}.source: {case.source[:64]!r} is no source of a case.",
            next_call="Use example, person, failure:RUN or success:RUN.",
        )
    if case.step is None:
        _check_whole(case, document, path)
    else:
        _check_step_case(case, document, path)


def agrees(expected: Any, output: Any) -> bool:
    """Whether an output is the expected one: the same JSON, texts without the space around them."""
    if isinstance(expected, str) and isinstance(output, str):
        return expected.strip() == output.strip()
    return encode_sorted(expected) == encode_sorted(output)


def effects_differ(expected: list[Effect], found: list[Effect]) -> str | None:
    """Where what would have been done is not what is right; None where it is."""
    for number, (wanted, did) in enumerate(zip(expected, found, strict=False), 1):
        if wanted.tool != did.tool:
            return f"effect {number} would be {did.tool}, not {wanted.tool}"
        if not agrees(wanted.input, did.input):
            return f"effect {number}: {did.tool} would be given {_shown(did.input)}, not {_shown(wanted.input)}"
    if len(found) > len(expected):
        return f"{found[len(expected)].tool} would be called too"
    if len(found) < len(expected):
        return f"{expected[len(found)].tool} would not be called"
    return None


def _check_whole(case: NewCase, document: WorkflowDocument, path: str) -> None:
    if not isinstance(case.input, dict):
        raise InvalidInput(
            f"At {path}.input: the inputs of a workflow are an object.", next_call='Send {"name": value, ...}.'
        )
    steps = list(walk(document.steps))
    people = [step.id for step in steps if step.kind == workflows.HUMAN]
    if people:
        raise InvalidInput(
            f"At {path}: {document.name} asks a person in step {people[0]!r}, whom no trial asks.",
            next_call="Try its other steps one by one: add `step` to the case.",
        )
    if case.expected is None and case.effects is None and not any(_has_hard_check(step) for step in steps):
        raise _says_nothing(path)


def _check_step_case(case: NewCase, document: WorkflowDocument, path: str) -> None:
    found = next((step for step in walk(document.steps) if step.id == case.step), None)
    if found is None or found.kind != workflows.LLM:
        known = [step.id for step in walk(document.steps) if step.kind == workflows.LLM]
        raise InvalidInput(
            f"At {path}.step: {case.step!r} is no step that a model does.",
            next_call=f"Use one of: {', '.join(known) or 'none; leave it out to try the whole workflow'}.",
        )
    if not isinstance(case.input, dict) or set(case.input) - set(SEEN):
        raise InvalidInput(
            f"At {path}.input: a case of a step holds what the step can see.",
            next_call='Send {"inputs": {...}, "steps": {"fetch": its output}}; in a foreach also item and index.',
        )
    if case.effects is not None:
        raise InvalidInput(f"At {path}.effects: a model has no effects of its own.", next_call="Leave them out.")
    if case.expected is None and not _has_hard_check(found):
        raise _says_nothing(path)


def _has_hard_check(step: workflows.Step) -> bool:
    """Whether one can tell right from wrong: that there is an output at all does not."""
    if step.output_schema is not None:
        return True
    return any(
        check.severity == "hard" and check.kind != "second_model" and check.expression != NOT_EMPTY["expression"]
        for check in step.checks
    )


def _says_nothing(path: str) -> InvalidInput:
    return InvalidInput(
        f"At {path}: nothing says what is right for this case.",
        why="It has no `expected`, and what it is a case of has no hard check.",
        next_call="Add `expected`, or a hard check to the step.",
    )


def _shown(value: Any) -> str:
    text = encode_sorted(value).decode(errors="replace")
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + "…"
