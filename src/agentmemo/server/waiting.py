"""Waiting for commits on the event loop: one listener for all long-polls and streams, and an end for all at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

from agentmemo.store.database import Database


class Hub:
    """Wakes whoever waits after a commit. Wake-ups are coalesced, so that a busy writer does not flood the loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_listening: Callable[[], None] | None = None
        self._wake: asyncio.Event | None = None
        self._scheduled = False
        self._waiting = 0
        self.generation = 0
        self.stopping = False

    def __enter__(self) -> Self:
        """Listen while anybody waits; an idle server does not look at commits."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._wake, self._scheduled = loop, asyncio.Event(), False
        self._waiting += 1
        if self._stop_listening is None:
            self._stop_listening = self._database.listen(self._committed)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting -= 1
        if self._waiting == 0 and self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None

    async def changed_since(self, generation: int, seconds: float) -> bool:
        """Until a commit after `generation` was read, the time is over, or the server stops. True for a commit."""
        wake = self._wake
        if wake is None or self.stopping:
            return False
        if self.generation == generation:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), seconds)
        return self.generation != generation

    def stop(self) -> None:
        """End every wait now; called on the event loop."""
        self.stopping = True
        if self._wake is not None:
            self._wake.set()

    def _committed(self) -> None:
        # On the writer's thread. A wake-up that is under way will show this commit too.
        loop = self._loop
        if self._scheduled or loop is None:
            return
        self._scheduled = True
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._scheduled = False
        self.generation += 1
        if self._wake is not None and not self.stopping:
            self._wake.set()
            self._wake = asyncio.Event()
