"""An SQLite file as one end of a copy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from agentmemo.clock import Clock
from agentmemo.errors import Conflict, InvalidInput
from agentmemo.store import secrets_file
from agentmemo.store.database import Row
from agentmemo.store.migrate import APPLICATION_ID, COPYING_KEY, check_file, check_newest, check_version
from agentmemo.store.sqlite import BUSY_MS, SqliteDatabase
from agentmemo.store.sqlite_copies import named_when_whole
from agentmemo.store.sqlite_files import map_error, try_lock, whole
from agentmemo.store.transfer import Source, Table, copy


class SqliteSource:
    """One read transaction on a file. See `transfer.Source`."""

    code_points = ""

    def __init__(self, path: Path) -> None:
        self.address, self.beside = str(path), path
        self.pepper_check = secrets_file.check_of(path)
        if not path.is_file():
            raise InvalidInput(f"There is no file {path}.", next_call="Name a store, or a backup of one.")
        with _mapped(path):
            self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                self._connection.set_busy_timeout(BUSY_MS)
                # The first read takes the snapshot.
                self._connection.execute("BEGIN")
                ours = check_file(self._connection, self.address)
                check_newest(check_version(self._connection, self.address) if ours else 0, self.address)
            except BaseException:
                self._connection.close()
                raise

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with _mapped(self.beside):
            return self._connection.execute(sql, tuple(parameters)).fetchall()

    def close(self) -> None:
        self._connection.close()


class SqliteTarget:
    """An empty file, or one with an unfinished copy. No other process writes in it meanwhile. See `transfer.Target`."""

    code_points = ""
    pepper_check: str | None = None

    def __init__(self, path: Path, clock: Clock) -> None:
        """Makes the file where there is none. Raises Conflict while another process writes there."""
        self.address, self.beside = str(path), path
        if _mark_of(path) is None:
            # Its directory, its rights, its schema, and refusing what is not ours: all as when it is opened.
            SqliteDatabase(path, clock).close()
        lock = try_lock(path.with_name(path.name + "-lock"))
        if lock is None:
            raise Conflict(
                f"Another process writes in {path}.",
                why="A copy is made by one process, and nobody works in the target before it is whole.",
                next_call="Stop it, then repeat the command.",
                retry_safe=True,
            )
        self._lock = lock
        try:
            with _mapped(path):
                self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
                self._connection.set_busy_timeout(BUSY_MS)
                self._connection.pragma("synchronous", "FULL")
        except BaseException:
            os.close(lock)
            raise

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with _mapped(self.beside):
            return self._connection.execute(sql, tuple(parameters)).fetchall()

    def mark(self) -> str | None:
        found = self.query("SELECT value FROM meta WHERE key = ?", (COPYING_KEY,))
        return str(found[0][0]) if found else None

    def begin(self, mark: str) -> None:
        self.query("INSERT INTO meta (key, value) VALUES (?, ?)", (COPYING_KEY, mark))

    def reserve(self, workspaces: Sequence[int]) -> None:
        # The lock that was taken at the beginning keeps every writer off.
        del workspaces

    def append(self, table: Table, rows: Sequence[Row]) -> None:
        places = ", ".join("?" * len(table.columns))
        sql = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({places})"  # noqa: S608 - of TABLES
        with _mapped(self.beside), whole(self._connection):
            self._connection.executemany(sql, rows)

    def clear(self, table: Table) -> None:
        self.query(f"DELETE FROM {table.name}")  # noqa: S608 - of TABLES

    def finish(self, pepper_check: str | None) -> None:
        # SQLite numbers rows past the highest by itself, and the file of the secret lies beside the store's.
        del pepper_check
        self.query("DELETE FROM meta WHERE key = ?", (COPYING_KEY,))

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)


def write_file(source: Source, path: Path, clock: Clock) -> int:
    """The whole store as one new SQLite file, which has its name only once it is whole. Returns its bytes."""
    with named_when_whole(path) as partial:
        target = SqliteTarget(partial, clock)
        try:
            copy(source, target)
        finally:
            target.close()
    return path.stat().st_size


def _mark_of(path: Path) -> str | None:
    """The mark of an unfinished copy in a file; None also where no store can be read, which opening it explains."""
    if not path.is_file():
        return None
    try:
        with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            if connection.pragma("application_id") != APPLICATION_ID:
                return None
            found = connection.execute("SELECT value FROM meta WHERE key = ?", (COPYING_KEY,)).get
            return str(found) if found is not None else None
    except apsw.Error:
        return None


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise map_error(error, str(path)) from error
