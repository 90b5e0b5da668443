"""What a client needs to reach a plane: one method, in two colours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Protocol

from agentmemo.api.operation import Operation
from agentmemo.errors import Unavailable
from agentmemo.model.access import Claim

is_patient: ContextVar[bool] = ContextVar("agentmemo_patient", default=True)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Calls in the block do not wait for a plane that is away: whoever makes them comes again, or is about to leave."""
    before = is_patient.set(False)
    try:
        yield
    finally:
        is_patient.reset(before)


def is_away(error: Unavailable) -> bool:
    """Whether nobody was there now, or the answer was lost; else the plane itself has something to say."""
    return error.retry_safe or bool(error.details.get("in_doubt"))


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
