"""Policies as rows."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.store.database import Transaction

NEWEST = 2**53


class PolicyRow(NamedTuple):
    """The columns of a version, in the order of the queries."""

    kind: str
    name: str
    version: int
    current: int
    live: int
    document: str
    author: int
    comment: str
    at: int


def current(tx: Transaction, workspace: int, kind: str, name: str) -> PolicyRow | None:
    """The newest version, be it a deletion."""
    row = tx.one("policy_current", workspace=workspace, kind=kind, name=name)
    return PolicyRow(*row) if row else None


def version(tx: Transaction, workspace: int, kind: str, name: str, number: int) -> PolicyRow | None:
    row = tx.one("policy_version", workspace=workspace, kind=kind, name=name, version=number)
    return PolicyRow(*row) if row else None


def live(tx: Transaction, workspace: int, kind: str) -> list[PolicyRow]:
    """Everything of a kind that is ruled now, by name."""
    return [PolicyRow(*row) for row in tx.all("policy_live", workspace=workspace, kind=kind)]


def page(tx: Transaction, workspace: int, kind: str | None, after: tuple[str, str], limit: int) -> list[PolicyRow]:
    found = tx.all("policy_list", workspace=workspace, kind=kind, after_kind=after[0], after_name=after[1], limit=limit)
    return [PolicyRow(*row) for row in found]


def versions(tx: Transaction, workspace: int, kind: str, name: str, *, before: int, limit: int) -> list[PolicyRow]:
    found = tx.all("policy_versions", workspace=workspace, kind=kind, name=name, before=before, limit=limit)
    return [PolicyRow(*row) for row in found]


def append(
    tx: Transaction, workspace: int, before: PolicyRow | None, *, kind: str, name: str, live: bool, document: str,
    author: int, comment: str,
) -> PolicyRow:  # fmt: skip
    """The next version, which is the current one from then on."""
    if before is not None:
        tx.write("policy_supersede", expect=1, workspace=workspace, kind=kind, name=name, version=before.version)
    row = PolicyRow(kind, name, before.version + 1 if before else 1, 1, int(live), document, author, comment, tx.now)
    tx.write(
        "policy_add",
        workspace=workspace,
        kind=kind,
        name=name,
        version=row.version,
        live=row.live,
        document=document,
        author=author,
        comment=comment,
        now=tx.now,
    )
    return row
