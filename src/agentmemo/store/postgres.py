"""PostgreSQL through psycopg: turns instead of one writer thread, the same named queries, any number of servers."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from agentmemo.clock import Clock, DatabaseClock, SystemClock, monotonic
from agentmemo.errors import Error, Unavailable
from agentmemo.model.system import Finding
from agentmemo.settings import Settings
from agentmemo.store import postgres_schema as schema
from agentmemo.store import queries
from agentmemo.store.database import COMMON_LANE, Capabilities, Done, Read
from agentmemo.store.jobs import Listeners
from agentmemo.store.postgres_health import findings
from agentmemo.store.postgres_hints import Hints
from agentmemo.store.postgres_lanes import AGAIN, Lanes
from agentmemo.store.postgres_sessions import Sessions, unavailable
from agentmemo.store.postgres_transaction import ReadTransaction, Statements
from agentmemo.store.postgres_transfer import PostgresSource
from agentmemo.store.postgres_wire import Lost, Refused, statement
from agentmemo.store.sqlite_transfer import write_file

T = TypeVar("T")
SNAPSHOT = (b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
PAUSE_SECONDS = 0.05
CLOCK_SAMPLES = 3
# Commits of this process after which the server is to look at small tables again, and by how much more each time.
ANALYZE_AFTER, GROWTH = 100, 3
_log = logging.getLogger("agentmemo.store")

_open_databases: weakref.WeakSet[PostgresDatabase] = weakref.WeakSet()


class PostgresDatabase:
    """One database on a server. See `database.Database` for the contract of each method."""

    def __init__(self, url: str, clock: Clock, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self._settings = settings
        self._sessions = Sessions(url, settings)
        self._statements = Statements(
            {name: statement(name, query) for name, query in queries.load("postgres").items()}
        )
        self._listeners = Listeners()
        self._closed = threading.Event()
        self._forked = False
        self._analyze_at = ANALYZE_AFTER
        beside = self._prepare()
        self.clock = DatabaseClock(clock, self._measure_ahead) if isinstance(clock, SystemClock) else clock
        self.capabilities = Capabilities(
            name="postgres",
            address=self._sessions.shown,
            durable=True,
            concurrent_reads=True,
            local=False,
            search_folds=False,
            beside=beside,
        )
        self._hints = Hints(
            self._sessions,
            enabled=settings.postgres_notify,
            positions=self._positions,
            notify=self._listeners.notify,
            wanted=lambda: bool(self._listeners),
        )
        self._lanes = Lanes(
            self._sessions,
            self._statements,
            writers=settings.postgres_writers,
            patience_seconds=settings.postgres_patience_seconds,
            now_us=self.clock.now_us,
            notify=self._committed,
        )
        _open_databases.add(self)

    def read(self, work: Callable[[Any], T], *, snapshot: bool = True) -> T:
        """A read changes nothing, so one that lost its connection is simply made again, as long as patience lasts."""
        self._check_open()
        end = monotonic() + self._settings.postgres_patience_seconds
        begun = False

        def noted(transaction: Any) -> T:
            nonlocal begun
            begun = True
            return work(transaction)

        while True:
            begun = False
            try:
                return self._read(noted, snapshot=snapshot)
            except Refused as refused:
                again = self._sessions.learn_from(refused) or refused.state in AGAIN
                if not again or monotonic() > end:
                    raise unavailable(refused, again=again) from refused
            except Lost as lost:
                self._sessions.forget_idle()
                if monotonic() > end:
                    raise unavailable(lost, again=True) from lost
            except Unavailable:
                # Once the work has begun it is its own refusal; before that nobody was there.
                if begun or monotonic() > end or self._closed.is_set():
                    raise
            self._closed.wait(PAUSE_SECONDS)

    def write(self, work: Callable[[Any], T], *, lane: int = COMMON_LANE, reads: Sequence[Read] = ()) -> T:
        self._check_open()
        return self._lanes.write(work, lane, reads)

    def submit(
        self, work: Callable[[Any], Any], done: Done, *, lane: int = COMMON_LANE, reads: Sequence[Read] = ()
    ) -> None:
        self._check_open()
        self._lanes.submit(work, done, lane, reads)

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        stop = self._listeners.add(callback)
        self._hints.listen()
        return stop

    def backup(self, path: Path) -> int:
        """A portable SQLite file, from which `agentmemo copy` fills any other store."""
        self._check_open()
        source = PostgresSource(self._sessions)
        try:
            return write_file(source, path, self.clock)
        finally:
            source.close()

    def counters(self) -> dict[str, int]:
        return {"commits": self._lanes.commits, "writes": self._lanes.writes}

    def diagnose(self) -> list[Finding]:
        with self._sessions.connected() as connection:
            return findings(connection, self._sessions.shown, schema.meta(connection).get(schema.VERSION_KEY, "0"))

    def size(self) -> int:
        with self._sessions.connected() as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0

    def shrink(self) -> int:
        # Autovacuum makes the room usable again, and gives back what lies at the end.
        return 0

    def check_pepper(self, digest: str) -> bool:
        """Whether the plane's secret is the one the keys of this database were made with; the first one is believed."""
        with self._sessions.connected() as connection:
            connection.execute(
                "INSERT INTO meta (key, value) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING",
                (schema.PEPPER_KEY, digest),
            )
            return schema.meta(connection)[schema.PEPPER_KEY] == digest

    def close(self) -> None:
        if self._closed.is_set() or self._forked:
            return
        self._closed.set()
        self._lanes.close()
        self._hints.close()
        self._sessions.close()

    def _prepare(self) -> Path:
        """Check the server, bring the schema up to date, and return what this machine's files for it lie beside."""
        with self._sessions.connected() as connection:
            schema.check_server(self._sessions, connection, allow_lossy=self._settings.postgres_allow_lossy)
            known = schema.check_whole(self._sessions, connection)
            if int(known.get(schema.VERSION_KEY, 0)) < queries.migrations("postgres")[-1][0]:
                schema.migrate(self._sessions)
                known = schema.meta(connection)
            return schema.place(known)

    def _read(self, work: Callable[[Any], T], *, snapshot: bool) -> T:
        with self._sessions.reader() as wire:
            transaction = ReadTransaction(wire, self._statements, self.clock.now_us(), SNAPSHOT if snapshot else ())
            try:
                found = work(transaction)
            except Error:
                transaction.end()
                raise
            transaction.end()
            return found

    def _positions(self) -> int:
        row = self.read(lambda tx: tx.one("turn_sum"), snapshot=False)
        return int(row[0]) if row else 0

    def _measure_ahead(self, steady_us: Callable[[], int]) -> int:
        """How far the database's time is ahead of a steady clock; the quickest answer of a few is the truest."""
        samples = []
        with self._sessions.connected() as connection:
            for _ in range(CLOCK_SAMPLES):
                before = steady_us()
                row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()
                after = steady_us()
                assert row is not None  # noqa: S101 - a SELECT without FROM has a row
                samples.append((after - before, int(row[0]) - (before + after) // 2))
        return min(samples)[1]

    def _committed(self) -> None:
        self._listeners.notify()
        self._hints.send()
        if self._lanes.commits >= self._analyze_at:
            self._analyze_at *= GROWTH
            threading.Thread(target=self._analyze, name="agentmemo-analyze", daemon=True).start()

    def _analyze(self) -> None:
        """Plans are kept, and those made while a store was empty read a whole table for one row.

        The server would find out by itself, a minute later and not where autovacuum is off.
        """
        try:
            with self._sessions.connected() as connection:
                schema.analyze(connection)
        except (psycopg.Error, Unavailable):
            _log.debug("the tables were not analyzed", exc_info=True)

    def _check_open(self) -> None:
        if self._forked:
            raise Unavailable(
                "This connection was made before a fork.",
                why="Threads and connections do not survive a fork.",
                next_call="Call agentmemo.connect(...) again in the child process.",
                retry_safe=False,
            )
        if self._closed.is_set():
            raise Unavailable(
                "The connection is closed.", next_call="Call agentmemo.connect(...) again.", retry_safe=False
            )


def _after_fork() -> None:
    for database in _open_databases:
        database._forked = True  # noqa: SLF001 - the child must never touch the parent's connections
        database._sessions.abandon()  # noqa: SLF001 - as above


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
