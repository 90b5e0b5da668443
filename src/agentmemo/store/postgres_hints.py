"""Hearing of other servers' commits. A notification says "look now"; looking at the positions is the truth.

NOTIFY takes a lock of the whole database at its commit, so it is sent by a thread of its own, outside every transaction
of the store, at most once in 10 ms whatever was committed meanwhile. Where it is lost, or a pooler swallows it, looking
now and then finds everything; without it one looks more often.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from typing import Any

import psycopg

from agentmemo import ids
from agentmemo.clock import monotonic
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
    """Tells the other servers of our commits, and our listeners of theirs."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        enabled: bool,
        positions: Callable[[], int],
        notify: Callable[[], None],
        wanted: Callable[[], bool],
    ) -> None:
        """`positions` tells whether anything was committed anywhere, `wanted` whether anybody here wants to know."""
        self._sessions = sessions
        self._enabled = enabled
        self._positions = positions
        self._notify = notify
        self._wanted = wanted
        self._own = ids.random_bytes(6).hex()
        self._committed = threading.Event()
        self._news = False
        self._closed = threading.Event()
        # A signal handler that listens may interrupt who does: then each starts a thread, which does no harm.
        self._starting = threading.RLock()
        self._watches: list[threading.Thread] = []
        # Written to once, at the end: the thread that waits for hints waits for this as well.
        self._end_read, self._end_write = os.pipe()
        # Not with the first commit: its writer could not start a thread while a signal handler that waits for it has
        # interrupted one that does.
        self._teller = threading.Thread(target=self._tell, name="agentmemo-notify", daemon=True)
        if enabled:
            self._teller.start()

    def send(self) -> None:
        """After a commit: the others are told within 10 ms."""
        self._news = True
        self._committed.set()

    def listen(self) -> None:
        with self._starting:
            if not self._watches and not self._closed.is_set():
                watch = threading.Thread(target=self._watch, name="agentmemo-watch", daemon=True)
                watch.start()
                self._watches.append(watch)

    def close(self) -> None:
        self._closed.set()
        self._committed.set()
        os.write(self._end_write, b"!")
        for thread in (*self._watches, *[self._teller] * self._enabled):
            thread.join()
        os.close(self._end_read)
        os.close(self._end_write)

    def _tell(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while not self._closed.is_set():
            self._committed.wait()
            self._closed.wait(COALESCE_SECONDS)
            self._committed.clear()
            if not self._news:
                continue  # it was woken to end
            self._news = False
            try:
                connection = connection or self._sessions.connect()
                connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, self._own))
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
        """Wait for hints and look, until closed. Returns what was last seen."""
        listener = self._opened() if self._enabled else None
        try:
            while not self._closed.is_set():
                if self._wanted() and (found := self._positions()) != last:
                    last = found
                    self._notify()
                self._wait_for_hint(listener)
        finally:
            _close(listener)
        return last

    def _opened(self) -> psycopg.Connection[Any] | None:
        """A connection that hears notifications; None where none comes back, as behind a pooler."""
        listener = self._sessions.connect()
        try:
            if _is_ours(listener):
                listener.execute(f"LISTEN {CHANNEL}")
                listener.execute("SELECT pg_notify(%s, %s)", (CHANNEL, self._own))
                if any(True for _ in listener.notifies(timeout=TRY_SECONDS, stop_after=1)):
                    return listener
        except BaseException:
            _close(listener)
            raise
        _close(listener)
        return None

    def _wait_for_hint(self, listener: psycopg.Connection[Any] | None) -> None:
        """Until another process commits, it is time to look anyway, or the end has come."""
        poll = select.poll()
        poll.register(self._end_read, select.POLLIN)
        if listener is None:
            poll.poll(ids.jitter(LOOK_SECONDS_ALONE) * 1000)
            return
        poll.register(listener.fileno(), select.POLLIN)
        end = monotonic() + ids.jitter(LOOK_SECONDS)
        while not self._closed.is_set() and (left := end - monotonic()) > 0 and poll.poll(left * 1000):
            if any(hint.payload != self._own for hint in listener.notifies(timeout=0)):
                return


def _is_ours(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server's process is the one that was promised when the connection was made.

    Behind a pooler it is not: the session is others' too. Its LISTEN would stay with it, and hear our own hint once.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and bool(row[0] == connection.info.backend_pid)


def _close(connection: psycopg.Connection[Any] | None) -> None:
    if connection is not None:
        connection.close()
