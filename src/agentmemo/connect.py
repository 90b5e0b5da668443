"""The way in: a target becomes a connection. The engine is loaded with the first store of this process, not before."""

from __future__ import annotations

import os
from typing import TypeGuard, TypeVar

from agentmemo.client._async.connection import AsyncConnection
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client._sync.connection import Connection
from agentmemo.client._sync.plane import Plane
from agentmemo.client.http_async import AsyncHttpTransport
from agentmemo.client.http_sync import HttpTransport
from agentmemo.clock import SystemClock
from agentmemo.errors import NotAuthenticated
from agentmemo.settings import default_key, default_target, from_environment

Connected = TypeVar("Connected", Connection, AsyncConnection)


def connect(
    target: str | os.PathLike[str] | None = None,
    *,
    agent: str | None = None,
    person: str | None = None,
    key: str | None = None,
    workspace: str = "default",
) -> Connection:
    """Connect to a plane: embedded in this process, or a server over HTTP.

    `target` is None (AGENTMEMO_URL, else the user's data directory), a path, `sqlite:///path`, `postgresql://...`
    (the engine here, the database shared with other processes), or `http(s)://...` with `key` (or AGENTMEMO_KEY).
    Embedded, the caller is `agent` (default: the operating-system user) or `person`.
    Raises InvalidInput, NotAuthenticated or Unavailable.
    """
    return open_connection(target, agent=agent, person=person, key=key, workspace=workspace, door="python")


def open_connection(
    target: str | os.PathLike[str] | None,
    *,
    agent: str | None,
    person: str | None,
    key: str | None,
    workspace: str,
    door: str,
) -> Connection:
    """`connect` for a surface of its own: `door` is what the trail says an embedded call came through."""
    address = _address(target)
    if _is_http(address):
        settings = from_environment()
        transport = HttpTransport(address, _key(key), settings.request_bytes_max)
        connection = Connection(Plane(transport, SystemClock(), settings.lease_seconds), agent or person or "")
        return _equipped(connection)
    from agentmemo.embedded import open_embedded

    return open_embedded(address, agent=agent, person=person, workspace=workspace, door=door)


async def connect_async(
    target: str | os.PathLike[str] | None = None,
    *,
    agent: str | None = None,
    person: str | None = None,
    key: str | None = None,
    workspace: str = "default",
) -> AsyncConnection:
    """The same for asyncio: `agent = await agentmemo.connect_async()`."""
    return await open_connection_async(target, agent=agent, person=person, key=key, workspace=workspace, door="python")


async def open_connection_async(
    target: str | os.PathLike[str] | None,
    *,
    agent: str | None,
    person: str | None,
    key: str | None,
    workspace: str,
    door: str,
) -> AsyncConnection:
    """`connect_async` for a surface of its own, as `open_connection`."""
    address = _address(target)
    if _is_http(address):
        settings = from_environment()
        http = AsyncHttpTransport(address, _key(key), settings.request_bytes_max)
        connection = AsyncConnection(AsyncPlane(http, SystemClock(), settings.lease_seconds), agent or person or "")
        return _equipped(connection)
    from agentmemo.embedded import open_embedded_async

    return await open_embedded_async(address, agent=agent, person=person, workspace=workspace, door=door)


def _equipped(connection: Connected) -> Connected:
    """With the models and tools that are configured on this machine."""
    from agentmemo.executor.configured import ConfiguredModels, equipped

    return equipped(connection, ConfiguredModels(None))


def _address(target: str | os.PathLike[str] | None) -> str | None:
    return os.fspath(target) if target is not None else default_target()


def _is_http(address: str | None) -> TypeGuard[str]:
    return address is not None and address.startswith(("http://", "https://"))


def _key(key: str | None) -> str:
    found = key or default_key()
    if not found:
        raise NotAuthenticated(
            "A plane over HTTP needs a key.",
            why="Access is denied by default.",
            next_call="Pass key=..., or set AGENTMEMO_KEY; `agentmemo up` prints one.",
        )
    return found
