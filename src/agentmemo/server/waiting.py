"""Waiting for commits on the event loop: one listener for all long-polls and streams, and an end for all at once.

Who watches a namespace is woken by changes in it alone: thousands of idle watchers must not look at every commit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

from agentmemo.engine import audit
from agentmemo.server.auth import FORGETTING
from agentmemo.store import access as access_rows
from agentmemo.store import audit as audit_rows
from agentmemo.store.database import Database, Transaction

# More than so many events at once concern everybody: looking would take longer than waking.
READ_MAX = 10_000
# Looks of those that were woken, at the same time: a crowd stands in line, and leaves threads to everybody else.
LOOKS_AT_ONCE = 2
Place = tuple[str, str]


class Topic:
    """Those who wait for the same. `generation` counts what came; wake-ups are coalesced."""

    def __init__(self, hub: Hub, place: Place | None) -> None:
        self._hub = hub
        self._place = place
        self._wake = asyncio.Event()
        self.waiting = 0
        self.generation = 0

    @property
    def stopping(self) -> bool:
        return self._hub.stopping

    def __enter__(self) -> Self:
        self.waiting += 1
        self._hub.came()
        return self

    def __exit__(self, *_: object) -> None:
        self.waiting -= 1
        self._hub.left(self._place)

    async def changed_since(self, generation: int, seconds: float) -> bool:
        """Until something after `generation` came, the time is over, or the server stops. True if something came."""
        if self.stopping:
            return False
        if self.generation == generation:
            # Not `wait_for`, which until Python 3.12 loses a cancellation that comes together with the news.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
        return self.generation != generation

    def tell(self) -> None:
        self.generation += 1
        self._wake.set()
        self._wake = asyncio.Event()

    def end(self) -> None:
        self._wake.set()


class Hub:
    """Tells topics of commits, and listens while anybody waits: an idle server does not look at commits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_listening: Callable[[], None] | None = None
        self._scheduled = False
        self._waiting = 0
        self._topics: dict[Place | None, Topic] = {}
        self._read_up_to: dict[str, int] = {}
        self._news = 0
        self._telling: asyncio.Task[None] | None = None
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self.stopping = False

    def topic(self, place: Place | None = None) -> Topic:
        """Changes in a namespace of a workspace; without a place, every commit. To be entered at once."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._scheduled, self._topics = loop, False, {}
            self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        return self._topics.setdefault(place, Topic(self, place))

    def look(self) -> asyncio.Semaphore:
        """The line in which those stand who look again."""
        return self._looks

    def came(self) -> None:
        self._waiting += 1
        if self._stop_listening is None:
            self._stop_listening = self._database.listen(self._committed)

    def left(self, place: Place | None) -> None:
        self._waiting -= 1
        topic = self._topics.get(place)
        if topic is not None and topic.waiting == 0:
            del self._topics[place]
        if self._waiting == 0 and self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
            # What is committed while nobody listens is not known any more.
            self._read_up_to.clear()

    def stop(self) -> None:
        """End every wait now; called on the event loop."""
        self.stopping = True
        for topic in self._topics.values():
            topic.end()

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
        if self.stopping:
            return
        if (every := self._topics.get(None)) is not None:
            every.tell()
        self._news += 1
        if self._telling is None and any(place is not None for place in self._topics):
            self._telling = asyncio.ensure_future(self._tell_places())

    async def _tell_places(self) -> None:
        """Read what was committed, once for everybody, and wake whom it concerns."""
        try:
            told = None
            while told != self._news and not self.stopping:
                told = self._news
                for workspace in {place[0] for place in self._topics if place is not None}:
                    touched = await asyncio.to_thread(self._touched, workspace)
                    for place, topic in list(self._topics.items()):
                        if place is not None and place[0] == workspace and (touched is None or place[1] in touched):
                            topic.tell()
        finally:
            self._telling = None

    def _touched(self, workspace: str) -> set[str] | None:
        """The namespaces that changed since the last look; None where everybody has to look."""
        try:
            return self._database.read(lambda tx: self._read(tx, workspace))
        except Exception:  # noqa: BLE001 - whoever looks for itself meets the same, and says so
            return None

    def _read(self, tx: Transaction, workspace: str) -> set[str] | None:
        found = access_rows.workspace_id(tx, workspace)
        if not found:
            return None
        low, high = self._read_up_to.get(workspace), audit.last_position(tx, found[0])
        self._read_up_to[workspace] = high
        # Fewer than before: the store was restored behind us, so everybody is at a revision that is no more.
        if low is None or not 0 <= high - low <= READ_MAX:
            return None
        touched = audit_rows.touched(tx, low, high)
        # Who was shut out has to be told so, wherever they wait.
        return (
            None if any(operation in FORGETTING for operation, _ in touched) else {name for _, name in touched if name}
        )
