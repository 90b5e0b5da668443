"""Waiting in line: of those who wait for the same, one looks after each commit, and the others wait behind it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from agentmemo.api.operation import Operation
from agentmemo.model.access import Caller

if TYPE_CHECKING:
    import asyncio

Place = tuple[Any, ...]


class Lines:
    """One line for each thing that several may wait for, in threads and on each event loop.

    A line is there as long as somebody stands in it.
    """

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._threads: WeakValueDictionary[Place, threading.Lock] = WeakValueDictionary()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[Place, asyncio.Lock]]
        self._loops = WeakKeyDictionary()

    def of_threads(self, place: Place) -> threading.Lock:
        with self._guard:
            return self._threads.setdefault(place, threading.Lock())

    def of_loop(self, place: Place) -> asyncio.Lock:
        import asyncio  # here, for most processes have no event loop

        with self._guard:
            known = self._loops.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
            return known.setdefault(place, asyncio.Lock())


def place_of(operation: Operation, caller: Caller, request: Any) -> Place:
    """Who waits for the same: one actor's claims of the same kind of work, or for one handoff."""
    about = tuple(getattr(request, "tasks", ())), getattr(request, "handoff", None)
    return (operation.name, caller.workspace, caller.actor, *about)
