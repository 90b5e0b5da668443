"""A workflow's document as people read it: its steps in order, each with what it does and what it is held to."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.console.words import count, money
from agentmemo.model import workflows
from agentmemo.model.kinds import described
from agentmemo.model.workflows import Check, DesignedBy, EdgeCase, Step, WorkflowDocument

KINDS = {
    workflows.TOOL: "tool",
    workflows.LLM: "model",
    workflows.ASSERT: "assertion",
    workflows.BRANCH: "branch",
    workflows.FOREACH: "for each",
    workflows.WORKFLOW: "workflow",
    workflows.HUMAN: "person",
}


def read(document: Any) -> WorkflowDocument:
    return msgspec.convert(document, described(WorkflowDocument))


def summary(document: WorkflowDocument) -> dict[str, Any]:
    """All of it but the steps' evidence, for the page and its JSON."""
    return {
        "description": document.description,
        "triggers": document.triggers,
        "steps": steps_of(document),
        "edge_cases": [edge_case(each) for each in document.edge_cases],
        "examples": len(document.examples),
        "examples_said": examples_said(document),
        "inputs": schema_said(document.inputs),
        "outputs": schema_said(document.outputs),
        "ladder": [rung.model for rung in document.ladder],
        "designed_by": designer(document.designed_by),
        "budget": budget(document),
        "quality": quality(document),
        "tools": document.tools,
    }


def steps_of(document: WorkflowDocument) -> list[dict[str, Any]]:
    """Steps with their numbers; those inside others come after them, one level in."""
    made: list[dict[str, Any]] = []

    def add(steps: list[Step], prefix: str) -> None:
        for number, step in enumerate(steps, 1):
            made.append(step_row(step, f"{prefix}{number}"))
            add(step.steps, f"{prefix}{number}.")

    add(document.steps, "")
    return made


def step_row(step: Step, number: str) -> dict[str, Any]:
    return {
        "id": step.id,
        "number": number,
        "depth": number.count("."),
        "title": step.title or step.id,
        "kind": KINDS[step.kind],
        "does": does(step),
        "effect": step.effect,
        "when": step.when,
        "checks": [check_said(check) for check in step.checks] + schema_checks(step),
        "ladder": [rung.model for rung in step.ladder],
        "attempts": step.attempts,
        "ways": [{"when": case.when, "goto": case.goto} for case in step.cases],
    }


def does(step: Step) -> dict[str, str]:
    """What it does: words of its designer, or the name of something that is called."""
    called = {
        workflows.TOOL: step.tool,
        workflows.WORKFLOW: step.workflow,
        workflows.FOREACH: step.items,
    }.get(step.kind)
    if called:
        return {"words": step.instruction or "", "called": called}
    return {"words": step.instruction or "", "called": ", ".join(step.tools)}


def schema_checks(step: Step) -> list[dict[str, Any]]:
    if step.output_schema is None:
        return []
    return [{"kind": "schema", "hard": True, "text": schema_said(step.output_schema) or "a JSON Schema"}]


def check_said(check: Check) -> dict[str, Any]:
    """One check: what must hold, as it is written; its message where it has one."""
    held = check.expression or check.pattern or check.tool or check.instruction
    text = held or schema_said(check.schema) or "a JSON Schema"
    return {"kind": check.kind.replace("_", " "), "hard": check.severity == "hard", "text": text}


def edge_case(case: EdgeCase) -> dict[str, Any]:
    return {
        "id": case.id,
        "when": case.when,
        "then": case.then,
        "matches": case.matches,
        "step": case.step,
        "action": case.action,
        "source": case.source,
    }


def examples_said(document: WorkflowDocument) -> str:
    """How many, and of which steps."""
    if not document.examples:
        return "none"
    of_steps = sorted({example.step for example in document.examples if example.step})
    said = count(len(document.examples), "example")
    return f"{said}, some of {', '.join(of_steps)}" if of_steps else said


def schema_said(schema: dict[str, Any] | None) -> str:
    """`number: integer, title: string (optional)`; only that there is one, where it is no plain object."""
    properties = (schema or {}).get("properties")
    if not isinstance(properties, dict) or not properties:
        return "anything" if not schema else str(schema.get("type", "as its JSON Schema says"))
    required = (schema or {}).get("required", [])
    return ", ".join(
        f"{name}: {field_type(field)}{'' if name in required else ' (optional)'}" for name, field in properties.items()
    )


def field_type(field: Any) -> str:
    if not isinstance(field, dict):
        return "any"
    if isinstance(field.get("enum"), list):
        return " or ".join(str(choice) for choice in field["enum"])
    return str(field.get("type", "any"))


def designer(by: DesignedBy) -> dict[str, Any]:
    return {
        "name": by.person or by.model or "unknown",
        "is_person": by.person is not None,
        "model_version": by.model_version,
        "cost_nanousd": by.cost_nanousd,
    }


def budget(document: WorkflowDocument) -> str:
    bounds = document.budget
    said = [
        f"{money(bounds.run_nanousd)} a run" if bounds.run_nanousd is not None else "",
        f"{money(bounds.step_nanousd)} a step" if bounds.step_nanousd is not None else "",
        f"{bounds.run_tokens:,} tokens a run" if bounds.run_tokens is not None else "",
    ]
    return ", ".join(each for each in said if each) or "no bound of its own"


def quality(document: WorkflowDocument) -> dict[str, Any]:
    asked = document.quality
    return {
        "step_bar": asked.step_bar,
        "run_bar": asked.run_bar,
        "alpha": asked.alpha,
        "min_runs": asked.min_runs,
        "audit_share": asked.audit_share,
        "text": " ".join(
            (
                f"{asked.step_bar:.1%} of the attempts at a step and {asked.run_bar:.1%} of the runs succeed,",
                f"wrongly believed in {asked.alpha:.1%} of the cases; {asked.min_runs} different inputs or more;",
                f"{asked.audit_share:.1%} audited for ever",
            )
        ).replace("%", "\u00a0%"),
    }
