"""`agentmemo workflow counts|rates`: what became of executions."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from agentmemo.cli.options import EVERYWHERE, Common
from agentmemo.cli.output import stamp
from agentmemo.cli.values import read_time

Since = Annotated[str | None, Parameter(help="From this UTC time on; also 15m, 2h, 7d ago.")]


def register(app: App) -> None:
    for command in (counts, rates):
        app.command(command)


def counts(
    workflow: Annotated[str | None, Parameter(help="Of this workflow only.")] = None,
    /,
    *,
    since: Since = None,
    common: Common = EVERYWHERE,
) -> None:
    """Count the executions of each version by how they ended."""
    with common.connect() as plane:
        found = plane.workflows.counts(workflow, since=read_time(since))
    if common.json:
        common.out.document(found)
        return
    rows = [
        (each.workflow, each.version[:12], *map(str, (each.completed, each.failed, each.cancelled, each.unfinished)))
        for each in found.counts
    ]
    heads = ("workflow", "version", "completed", "failed", "cancelled", "unfinished")
    common.out.table(heads, rows, empty="No executions.")


def rates(
    name: Annotated[str, Parameter(help="Of the workflow.")],
    /,
    *,
    version: Annotated[str | None, Parameter(help="Digits of its hash, its number, or a state.")] = None,
    since: Since = None,
    parts: Annotated[int, Parameter(help="Into so many equal parts the time is split.")] = 8,
    common: Common = EVERYWHERE,
) -> None:
    """Show what passed at each step by each model, over time."""
    with common.connect() as plane:
        found = plane.workflows.rates(name, version=version, since=read_time(since), parts=parts)
    if common.json:
        common.out.document(found)
        return
    rows = [
        (stamp(found.since + each.part * found.part_us), each.step, each.model, str(each.passed), str(each.failed))
        for each in found.rates
    ]
    common.out.table(("from", "step", "model", "passed", "failed"), rows, empty="No attempts by models.")
