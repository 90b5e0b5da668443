"""A plane elsewhere, over HTTP."""

from __future__ import annotations

from agentmemo.client._sync.connection import Connection
from agentmemo.client._sync.plane import Plane
from agentmemo.client.http_sync import HttpTransport
from agentmemo.clock import SystemClock
from agentmemo.executor.configured import ConfiguredModels
from agentmemo.settings import from_environment, key_for_http


def open_remote(address: str, key: str | None, name: str) -> Connection:
    """Nothing is sent before the first call. `name` is what the connection calls itself; the plane goes by the key."""
    settings = from_environment()
    transport = HttpTransport(address, key_for_http(key), settings.request_bytes_max, settings.patience_seconds)
    return Connection(Plane(transport, SystemClock(), settings.lease_seconds, ConfiguredModels(None)), name)
