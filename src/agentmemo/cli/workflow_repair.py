"""`agentmemo workflow cases|trial|failures|propose|repair|design`: trying documents, and mending them, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Json, Limit, flag
from agentmemo.cli.output import stamp
from agentmemo.cli.values import read_value
from agentmemo.cli.work import register_tool
from agentmemo.client.workflow_files import document_in
from agentmemo.errors import InvalidInput
from agentmemo.model.repairs import Regressions
from agentmemo.model.trials import Trial
from agentmemo.model.workflow_versions import Workflow

DIGITS_SHOWN = 12
SHOWN = 60

Name = Annotated[str, Parameter(help="Of the workflow.")]
Version = Annotated[str | None, Parameter(help="Of this version: digits of its hash, its number, or a state.")]
Case = Annotated[str, Parameter(help="Its id, or six digits of it.")]
OneStep = Annotated[str | None, Parameter(help="Only of this step.")]
Reason = Annotated[str, flag("Why, for those who read the events.")]
Models = Annotated[Sequence[str], flag("A model to try, cheapest first; may be repeated. Without, the ladder.")]
Tools = Annotated[
    Sequence[str], flag("A tool: MODULE:FUNCTION, or MODULE:FUNCTION:EFFECT (none, read, write, irreversible).")
]
Designer = Annotated[str | None, Parameter(help="The model that designs; the top of the ladder without.")]


def register(app: App) -> None:
    of_cases = (cases, add_cases, remove_case, keep_case, failures)
    for command in (*of_cases, trial, trials, show_trial, propose, regressions, repair, design):
        app.command(command, name=command.__name__.replace("_", "-"))


def cases(
    name: Name, /, *, step: OneStep = None, limit: Limit = 100, cursor: Cursor = None, common: Common = EVERYWHERE
) -> None:
    """List the cases that a workflow is tried on, newest first."""
    with common.connect() as plane:
        page = plane.workflows.cases(name, step=step, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (each.id[:DIGITS_SHOWN], each.step or "", each.source, _short(each.input), _short(each.expected))
        for each in page.items
    ]
    common.out.table(("case", "step", "source", "input", "expected…"), rows, empty="No cases.")
    common.out.more(page.cursor)


def add_cases(
    name: Name,
    file: Annotated[str | None, Parameter(help="A .json or .yaml file with a list of cases.")] = None,
    /,
    *,
    common: Common = EVERYWHERE,
) -> None:
    """Keep cases, {"input": ..., "expected": ..., "step": ...}; without a file, the examples of the document."""
    given = None if file is None else _list_in(file)
    with common.connect() as plane:
        added = plane.workflows.add_cases(name, given)
    if common.json:
        common.out.document(added)
    else:
        common.out.say(f"{added.added} of {len(added.cases)} cases are new.")


def remove_case(name: Name, case: Case, /, *, reason: Reason = "", common: Common = EVERYWHERE) -> None:
    """Try nothing on a case any more; a person's call."""
    with common.connect(deciding=True) as plane:
        removed = plane.workflows.remove_case(name, case, reason=reason)
    if common.json:
        common.out.document(removed)
    else:
        common.out.say(f"{removed.id[:DIGITS_SHOWN]} is removed.")


