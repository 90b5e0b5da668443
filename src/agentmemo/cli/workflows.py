"""`agentmemo workflow`: documents that are designed once, and carried out by whoever has shown that they can."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Limit, flag, group_of_commands
from agentmemo.cli.output import pretty, stamp
from agentmemo.client import yaml_files
from agentmemo.client.workflow_files import document_in, parse
from agentmemo.errors import InvalidInput
from agentmemo.model.workflow_guidance import warnings_of
from agentmemo.model.workflow_rules import compile_document
from agentmemo.model.workflow_versions import Workflow
from agentmemo.model.workflows import WorkflowDocument, version_of

DIGITS_SHOWN = 12
app = group_of_commands("workflow", "Documents that are designed once and carried out often: versions, states, search.")

Name = Annotated[str, Parameter(help="Its name.")]
Version = Annotated[str, Parameter(help="Six or more digits of its hash, its number, or a state.")]
OneVersion = Annotated[str | None, Parameter(help="Of this version: digits of its hash, its number, or a state.")]
File = Annotated[
    str, Parameter(name="FILE", allow_leading_hyphen=True, help="A .yaml or .json file; - reads JSON or YAML.")
]
Reason = Annotated[str, flag("Why, for those who read the events.")]
Tools = Annotated[tuple[str, ...], flag("A tool that it may use; may be repeated. Without, it has none.")]


@app.command
def create(file: File, /, *, common: Common = EVERYWHERE) -> None:
    """Keep a document as a draft; the same one again is the version there is.

    `steps` and `edge_cases` may be plain text.
    """
    document = _read(file)
    with common.connect() as plane:
        _say(common, plane.workflows.add(document))


@app.command
def check(file: File, /, *, common: Common = EVERYWHERE) -> None:
    """Say which version a document would be, and what would make it better; nothing is kept, no plane is needed."""
    document = _read(file)
    warnings = warnings_of(document)
    if common.json:
        common.out.document({"name": document.name, "version": version_of(document), "warnings": warnings})
        return
    common.out.say(f"{document.name}  {version_of(document)}")
    for warning in warnings:
        common.out.say(f"- {warning}")


@app.command
def get(
    name: Name,
    /,
    *,
    version: OneVersion = None,
    yaml: Annotated[bool, flag("Print the document as YAML.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """Print a document: of the active version, else of the newest draft; with --json all that is known of it."""
    with common.connect() as plane:
        found = plane.workflows.get(name, version=version)
    if common.json:
        common.out.document(found)
        return
    common.out.remark(_line(found))
    for warning in found.warnings:
        common.out.remark(f"- {warning}")
    common.out.say(yaml_files.dumps(found.document).rstrip() if yaml else pretty(found.document))


@app.command(name="list")
def list_(
    *,
    state: Annotated[str | None, Parameter(help="Only those in it: draft, shadow, canary, active, retired.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List workflows by name."""
    with common.connect() as plane:
        page = plane.workflows.list(state=state, limit=limit, cursor=cursor)
    _show(common, page.items, page.cursor, "No workflows.")


@app.command
def versions(name: Name, /, *, limit: Limit = 100, cursor: Cursor = None, common: Common = EVERYWHERE) -> None:
    """List the versions of a workflow, newest first."""
    with common.connect() as plane:
        page = plane.workflows.versions(name, limit=limit, cursor=cursor)
    _show(common, page.items, page.cursor, "No versions.")


@app.command
def search(
    text: Annotated[str, Parameter(help="What is to be done, in any words.")],
    /,
    *,
    limit: Limit = 5,
    common: Common = EVERYWHERE,
) -> None:
    """Find workflows by what somebody wants done, best first; nothing is started by being found."""
    with common.connect() as plane:
        page = plane.workflows.search(text, limit=limit)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [(f"{each.score:.2f}", *_cells(each.workflow)) for each in page.items]
    common.out.table(("score", "name", "state", "no", "version", "description…"), rows, empty="Nothing found.")


