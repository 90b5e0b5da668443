"""Workspaces, actors, namespaces and credentials as rows."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.model.access import Actor, Grant, Key, grants_from
from agentmemo.model.values import decode, encode_sorted
from agentmemo.store.database import Transaction


class Credential(NamedTuple):
    """What authentication needs to know of a key."""

    workspace: int
    workspace_name: str
    kind: str
    actor: str
    hash: bytes
    grants: str
    expires_at: int | None
    revoked_at: int | None
    disabled_at: int | None
    last_used_at: int | None


def workspace_id(tx: Transaction, name: str) -> tuple[int, bytes] | None:
    row = tx.one("workspace_find", name=name)
    return (row[0], row[1]) if row else None


def add_workspace(tx: Transaction, name: str, blob_key: bytes) -> int:
    row = tx.one("workspace_add", name=name, blob_key=blob_key)
    assert row is not None  # noqa: S101 - RETURNING always returns
    return int(row[0])


def floor(tx: Transaction, name: str) -> int:
    """The oldest position from which history is whole."""
    row = tx.one("workspace_find", name=name)
    return int(row[2]) if row else 0


def find_actor(tx: Transaction, workspace: int, kind: str, name: str) -> int | None:
    row = tx.one("actor_find", workspace=workspace, kind=kind, name=name)
    return int(row[0]) if row else None


def add_actor(tx: Transaction, workspace: int, kind: str, name: str) -> int:
    row = tx.one("actor_add", workspace=workspace, kind=kind, name=name, now=tx.now)
    assert row is not None  # noqa: S101 - RETURNING always returns
    return int(row[0])


def find_namespace(tx: Transaction, workspace: int, name: str) -> int | None:
    row = tx.one("namespace_find", workspace=workspace, name=name)
    return int(row[0]) if row else None


def add_namespace(tx: Transaction, workspace: int, name: str) -> int:
    row = tx.one("namespace_add", workspace=workspace, name=name)
    assert row is not None  # noqa: S101 - RETURNING always returns
    return int(row[0])


def find_credential(tx: Transaction, public_id: str) -> Credential | None:
    row = tx.one("credential_find", id=public_id)
    return Credential(*row) if row else None


def add_credential(tx: Transaction, workspace: int, actor: int, key: Key, hash_: bytes) -> None:
    tx.write(
        "credential_add",
        id=key.id,
        workspace=workspace,
        kind=key.kind,
        actor=actor,
        hash=hash_,
        label=key.label,
        grants=encode_sorted(key.grants).decode(),
        now=tx.now,
        expires_at=key.expires_at,
    )


def list_credentials(tx: Transaction, workspace: int, after: str, limit: int) -> list[Key]:
    return [_key(row) for row in tx.all("credential_list", workspace=workspace, after=after, limit=limit)]


def get_credential(tx: Transaction, workspace: int, public_id: str) -> Key | None:
    row = tx.one("credential_get", workspace=workspace, id=public_id)
    return _key(row) if row else None


def list_actors(tx: Transaction, workspace: int, after: int, limit: int) -> list[tuple[int, Actor]]:
    return [
        (row[0], Actor(name=row[1], kind=row[2], created_at=row[3], disabled_at=row[4]))
        for row in tx.all("actor_list", workspace=workspace, after=after, limit=limit)
    ]


def grants_of(credential: Credential) -> tuple[Grant, ...]:
    return grants_from(decode(credential.grants.encode()))


def _key(row: tuple) -> Key:  # type: ignore[type-arg]
    public_id, kind, actor, label, grants, created_at, expires_at, revoked_at, last_used_at = row
    return Key(
        id=public_id,
        kind=kind,
        actor=actor,
        label=label,
        grants=list(grants_from(decode(grants.encode()))),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
    )
