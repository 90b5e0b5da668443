"""Interned names: workspaces, actors and namespaces as integers. Rows are only ever added, so a cache never lies."""

from __future__ import annotations

from agentmemo import ids
from agentmemo.model.access import Caller
from agentmemo.store import access as rows
from agentmemo.store.database import Database, Transaction


class Names:
    """Look-ups go to the cache, then to a read, and only for a new name to a small commit of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._workspaces: dict[str, tuple[int, bytes]] = {}
        self._actors: dict[tuple[int, str, str], int] = {}
        self._actor_names: dict[int, str] = {}
        self._namespaces: dict[tuple[int, str], int] = {}

    def workspace(self, name: str) -> tuple[int, bytes]:
        """(id, blob key); a workspace begins to exist when it is first named."""
        found = self._workspaces.get(name)
        if found is None:
            found = self._database.read(lambda tx: rows.workspace_id(tx, name)) or self._database.write(
                lambda tx: _add_workspace(tx, name)
            )
            self._workspaces[name] = found
        return found

    def actor(self, workspace: int, kind: str, name: str) -> int:
        key = (workspace, kind, name)
        found = self._actors.get(key)
        if found is None:
            found = self._database.read(lambda tx: rows.find_actor(tx, *key)) or self._database.write(
                lambda tx: rows.find_actor(tx, *key) or rows.add_actor(tx, *key), lane=workspace
            )
            self._actors[key] = found
            self._actor_names[found] = f"{kind}:{name}"
        return found

    def actor_name(self, tx: Transaction, workspace: int, actor: int) -> str:
        """`kind:name` of an actor id met in a row."""
        name = self._actor_names.get(actor)
        if name is None:
            for number, kind, found in tx.all("actor_names", workspace=workspace, after=0):
                self._actor_names[number] = f"{kind}:{found}"
            name = self._actor_names.get(actor, "unknown")
        return name

    def find_actor(self, tx: Transaction, workspace: int, text: str) -> int | None:
        """The id of `kind:name`, or of a name that is an agent's or else a person's or service's."""
        kind, _, name = text.partition(":")
        choices = [(kind, name)] if name else [(known, text) for known in ("agent", "person", "service")]
        for kind, name in choices:
            found = rows.find_actor(tx, workspace, kind, name)
            if found is not None:
                return found
        return None

    def namespace(self, tx: Transaction, workspace: int, name: str) -> int | None:
        found = self._namespaces.get((workspace, name))
        # Not cached from here: what this transaction sees may still be undone.
        return found if found is not None else rows.find_namespace(tx, workspace, name)

    def knows(self, caller: Caller, namespace: str | None) -> bool:
        """Whether a call can be admitted without asking the store for a name."""
        workspace = self._workspaces.get(caller.workspace)
        if workspace is None or (workspace[0], caller.kind, caller.name) not in self._actors:
            return False
        return namespace is None or (workspace[0], namespace) in self._namespaces

    def known_namespace(self, workspace: int, name: str) -> int | None:
        """The namespace's id, if this process has met it; asks nobody."""
        return self._namespaces.get((workspace, name))

    def intern_namespace(self, workspace: int, name: str) -> int:
        """The namespace's id, made in a commit of its own when it is new."""
        key = (workspace, name)
        found = self._namespaces.get(key)
        if found is None:
            found = self._database.read(lambda tx: rows.find_namespace(tx, *key)) or self._database.write(
                lambda tx: rows.find_namespace(tx, *key) or rows.add_namespace(tx, *key), lane=workspace
            )
            self._namespaces[key] = found
        return found

    def all_namespaces(self, tx: Transaction, workspace: int) -> dict[str, int]:
        return {name: number for number, name in tx.all("namespace_names", workspace=workspace, after=0)}


def _add_workspace(tx: Transaction, name: str) -> tuple[int, bytes]:
    found = rows.workspace_id(tx, name)
    if found:
        return found
    blob_key = ids.random_bytes()
    return rows.add_workspace(tx, name, blob_key), blob_key
