"""A store that is not there yet: the first command that changes something makes it, and there is nothing to read."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from agentmemo.api.operation import Operation
from agentmemo.client._sync.connection import Connection
from agentmemo.client._sync.plane import Plane
from agentmemo.clock import SystemClock
from agentmemo.embedded import EmbeddedTransport, shared_plane
from agentmemo.errors import NotFound
from agentmemo.executor.configured import ConfiguredModels
from agentmemo.model.access import Caller, Claim
from agentmemo.settings import from_environment

# A change, for it stands in the trail, and yet it only copies what is there.
COPYING = "system.backup"
# What is answered without a look at any store.
OF_NO_STORE = frozenset({"access.whoami", "workflow.schema"})


def connection_to_unmade(path: Path, caller: Caller) -> Connection:
    transport = UnmadeTransport(path, caller)
    plane = Plane(transport, SystemClock(), from_environment().lease_seconds, ConfiguredModels(path.parent))
    return Connection(plane, caller.name)


class UnmadeTransport:
    """Opens the store with the first change. Raises NotFound for what reads before."""

    def __init__(self, path: Path, caller: Caller) -> None:
        self._path = path
        self._caller = caller
        self._opened: EmbeddedTransport | None = None
        self._opening = threading.Lock()

    def call(self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None) -> Any:
        if operation.name in OF_NO_STORE:
            return self._without_store(operation, request)
        makes = operation.mutating and operation.name != COPYING
        return self._store(makes=makes).call(operation, request, claim=claim, worker=worker)

    def hold(self, worker: str) -> None:
        self._store(makes=True).hold(worker)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _without_store(self, operation: Operation, request: Any) -> Any:
        transport = EmbeddedTransport(shared_plane(":memory:"), self._caller)
        try:
            return transport.call(operation, request)
        finally:
            transport.close()

    def _store(self, *, makes: bool) -> EmbeddedTransport:
        with self._opening:
            if self._opened is None:
                if not makes and not self._path.exists():
                    raise NotFound(
                        f"There is no store at {self._path}.",
                        why="The first command that writes makes one; this one only reads.",
                        next_call="Name another place with --data or AGENTMEMO_DATA, or begin here: agentmemo up.",
                    )
                self._opened = EmbeddedTransport(shared_plane(str(self._path)), self._caller)
            return self._opened
