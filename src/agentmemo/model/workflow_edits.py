"""Edits of a workflow document: small and typed, so that what was not edited keeps its hash, and with it its evidence.

Nobody rewrites a document to mend one step: wholesale rewrites lose what was learned. An edit never takes a check away
unless a person makes it, never changes a tool or an effect, and never adds a tool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agentmemo.errors import InvalidInput, PermissionDenied
from agentmemo.model import workflows
from agentmemo.model.documents import Document, encode_example, misfit
from agentmemo.model.kinds import described
from agentmemo.model.values import decode, encode_result
from agentmemo.model.workflow_rules import check_document
from agentmemo.model.workflow_text import id_of
from agentmemo.model.workflows import Check, DesignedBy, EdgeCase, Example, Step, StepId, WorkflowDocument, walk

EDITS_MAX = 50
CHANGES_MAX = 4000
EXAMPLE: list[dict[str, Any]] = [
    {"edit": "add_edge_case", "step": "review", "when": "the diff is empty", "then": "Answer that nothing changed."},
]
Words = Annotated[str, Meta(min_length=1, max_length=1000)]
Instruction = Annotated[str, Meta(min_length=1, max_length=20_000)]


class AddEdgeCase(Document, tag="add_edge_case", tag_field="edit"):
    """Tell who does a step what to do when something is so. Without `step` it is told at all steps that models do."""

    when: Words
    then: Words
    step: StepId | None = None


class ChangeEdgeCase(Document, tag="change_edge_case", tag_field="edit"):
    id: StepId
    when: Words | None = None
    then: Words | None = None


class AddExample(Document, tag="add_example", tag_field="edit"):
    """A worked case, which is shown where the case at hand resembles it. It changes no step's hash."""

    input: Any
    output: Any
    step: StepId | None = None


class ChangeStep(Document, tag="change_step", tag_field="edit"):
    """Another instruction, more checks. `drop_checks` names checks to take away, which only a person may."""

    step: StepId
    instruction: Instruction | None = None
    add_checks: list[Check] = []
    drop_checks: list[StepId] = []


class NewStep(Document):
    """What is done first of a step that is split in two."""

    id: StepId
    instruction: Instruction
    title: Annotated[str, Meta(max_length=200)] = ""
    output_schema: dict[str, Any] | None = None
    checks: list[Check] = []


class SplitStep(Document, tag="split_step", tag_field="edit"):
    """Two steps for one that models do: `first`, and then the old one with another instruction.

    That may read what the first one gave: `{$steps.<first id>.output}`. It keeps its id, output and checks.
    """

    step: StepId
    first: NewStep
    instruction: Instruction


Edit = AddEdgeCase | ChangeEdgeCase | AddExample | ChangeStep | SplitStep


def read_edits(given: Any) -> list[Edit]:
    """Edits from what somebody wrote. Raises InvalidInput with the path of what does not fit."""
    try:
        edits = msgspec.convert(decode(encode_result(given)), described(list[Edit]))
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"The edits do not fit: {error}.", next_call=f"Send edits such as {encode_example(EXAMPLE)}."
        ) from None
    if not 0 < len(edits) <= EDITS_MAX:
        raise InvalidInput(
            f"There are {len(edits)} edits.", next_call=f"Send 1 to {EDITS_MAX}; or store a new document."
        )
    return edits


