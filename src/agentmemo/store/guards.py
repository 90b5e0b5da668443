"""Decisions of guards as rows."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.store.database import Transaction


class GuardedRow(NamedTuple):
    """The columns of a decision, in the order of the queries."""

    id: int
    actor: int
    tool: str
    verdict: str
    rule: str | None
    version: int | None
    digest: str
    reversible: int
    escalation: str | None
    at: int


class ReviewRow(NamedTuple):
    """A decision that people look at afterwards."""

    id: int
    actor: int
    tool: str
    verdict: str
    rule: str
    version: int
    review: str
    at: int
    objector: int | None
    objected_at: int | None


class AnsweredRow(NamedTuple):
    """A question that a guard asked, as a person answered it."""

    id: int
    handle: str
    answer: str
    tool: str
    pattern: str
    asker: int


def get(tx: Transaction, number: int) -> GuardedRow | None:
    row = tx.one("guarded_get", id=number)
    return GuardedRow(*row) if row else None


def of_key(tx: Transaction, workspace: int, key: str) -> GuardedRow | None:
    """The decision that was made at a place of a run."""
    row = tx.one("guarded_of_key", workspace=workspace, key=key)
    return GuardedRow(*row) if row else None


def reviews(tx: Transaction, workspace: int, before: int, limit: int) -> list[ReviewRow]:
    """Newest first."""
    found = tx.all("guarded_reviews", workspace=workspace, before=before, limit=limit)
    return [ReviewRow(*row) for row in found]


def review(tx: Transaction, number: int) -> ReviewRow | None:
    row = tx.one("guarded_review", id=number)
    return ReviewRow(*row) if row else None


def answered(tx: Transaction, workspace: int, limit: int) -> list[AnsweredRow]:
    """Questions about reversible calls that people decided, newest first."""
    return [AnsweredRow(*row) for row in tx.all("guarded_answered", workspace=workspace, limit=limit)]


def uses(tx: Transaction, workspace: int) -> dict[str, int]:
    """By `document/rule`, how often it has decided."""
    return dict(tx.all("rule_uses", workspace=workspace))
