"""Proposals: a few edits to a version, kept as a draft that is held to all that worked before."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.engine import workflows
from agentmemo.engine.call import Call
from agentmemo.engine.packing import packed_content
from agentmemo.engine.regressions import regressions
from agentmemo.model import repairs as model
from agentmemo.model.workflow_edits import apply, read_edits
from agentmemo.model.workflow_rules import designer_of
from agentmemo.model.workflow_versions import CreateWorkflow, Workflow
from agentmemo.model.workflows import DesignedBy, canonical
from agentmemo.store import cases as rows
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction


class Draft(NamedTuple):
    """The document that the edits make, packed."""

    packed: Packed
    untrusted: bool


def consider(call: Call, request: model.Propose) -> None:
    """Before the transaction: make the edits, and check what they make. What is refused is refused here."""
    found = call.engine.database.read(lambda tx: workflows.find(tx, call, request.name, request.version))
    document = apply(
        found.document,
        read_edits(request.edits),
        designed_by=_designer(call, request),
        reason=request.reason,
        source=request.source,
        tools=request.tools,
        by_person=call.caller.kind == workflows.PERSON,
    )
    workflows.check_definitions(call, document)
    packed = packed_content(call, canonical(document), document, "document")
    # What came in from elsewhere stays so, whoever edits it, until a person moves it.
    call.decisions[request.name] = Draft(packed, bool(found.row.untrusted))


def propose(tx: Transaction, call: Call, request: model.Propose) -> Workflow:
    draft: Draft = call.decisions[request.name]
    return workflows.create(tx, call, CreateWorkflow(document=draft.packed, untrusted=draft.untrusted))


def get_regressions(tx: Transaction, call: Call, request: model.GetRegressions) -> model.Regressions:
    found = workflows.find(tx, call, request.name, request.version)
    against = regressions(tx, call, found.document)
    own = rows.tried_of_version(tx, call.workspace, request.name, found.row.version)
    tried = len({row.digest for row in own})
    return model.Regressions(
        workflow=request.name,
        version=found.row.version,
        parent=found.row.parent,
        tried=tried,
        found=against,
        text=model.in_words(found.row.version, tried, against),
    )


def _designer(call: Call, request: model.Propose) -> DesignedBy:
    """Who thought of the edits: whoever calls, where nobody is named."""
    if request.designed_by is not None:
        return designer_of(request.designed_by)
    caller = call.caller
    return DesignedBy(person=caller.name) if caller.kind == workflows.PERSON else DesignedBy(model=caller.name)
