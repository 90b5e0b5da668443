"""What a writer's queue holds, how its answers leave it, and who hears that something was committed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from agentmemo.store.database import Done, Read

_log = logging.getLogger("agentmemo.writer")


class Job:
    """A request in a queue. `done` is None where a thread waits for `latch` instead."""

    __slots__ = ("done", "error", "latch", "reads", "result", "work")

    def __init__(self, work: Callable[[Any], Any], done: Done | None, reads: Sequence[Read] = ()) -> None:
        self.work = work
        self.done = done
        self.reads = reads
        self.latch = threading.Lock()
        self.result: Any = None
        self.error: BaseException | None = None

    def answer(self) -> None:
        """Release whoever waits, after the commit."""
        if self.done is None:
            self.latch.release()
        else:
            deliver(self.done, self.result, self.error)


class Listeners:
    """Who wants to hear of commits. False while nobody does."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._changing = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Returns what ends it."""
        with self._changing:
            self._callbacks[id(callback)] = callback

        def stop() -> None:
            with self._changing:
                self._callbacks.pop(id(callback), None)

        return stop

    def notify(self) -> None:
        for callback in list(self._callbacks.values()):
            deliver(callback)


def deliver(target: Callable[..., None], *arguments: Any) -> None:
    """Call somebody who waits. They may be gone (a closed event loop); the commit stands all the same."""
    try:
        target(*arguments)
    except Exception:  # noqa: BLE001 - no listener may end the writer, or silence the others
        _log.debug("an answer found nobody", exc_info=True)