def keep_case(
    execution: Annotated[str, Parameter(help="Its handle.")],
    /,
    *,
    step: Annotated[str | None, Parameter(help="The path of one step; the whole execution without.")] = None,
    expected: Annotated[Json | None, Parameter(help="What would have been right: JSON, or plain text.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Make a case of an execution that happened, or of one of its steps."""
    right = None if expected is None else read_value(expected, text=True)
    with common.connect() as plane:
        kept = plane.workflows.keep_case(execution, step=step, expected=right)
    if common.json:
        common.out.document(kept)
    else:
        common.out.say(f"{kept.id[:DIGITS_SHOWN]}  {kept.workflow} {kept.step or ''}  {kept.source}")


def failures(name: Name, /, *, version: Version = None, limit: Limit = 20, common: Common = EVERYWHERE) -> None:
    """List what failed lately, in clusters by step and check, newest first."""
    with common.connect() as plane:
        page = plane.workflows.failures(name, version=version, limit=limit)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (
            each.step,
            each.check,
            str(each.count),
            ", ".join(each.models),
            stamp(each.last_at),
            *each.example.problems[:1],
        )
        for each in page.items
    ]
    common.out.table(("step", "check", "times", "models", "last", "such as…"), rows, empty="Nothing failed.")


def trial(
    name: Name,
    file: Annotated[str | None, Parameter(help="Only these: a .json or .yaml file with a list of cases.")] = None,
    /,
    *,
    version: Version = None,
    model: Models = (),
    planned: Annotated[int | None, Parameter(help="On how many cases each model is tried; all without.")] = None,
    run_key: Annotated[str | None, Parameter(help="Begin another trial than the one there is.")] = None,
    thorough: Annotated[bool, flag("Try every model on every case, whatever comes out.")] = False,
    tool: Tools = (),
    common: Common = EVERYWHERE,
) -> None:
    """Try a workflow on its cases by each model, cheapest first; nothing is written to the world.

    Killed and started again it goes on where it was. See it meanwhile with `agentmemo workflow trials`.
    """
    given = None if file is None else _list_in(file)
    with common.connect() as plane:
        for each in tool:
            register_tool(plane, each)
        done = plane.workflows.trial(
            name, given, version=version, models=model or None, planned=planned, key=run_key, thorough=thorough
        )
        _say_trial(common, done)


def trials(
    workflow: Annotated[str | None, Parameter(help="Of this workflow only.")] = None,
    /,
    *,
    limit: Limit = 20,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List trials, newest first, with how far they are."""
    with common.connect() as plane:
        page = plane.workflows.trials(workflow, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (
            each.id,
            each.workflow,
            each.version[:DIGITS_SHOWN],
            each.state,
            f"{each.done}/{each.planned}",
            _decisions(each),
        )
        for each in page.items
    ]
    common.out.table(("trial", "workflow", "version", "state", "cases", "shown…"), rows, empty="No trials.")
    common.out.more(page.cursor)


def show_trial(trial: Annotated[str, Parameter(help="Its handle.")], /, *, common: Common = EVERYWHERE) -> None:
    """Print what a trial has shown so far, model by model."""
    with common.connect() as plane:
        _say_trial(common, plane.workflows.get_trial(trial))


def propose(
    name: Name,
    edits: Annotated[str, Parameter(name="EDITS", help="A .json or .yaml file with a list of edits.")],
    /,
    *,
    reason: Reason = "",
    version: Version = None,
    source: Annotated[str, Parameter(help="Where they come from: designed, or failure:EXECUTION.")] = "designed",
    tools: Annotated[Sequence[str], flag("A tool that it may have beside those of its parent; may be repeated.")] = (),
    designed_by: Annotated[str | None, Parameter(help="Who thought of them: a model, or person:NAME.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Make a draft by a few edits of a version: add_edge_case, change_step, add_example, split_step, ...

    A person's credentials may also take checks away.
    """
    given = _list_in(edits)
    with common.connect() as plane:
        draft = plane.workflows.propose(
            name, given, reason, version=version, source=source, tools=tools, designed_by=designed_by
        )
    if common.json:
        common.out.document(draft)
    else:
        _say_draft(common, draft)


def regressions(name: Name, /, *, version: Version = None, common: Common = EVERYWHERE) -> None:
    """Print what worked before and does not in a version, or was not replayed on it."""
    with common.connect() as plane:
        found = plane.workflows.regressions(name, version=version)
    if common.json:
        common.out.document(found)
    else:
        _say_regressions(common, found)


def repair(
    name: Name,
    /,
    *,
    designer: Designer = None,
    version: Version = None,
    model: Annotated[Sequence[str], flag("A model to replay with; may be repeated. Without, all of the ladder.")] = (),
    limit: Annotated[int, Parameter(help="Show the designer so many clusters of failures.")] = 5,
    tool: Tools = (),
    common: Common = EVERYWHERE,
) -> None:
    """Have a model mend what fails: a few edits as a draft, replayed on what failed and on what had worked."""
    with common.connect() as plane:
        for each in tool:
            register_tool(plane, each)
        done = plane.workflows.repair(name, designer=designer, version=version, models=model or None, limit=limit)
    if common.json:
        common.out.document(done)
        return
    _say_draft(common, done.workflow)
    common.out.say(done.trial.text)
    _say_regressions(common, done.regressions)


def design(
    goal: Annotated[str, Parameter(help="What the workflow is for, in words.")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="Its name; made of the goal without.")] = None,
    examples: Annotated[str | None, Parameter(help="A .json or .yaml file with a list of {input, output}.")] = None,
    model: Designer = None,
    tool: Tools = (),
    common: Common = EVERYWHERE,
) -> None:
    """Have a model write a first draft for a goal; it has no tools but those named here."""
    given = () if examples is None else _list_in(examples)
    with common.connect() as plane:
        tools = [register_tool(plane, each) for each in tool]
        made = plane.workflows.design(goal, name=name, examples=given, model=model, tools=tools)
    if common.json:
        common.out.document(made)
    else:
        _say_draft(common, made)


def _list_in(file: str) -> list[Any]:
    found = document_in(Path(file))
    if not isinstance(found, list):
        raise InvalidInput(f"{file} does not hold a list.", next_call='Write [{"input": ..., "expected": ...}, ...].')
    return found


def _say_trial(common: Common, found: Trial) -> None:
    if common.json:
        common.out.document(found)
        return
    common.out.remark(f"{found.id}  {found.workflow} {found.version[:DIGITS_SHOWN]}  {found.state}")
    common.out.say(found.text)
    for tried in found.tried:
        for failed in tried.failed:
            problem = failed.problems[0] if failed.problems else ""
            common.out.remark(f"- {tried.step or 'whole'} by {tried.model} on {failed.case[:DIGITS_SHOWN]}: {problem}")


def _say_draft(common: Common, draft: Workflow) -> None:
    common.out.say(f"{draft.name}  {draft.state}, number {draft.number}, version {draft.version[:DIGITS_SHOWN]}")
    if draft.changes:
        common.out.remark(draft.changes)


def _say_regressions(common: Common, found: Regressions) -> None:
    common.out.say(found.text)
    for each in found.found:
        common.out.remark(
            f"- {each.case[:DIGITS_SHOWN]} {each.step or 'whole'}: {'; '.join(each.problems) or each.kind}"
        )


def _decisions(found: Trial) -> str:
    return ", ".join(f"{each.step or 'whole'}/{each.model}: {each.decision}" for each in found.tried)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
