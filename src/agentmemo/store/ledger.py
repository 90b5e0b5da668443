"""The ledger as rows."""

from __future__ import annotations

from typing import Any, NamedTuple

from agentmemo.store.database import Transaction

SINCE_EVER, FOR_EVER = 0, 2**62


class UsageRow(NamedTuple):
    """The columns of a usage, in the order of the queries."""

    id: int
    handle: str
    digest: str
    state: str
    role: str
    agent: int
    workflow: str | None
    version: str | None
    run: str | None
    step: str | None
    attempt: int
    rung: int | None
    epoch: int | None
    model: str
    model_served: str | None
    input_max: int | None
    output_max: int | None
    input_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    price: str | None
    served_price: str | None
    worst_nanousd: int | None
    nanousd: int | None
    counted_nanousd: int | None
    source: str | None
    request_id: str | None
    outcome: str | None
    at: int
    ended_at: int | None


class CapRow(NamedTuple):
    scope: str
    per: str
    nanousd: int | None
    author: int
    at: int


class Spent(NamedTuple):
    """What counts so far, in money and in tokens."""

    nanousd: int = 0
    tokens: int = 0


def get(tx: Transaction, workspace: int, handle: str) -> UsageRow | None:
    row = tx.one("usage_get", workspace=workspace, handle=handle)
    return UsageRow(*row) if row else None


def caps_of(tx: Transaction, workspace: int, scopes: dict[str, Any]) -> list[CapRow]:
    """The caps that a call of these scopes counts against."""
    return [CapRow(*row) for row in tx.all("ledger_cap_of", workspace=workspace, **scopes)]


def spent(tx: Transaction, workspace: int, scope: str, per: str, period: str) -> Spent | None:
    row = tx.one("ledger_spent_get", workspace=workspace, scope=scope, per=per, period=period)
    return Spent(*row) if row else None


def set_aside(tx: Transaction, workspace: int, run: str) -> Spent:
    """What the reservations of a run that are open hold."""
    return Spent(*(tx.one("usage_set_aside", workspace=workspace, run=run) or ()))


def of_step(tx: Transaction, workspace: int, run: str, step: str) -> int:
    row = tx.one("usage_of_step", workspace=workspace, run=run, step=step)
    return row[0] if row else 0
