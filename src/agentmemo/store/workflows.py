"""Workflow documents as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from agentmemo.model.values import encode_sorted
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction

NEWEST = 2**53
# Behind every hexadecimal digit.
_AFTER_DIGITS = "g"


class WorkflowRow(NamedTuple):
    id: int
    versions: int
    current: int


class VersionRow(NamedTuple):
    """The columns of a version, in the order of the queries."""

    id: int
    workflow: int
    name: str
    versions: int
    number: int
    version: str
    state: str
    description: str
    designed_by: str
    parent: str | None
    changes: str
    untrusted: int
    author: int
    created_at: int
    state_changed_at: int
    size: int
    codec: int
    value: bytes | None
    blob: bytes | None


class Word(NamedTuple):
    """That the current version of a workflow has a word, how often, and how many words it has."""

    version: int
    word: str
    times: int
    length: int


def find(tx: Transaction, workspace: int, name: str) -> WorkflowRow | None:
    row = tx.one("workflow_find", workspace=workspace, name=name)
    return WorkflowRow(*row) if row else None


def add_version(
    tx: Transaction, workspace: int, found: WorkflowRow | None, *, position: int, name: str, version: str, state: str,
    description: str, designed_by: str, parent: str | None, changes: str, untrusted: bool, author: int, packed: Packed,
) -> int:  # fmt: skip
    """The next version of a workflow, which may be its first. Returns the workflow."""
    number = found.versions + 1 if found else 1
    workflow = found.id if found else position
    if found is None:
        tx.write("workflow_add", id=position, workspace=workspace, name=name, now=tx.now)
    else:
        tx.write("workflow_grow", id=workflow, number=number)
    tx.write(
        "workflow_version_add",
        id=position,
        workflow=workflow,
        number=number,
        version=version,
        state=state,
        description=description,
        designed_by=designed_by,
        parent=parent,
        changes=changes,
        untrusted=int(untrusted),
        author=author,
        now=tx.now,
        **packed.columns(),
    )
    return workflow


def move(tx: Transaction, version: VersionRow, state: str, *, untrusted: bool) -> None:
    tx.write("workflow_version_move", expect=1, id=version.id, state=state, untrusted=int(untrusted), now=tx.now)


def by_id(tx: Transaction, version: int) -> VersionRow | None:
    row = tx.one("workflow_version_by_id", id=version)
    return VersionRow(*row) if row else None


def by_number(tx: Transaction, workflow: int, number: int) -> VersionRow | None:
    row = tx.one("workflow_version_by_number", workflow=workflow, number=number)
    return VersionRow(*row) if row else None


def by_hash(tx: Transaction, workflow: int, digits: str) -> list[VersionRow]:
    """Up to two versions whose hash begins so."""
    found = tx.all("workflow_version_by_hash", workflow=workflow, low=digits, high=digits + _AFTER_DIGITS)
    return [VersionRow(*row) for row in found]


def in_state(tx: Transaction, workflow: int, state: str) -> VersionRow | None:
    """The newest."""
    row = tx.one("workflow_version_in_state", workflow=workflow, state=state)
    return VersionRow(*row) if row else None


def meant(tx: Transaction, workflow: int) -> VersionRow:
    """The version that is meant where none is named."""
    row = tx.one("workflow_version_meant", workflow=workflow)
    assert row is not None  # noqa: S101 - a workflow is made with its first version
    return VersionRow(*row)


def page(tx: Transaction, workspace: int, state: str | None, after: str, limit: int) -> list[VersionRow]:
    found = tx.all("workflow_list", workspace=workspace, state=state, after=after, limit=limit)
    return [VersionRow(*row) for row in found]


def versions(tx: Transaction, workflow: int, *, before: int, limit: int) -> list[VersionRow]:
    found = tx.all("workflow_version_list", workflow=workflow, before=before, limit=limit)
    return [VersionRow(*row) for row in found]


def set_current(tx: Transaction, workspace: int, workflow: int, version: int, words: Mapping[str, int]) -> None:
    """What is meant from now on, and the words that find it."""
    tx.write("workflow_set_current", id=workflow, current=version, words=sum(words.values()))
    tx.write("workflow_word_remove", workflow=workflow)
    for word, count in sorted(words.items()):
        tx.write("workflow_word_add", workspace=workspace, word=word, workflow=workflow, count=count)


def words(tx: Transaction, workspace: int, wanted: list[str]) -> list[Word]:
    found = tx.all("workflow_word_find", workspace=workspace, words=encode_sorted(wanted).decode())
    return [Word(*row) for row in found]


def word_totals(tx: Transaction, workspace: int) -> tuple[int, int]:
    """How many workflows can be found, and how many words they have together."""
    row = tx.one("workflow_word_totals", workspace=workspace)
    return (row[0], row[1]) if row else (0, 0)
