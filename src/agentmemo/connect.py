"""The way in: a target becomes a connection. What opens it is loaded with the first target of its kind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from agentmemo.client._async.connection import AsyncConnection
    from agentmemo.client._sync.connection import Connection


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
    A bare host:port is refused: write `http://host:port`, or `./host:port` for a file.
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
        from agentmemo.remote import open_remote

        return open_remote(address, key, agent or person or "")
    _check_store(address, key)
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
        from agentmemo.remote_async import open_remote_async

        return open_remote_async(address, key, agent or person or "")
    _check_store(address, key)
    from agentmemo.embedded_async import open_embedded_async

    return await open_embedded_async(address, agent=agent, person=person, workspace=workspace, door=door)


def _address(target: str | os.PathLike[str] | None) -> str | None:
    if target is not None:
        return os.fspath(target)
    from agentmemo.settings import default_target

    return default_target()


def _check_store(address: str | None, key: str | None) -> None:
    """Raises InvalidInput where a plane over HTTP was meant, before a store is made in its place."""
    from agentmemo.errors import InvalidInput
    from agentmemo.settings import refuse_bare_address

    if address is not None:
        refuse_bare_address(address)
    if key:
        raise InvalidInput(
            "A key was given, but not the address of a plane.",
            why="A store that is opened in this process asks for none.",
            next_call="Give the address, such as http://127.0.0.1:7707, or leave the key out.",
        )


def _is_http(address: str | None) -> TypeGuard[str]:
    return address is not None and address.startswith(("http://", "https://"))
