"""SQLite through apsw: WAL, synchronous FULL, one writer thread with group commit, a pool of readers."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw

from agentmemo.clock import Clock
from agentmemo.errors import Error, LeaseLost, Unavailable
from agentmemo.model.audit import leaf_hash
from agentmemo.model.system import Finding
from agentmemo.store import queries
from agentmemo.store.database import COMMON_LANE, Capabilities, Done, Head, Read, Row
from agentmemo.store.jobs import Listeners
from agentmemo.store.migrate import check_file, check_version, migrate
from agentmemo.store.sqlite_copies import copy_pages, named_when_whole
from agentmemo.store.sqlite_files import FileLock, make_directory, map_error, refuse_network_file_system, whole
from agentmemo.store.sqlite_health import findings
from agentmemo.store.sqlite_hints import Hints
from agentmemo.store.sqlite_writer import GroupCommit

T = TypeVar("T")
POSITION_BITS = 40
REVISION_MASK = (1 << POSITION_BITS) - 1
BUSY_MS = 30_000
CHECKPOINT_PAGES = 10_000
# The log is cut back to this when it begins anew.
LOG_BYTES_KEPT = 256 * 1024 * 1024
# Room that retention frees is used again. What is more than this share of the file, and than so many pages, is given
# back to the disk, in portions of half a MiB: other writes go in between.
FREE_SHARE_KEPT = 0.25
FREE_PAGES_KEPT = 1024
FREED_PAGES = 128
POLL_SECONDS = 0.025
WATCH_AGAIN_SECONDS = 1.0
_LITERAL = re.compile(r"'[^']*'")
_PARAMETER = re.compile(r":(\w+)")
_log = logging.getLogger("agentmemo.store")

_open_databases: weakref.WeakSet[SqliteDatabase] = weakref.WeakSet()


class Statement(NamedTuple):
    """A query, and what puts named parameters into its order: SQLite binds a tuple at half the cost of a dict."""

    sql: str
    bind: Callable[[dict[str, Any]], Sequence[Any]]


@cache
def statement(sql: str) -> Statement:
    """SQLite numbers named parameters by their first appearance; a missing one raises KeyError."""
    names = list(dict.fromkeys(_PARAMETER.findall(_LITERAL.sub("", sql))))
    if len(names) > 1:
        return Statement(sql, itemgetter(*names))
    return Statement(sql, lambda parameters: [parameters[name] for name in names])


class SqliteTransaction:
    """The Transaction of this database. Heads and positions are cached while no other process has written."""

    __slots__ = ("_connection", "_execute", "_heads", "_new_heads", "_new_positions", "_positions", "_queries", "now")

    def __init__(self, connection: apsw.Connection, statements: dict[str, Statement], now: int) -> None:
        self._connection = connection
        # One cursor for all: every result is fetched whole before the next statement runs.
        self._execute = connection.cursor().execute
        self._queries = statements
        self._heads: dict[str, Head] = {}
        self._positions: dict[int, int] = {}
        self._new_heads: dict[str, Head] = {}
        self._new_positions: dict[int, int] = {}
        self.now = now

    def fetch(self, *reads: Read) -> list[list[Row]]:
        return [self.all(name, **parameters) for name, parameters in reads]

    def one(self, name: str, /, **parameters: Any) -> Row | None:
        sql, bind = self._queries[name]
        rows = self._execute(sql, bind(parameters)).fetchall()
        return rows[0] if rows else None

    def all(self, name: str, /, **parameters: Any) -> list[Row]:
        sql, bind = self._queries[name]
        return self._execute(sql, bind(parameters)).fetchall()

    def write(self, name: str, /, *, expect: int | None = None, **parameters: Any) -> None:
        sql, bind = self._queries[name]
        self._execute(sql, bind(parameters))
        if expect is not None and (found := self._connection.changes()) != expect:
            raise LeaseLost(
                f"The write was refused: it met {found} rows where {expect} had to be.",
                why="The claim is stale, or the row changed meanwhile.",
                next_call="Open the run again to get the current epoch.",
            )

    def run(self, name: str, /, **parameters: Any) -> int:
        sql, bind = self._queries[name]
        self._execute(sql, bind(parameters))
        return self._connection.changes()

    def next_position(self, workspace: int) -> int:
        last = self._new_positions.get(workspace) or self._positions.get(workspace)
        if last is None:
            base = workspace << POSITION_BITS
            row = self.one("event_last_position", low=base, high=base | REVISION_MASK)
            last = row[0] if row and row[0] else base
        self._new_positions[workspace] = last + 1
        return last + 1

    def head(self, stream: str) -> Head | None:
        head = self._new_heads.get(stream) or self._heads.get(stream)
        if head is None and (row := self.one("event_last_of_stream", stream=stream)):
            head = Head(row[0], leaf_hash(row[1]))
        return head

    def set_head(self, stream: str, head: Head) -> None:
        self._new_heads[stream] = head

    def changes(self) -> int:
        return self._connection.total_changes()

    def surplus_pages(self) -> int:
        """Free pages that are worth giving back to the disk."""
        pragma = self._connection.pragma
        if pragma("auto_vacuum") != INCREMENTAL:
            return 0
        return int(pragma("freelist_count") - max(FREE_PAGES_KEPT, FREE_SHARE_KEPT * pragma("page_count")))

    def free_pages(self, number: int) -> None:
        # Each step gives one page back, so all of them are taken.
        self._execute(f"PRAGMA incremental_vacuum({number})").fetchall()

    def on_snapshot(self, work: Callable[[Any], T]) -> T:
        with whole(self._connection):
            return work(self)

    def close(self) -> None:
        self._connection.close()

    def begin_request(self) -> None:
        """Forget what the last request of the batch wanted to remember; called at each savepoint."""
        self._new_heads = {}
        self._new_positions = {}

    def keep(self) -> None:
        """The request's savepoint is released: what it learned holds for the next ones."""
        if len(self._heads) > HEADS_CACHED:
            self._heads.clear()
        self._heads.update(self._new_heads)
        self._positions.update(self._new_positions)

    def forget(self) -> None:
        """Another process wrote, or the batch died: nothing cached is true any more."""
        self._heads.clear()
        self._positions.clear()
        self.begin_request()


