"""Escalations as rows."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.store import lists
from agentmemo.store.blobs import Packed, packed_row
from agentmemo.store.database import Transaction


class EscalationRow(NamedTuple):
    """The columns of an escalation, in the order of the queries."""

    id: int
    handle: str
    workspace: int
    collapse_key: str | None
    digest: str
    action_digest: str | None
    state: str
    revision: int
    kind: str
    severity: str
    rank: int
    reason: str
    asker: int
    run: str | None
    step: str | None
    irreversible: int
    policy: str
    fallback: str
    deadline: int
    warned: int
    lapsed_at: int | None
    climb: int
    climb_at: int | None
    due_at: int | None
    holder: int | None
    held_at: int | None
    hold_until: int | None
    extended: int
    assignee: int | None
    occurrences: int
    last_at: int
    decision: str | None
    answer: str | None
    execute_by: int | None
    uses: int
    redeemed: str | None
    supersedes: str | None
    superseded_by: str | None
    created_at: int
    updated_at: int
    ended_at: int | None
    pruned: int
    inhibited_by: str | None
    inhibited_rule: str | None
    ended_reason: str


class WaiterRow(NamedTuple):
    id: int
    escalation: int
    key: str | None
    implicit: int
    waits: int
    actor: int
    run: str | None
    step: str | None
    state: str
    attempts: int
    error: str
    created_at: int
    updated_at: int


def get(tx: Transaction, workspace: int, handle: str) -> EscalationRow | None:
    row = tx.one("escalation_get", workspace=workspace, handle=handle)
    return EscalationRow(*row) if row else None


def listed(
    tx: Transaction, workspace: int, before: int, limit: int, *, state: str | None, run: str | None
) -> list[EscalationRow]:
    """The newest questions that fit both filters."""
    wanted = {"workspace": workspace, "before": before, "limit": limit}
    if run is not None:
        found = tx.all("escalation_list_of_run", **wanted, run=run, state=state)
    elif state is not None:
        found = tx.all("escalation_list_of_state", **wanted, state=state)
    else:
        found = lists.all_before(tx, "escalation_list", **wanted)
    return [EscalationRow(*row) for row in found]


def of_key(tx: Transaction, workspace: int, key: str) -> EscalationRow | None:
    """The one that was asked under a replay key."""
    row = tx.one("escalation_of_waiter", workspace=workspace, key=key)
    return EscalationRow(*row) if row else None


def same(tx: Transaction, workspace: int, collapse_key: str) -> EscalationRow | None:
    """The undecided one that asks the same."""
    row = tx.one("escalation_same", workspace=workspace, collapse_key=collapse_key)
    return EscalationRow(*row) if row else None


def waiter(tx: Transaction, workspace: int, key: str) -> WaiterRow | None:
    row = tx.one("waiter_find", workspace=workspace, key=key)
    return WaiterRow(*row) if row else None


def waiters(tx: Transaction, escalation: int) -> list[WaiterRow]:
    return [WaiterRow(*row) for row in tx.all("waiter_of", escalation=escalation)]


def waiters_of_run(tx: Transaction, run: str) -> list[WaiterRow]:
    """Those of a run whose answers its code does not have yet."""
    return [WaiterRow(*row) for row in tx.all("waiter_of_run", run=run)]


def question(tx: Transaction, escalation: int) -> Packed | None:
    row = tx.one("escalation_value_get", escalation=escalation, field="question")
    return packed_row(row) if row else None
