"""A plane elsewhere, over HTTP, for asyncio."""

from __future__ import annotations

from agentmemo.client._async.connection import AsyncConnection
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client.http_async import AsyncHttpTransport
from agentmemo.clock import SystemClock
from agentmemo.executor.configured import ConfiguredModels
from agentmemo.settings import from_environment, key_for_http


def open_remote_async(address: str, key: str | None, name: str) -> AsyncConnection:
    """As `open_remote`."""
    settings = from_environment()
    transport = AsyncHttpTransport(address, key_for_http(key), settings.request_bytes_max, settings.patience_seconds)
    plane = AsyncPlane(transport, SystemClock(), settings.lease_seconds, ConfiguredModels(None))
    return AsyncConnection(plane, name)
