"""What a client needs to reach a plane: one method, in two colours."""

from __future__ import annotations

from typing import Any, Protocol

from agentmemo.api.operation import Operation
from agentmemo.model.access import Claim


class Transport(Protocol):
    """Carries an operation to an engine, in this process or over HTTP, and brings back its response or error."""

    def call(
        self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None
    ) -> Any: ...

    def hold(self, worker: str) -> None:
        """Prove on this machine that a worker lives as long as this process; nothing over HTTP."""
        ...

    def close(self) -> None: ...


class AsyncTransport(Protocol):
    """The same for asyncio. `blocking` serves the heartbeat thread, which must not depend on the event loop."""

    async def call(
        self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None
    ) -> Any: ...

    def hold(self, worker: str) -> None: ...

    def blocking(self) -> Transport: ...

    async def close(self) -> None: ...
