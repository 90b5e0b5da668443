"""What `flow.py` does for the synchronous client, on an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from agentmemo.client.flow import timed_out
from agentmemo.clock import Clock

LOOK_AGAIN_SECONDS = 0.005


class AsyncFlow:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self.first_use = OneAtATime(clock)

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep_async(seconds)

    async def run_function(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any], seconds: float | None
    ) -> Any:
        """Call a sync or async function. A sync one with a timeout runs in a thread, which cannot be stopped."""
        if seconds is None:
            result = function(*arguments, **keywords)
            return await result if inspect.isawaitable(result) else result
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                if inspect.iscoroutinefunction(inspect.unwrap(function)):
                    return await function(*arguments, **keywords)
                result = await asyncio.to_thread(function, *arguments, **keywords)
                return await result if inspect.isawaitable(result) else result
        except TimeoutError as error:
            # The function's own says that it failed, and not that it was late.
            if not limit.expired():
                raise
            raise timed_out(function, seconds) from error

    async def parallel(self, work: Callable[[], Awaitable[None]], concurrency: int) -> None:
        """The first error ends the others and is raised as it is."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())  # type: ignore[arg-type]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def stop(self) -> None:
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()


class OneAtATime:
    """Lets one in at a time, of the tasks of any event loop: a lock of asyncio's is for those of one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        while not self._lock.acquire(blocking=False):
            await self._clock.sleep_async(LOOK_AGAIN_SECONDS)

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
