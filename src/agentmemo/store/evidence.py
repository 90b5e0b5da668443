"""Evidence as rows: candidates, what counts of each of their inputs, and comparisons."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.store.database import Transaction


class EvidenceRow(NamedTuple):
    """The columns of a candidate, in the order of the queries. `reasons` and `watch` are JSON.

    `successes`, `failures` and `abstained` are all there were; `inputs` and `tested_*` are those that count before a
    decision. `above` is the model of the top rung, `called` what the provider calls this one.
    """

    id: int
    subject: str
    source: str
    model: str
    served: str
    workflow: str
    step: str
    standing: str
    reasons: str
    since: int
    last_at: int
    successes: int
    failures: int
    abstained: int
    inputs: int
    tested_successes: int
    tested_failures: int
    trials: int
    planned: int | None
    watch: str | None
    above: str
    called: str
    calls: int
    input_tokens: int
    output_tokens: int


class ComparisonRow(NamedTuple):
    """An answer that is, or was, to be compared. `frames` is JSON: where the execution stood at the step."""

    id: int
    run: int
    path: str
    role: str
    number: int
    evidence: int
    model: str
    version: str
    frames: str
    input_hash: str
    verdict: str
    reason: str
    at: int


# What makes a candidate one, and stays.
_KEY = ("id", "subject", "source", "model", "served")


def get(tx: Transaction, workspace: int, subject: str, source: str, model: str, served: str) -> EvidenceRow | None:
    row = tx.one("evidence_get", workspace=workspace, subject=subject, source=source, model=model, served=served)
    return EvidenceRow(*row) if row else None


def by_id(tx: Transaction, number: int) -> EvidenceRow:
    row = tx.one("evidence_by_id", id=number)
    assert row is not None  # noqa: S101 - candidates stay
    return EvidenceRow(*row)


def of_subject(tx: Transaction, workspace: int, subject: str) -> list[EvidenceRow]:
    """Every candidate for what a step asks, or of a version; whoever was met last comes first."""
    return [EvidenceRow(*row) for row in tx.all("evidence_of_subject", workspace=workspace, subject=subject)]


def add(tx: Transaction, workspace: int, row: EvidenceRow) -> EvidenceRow:
    """A new candidate. Its number comes from the database."""
    given = row._asdict()
    del given["id"]
    tx.write("evidence_add", workspace=workspace, **given)
    made = get(tx, workspace, row.subject, row.source, row.model, row.served)
    assert made is not None  # noqa: S101 - it was just written
    return made


def set_(tx: Transaction, row: EvidenceRow) -> EvidenceRow:
    given = row._asdict()
    tx.write("evidence_set", **{name: value for name, value in given.items() if name == "id" or name not in _KEY})
    return row


def comparison(tx: Transaction, run: int, path: str, role: str) -> ComparisonRow | None:
    row = tx.one("comparison_get", run=run, path=path, role=role)
    return ComparisonRow(*row) if row else None