# Of streams, of which most end soon: what is active is learned anew when all are forgotten.
HEADS_CACHED = 10_000
INCREMENTAL = 2  # of auto_vacuum
# A commit is on the disk before it is acknowledged.
SYNCHRONOUS = "FULL"
HEADER_BYTES = 100


class SqliteDatabase:
    """One file (or memory). See `database.Database` for the contract of each method."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self.clock = clock
        self._statements = {name: statement(query.sql) for name, query in queries.load("sqlite").items()}
        self._readers: deque[SqliteTransaction] = deque()
        self._listeners = Listeners()
        # A signal handler that listens may interrupt who does: then each starts a thread, which does no harm.
        self._starting = threading.RLock()
        self._pumps: list[threading.Thread] = []
        self._closed = threading.Event()
        self._forked = False
        self._target = str(path) if path else f"file:/agentmemo-{id(self)}?vfs=memdb"
        if path:
            _prepare_directory(path)
            refuse_network_file_system(path)
        self._hints = Hints(path) if path else None
        self._lock = FileLock(Path(f"{path}-lock") if path else None)
        try:
            connection = self._open_writer()
        except BaseException:
            # Whoever tries until it works must not be left with one more open file each time.
            self._lock.close()
            raise
        self.capabilities = Capabilities(
            name="sqlite",
            address=str(path or ":memory:"),
            durable=path is not None,
            concurrent_reads=path is not None,
            local=True,
            search_folds=True,
            file=path,
            beside=path,
        )
        self._writer_connection = connection
        self._writer = GroupCommit(
            connection,
            SqliteTransaction(connection, self._statements, clock.now_us()),
            self._lock,
            clock,
            self._committed,
            CHECKPOINT_PAGES,
        )
        _open_databases.add(self)

    def read(self, work: Callable[[Any], T], *, snapshot: bool = True) -> T:
        self._check_open()
        if not self.capabilities.concurrent_reads:
            return self._writer.write(work, kind="read")
        try:
            transaction = self._readers.pop()
            transaction.now = self.clock.now_us()
        except IndexError:
            transaction = SqliteTransaction(self._open_reader(), self._statements, self.clock.now_us())
        try:
            found = transaction.on_snapshot(work) if snapshot else work(transaction)
        except Error:
            # A refusal of ours, such as NotFound: the reader is as good as before.
            self._keep(transaction)
            raise
        except BaseException as error:
            # Who was interrupted, as by Ctrl-C, may have left it in a transaction: others would read the past in it.
            with contextlib.suppress(apsw.Error):
                transaction.close()
            if isinstance(error, apsw.Error):
                raise map_error(error, self._target) from error
            raise
        self._keep(transaction)
        return found

    def write(self, work: Callable[[Any], T], *, lane: int = COMMON_LANE, reads: Sequence[Read] = ()) -> T:
        # One file has one writer, and a read costs no round trip: lanes and announced reads change nothing.
        del lane, reads
        self._check_open()
        return self._writer.write(work)

    def submit(
        self, work: Callable[[Any], Any], done: Done, *, lane: int = COMMON_LANE, reads: Sequence[Read] = ()
    ) -> None:
        del lane, reads
        self._check_open()
        self._writer.submit(work, done)

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        stop = self._listeners.add(callback)
        with self._starting:
            if self._path and not self._pumps:
                # Looked at here, not in the thread: a commit between this call and the thread's first look counts.
                connection = self._open_reader()
                pump = threading.Thread(
                    target=self._watch_others,
                    args=(connection, connection.pragma("data_version")),
                    name="agentmemo-watch",
                    daemon=True,
                )
                pump.start()
                self._pumps.append(pump)
        return stop

    def backup(self, path: Path) -> int:
        self._check_open()
        with named_when_whole(path) as partial:
            source = self._open_reader() if self._path else self._writer_connection
            try:
                copy_pages(source, partial)
            finally:
                if self._path:
                    source.close()
        return path.stat().st_size

    def counters(self) -> dict[str, int]:
        return {"commits": self._writer.commits, "writes": self._writer.writes}

    def diagnose(self) -> list[Finding]:
        return findings(self.facts(), self._path)

    def check_pepper(self, digest: str) -> bool:
        # The file of the secret lies beside the store's: they come and go together.
        del digest
        return True

    def size(self) -> int:
        if self._path is None:
            return 0
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def facts(self) -> dict[str, Any]:
        def look(transaction: SqliteTransaction) -> dict[str, Any]:
            pragma = transaction._connection.pragma  # noqa: SLF001 - the same module
            return {
                "sqlite": apsw.sqlite_lib_version(),
                "apsw": apsw.apsw_version(),
                "path": str(self._path or ":memory:"),
                "journal_mode": pragma("journal_mode"),
                "bytes": pragma("page_count") * pragma("page_size"),
                "quick_check": pragma("quick_check"),
            }

        return self.read(look) | {"synchronous": self._writers_synchronous()}

    def _writers_synchronous(self) -> str:
        """What the connection that commits has set, asked where it lives; "unknown" while it cannot work."""
        try:
            level = self._writer.write(lambda transaction: transaction._connection.pragma("synchronous"))  # noqa: SLF001
        except Error:
            return "unknown"
        return {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}.get(level, "unknown")

    def shrink(self) -> int:
        surplus = self.read(SqliteTransaction.surplus_pages, snapshot=False)
        if surplus <= 0:
            return 0
        self.write(lambda tx: tx.free_pages(min(surplus, FREED_PAGES)))
        return surplus

    def close(self) -> None:
        if self._closed.is_set() or self._forked:
            return
        self._closed.set()
        self._writer.close()
        for pump in self._pumps:
            pump.join()
        if self._hints is not None:
            self._hints.close()
        # The log holds what was acknowledged. What cannot be moved into the file now is moved when it is opened again.
        self._close_readers()
        with contextlib.suppress(apsw.Error):
            self._writer_connection.pragma("wal_checkpoint(PASSIVE)")
        with contextlib.suppress(apsw.Error):
            self._writer_connection.close()
        self._lock.close()

    def _keep(self, reader: SqliteTransaction) -> None:
        self._readers.append(reader)
        if self._closed.is_set():
            self._close_readers()

    def _close_readers(self) -> None:
        """Those that nobody reads with. One that is in use meanwhile is closed by whoever reads."""
        with contextlib.suppress(IndexError):
            while True:
                transaction = self._readers.pop()
                with contextlib.suppress(apsw.Error):
                    transaction.close()

    def _open_writer(self) -> apsw.Connection:
        try:
            connection = self._connect()
            try:
                self._make_ready(connection)
            except BaseException:
                connection.close()
                raise
        except apsw.Error as error:
            raise map_error(error, self._target) from error
        return connection

    def _make_ready(self, connection: apsw.Connection) -> None:
        with self._lock.held():
            # What is not ours is refused before a pragma changes it.
            if check_file(connection, self._target):
                check_version(connection, self._target)
            # Of a new file only; an older one has this once it was copied.
            connection.pragma("auto_vacuum", "INCREMENTAL")
            connection.pragma("journal_mode", "WAL")
            connection.pragma("synchronous", SYNCHRONOUS)
            connection.pragma("fullfsync", value=True)
            connection.pragma("journal_size_limit", LOG_BYTES_KEPT)
            migrate(connection, self._target)

    def _open_reader(self) -> apsw.Connection:
        try:
            connection = self._connect()
            connection.pragma("query_only", value=True)
            # Exactly one connection of a process checkpoints: the writer's.
            connection.wal_autocheckpoint(0)
        except apsw.Error as error:
            raise map_error(error, self._target) from error
        return connection

    def _connect(self) -> apsw.Connection:
        if self._path:
            # Readable by its owner only from the first byte; SQLite gives its log the same rights. Only a new file is
            # opened here: closing a descriptor of one in use would drop this process's SQLite locks on it (POSIX).
            with contextlib.suppress(OSError):
                os.close(os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(self._target, flags=flags, statementcachesize=200)
        # Plans do not depend on the values bound. Else a library built with STAT4 makes many anew at every execution,
        # which costs ten times the reading; there are no statistics here that they could use.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("foreign_keys", value=True)
        return connection

    def _committed(self) -> None:
        """After a commit of this process: tell our own listeners, then the other processes."""
        self._listeners.notify()
        if self._hints:
            self._hints.send()

    def _watch_others(self, connection: apsw.Connection, last: int) -> None:
        """Commits of other processes show in data_version; polling it is the truth, at 25 ms a microsecond's work."""
        assert self._hints is not None  # noqa: S101 - only a store in a file is watched
        self._hints.listen()
        while not self._closed.is_set():
            try:
                self._hints.wait(POLL_SECONDS)
                if not self._listeners:
                    continue
                version = connection.pragma("data_version")
            except Exception:  # noqa: BLE001 - without this thread nobody would hear of other processes again
                _log.warning("looking for commits of other processes failed; it is tried again", exc_info=True)
                self._closed.wait(WATCH_AGAIN_SECONDS)
                continue
            if version != last:
                last = version
                self._listeners.notify()
        connection.close()

    def _check_open(self) -> None:
        if self._forked:
            raise Unavailable(
                "This connection was made before a fork.",
                why="Threads and locks do not survive a fork.",
                next_call="Call agentmemo.connect(...) again in the child process.",
                retry_safe=False,
            )
        if self._closed.is_set():
            raise Unavailable(
                "The connection is closed.", next_call="Call agentmemo.connect(...) again.", retry_safe=False
            )


def _prepare_directory(path: Path) -> None:
    try:
        make_directory(path.parent)
        if path.is_dir():
            raise Unavailable(f"{path} is a directory.", next_call="Name a file.", retry_safe=False)
        if path.exists() and 0 < path.stat().st_size < HEADER_BYTES:
            # SQLite would take it for an empty file and begin a new store over what is left of this one.
            raise map_error(apsw.NotADBError(), str(path))
    except Error:
        raise
    except OSError as error:
        raise Unavailable(
            f"The data directory {path.parent} cannot be made: {error.strerror}.",
            next_call="Set AGENTMEMO_DATA to a directory you may write to.",
        ) from error


def _after_fork() -> None:
    for database in _open_databases:
        database._forked = True  # noqa: SLF001 - the child must never touch the parent's connections
        # The descriptor is the parent's lock too: were it open here, the lock would outlive the parent. It is closed
        # and not unlocked, for unlocking would take it from the parent.
        with contextlib.suppress(OSError):
            database._lock.close()  # noqa: SLF001 - as above


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
