"""Reading the ledger: rows, and their sums."""

from __future__ import annotations

import msgspec

from agentmemo import ids
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.state import check_limit
from agentmemo.model import ledger as model
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.prices import Price, Usage, day_of
from agentmemo.store import ledger as rows
from agentmemo.store.audit import position_range
from agentmemo.store.database import Transaction

NEWEST = 2**62
GROUPS_MAX = 1000
_DAY_US = 86_400_000_000
_price_decoder = msgspec.json.Decoder(Price)


def existing_usage(tx: Transaction, call: Call, handle: str) -> rows.UsageRow:
    """The row of a handle or of a prefix of one that is unique. Raises NotFound."""
    row = rows.get(tx, call.workspace, handle)
    prefix = f"{model.HANDLE_PREFIX}_"
    if row is None and len(handle.removeprefix(prefix)) >= ids.SHORTEST_PREFIX:
        low = handle if handle.startswith(prefix) else f"{prefix}{handle}"
        found = tx.all("usage_handles", workspace=call.workspace, low=low, high=low + "~")
        if len(found) == 1:
            row = rows.get(tx, call.workspace, found[0][0])
    if row is None:
        raise not_found("usage", handle)
    return row


def get(tx: Transaction, call: Call, request: model.GetUsage) -> model.LedgerRow:
    return view(tx, call, existing_usage(tx, call, request.id))


def list_(tx: Transaction, call: Call, request: model.ListUsage) -> Page:
    limit = check_limit(request.limit)
    bound = [getattr(request, name) for name in request.__struct_fields__ if name not in ("cursor", "limit")]
    before = read_cursor(request.cursor, "ledger.list", bound, NEWEST)
    agent = call.engine.names.find_actor(tx, call.workspace, request.agent) if request.agent else None
    if request.agent and agent is None:
        return Page(items=[])
    low, high = position_range(call.workspace)
    wanted = {
        "workspace": call.workspace,
        "low": low,
        "before": min(before, high + 1),
        "workflow": request.workflow,
        "agent": agent,
        "model": request.model,
        "role": request.role,
        "state": request.state,
        "since": rows.SINCE_EVER if request.since is None else request.since,
        "until": rows.FOR_EVER if request.until is None else request.until,
        "limit": limit + 1,
    }
    listed = (
        tx.all("usage_list", **wanted)
        if request.run is None
        else tx.all("usage_list_of_run", **wanted, run=request.run)
    )
    found = [rows.UsageRow(*row) for row in listed]
    cursor = make_cursor("ledger.list", bound, found[limit - 1].id) if len(found) > limit else None
    return Page(items=[view(tx, call, row) for row in found[:limit]], cursor=cursor)


def totals(tx: Transaction, call: Call, request: model.GetTotals) -> model.Totals:
    """Sums by one thing, the dearest first. What is known and what is counted at the worst case are never mixed."""
    agent = call.engine.names.find_actor(tx, call.workspace, request.agent) if request.agent else None
    found = (
        []
        if request.agent and agent is None
        else tx.all(
            "usage_totals",
            by=request.by,
            workspace=call.workspace,
            workflow=request.workflow,
            run=request.run,
            agent=agent,
            since=rows.SINCE_EVER if request.since is None else request.since,
            until=rows.FOR_EVER if request.until is None else request.until,
            limit=GROUPS_MAX,
        )
    )
    figures = [field for field in model.Total.__struct_fields__ if field != "name"]
    groups = [
        model.Total(name=_group(tx, call, request.by, row[0]), **dict(zip(figures, row[1:], strict=True)))
        for row in found
    ]
    whole = {field: sum(getattr(group, field) for group in groups) for field in figures}
    if request.by != "day":
        groups.sort(key=lambda group: (-group.nanousd - group.open_nanousd, group.name))
    return model.Totals(by=request.by, groups=groups, whole=model.Total(name="", **whole))


def _group(tx: Transaction, call: Call, by: str, name: str) -> str:
    if by == "agent":
        return call.engine.names.actor_name(tx, call.workspace, int(name))
    return day_of(int(name) * _DAY_US) if by == "day" else name


def usage_of(row: rows.UsageRow) -> Usage | None:
    if row.input_tokens is None:
        return None
    return Usage(
        input_tokens=row.input_tokens,
        cached_input_tokens=row.cached_input_tokens or 0,
        cache_write_tokens=row.cache_write_tokens or 0,
        output_tokens=row.output_tokens or 0,
    )


def view(tx: Transaction, call: Call, row: rows.UsageRow) -> model.LedgerRow:
    # Where another model was served that nobody has a price of, the requested one's did not rule.
    price = None if row.state == model.SETTLED and row.nanousd is None else row.served_price or row.price
    expected = model.UNKNOWN if row.worst_nanousd is None else model.ESTIMATED
    return model.LedgerRow(
        id=row.handle,
        state=row.state,
        role=row.role,
        agent=call.engine.names.actor_name(tx, call.workspace, row.agent),
        model=row.model,
        at=row.at,
        source=row.source or expected,
        model_served=row.model_served,
        usage=usage_of(row),
        nanousd=row.nanousd,
        counted_nanousd=row.counted_nanousd,
        worst_nanousd=row.worst_nanousd,
        price=_price_decoder.decode(price) if price else None,
        workflow=row.workflow,
        version=row.version,
        run=row.run,
        step=row.step,
        attempt=row.attempt,
        rung=row.rung,
        request_id=row.request_id,
        ended_at=row.ended_at,
    )