def apply(  # noqa: PLR0913 - who makes them, why, and with which rights
    parent: WorkflowDocument,
    edits: Sequence[Edit],
    *,
    designed_by: DesignedBy,
    reason: str,
    source: str = "designed",
    tools: Sequence[str] = (),
    by_person: bool = False,
) -> WorkflowDocument:
    """The document with the edits made, `source` as where its new edge cases and examples come from.

    It has the tools of its parent, and no others but those named in `tools`.

    Raises InvalidInput for an edit of something that is not there, PermissionDenied for what only a person may.
    """
    made = parent
    for number, edit in enumerate(edits):
        path = f"$[{number}]"
        if isinstance(edit, ChangeStep) and edit.drop_checks and not by_person:
            raise PermissionDenied(
                f"Only a person takes checks away, such as {edit.drop_checks[0]!r} of {edit.step}.",
                why="Whoever may weaken what is checked can mend every failure.",
                next_call="Leave `drop_checks` out, or ask a person to propose it.",
            )
        made = _MAKES[type(edit)](made, edit, source, path)
    changes = "\n".join(filter(None, [reason, *(f"- {in_words(edit)}" for edit in edits)]))
    made = msgspec.structs.replace(
        made, designed_by=designed_by, parent=workflows.version_of(parent), changes=changes[:CHANGES_MAX]
    )
    check_document(made)
    check_tools(made, tools_of(parent) | set(tools))
    return made


def check_tools(document: WorkflowDocument, allowed: set[str]) -> None:
    """Raises PermissionDenied where a document has a tool that nobody gave it."""
    gained = sorted(tools_of(document) - allowed)
    if gained:
        raise PermissionDenied(
            f"The tool {gained[0]!r} is not this document's to use.",
            why="What a designer writes gains no tools by being written.",
            next_call=f"Use {', '.join(sorted(allowed)) or 'none'}, or name it in `tools` of the call.",
        )


def tools_of(document: WorkflowDocument) -> set[str]:
    """Every tool that a document may use: those it names, and those of its steps and checks."""
    found = set(document.tools)
    for step in walk(document.steps):
        found.update(step.tools, [step.tool] if step.tool else [])
        found.update(check.tool for check in step.checks if check.tool)
    return found


def in_words(edit: Edit) -> str:
    match edit:
        case AddEdgeCase():
            return f"edge case{f' of {edit.step}' if edit.step else ''}: when {edit.when}: {edit.then}"
        case ChangeEdgeCase():
            return f"edge case {edit.id}: {'; '.join(filter(None, [edit.when, edit.then]))}"
        case AddExample():
            return f"one more example{f' of {edit.step}' if edit.step else ''}"
        case ChangeStep():
            parts = ["another instruction"] * (edit.instruction is not None)
            parts += [f"{len(edit.add_checks)} more checks"] * bool(edit.add_checks)
            parts += [f"without the checks {', '.join(edit.drop_checks)}"] * bool(edit.drop_checks)
            return f"step {edit.step}: {', '.join(parts)}"
        case SplitStep():
            return f"step {edit.step} in two: {edit.first.id} comes first"


def _add_edge_case(document: WorkflowDocument, edit: AddEdgeCase, source: str, path: str) -> WorkflowDocument:
    _check_step(document, edit.step, path)
    new_id = id_of(edit.when, {case.id for case in document.edge_cases}, "case")
    made = EdgeCase(id=new_id, when=edit.when, then=edit.then, step=edit.step, source=source)
    return msgspec.structs.replace(document, edge_cases=[*document.edge_cases, made])


def _change_edge_case(document: WorkflowDocument, edit: ChangeEdgeCase, source: str, path: str) -> WorkflowDocument:
    del source
    known = [case.id for case in document.edge_cases]
    if edit.id not in known:
        raise misfit(f"{path}.id", f"there is no edge case {edit.id!r}", f"Use one of: {', '.join(known) or 'none'}.")
    if edit.when is None and edit.then is None:
        raise misfit(path, "it changes nothing", "Send `when`, `then`, or both.")
    cases = [
        msgspec.structs.replace(case, when=edit.when or case.when, then=edit.then or case.then)
        if case.id == edit.id
        else case
        for case in document.edge_cases
    ]
    return msgspec.structs.replace(document, edge_cases=cases)


def _add_example(document: WorkflowDocument, edit: AddExample, source: str, path: str) -> WorkflowDocument:
    _check_step(document, edit.step, path)
    made = Example(input=edit.input, output=edit.output, step=edit.step, source=source)
    return msgspec.structs.replace(document, examples=[*document.examples, made])


