"""`agentmemo workflow evidence|explain|demote-model|reset-model|judge`: which model does which step, and why."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from agentmemo.cli.options import EVERYWHERE, Common, flag
from agentmemo.cli.output import stamp
from agentmemo.model.evidence_calls import StepEvidence, WorkflowEvidence

Name = Annotated[str, Parameter(help="Of the workflow.")]
Step = Annotated[str, Parameter(help="The step's id.")]
Model = Annotated[str, Parameter(help="The model, as the ladder names it.")]
Version = Annotated[str | None, Parameter(help="Of this version: digits of its hash, its number, or a state.")]
Reason = Annotated[str, flag("Why, for those who read the events.")]


def register(app: App) -> None:
    for command in (evidence, explain, demote_model, reset_model, judge):
        app.command(command, name=command.__name__.replace("_", "-"))


def evidence(name: Name, /, *, version: Version = None, common: Common = EVERYWHERE) -> None:
    """Show what is known of each model at each step, and of whole executions."""
    with common.connect() as plane:
        _say(common, plane.workflows.evidence(name, version=version))


def explain(name: Name, /, *, version: Version = None, common: Common = EVERYWHERE) -> None:
    """Say which model does which step, why, on what evidence, and what would change it."""
    with common.connect() as plane:
        if common.json:
            common.out.document({"text": plane.workflows.explain(name, version=version)})
        else:
            common.out.say(plane.workflows.explain(name, version=version))


def demote_model(
    name: Name,
    step: Step,
    model: Model,
    /,
    *,
    reason: Reason = "",
    version: Version = None,
    common: Common = EVERYWHERE,
) -> None:
    """Take a model off a step, until a person resets it; a person's call."""
    with common.connect(deciding=True) as plane:
        _say(common, plane.workflows.demote_model(name, step, model, reason=reason, version=version))


def reset_model(
    name: Name,
    step: Step,
    model: Model,
    /,
    *,
    reason: Reason = "",
    version: Version = None,
    common: Common = EVERYWHERE,
) -> None:
    """Let a model be tested at a step anew, from nothing; a person's call."""
    with common.connect(deciding=True) as plane:
        _say(common, plane.workflows.reset_model(name, step, model, reason=reason, version=version))


def judge(
    execution: Annotated[str, Parameter(name="EXECUTION", help="Its handle.")],
    step: Annotated[str, Parameter(help="The step's path, as the execution's steps list it.")],
    /,
    *,
    right: Annotated[bool, flag("It is right; --no-right says that it is not.")],
    reason: Reason = "",
    common: Common = EVERYWHERE,
) -> None:
    """Say whether what a step gave is right; a person's call, and the first word counts."""
    with common.connect(deciding=True) as plane:
        said = plane.workflows.judge(execution, step, right=right, reason=reason)
    if common.json:
        common.out.document(said)
    else:
        common.out.say(f"{said.execution}  {said.step}  {said.verdict}")


def _say(common: Common, found: WorkflowEvidence) -> None:
    if common.json:
        common.out.document(found)
        return
    columns = ("step", "model", "source", "status", "succeeded", "gave up", "95%", "e-value", "since", "why…")
    common.out.table(columns, [_cells(row) for row in found.evidence], empty="Nothing has been seen yet.")


def _cells(row: StepEvidence) -> tuple[str, ...]:
    model = row.model if row.served in ("", row.model) else f"{row.model} ({row.served})"
    return (
        row.step or "(whole)",
        model or "-",
        row.source,
        row.status,
        f"{row.successes}/{row.successes + row.failures}",
        str(row.abstained),
        f"{row.low:.2f}-{row.high:.2f}",
        f"{row.verdict.e_value:.3g}",
        stamp(row.since),
        "; ".join(row.reasons),
    )
