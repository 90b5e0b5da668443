"""State, as an agent uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from agentmemo.client._async.pages import AsyncPage
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.errors import NotFound
from agentmemo.model.state import (
    Change,
    DeleteEntry,
    Difference,
    DiffNamespace,
    Entry,
    GetEntry,
    ListEntries,
    ListNamespaces,
    ListVersions,
    Match,
    NamespaceInfo,
    SearchEntries,
    SetEntry,
    WatchNamespace,
)

WATCH_SECONDS = 30.0


class AsyncState:
    """Versioned JSON values under (namespace, key); acknowledged writes survive any kill."""

    def __init__(self, plane: AsyncPlane) -> None:
        self._plane = plane

    async def set(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        if_version: int | None = None,
        ttl_seconds: float | None = None,
        origin: str = "agent",
    ) -> Entry:
        """Write a JSON value and return its entry once it is durable.

        `if_version` sets only over that version (0: only when absent), else VersionConflict. After `ttl_seconds`
        the entry reads as absent. InvalidInput names the path of what JSON cannot say; LimitExceeded above the
        plane's limit (64 MiB unless configured).
        """
        return await self._plane.call(
            SetEntry(
                namespace=namespace, key=key, value=value, if_version=if_version, ttl_seconds=ttl_seconds, origin=origin
            )
        )

    async def get(
        self, namespace: str, key: str, default: Any = None, *, version: int | None = None, as_of: int | None = None
    ) -> Any:
        """The value, or `default` where there is none; also of one version, or as of a revision."""
        try:
            entry = await self.entry(namespace, key, version=version, as_of=as_of)
        except NotFound:
            return default
        return entry.value

    async def entry(self, namespace: str, key: str, *, version: int | None = None, as_of: int | None = None) -> Entry:
        """The value with its version, author, origin, trust and times. Raises NotFound."""
        return await self._plane.call(GetEntry(namespace=namespace, key=key, version=version, as_of=as_of))

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> Entry:
        """Delete a key; versions go on, and its history stays. Raises NotFound when there is nothing to delete."""
        return await self._plane.call(DeleteEntry(namespace=namespace, key=key, if_version=if_version))

    async def list(
        self, namespace: str, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> AsyncPage[Entry]:
        """Entries in key order; iterating the page walks on over all of them."""
        return await self._plane.page(ListEntries(namespace=namespace, prefix=prefix, cursor=cursor, limit=limit))

    async def namespaces(self, *, prefix: str = "") -> AsyncPage[NamespaceInfo]:
        """The namespaces you may read, with their number of entries."""
        return await self._plane.page(ListNamespaces(prefix=prefix))

    async def search(
        self, text: str, *, namespace: str | None = None, cursor: str | None = None, limit: int = 20
    ) -> AsyncPage[Match]:
        """Full-text search over keys and values, best first. The index follows writes by less than a second."""
        return await self._plane.page(SearchEntries(text=text, namespace=namespace, cursor=cursor, limit=limit))

    async def history(
        self, namespace: str, key: str, *, cursor: str | None = None, limit: int = 100
    ) -> AsyncPage[Entry]:
        """All kept versions, newest first, deletions included."""
        return await self._plane.page(ListVersions(namespace=namespace, key=key, cursor=cursor, limit=limit))

    async def diff(self, namespace: str, since: int, until: int | None = None) -> AsyncPage[Difference]:
        """What became of each key between two revisions (until now, when `until` is left out)."""
        return await self._plane.page(DiffNamespace(namespace=namespace, since=since, until=until))

    async def watch(self, namespace: str, *, prefix: str = "", after: int | None = None) -> AsyncIterator[Change]:
        """Every change after a revision (from now on, without one), in order and without gaps; never ends.

        Raises RevisionGone when `after` was compacted away, or has not happened: the store was restored meanwhile.
        """
        while True:
            answer = await self._plane.call(
                WatchNamespace(namespace=namespace, prefix=prefix, after=after, wait_seconds=WATCH_SECONDS)
            )
            for change in answer.changes:
                yield change
            after = answer.next
