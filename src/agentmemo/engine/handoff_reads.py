"""Reading handoffs: one, lists, what waits for a receiver, what a sender has to hear, and what came of what."""

from __future__ import annotations

from collections.abc import Callable

from agentmemo.engine import audit
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.handoff_create import is_known
from agentmemo.engine.handoff_moves import existing
from agentmemo.engine.handoff_views import brief_view, view
from agentmemo.engine.handoffs import addresses_of
from agentmemo.engine.state import check_limit, entry_view
from agentmemo.errors import PermissionDenied
from agentmemo.model import handoffs as model
from agentmemo.model import state as state_model
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.store import handoffs as rows
from agentmemo.store import state as state_rows
from agentmemo.store.database import Transaction

NEWEST = 1 << 60
# Events that a look for what is new goes through; who is further behind is told everything.
LOOKED_AT = 2000


def get(tx: Transaction, call: Call, request: model.GetHandoff) -> model.Handoff:
    row = existing(tx, call, request.handoff)
    return view(tx, call, row, known=is_known(tx, call, row.address))


def find(tx: Transaction, call: Call, request: model.FindHandoff) -> model.Handoff:
    row = rows.find(tx, call.workspace, request.key)
    if row is None:
        raise not_found("handoff", request.key)
    return view(tx, call, row, known=is_known(tx, call, row.address))


def list_(tx: Transaction, call: Call, request: model.ListHandoffs) -> Page:
    limit = check_limit(request.limit)
    address = model.read_address(request.to) if request.to else None
    sender = call.engine.names.find_actor(tx, call.workspace, request.sender) if request.sender else None
    if request.sender and sender is None:
        return Page(items=[])
    bound = [request.state, request.to, request.sender, request.root, request.brief]
    before = read_cursor(request.cursor, "handoff.list", bound, NEWEST)
    found = rows.listed(
        tx,
        call.workspace,
        before,
        limit + 1,
        state=request.state,
        address=address,
        sender=sender,
        root=request.root,
    )
    show = brief_view if request.brief else view
    return _page(tx, call, found, limit, lambda row: make_cursor("handoff.list", bound, row.id), show)


def pending(tx: Transaction, call: Call, request: model.ListPending) -> Page:
    """In the order in which it would be claimed; a page is a look at now, so the cursor is a number of rows."""
    if (since := _since(tx, call, request.after)) is not None:
        addresses = addresses_of(tx, call)
        offered = [row for row in since if rows.is_offered(tx, row, addresses, call.actor)]
        return Page(items=[view(tx, call, row) for row in offered])
    limit = check_limit(request.limit)
    skipped = read_cursor(request.cursor, "handoff.pending", None, 0)
    found = rows.offered(tx, call.workspace, addresses_of(tx, call), call.actor, skipped + limit + 1)[skipped:]
    cursor = make_cursor("handoff.pending", None, skipped + limit) if len(found) > limit else None
    return Page(items=[view(tx, call, row) for row in found[:limit]], cursor=cursor)


def notices(tx: Transaction, call: Call, request: model.ListNotices) -> Page:
    if (since := _since(tx, call, request.after)) is not None:
        told = [row for row in since if row.sender == call.actor and row.notice_at and not row.received_at]
        return Page(items=[view(tx, call, row) for row in told])
    limit = check_limit(request.limit)
    at, after = read_cursor(request.cursor, "handoff.notices", None, [0, 0])
    found = tx.all("handoff_notices", workspace=call.workspace, sender=call.actor, at=at, after=after, limit=limit + 1)
    kept = [rows.HandoffRow(*row) for row in found]
    return _page(tx, call, kept, limit, lambda row: make_cursor("handoff.notices", None, [row.notice_at, row.id]))


def lineage(tx: Transaction, call: Call, request: model.ListLineage) -> Page:
    limit = check_limit(request.limit)
    root = existing(tx, call, request.handoff).root
    after = read_cursor(request.cursor, "handoff.lineage", root, 0)
    found = tx.all("handoff_lineage", workspace=call.workspace, root=root, after=after, limit=limit + 1)
    kept = [rows.HandoffRow(*row) for row in found]
    return _page(tx, call, kept, limit, lambda row: make_cursor("handoff.lineage", root, row.id))


def reference(tx: Transaction, call: Call, request: model.ReadReference) -> state_model.Entry:
    """The claim is the grant: exactly what the package names, at the version it names."""
    row = existing(tx, call, request.handoff)
    holds = row.state in (model.CLAIMED, model.SUBMITTED) and row.holder == call.actor
    if not holds and row.sender != call.actor:
        raise PermissionDenied(
            f"{call.caller.actor} does not hold handoff {row.handle}.",
            why="A claim grants its references, as long as it lasts.",
            next_call=f"Claim it first: agent.handoff.claim('{row.handle}').",
            details={"handoff": row.handle},
        )
    for namespace, key, version, _ in tx.all("handoff_references", handoff=row.id):
        if (namespace, key) == (request.namespace, request.key):
            number = call.namespace(tx, namespace)
            found = state_rows.get_version(tx, number, key, version) if number is not None else None
            if found is not None:
                return entry_view(tx, call, namespace, found)
    raise not_found("reference", f"{request.namespace}/{request.key}", f"agent.handoff.get({row.handle!r})")


def _since(tx: Transaction, call: Call, after: int | None) -> list[rows.HandoffRow] | None:
    """The handoffs that something has happened to after a revision, told by the trail; None when that is too much."""
    if after is None:
        return None
    low, last = audit.span_after(tx, call, after)
    if last - low > LOOKED_AT:
        return None
    streams = tx.all("event_handoffs", after=low, last=last)
    found = (rows.get(tx, call.workspace, stream) for (stream,) in streams)
    return sorted((row for row in found if row is not None), key=lambda row: row.id)


def _page(
    tx: Transaction,
    call: Call,
    found: list[rows.HandoffRow],
    limit: int,
    cursor: Callable[[rows.HandoffRow], str],
    show: Callable[[Transaction, Call, rows.HandoffRow], model.Handoff] = view,
) -> Page:
    kept = found[:limit]
    items = [show(tx, call, row) for row in kept]
    return Page(items=items, cursor=cursor(kept[-1]) if len(found) > limit else None)