@app.command
def diff(
    name: Name,
    before: Annotated[str, Parameter(help="From this version.")],
    after: Annotated[str, Parameter(help="To this one.")],
    /,
    *,
    common: Common = EVERYWHERE,
) -> None:
    """Say what is different between two versions, and which steps keep their evidence."""
    with common.connect() as plane:
        found = plane.workflows.diff(name, before, after)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(found.text)


@app.command
def promote(
    name: Name,
    version: Version,
    /,
    *,
    to: Annotated[str, Parameter(help="shadow, canary or active.")] = "active",
    reason: Reason = "",
    common: Common = EVERYWHERE,
) -> None:
    """Move a version on. Refused where evidence is missing."""
    with common.connect(deciding=True) as plane:
        _say(common, plane.workflows.promote(name, version, to, reason=reason))


@app.command
def demote(
    name: Name,
    version: Version,
    /,
    *,
    to: Annotated[str, Parameter(help="canary, shadow, draft or retired.")] = "retired",
    reason: Reason = "",
    common: Common = EVERYWHERE,
) -> None:
    """Move a version back, or retire it; a person's call."""
    with common.connect(deciding=True) as plane:
        _say(common, plane.workflows.demote(name, version, to, reason=reason))


@app.command(name="import")
def import_(
    path: Annotated[str, Parameter(help="A SKILL.md, the folder that it is in, or a .sop.md.")],
    /,
    *,
    designed_by: Annotated[str | None, Parameter(help="Who wrote it: a model, or person:NAME.")] = None,
    tool: Tools = (),
    common: Common = EVERYWHERE,
) -> None:
    """Make a draft of somebody's skill; it is untrusted, and has no tools but those named here."""
    with common.connect() as plane:
        _say(common, plane.workflows.import_skill(path, designed_by=designed_by, tools=tool))


@app.command
def export(
    name: Name,
    path: Annotated[str, Parameter(help="The skill becomes a folder in this one.")] = ".",
    /,
    *,
    version: OneVersion = None,
    common: Common = EVERYWHERE,
) -> None:
    """Write a version as an Agent Skill: SKILL.md, and the whole document under references/."""
    with common.connect() as plane:
        folder = plane.workflows.export_skill(name, path, version=version)
    if common.json:
        common.out.document({"folder": str(folder)})
    else:
        common.out.say(str(folder))


@app.command
def schema(*, common: Common = EVERYWHERE) -> None:
    """Print the JSON Schema of a document, for editors and for models that write one."""
    with common.connect() as plane:
        found = plane.workflows.schema()
    common.out.say(pretty(found))


def _read(file: str) -> WorkflowDocument:
    """What was written, compiled here, so that a mistake is found before anything is asked."""
    if file != "-":
        return compile_document(document_in(Path(file)))
    content = sys.stdin.buffer.read()
    try:
        return compile_document(parse(content, "standard input"))
    except InvalidInput:
        if content.lstrip().startswith(b"{"):
            raise
        return compile_document(parse(content, "standard input.yaml"))


def _show(common: Common, items: list[Workflow], cursor: str | None, empty: str) -> None:
    if common.json:
        common.out.page(items, cursor)
        return
    rows = [(*_cells(each)[:-1], stamp(each.created_at), each.author, each.description) for each in items]
    common.out.table(("name", "state", "no", "version", "since", "by", "description…"), rows, empty=empty)
    common.out.more(cursor)


def _cells(workflow: Workflow) -> tuple[str, ...]:
    state = workflow.state + (" (untrusted)" if workflow.untrusted else "")
    return workflow.name, state, str(workflow.number), workflow.version[:DIGITS_SHOWN], workflow.description


def _line(workflow: Workflow) -> str:
    name, state, number, version, _ = _cells(workflow)
    return f"{name}  {state}, number {number}, version {version}, by {workflow.author} {stamp(workflow.created_at)}"


def _say(common: Common, workflow: Workflow) -> None:
    if common.json:
        common.out.document(workflow)
        return
    common.out.say(_line(workflow))
    for warning in workflow.warnings:
        common.out.remark(f"- {warning}")
