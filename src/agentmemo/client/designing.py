"""What designers are shown and what they answer: a document, or edits of one; read strictly, and never trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from agentmemo.client.driving import Tool
from agentmemo.errors import Error, InvalidInput, PermissionDenied, Unavailable
from agentmemo.model.cases import Failures
from agentmemo.model.workflow_edits import check_tools
from agentmemo.model.workflow_rules import compile_document
from agentmemo.model.workflow_text import id_of
from agentmemo.model.workflows import TOOL, DesignedBy, WorkflowDocument, walk

DESIGN, REPAIR = "design", "repair"
TRIES = 3
SHOWN = 4000
# What whoever asks for a design says, and a designer's answer has no part in.
_NOT_DESIGNED = (
    "name",
    "designed_by",
    "examples",
    "tools",
    "parent",
    "changes",
    "ladder",
    "quality",
    "budget",
    "license",
)
# What a designer can do better when it is told.
REFUSALS = (InvalidInput, PermissionDenied)


class Designed(NamedTuple):
    """What a designer answered, and who it was."""

    output: Any
    by: DesignedBy


def answer_of(output: Any) -> dict[str, Any]:
    """The JSON object in an answer, whatever stands around it. Raises InvalidInput where there is none."""
    if isinstance(output, dict):
        return output
    text = str(output)
    try:
        found = msgspec.json.decode(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidInput(
            f"The designer's answer is no JSON object: {error}.", next_call="Answer with one JSON object, nothing else."
        ) from None
    if not isinstance(found, dict):
        raise InvalidInput("The designer's answer is no JSON object.", next_call="Answer with one JSON object.")
    return found


def document_of(
    answer: dict[str, Any], *, name: str, by: DesignedBy, examples: Sequence[Any], tools: dict[str, Tool]
) -> WorkflowDocument:
    """The document that a designer wrote, under its name, with the examples as they were given and no tool but those.

    Raises InvalidInput or PermissionDenied with what to do better.
    """
    written = {field: value for field, value in answer.items() if field not in _NOT_DESIGNED}
    given = [msgspec.to_builtins(example) for example in examples]
    document = compile_document(
        {**written, "name": name, "designed_by": msgspec.to_builtins(by), "examples": given, "tools": sorted(tools)}
    )
    check_tools(document, set(tools))
    for step in walk(document.steps):
        if step.kind == TOOL and step.tool in tools and step.effect != tools[step.tool].effect:
            raise InvalidInput(
                f"Step {step.id} says effect {step.effect}, and {step.tool} has {tools[step.tool].effect}.",
                next_call=f'Write "effect": "{tools[step.tool].effect}" there.',
            )
    return document


def edits_of(answer: dict[str, Any]) -> tuple[list[Any], str]:
    edits = answer.get("edits")
    if not isinstance(edits, list) or not edits:
        raise InvalidInput("The answer has no edits.", next_call='Answer {"edits": [...], "reason": "..."}.')
    return edits, str(answer.get("reason", ""))


def name_of(goal: str) -> str:
    """A name for a workflow, from the words of its goal."""
    return id_of(goal, set(), "workflow").replace("_", "-")


def shown_tools(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    return [
        {"name": tool.name, "does": tool.description, "arguments": tool.schema, "effect": tool.effect} for tool in tools
    ]


def shown_failure(failure: Failures) -> dict[str, Any]:
    """A cluster as a designer sees it, its example cut to what fits."""
    example = failure.example
    seen = msgspec.json.encode(example.input).decode(errors="replace")[:SHOWN]
    return {
        "step": failure.step,
        "check": failure.check,
        "count": failure.count,
        "models": failure.models,
        "example": {"could_see": seen, "problems": example.problems},
    }


def source_of(failure: Failures) -> str:
    return f"failure:{failure.example.execution or failure.example.trial}"


def again(given: dict[str, Any], answer: Any, error: Error) -> dict[str, Any]:
    """What a designer is shown after an answer that does not do."""
    return {**given, "your_last_answer": answer, "what_is_wrong_with_it": f"{error.message} {error.next_call}"}


def no_designer() -> Unavailable:
    return Unavailable(
        "No model is configured to design or repair a workflow.",
        why="A designer is a model of models.toml, or a person by hand.",
        next_call="Configure one (docs/models.md), or propose edits: agent.workflows.propose(name, edits, reason).",
        retry_safe=False,
    )
