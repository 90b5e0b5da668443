"""What one server holds for its clients at the same time, so that no number of them takes the memory of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from agentmemo.errors import Unavailable
from agentmemo.model.access import Caller
from agentmemo.settings import Settings


class Room:
    """Counts streams and long-polls, and the bytes of bodies. Used on the event loop only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: Counter[tuple[str, str, str]] = Counter()
        self.waiting = 0
        self.body_bytes = 0

    @contextmanager
    def waiter(self, caller: Caller) -> Iterator[None]:
        """A place to wait in. Raises Unavailable where all are taken, or one actor has its share."""
        who = (caller.workspace, caller.kind, caller.name)
        if self.waiting >= self._settings.watchers_max:
            raise _no_room("This server has as many open streams and long-polls as it takes.", "WATCHERS_MAX")
        if self._waiting[who] >= self._settings.watchers_per_actor_max:
            raise _no_room(
                f"{caller.actor} has as many open streams and long-polls as it may.", "WATCHERS_PER_ACTOR_MAX"
            )
        self.waiting += 1
        self._waiting[who] += 1
        try:
            yield
        finally:
            self.waiting -= 1
            self._waiting[who] -= 1
            if not self._waiting[who]:
                del self._waiting[who]

    def body(self) -> Body:
        return Body(self, self._settings.bodies_bytes_max)


class Body:
    """The bytes of one body, counted until its request is answered."""

    __slots__ = ("_bytes", "_limit", "_room")

    def __init__(self, room: Room, limit: int) -> None:
        self._room = room
        self._limit = limit
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.body_bytes -= self._bytes

    def take(self, size: int) -> None:
        """Room for so much more. One body alone always has it. Raises Unavailable."""
        others = self._room.body_bytes - self._bytes
        if others and self._room.body_bytes + size > self._limit:
            raise _no_room("The bodies of other requests fill this server's memory for them.", "BODIES_BYTES_MAX")
        self._room.body_bytes += size
        self._bytes += size


def _no_room(what: str, setting: str) -> Unavailable:
    return Unavailable(
        what,
        why="Each costs memory, and the others are to be served too.",
        next_call=f"Ask again in a moment, another server, or raise AGENTMEMO_{setting} on this one.",
        retry_safe=True,
    )