def _change_step(document: WorkflowDocument, edit: ChangeStep, source: str, path: str) -> WorkflowDocument:
    del source
    step = _step(document, edit.step, path)
    if edit.instruction is None and not edit.add_checks and not edit.drop_checks:
        raise misfit(path, "it changes nothing", "Send `instruction`, `add_checks`, or both.")
    if edit.instruction is not None and step.instruction is None:
        raise misfit(f"{path}.instruction", f"{edit.step!r} follows none", "Edit a step that a model or a person does.")
    names = [check.id or f"{check.kind}_{number}" for number, check in enumerate(step.checks, 1)]
    missing = [name for name in edit.drop_checks if name not in names]
    if missing:
        raise misfit(
            f"{path}.drop_checks", f"{edit.step!r} has no check {missing[0]!r}", f"Use one of: {', '.join(names)}."
        )
    kept = [check for name, check in zip(names, step.checks, strict=True) if name not in edit.drop_checks]
    made = msgspec.structs.replace(
        step, instruction=edit.instruction or step.instruction, checks=[*kept, *edit.add_checks]
    )
    return _with_steps(document, edit.step, lambda _: [made])


def _split_step(document: WorkflowDocument, edit: SplitStep, source: str, path: str) -> WorkflowDocument:
    """The first takes the old one's place: who jumped to that jumps to it, under the same condition."""
    del source
    step = _step(document, edit.step, path)
    if step.kind != workflows.LLM:
        raise misfit(f"{path}.step", f"{edit.step!r} is done by no model", "Split a step of kind llm.")
    first = Step(
        id=edit.first.id,
        title=edit.first.title,
        instruction=edit.first.instruction,
        output_schema=edit.first.output_schema,
        checks=edit.first.checks,
        when=step.when,
        input=step.input,
        tools=step.tools,
        ladder=step.ladder,
        context=step.context,
        timeout_seconds=step.timeout_seconds,
    )
    second = msgspec.structs.replace(step, instruction=edit.instruction)
    made = _with_steps(document, edit.step, lambda _: [first, second])
    return msgspec.structs.replace(made, steps=_redirected(made.steps, edit.step, first.id))


_MAKES: dict[type[Any], Callable[..., WorkflowDocument]] = {
    AddEdgeCase: _add_edge_case,
    ChangeEdgeCase: _change_edge_case,
    AddExample: _add_example,
    ChangeStep: _change_step,
    SplitStep: _split_step,
}


def _with_steps(document: WorkflowDocument, wanted: str, made: Callable[[Step], list[Step]]) -> WorkflowDocument:
    """With others in the place of one step, however deep it is. What is not touched stays as it is."""

    def replaced(steps: list[Step]) -> list[Step]:
        found: list[Step] = []
        for step in steps:
            if step.id == wanted:
                found += made(step)
            elif step.steps:
                found.append(msgspec.structs.replace(step, steps=replaced(step.steps)))
            else:
                found.append(step)
        return found

    return msgspec.structs.replace(document, steps=replaced(document.steps))


def _redirected(steps: list[Step], old: str, new: str) -> list[Step]:
    made = []
    for step in steps:
        cases = [msgspec.structs.replace(case, goto=new) if case.goto == old else case for case in step.cases]
        made.append(msgspec.structs.replace(step, cases=cases, steps=_redirected(step.steps, old, new)))
    return made


def _check_step(document: WorkflowDocument, name: str | None, path: str) -> None:
    if name is not None:
        _step(document, name, path)


def _step(document: WorkflowDocument, name: str, path: str) -> Step:
    for step in walk(document.steps):
        if step.id == name:
            return step
    known = ", ".join(step.id for step in walk(document.steps))
    raise misfit(f"{path}.step", f"there is no step {name!r}", f"Use one of: {known}.")
