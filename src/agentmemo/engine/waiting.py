"""Waiting in line: of those who wait for the same, one looks after each commit, and the others wait behind it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from weakref import WeakKeyDictionary

from agentmemo.api.operations import Operation
from agentmemo.model.access import Caller

Place = tuple[Any, ...]


class Lines:
    """One line for each thing that several may wait for, in threads and on each event loop."""

    def __init__(self) -> None:
        self._threads: dict[Place, threading.Lock] = {}
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Place, asyncio.Lock]] = WeakKeyDictionary()

    def of_threads(self, place: Place) -> threading.Lock:
        return self._threads.setdefault(place, threading.Lock())

    def of_loop(self, place: Place) -> asyncio.Lock:
        known = self._loops.setdefault(asyncio.get_running_loop(), {})
        return known.setdefault(place, asyncio.Lock())


def place_of(operation: Operation, caller: Caller, request: Any) -> Place:
    """Who waits for the same: one actor's claims of the same kind of work."""
    return (operation.name, caller.workspace, caller.actor, tuple(getattr(request, "tasks", ())))
