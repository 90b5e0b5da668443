"""Entries and their versions as rows."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction

END_OF_KEYS = "\U0010ffff"
# How many of a key's versions are looked through one by one for that of a moment, and how many it can ever have.
RECENT, FURTHEST = 100, 1 << 40


class EntryHead(NamedTuple):
    id: int
    version: int
    live: int
    expires_at: int | None


class VersionRow(NamedTuple):
    """One version of one key, its value still packed."""

    key: str
    position: int
    version: int
    kind: str
    author: int
    run: str | None
    at: int
    expires_at: int | None
    origin: str
    size: int
    codec: int
    value: bytes | None
    blob: bytes | None


def prefix_range(prefix: str) -> tuple[str, str]:
    """[low, high) of the keys that begin with a prefix, in code point order."""
    return prefix, prefix + END_OF_KEYS


def head(tx: Transaction, namespace: int, key: str) -> EntryHead | None:
    row = tx.one("entry_head", namespace=namespace, key=key)
    return EntryHead(*row) if row else None


def append_version(
    tx: Transaction,
    found: EntryHead | None,
    *,
    namespace: int,
    key: str,
    position: int,
    kind: str,
    author: int,
    run: str | None,
    expires_at: int | None,
    origin: str,
    packed: Packed,
) -> int:
    """Add the next version of a key and point its row there. Returns the version."""
    live = int(kind == "set")
    version = found.version + 1 if found else 1
    # A new key's id is the position of its first event: unique, and known without asking the database.
    entry = found.id if found else position
    tx.write(
        "entry_update" if found else "entry_add",
        id=entry,
        namespace=namespace,
        key=key,
        version=version,
        position=position,
        live=live,
        expires_at=expires_at,
    )
    tx.write(
        "entry_version_add",
        position=position,
        entry=entry,
        version=version,
        kind=kind,
        author=author,
        run=run,
        at=tx.now,
        expires_at=expires_at,
        origin=origin,
        size=packed.size,
        codec=packed.codec,
        value=packed.value,
        blob=packed.blob,
    )
    return version


def get(tx: Transaction, namespace: int, key: str) -> VersionRow | None:
    row = tx.one("entry_get", namespace=namespace, key=key, now=tx.now)
    return VersionRow(*row) if row else None


def get_version(tx: Transaction, namespace: int, key: str, version: int) -> VersionRow | None:
    row = tx.one("entry_get_version", namespace=namespace, key=key, version=version)
    return VersionRow(*row) if row else None


def get_recent_as_of(tx: Transaction, namespace: int, key: str, position: int) -> VersionRow | None:
    """The version of a moment, if it is among the newest: mostly it is, and they are looked through fastest."""
    row = tx.one("entry_recent_as_of", namespace=namespace, key=key, position=position, recent=RECENT)
    return VersionRow(*row) if row else None


def find_as_of(tx: Transaction, namespace: int, key: str, position: int) -> VersionRow | None:
    """The version of a moment when the oldest was there: as many looks as the largest number has bits."""
    row = tx.one("entry_find_as_of", namespace=namespace, key=key, position=position, furthest=FURTHEST)
    return VersionRow(*row) if row else None


def list_live(tx: Transaction, namespace: int, prefix: str, after: str, limit: int) -> list[VersionRow]:
    low, high = prefix_range(prefix)
    rows = tx.all("entry_list", namespace=namespace, low=low, high=high, after=after, now=tx.now, limit=limit)
    return [VersionRow(*row) for row in rows]


def list_history(tx: Transaction, namespace: int, key: str, before: int, limit: int) -> list[VersionRow]:
    rows = tx.all("entry_history", namespace=namespace, key=key, before=before, limit=limit)
    return [VersionRow(*row) for row in rows]


def list_changes(tx: Transaction, namespace: int, prefix: str, low: int, high: int, limit: int) -> list[VersionRow]:
    from_key, to_key = prefix_range(prefix)
    rows = tx.all(
        "entry_changes", namespace=namespace, from_key=from_key, to_key=to_key, low=low, high=high, limit=limit
    )
    return [VersionRow(*row) for row in rows]
