"""Hearing of other servers' commits. A notification says "look now"; looking at the positions is the truth.

NOTIFY takes a lock of the whole database at its commit, so it is sent by a thread of its own, outside every transaction
of the store, at most once in 10 ms whatever was committed meanwhile. Where it is lost, or a pooler swallows it, looking
now and then finds everything; without it one looks more often.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import psycopg

from agentmemo import ids
from agentmemo.errors import Unavailable
from agentmemo.store.postgres_sessions import Sessions

CHANNEL = "agentmemo"
COALESCE_SECONDS = 0.01
LOOK_SECONDS = 1.0
LOOK_SECONDS_ALONE = 0.05
TRY_SECONDS = 1.0
AGAIN_SECONDS = 1.0
_log = logging.getLogger("agentmemo.store")


class Hints:
    """Tells the other servers of our commits, and our listeners of theirs. Both threads start with their first use."""

    def __init__(
        self, sessions: Sessions, *, enabled: bool, positions: Callable[[], int], notify: Callable[[], None]
    ) -> None:
        self._sessions = sessions
        self._enabled = enabled
        self._positions = positions
        self._notify = notify
        self._own = ids.salt(6).hex()
        self._committed = threading.Event()
        self._closed = threading.Event()
        self._starting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener: psycopg.Connection[Any] | None = None

    def send(self) -> None:
        """After a commit: the others are told within 10 ms."""
        if self._enabled:
            self._start("agentmemo-notify", self._tell)
            self._committed.set()

    def listen(self) -> None:
        self._start("agentmemo-watch", self._watch)

    def close(self) -> None:
        self._closed.set()
        self._committed.set()
        listener = self._listener
        if listener is not None:
            # A thread waits on it; a cancelled wait wakes it before its time.
            listener.pgconn.finish()
        for thread in self._threads:
            thread.join()

    def _start(self, name: str, target: Callable[[], None]) -> None:
        with self._starting:
            if self._closed.is_set() or any(thread.name == name for thread in self._threads):
                return
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
        thread.start()

    def _tell(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while not self._closed.is_set():
            self._committed.wait()
            self._closed.wait(COALESCE_SECONDS)
            self._committed.clear()
            try:
                connection = connection or self._sessions.connect()
                connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, self._own), prepare=False)
            except (psycopg.Error, Unavailable):
                # They look by themselves; the next commit tries again.
                _close(connection)
                connection = None
                self._closed.wait(AGAIN_SECONDS)
        _close(connection)

    def _watch(self) -> None:
        last = -1
        while not self._closed.is_set():
            try:
                last = self._listen(last)
            except (psycopg.Error, Unavailable, OSError):
                if not self._closed.is_set():
                    _log.debug("listening was interrupted; it goes on", exc_info=True)
                    self._closed.wait(ids.jitter(AGAIN_SECONDS))

    def _listen(self, last: int) -> int:
        """Wait for hints and look, until closed."""
        hears = self._enabled and self._opens()
        try:
            while not self._closed.is_set():
                found = self._positions()
                if found != last:
                    last = found
                    self._notify()
                pause = ids.jitter(LOOK_SECONDS if hears else LOOK_SECONDS_ALONE)
                if hears:
                    self._wait_for_hint(pause)
                else:
                    self._closed.wait(pause)
        finally:
            _close(self._listener)
            self._listener = None
        return last

    def _opens(self) -> bool:
        """Listen, and see whether a notification comes back: behind a pooler none does."""
        self._listener = self._sessions.connect()
        self._listener.execute(f"LISTEN {CHANNEL}")
        self._listener.execute("SELECT pg_notify(%s, %s)", (CHANNEL, self._own), prepare=False)
        heard = any(True for _ in self._listener.notifies(timeout=TRY_SECONDS, stop_after=1))
        if not heard:
            _close(self._listener)
            self._listener = None
        return heard

    def _wait_for_hint(self, seconds: float) -> None:
        assert self._listener is not None  # noqa: S101 - it hears
        for hint in self._listener.notifies(timeout=seconds):
            if hint.payload != self._own:
                return


def _close(connection: psycopg.Connection[Any] | None) -> None:
    if connection is not None:
        connection.close()
