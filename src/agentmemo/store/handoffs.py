"""Handoffs as rows."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agentmemo.model.handoffs import COMPLETED, UNFINISHED
from agentmemo.store import lists
from agentmemo.store.blobs import NOTHING, Packed, packed_row
from agentmemo.store.database import Read, Row, Transaction


class HandoffRow(msgspec.Struct, frozen=True, gc=False):
    """The columns of a handoff, in the order of the queries. Replacing one of so many is dear in a named tuple."""

    id: int
    handle: str
    workspace: int
    key: str | None
    digest: str
    state: str
    wake: str | None
    sender: int
    address: str
    priority: int
    turn: int
    offered: int
    available_at: int
    offered_at: int | None
    epoch: int
    attempt: int
    max_attempts: int
    holder: int | None
    worker: str | None
    run: str | None
    limited: int
    ladder: str
    rung: int
    due_at: int | None
    complete_by: int | None
    progress_us: int | None
    progress_at: int | None
    late: int
    percent: float | None
    progress: str
    reason: str
    goal: str
    workflow: str | None
    checked: int
    parent: str | None
    root: str
    path: str
    behalf: str
    budget: str | None
    verifies: str | None
    sender_run: str | None
    claimed_at: int | None
    escalated_at: int | None
    notice_at: int | None
    received_at: int | None
    ended_at: int | None
    pruned: int
    created_at: int
    updated_at: int


class LimitRow(NamedTuple):
    address: str
    concurrency: int | None
    held: int
    rate: int | None
    per_us: int
    tokens: float
    filled_at: int


def get(tx: Transaction, workspace: int, handle: str) -> HandoffRow | None:
    row = tx.one("handoff_get", workspace=workspace, handle=handle)
    return HandoffRow(*row) if row else None


def find(tx: Transaction, workspace: int, key: str) -> HandoffRow | None:
    row = tx.one("handoff_find", workspace=workspace, key=key)
    return HandoffRow(*row) if row else None


def listed(
    tx: Transaction,
    workspace: int,
    before: int,
    limit: int,
    *,
    state: str | None,
    address: str | None,
    sender: int | None,
    root: str | None,
) -> list[HandoffRow]:
    """The newest handoffs that fit every filter; `state` is one of the nine, `unfinished` or `escalated`."""
    wanted = {"workspace": workspace, "before": before, "address": address, "sender": sender, "root": root}
    if state == "unfinished" and root is None:
        found = lists.in_states(tx, "handoff_list_of_state", UNFINISHED, limit, wanted)
    elif state is None and root is None and address is None and sender is None:
        found = lists.all_before(tx, "handoff_list", workspace, before, limit)
    else:
        found = tx.all(_listing(state, address, sender, root), **wanted, state=state, limit=limit)
    return [HandoffRow(*row) for row in found]


def _listing(state: str | None, address: str | None, sender: int | None, root: str | None) -> str:
    """The query of a list: of several filters that one goes first that most often is met by few."""
    if state == "escalated":
        return "handoff_list_escalated"
    if root is not None:
        return "handoff_list_of_root"
    if state is not None and (state != COMPLETED or (address is None and sender is None)):
        return "handoff_list_of_state"
    return "handoff_list_of_sender" if address is None else "handoff_list_of_address"


def offered(tx: Transaction, workspace: int, addresses: list[str], actor: int, limit: int) -> list[HandoffRow]:
    """What waits at these addresses and was not declined there by this actor, in the order of claiming."""
    return in_order(tx.fetch(*offered_reads(tx, workspace, addresses, actor, limit)) if addresses else [], limit)


def offered_reads(tx: Transaction, workspace: int, addresses: list[str], actor: int, limit: int) -> list[Read]:
    about = {"workspace": workspace, "actor": actor, "now": tx.now, "limit": limit}
    return [("handoff_offered", {"address": address, **about}) for address in addresses]


def is_offered(tx: Transaction, row: HandoffRow, addresses: list[str], actor: int) -> bool:
    """Whether `offered` would find it."""
    if not row.offered or row.address not in addresses:
        return False
    return tx.one("handoff_refused", handoff=row.id, actor=actor, address=row.address) is None


def refusing(tx: Transaction, rows: list[HandoffRow]) -> list[set[int]]:
    """Of each, the actors that declined it where it is addressed to: they are not asked there again."""
    found = (
        tx.fetch(*(("handoff_refusing", {"handoff": row.id, "address": row.address}) for row in rows)) if rows else []
    )
    return [{actor for (actor,) in read} for read in found]


def in_order(found: list[list[Row]], limit: int) -> list[HandoffRow]:
    """The first of several queues together."""
    queues = [[HandoffRow(*row) for row in queue] for queue in found]
    # The turns of two queues cannot be compared: what has the same place in each goes by age.
    places = [(-row.priority, place, row.id, row) for queue in queues for place, row in enumerate(queue)]
    return [row for *_, row in sorted(places)[:limit]]


def package(tx: Transaction, handle: str) -> Packed | None:
    row = tx.one("handoff_package", handle=handle)
    return packed_row(row) if row else None


def packages(tx: Transaction, handles: list[str]) -> list[Packed | None]:
    """Of several handoffs, in one round trip where the database has round trips."""
    found = tx.fetch(*(("handoff_package", {"handle": handle}) for handle in handles)) if handles else []
    return [packed_row(read[0]) if read else None for read in found]


def result(tx: Transaction, handoff: int) -> Packed | None:
    row = tx.one("handoff_result", handoff=handoff)
    return packed_row(row) if row else None


def set_value(tx: Transaction, handoff: int, field: str, packed: Packed) -> None:
    if packed is not NOTHING:
        tx.write("handoff_value_set", handoff=handoff, field=field, **packed.columns())


def addresses(tx: Transaction, workspace: int, actor: int) -> list[str]:
    """The capabilities and queues an actor announced."""
    return [address for (address,) in tx.all("handoff_addresses", workspace=workspace, actor=actor)]


def limits(tx: Transaction, workspace: int, addresses: list[str]) -> list[LimitRow]:
    """The limits of those of some receivers that have one."""
    found = tx.fetch(*limit_reads(workspace, addresses)) if addresses else []
    return [LimitRow(*row) for read in found for row in read]


def limit_reads(workspace: int, addresses: list[str]) -> list[Read]:
    return [("handoff_limit_get", {"workspace": workspace, "address": address}) for address in addresses]
