"""Cases of workflows, and trials on them, as rows."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction

NEWEST = 1 << 60
# Behind every hexadecimal digit.
_AFTER_DIGITS = "g"


class CaseRow(NamedTuple):
    """The columns of a case, in the order of the queries."""

    id: int
    digest: str
    step: str | None
    source: str
    author: int
    created_at: int
    removed_at: int | None
    size: int
    codec: int
    value: bytes | None
    blob: bytes | None


class Known(NamedTuple):
    digest: str
    step: str | None
    source: str


class TrialRow(NamedTuple):
    """`plan` is JSON."""

    run: int
    handle: str
    workflow: str
    version: str
    plan: str


class TriedRow(NamedTuple):
    """What came of one case. `step` is empty for the whole workflow; `problems` and `edge_cases` are JSON."""

    id: int
    step: str
    step_hash: str
    model: str
    served_model: str | None
    digest: str
    input_hash: str
    verdict: str
    failed_check: str | None
    problems: str
    edge_cases: str
    nanousd: int | None
    execution: str | None
    at: int


class FailedAttempt(NamedTuple):
    """`problems` and `checks` are JSON."""

    id: int
    execution: str
    version: str
    path: str
    step: str
    number: int
    model: str | None
    verdict: str
    problems: str
    checks: str
    at: int


class FailedCase(NamedTuple):
    id: int
    trial: str
    version: str
    step: str
    model: str
    digest: str
    verdict: str
    failed_check: str | None
    problems: str
    at: int


def add(
    tx: Transaction, workspace: int, workflow: str, packed: Packed, *, digest: str, step: str | None, source: str,
    author: int,
) -> None:  # fmt: skip
    """Keep a case; one that was removed comes back."""
    tx.write(
        "case_add",
        workspace=workspace,
        workflow=workflow,
        digest=digest,
        step=step,
        source=source,
        author=author,
        now=tx.now,
        **packed.columns(),
    )


def by_digest(tx: Transaction, workspace: int, workflow: str, digits: str) -> list[CaseRow]:
    """Up to two cases whose digest begins so, removed ones too."""
    found = tx.all("case_get", workspace=workspace, workflow=workflow, low=digits, high=digits + _AFTER_DIGITS)
    return [CaseRow(*row) for row in found]


def page(tx: Transaction, workspace: int, workflow: str, *, step: str | None, before: int, limit: int) -> list[CaseRow]:
    found = tx.all("case_list", workspace=workspace, workflow=workflow, step=step, before=before, limit=limit)
    return [CaseRow(*row) for row in found]


def known(tx: Transaction, workspace: int, workflow: str) -> list[Known]:
    """All that were not removed, by digest."""
    return [Known(*row) for row in tx.all("case_digests", workspace=workspace, workflow=workflow)]


def trial(tx: Transaction, workspace: int, handle: str) -> TrialRow | None:
    row = tx.one("trial_get", workspace=workspace, handle=handle)
    return TrialRow(*row) if row else None


def trials(tx: Transaction, workspace: int, workflow: str | None, *, before: int, limit: int) -> list[TrialRow]:
    found = tx.all("trial_list", workspace=workspace, workflow=workflow, before=before, limit=limit)
    return [TrialRow(*row) for row in found]


def tried(tx: Transaction, run: int) -> list[TriedRow]:
    """What came of a trial's cases so far, in the order they were tried."""
    return [TriedRow(*row) for row in tx.all("trial_case_list", run=run)]


def tried_of_version(tx: Transaction, workspace: int, workflow: str, version: str) -> list[TriedRow]:
    found = tx.all("trial_case_of_version", workspace=workspace, workflow=workflow, version=version)
    return [TriedRow(*row) for row in found]


def cost(tx: Transaction, workspace: int, run: str) -> int | None:
    """What the calls of a run cost; None where a price is missing."""
    calls, total, unpriced = tx.one("trial_cost", workspace=workspace, run=run) or (0, 0, 0)
    return None if unpriced else (total if calls else 0)


def failed_attempts(
    tx: Transaction, workspace: int, workflow: str, version: str | None, limit: int
) -> list[FailedAttempt]:
    """Newest first."""
    found = tx.all("attempt_failures", workspace=workspace, workflow=workflow, version=version, limit=limit)
    return [FailedAttempt(*row) for row in found]


def failed_cases(tx: Transaction, workspace: int, workflow: str, version: str | None, limit: int) -> list[FailedCase]:
    """Newest first."""
    found = tx.all("trial_failures", workspace=workspace, workflow=workflow, version=version, limit=limit)
    return [FailedCase(*row) for row in found]
