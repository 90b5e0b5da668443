"""Handoffs as their readers see them."""

from __future__ import annotations

import msgspec

from agentmemo.clock import SECOND
from agentmemo.engine.call import Call
from agentmemo.engine.handoff_moves import existing, ladder_of, name_of, package_of
from agentmemo.model import handoffs as model
from agentmemo.model.runs import Budget
from agentmemo.model.values import decode
from agentmemo.store import blobs
from agentmemo.store import handoffs as rows
from agentmemo.store.database import Transaction

ATTEMPTS_SHOWN = 20
WITH_RESULT = (model.SUBMITTED, model.COMPLETED, model.DEAD, model.CANCELLED)
_chain_decoder = msgspec.json.Decoder(list[str])
_budget_decoder = msgspec.json.Decoder(Budget)


def changed(tx: Transaction, call: Call, row: rows.HandoffRow) -> model.Handoff:
    """The handoff as this transaction has left it."""
    return view(tx, call, existing(tx, call, row.handle))


def view(
    tx: Transaction,
    call: Call,
    row: rows.HandoffRow,
    *,
    package: blobs.Packed | None = None,
    result: blobs.Packed | None = None,
    known: bool = True,
    history: bool = True,
) -> model.Handoff:
    """The handoff as its readers see it; a package or result that is at hand is not read again."""
    carried = package_of(tx, row, package)
    kind, _, name = row.address.partition(":")
    return model.Handoff(
        id=row.handle,
        key=row.key,
        state=row.state,
        from_agent=name_of(tx, call, row.sender),
        to_agent=name if kind == "agent" else None,
        to_capability=name if kind == "capability" else None,
        to_queue=name if kind == "queue" else None,
        goal=carried.goal,
        workflow=carried.workflow,
        workflow_version=carried.workflow_version,
        context=carried.context,
        references=_references(tx, row, carried.references) if carried.references else [],
        artifacts=carried.artifacts,
        constraints=carried.constraints,
        acceptance=carried.acceptance,
        tried=carried.tried,
        unverified=carried.unverified,
        budget=_budget_decoder.decode(row.budget) if row.budget else None,
        on_behalf_of=_chain_decoder.decode(row.behalf),
        priority=row.priority,
        epoch=row.epoch,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        attempts=_attempts(tx, call, row) if history and _has_history(row) else [],
        holder=name_of(tx, call, row.holder) if row.holder is not None else None,
        worker=row.worker,
        run=row.run,
        wake=row.wake,
        percent=row.percent,
        progress=row.progress,
        reason=row.reason,
        result=result.original if result is not None else _result(tx, row),
        known=known,
        parent=row.parent,
        root=row.root,
        hops=len(_chain_decoder.decode(row.path)) - 1,
        verifies=row.verifies,
        ladder=[model.rung_of(after / SECOND, address) for after, address in ladder_of(row)],
        rung=row.rung,
        available_at=row.available_at,
        offered_at=row.offered_at,
        due_at=row.due_at,
        complete_by=row.complete_by,
        claimed_at=row.claimed_at,
        escalated_at=row.escalated_at,
        notice_at=row.notice_at,
        received_at=row.received_at,
        ended_at=row.ended_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def brief_view(tx: Transaction, call: Call, row: rows.HandoffRow) -> model.Handoff:
    """The handoff as its row tells it; nothing else is read."""
    told = model.Package(goal=row.goal, workflow=row.workflow)
    package = msgspec.structs.replace(blobs.NOTHING, original=told)
    return view(tx, call, row, package=package, result=blobs.NOTHING, history=False)


def _has_history(row: rows.HandoffRow) -> bool:
    """Whether there may be turns without a result: of most handoffs there are none, and no read is made for them."""
    return row.epoch > (row.state in (model.CLAIMED, model.SUBMITTED, model.COMPLETED))


def _result(tx: Transaction, row: rows.HandoffRow) -> object:
    """Of what was completed at some time; nothing is read for a handoff that never was."""
    packed = rows.result(tx, row.id) if row.state in WITH_RESULT else None
    content = blobs.unpack(tx, row.workspace, packed.codec, packed.value, packed.blob) if packed else b""
    return decode(content) if content else None


def _references(tx: Transaction, row: rows.HandoffRow, given: list[model.Reference]) -> list[model.Reference]:
    """As they were pinned, in the sender's order."""
    order = {(each.namespace, each.key): place for place, each in enumerate(given)}
    pinned = [
        model.Reference(namespace=namespace, key=key, version=version, digest=digest)
        for namespace, key, version, digest in tx.all("handoff_references", handoff=row.id)
    ]
    return sorted(pinned, key=lambda each: order[each.namespace, each.key])


def _attempts(tx: Transaction, call: Call, row: rows.HandoffRow) -> list[model.Attempt]:
    """The newest turns that did not end in a result, oldest first."""
    found = [
        model.Attempt(
            epoch=epoch,
            holder=name_of(tx, call, holder),
            started_at=started_at,
            ended_at=ended_at,
            outcome=outcome,
            reason=reason,
        )
        for epoch, holder, started_at, ended_at, outcome, reason in tx.all(
            "handoff_attempts", handoff=row.id, limit=ATTEMPTS_SHOWN
        )
    ]
    return found[::-1]
