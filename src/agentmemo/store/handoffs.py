"""Handoffs as rows."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.store.blobs import NOTHING, Packed, packed_row
from agentmemo.store.database import Transaction


class HandoffRow(NamedTuple):
    """The columns of a handoff, in the order of the queries."""

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


def offered(tx: Transaction, workspace: int, addresses: list[str], limit: int) -> list[HandoffRow]:
    """What waits at these addresses, in the order of claiming."""
    reads = [
        ("handoff_offered", {"workspace": workspace, "address": address, "now": tx.now, "limit": limit})
        for address in addresses
    ]
    queues = [[HandoffRow(*row) for row in queue] for queue in tx.fetch(*reads)] if reads else []
    # The turns of two queues cannot be compared: what has the same place in each goes by age.
    places = [(-row.priority, place, row.id, row) for queue in queues for place, row in enumerate(queue)]
    return [row for *_, row in sorted(places)[:limit]]


def values(tx: Transaction, handoff: int) -> dict[str, Packed]:
    return {row[0]: packed_row(row[1:]) for row in tx.all("handoff_values", handoff=handoff)}


def set_value(tx: Transaction, handoff: int, field: str, packed: Packed) -> None:
    if packed is not NOTHING:
        tx.write("handoff_value_set", handoff=handoff, field=field, **packed.columns())


def addresses(tx: Transaction, workspace: int, actor: int) -> list[str]:
    """The capabilities and queues an actor announced."""
    return [address for (address,) in tx.all("handoff_addresses", workspace=workspace, actor=actor)]


def limits(tx: Transaction, workspace: int, addresses: list[str]) -> list[LimitRow]:
    """The limits of those of some receivers that have one."""
    reads = [("handoff_limit_get", {"workspace": workspace, "address": address}) for address in addresses]
    return [LimitRow(*row) for found in (tx.fetch(*reads) if reads else []) for row in found]
