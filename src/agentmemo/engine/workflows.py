"""Workflow documents: their versions, the states these move through, and finding one."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from agentmemo.engine import audit, promotion, regressions
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.state import check_limit
from agentmemo.errors import Conflict, InvalidInput, InvalidTransition, PermissionDenied, Unavailable
from agentmemo.model import workflow_versions as model
from agentmemo.model.documents import misfit
from agentmemo.model.handoffs import Acceptance
from agentmemo.model.kinds import described
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.values import decode
from agentmemo.model.workflow_diff import WorkflowDiff, diff
from agentmemo.model.workflow_guidance import warnings_of
from agentmemo.model.workflow_rules import NOT_EMPTY, workflow_schema
from agentmemo.model.workflow_search import QUERY_WORDS_MAX, counts_of, rank, words_of
from agentmemo.model.workflows import (
    ACTIVE,
    DRAFT,
    RETIRED,
    STATES,
    TRANSITIONS,
    WorkflowDocument,
    canonical,
    version_of,
    walk,
)
from agentmemo.store import blobs
from agentmemo.store import workflows as rows
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction

PERSON = "person"
_HASH = re.compile(r"[0-9a-f]{6,64}\Z")
_NUMBER = re.compile(r"[0-9]{1,5}\Z")
NAME_SHOWN = 64


class Found(NamedTuple):
    """A version as a row, and its document."""

    row: rows.VersionRow
    document: WorkflowDocument


def create(tx: Transaction, call: Call, request: model.CreateWorkflow) -> model.Workflow:
    packed: Packed = request.document
    document: WorkflowDocument = packed.original
    version = version_of(document)
    found = rows.find(tx, call.workspace, document.name)
    known = rows.by_hash(tx, found.id, version) if found else []
    if known:
        return view(tx, call, known[0], document)
    number = found.versions + 1 if found else 1
    position = audit.record(
        tx,
        call,
        "workflow.create",
        {"kind": "workflow", "id": document.name, "version": version},
        from_version=number - 1,
        to_version=number,
        contents={"document": packed},
        reason=document.changes,
    )
    workflow = rows.add_version(
        tx,
        call.workspace,
        found,
        position=position,
        name=document.name,
        version=version,
        state=DRAFT,
        description=document.description,
        designed_by=_designer(document),
        parent=document.parent,
        changes=document.changes,
        untrusted=request.untrusted,
        author=call.actor,
        packed=packed,
    )
    _choose(tx, call, workflow)
    return view(tx, call, _by_id(tx, position), document)


def get(tx: Transaction, call: Call, request: model.GetWorkflow) -> model.Workflow:
    found = find(tx, call, request.name, request.version)
    return view(tx, call, found.row, found.document)


def list_(tx: Transaction, call: Call, request: model.ListWorkflows) -> Page:
    limit = check_limit(request.limit)
    after = read_cursor(request.cursor, "workflow.list", request.state, "")
    found = rows.page(tx, call.workspace, request.state, after, limit + 1)
    cursor = make_cursor("workflow.list", request.state, found[limit - 1].name) if len(found) > limit else None
    return Page(items=[view(tx, call, row) for row in found[:limit]], cursor=cursor)


def search(tx: Transaction, call: Call, request: model.SearchWorkflows) -> Page:
    limit = check_limit(request.limit)
    words = sorted(set(words_of(request.text)[:QUERY_WORDS_MAX]))
    if not words:
        raise InvalidInput("The search text holds no word.", next_call="Say what is to be done, in a few words.")
    workflows, length = rows.word_totals(tx, call.workspace)
    ranked = rank(rows.words(tx, call.workspace, words), workflows, length / max(1, workflows))
    items = [
        model.Candidate(workflow=view(tx, call, _by_id(tx, version)), score=round(score, 4))
        for version, score in ranked[:limit]
    ]
    return Page(items=items)


def versions(tx: Transaction, call: Call, request: model.ListWorkflowVersions) -> Page:
    limit = check_limit(request.limit)
    workflow = _workflow(tx, call, request.name).id
    before = read_cursor(request.cursor, "workflow.versions", request.name, rows.NEWEST)
    found = rows.versions(tx, workflow, before=before, limit=limit + 1)
    cursor = make_cursor("workflow.versions", request.name, found[limit - 1].number) if len(found) > limit else None
    return Page(items=[view(tx, call, row) for row in found[:limit]], cursor=cursor)


def diff_(tx: Transaction, call: Call, request: model.DiffWorkflow) -> WorkflowDiff:
    before = find(tx, call, request.name, request.before)
    return diff(before.document, find(tx, call, request.name, request.after).document)


def move(tx: Transaction, call: Call, request: model.MoveWorkflow) -> model.Workflow:
    """A version to another state. One that becomes active retires the one that was, in the same commit."""
    model.check_state(request.to)
    found = find(tx, call, request.name, request.version)
    row = found.row
    if row.state == request.to:
        return view(tx, call, row, found.document)
    needs = TRANSITIONS.get((row.state, request.to))
    if needs is None:
        raise InvalidTransition(
            f"{row.name} {row.version[:12]} is {row.state}; it cannot become {request.to}.",
            next_call=f"From {row.state} it can go to {', '.join(model.next_states(row.state))}.",
            details={"state": row.state, "to": request.to, "allowed": model.next_states(row.state)},
        )
    if call.caller.kind != PERSON and (needs == PERSON or row.untrusted):
        raise PermissionDenied(
            f"Only a person may move {row.name} from {row.state} to {request.to}.",
            why="It was brought in from elsewhere, and no person has moved it yet." if row.untrusted
            else "What people see fit to try, or to stop, is theirs to say.",
            next_call="Ask one: agentmemo workflow promote or demote, with a person's key.",
        )  # fmt: skip
    if needs != PERSON:
        regressions.check(tx, call, found.document)
        promotion.check(tx, call, found.document, request.to)
    return view(tx, call, transfer(tx, call, row, request.to, request.reason), found.document)


# What the engine asks.


def find(tx: Transaction, call: Call, name: str, version: str | None = None) -> Found:
    """A version with its document. Raises NotFound, or Conflict where so few digits stand for several."""
    workflow = _workflow(tx, call, name)
    row = _version(tx, workflow, name, version)
    return Found(row, document_of(tx, call, row))


def is_untrusted(tx: Transaction, call: Call, name: str, version: str) -> bool:
    """Whether a version, by its whole hash, came from elsewhere and no person has moved it yet."""
    return any(row.untrusted for row in rows.by_hash(tx, _workflow(tx, call, name).id, version))


def document_of(tx: Transaction, call: Call, row: rows.VersionRow) -> WorkflowDocument:
    content = blobs.unpack(tx, call.workspace, row.codec, row.value, row.blob)
    return msgspec.json.decode(content, type=described(WorkflowDocument))


def transfer(tx: Transaction, call: Call, row: rows.VersionRow, to: str, reason: str) -> rows.VersionRow:
    """Move a version, whoever may; evidence has been looked at before."""
    if to == ACTIVE and (active := rows.in_state(tx, row.workflow, ACTIVE)) is not None:
        _set_state(tx, call, active, RETIRED, f"number {row.number} became active")
    _set_state(tx, call, row, to, reason)
    _choose(tx, call, row.workflow)
    return _by_id(tx, row.id)


def check_definitions(call: Call, document: WorkflowDocument) -> None:
    """Raises InvalidInput for a schema that is none, or a condition that cannot be read, with its path.

    They are read in another process. Where the libraries for them are missing, they are read when they are used.
    """
    for path, wanted in _definitions(document):
        try:
            call.engine.judge.check_definition(wanted)
        except InvalidInput as error:
            raise misfit(
                path,
                error.message.rstrip("."),
                "Send a JSON Schema (2020-12)."
                if wanted.schema is not None
                else "Write CEL over `inputs`, `steps` and, inside foreach, `item`; in checks also `output`.",
            ) from None
        except Unavailable:
            return


def view(tx: Transaction, call: Call, row: rows.VersionRow, document: WorkflowDocument | None = None) -> model.Workflow:
    return model.Workflow(
        name=row.name,
        version=row.version,
        number=row.number,
        state=row.state,
        description=row.description,
        designed_by=row.designed_by,
        author=call.engine.names.actor_name(tx, call.workspace, row.author),
        created_at=row.created_at,
        state_changed_at=row.state_changed_at,
        versions=row.versions,
        unproven=model.is_unproven(row.state),
        untrusted=bool(row.untrusted),
        parent=row.parent,
        changes=row.changes,
        document=decode(canonical(document)) if document else None,
        warnings=warnings_of(document) if document else [],
    )


def form(tx: Transaction, call: Call, request: model.GetWorkflowFormat) -> model.WorkflowFormat:
    del tx, call, request
    return model.WorkflowFormat(schema=workflow_schema())


def _workflow(tx: Transaction, call: Call, name: str) -> rows.WorkflowRow:
    found = rows.find(tx, call.workspace, name)
    if found is None:
        raise not_found("workflow", name[:NAME_SHOWN])
    return found


def _version(tx: Transaction, workflow: rows.WorkflowRow, name: str, version: str | None) -> rows.VersionRow:
    row: rows.VersionRow | None
    if version is None:
        row = _by_id(tx, workflow.current)
    elif version in STATES:
        row = rows.in_state(tx, workflow.id, version)
    elif _NUMBER.match(version):
        row = rows.by_number(tx, workflow.id, int(version))
    elif _HASH.match(version):
        found = rows.by_hash(tx, workflow.id, version)
        if len(found) > 1:
            raise Conflict(
                f"{version!r} is the beginning of several versions of {name}.",
                next_call=f"Send more of it, such as {found[0].version[: len(version) + 6]}.",
            )
        row = found[0] if found else None
    else:
        raise InvalidInput(
            f"{version[:NAME_SHOWN]!r} is no version.",
            next_call=f"Send {model.PREFIX_MIN} or more digits of its hash, its number, or one of {', '.join(STATES)}.",
        )
    if row is None:
        raise not_found("version", f"{version} of the workflow {name}", f"agent.workflows.versions({name!r})")
    return row


def _by_id(tx: Transaction, version: int) -> rows.VersionRow:
    row = rows.by_id(tx, version)
    assert row is not None  # noqa: S101 - versions stay
    return row


def _set_state(tx: Transaction, call: Call, row: rows.VersionRow, to: str, reason: str) -> None:
    audit.record(
        tx,
        call,
        "workflow.move",
        {"kind": "workflow", "id": row.name, "version": row.version, "from": row.state, "to": to},
        from_version=row.number,
        to_version=row.number,
        reason=reason,
    )
    # A person who moves what came from elsewhere has looked at it.
    rows.move(tx, row, to, untrusted=bool(row.untrusted) and call.caller.kind != PERSON)


def _choose(tx: Transaction, call: Call, workflow: int) -> None:
    """The version that is meant now, and the words that find it; what is retired is not found."""
    row = rows.meant(tx, workflow)
    words = {} if row.state == RETIRED else counts_of(document_of(tx, call, row))
    rows.set_current(tx, call.workspace, workflow, row.id, words)


def _designer(document: WorkflowDocument) -> str:
    by = document.designed_by
    return f"person:{by.person}" if by.person else by.model or ""


def _definitions(document: WorkflowDocument) -> list[tuple[str, Acceptance]]:
    """Every schema and condition with its path. What every plain step is asked is known to be right."""
    schemas = [("$.inputs", document.inputs), ("$.outputs", document.outputs)]
    conditions = [(f"$.edge_cases[{index}].matches", case.matches) for index, case in enumerate(document.edge_cases)]
    for step in walk(document.steps):
        schemas.append((f"step {step.id}: output_schema", step.output_schema))
        conditions.append((f"step {step.id}: when", step.when))
        conditions += [(f"step {step.id}: cases[{index}].when", case.when) for index, case in enumerate(step.cases)]
        for index, check in enumerate(step.checks):
            schemas.append((f"step {step.id}: checks[{index}].schema", check.schema))
            conditions.append((f"step {step.id}: checks[{index}].expression", check.expression))
    found = [(path, Acceptance(schema=schema)) for path, schema in schemas if schema is not None]
    known = NOT_EMPTY["expression"]
    return found + [(path, Acceptance(checks=[text])) for path, text in conditions if text and text != known]
