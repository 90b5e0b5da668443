"""A PostgreSQL database as one end of a copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from agentmemo.errors import Conflict, Unavailable
from agentmemo.settings import Settings
from agentmemo.store import postgres_schema as schema
from agentmemo.store.database import Row
from agentmemo.store.migrate import COPYING_KEY, check_newest
from agentmemo.store.postgres_sessions import Sessions
from agentmemo.store.transfer import Table, holds_a_null_character

SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# A copy takes as long as it takes, whatever the server's defaults for transactions are.
PATIENT = (
    b"SET LOCAL idle_in_transaction_session_timeout = 0",
    b"SET LOCAL statement_timeout = 0",
    b"SET LOCAL lock_timeout = '2s'",
)
# The last position of a workspace is its newest event's.
COUNT_TURNS = b"""
INSERT INTO turn (workspace, position)
SELECT w.id, coalesce(
    (SELECT max(position) FROM event WHERE position >= w.id << 40 AND position < (w.id + 1) << 40), w.id << 40)
FROM workspace w
ON CONFLICT (workspace) DO UPDATE SET position = excluded.position"""
IDENTITIES = b"""
SELECT c.relname, a.attname, pg_get_serial_sequence(quote_ident(c.relname), a.attname)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attidentity <> ''"""
TYPES = b"SELECT attname, atttypid::int FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"


class PostgresSource:
    """One snapshot of a database. See `transfer.Source`."""

    code_points = 'COLLATE "C"'

    def __init__(self, sessions: Sessions) -> None:
        self.address = sessions.shown
        self._connection = _connect(sessions)
        try:
            with _mapped(self.address):
                for statement in (SNAPSHOT, *PATIENT):
                    self._connection.execute(statement)
            known = schema.check_whole(sessions, self._connection)
            check_newest(int(known.get(schema.VERSION_KEY, 0)), self.address, "postgres")
        except BaseException:
            self._connection.close()
            raise
        self.beside = schema.place(known)
        self.pepper_check = known.get(schema.PEPPER_KEY)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return _query(self._connection, self.address, sql, parameters)

    def close(self) -> None:
        self._connection.close()


class PostgresTarget:
    """An empty database, or one with an unfinished copy. See `transfer.Target`.

    A transaction of its own holds the turn of what belongs to no workspace, so nobody makes a workspace meanwhile and
    no second copy begins; it ends with the commit that takes the mark away.
    """

    code_points = 'COLLATE "C"'

    def __init__(self, sessions: Sessions, settings: Settings) -> None:
        """Makes the tables where there are none. Raises Conflict while another process copies or writes there."""
        self.address = sessions.shown
        self._connection = _connect(sessions)
        self._holder = _connect(sessions)
        try:
            schema.check_server(sessions, self._connection, allow_lossy=settings.postgres_allow_lossy)
            if COPYING_KEY not in schema.meta(self._connection):
                schema.migrate(sessions)
            known = schema.meta(self._connection)
            check_newest(int(known[schema.VERSION_KEY]), self.address, "postgres")
            self._hold()
        except BaseException:
            self.close()
            raise
        self.beside = schema.place(known)
        self.pepper_check = known.get(schema.PEPPER_KEY)
        self._types: dict[str, dict[str, int]] = {}

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return _query(self._connection, self.address, sql, parameters)

    def mark(self) -> str | None:
        return schema.meta(self._connection).get(COPYING_KEY)

    def begin(self, mark: str) -> None:
        with _mapped(self.address):
            self._connection.execute("INSERT INTO meta (key, value) VALUES (%s, %s)", (COPYING_KEY, mark))

    def reserve(self, workspaces: Sequence[int]) -> None:
        """Who would take one of these turns meets a row that is not committed yet, and waits for its end."""
        with _mapped(self.address):
            statement = "INSERT INTO turn (workspace, position) SELECT unnest(%s::bigint[]), 0 ON CONFLICT DO NOTHING"
            self._holder.execute(statement, (list(workspaces),))

    def append(self, table: Table, rows: Sequence[Row]) -> None:
        types = self._types_of(table)
        statement = f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN (FORMAT BINARY)"
        try:
            with _mapped(self.address), self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
                copy.set_types([types[column] for column in table.columns])
                for row in rows:
                    copy.write_row(row)
        except psycopg.DataError as error:
            raise holds_a_null_character(table, error) from error

    def clear(self, table: Table) -> None:
        with _mapped(self.address):
            self._connection.execute(f"TRUNCATE {table.name}".encode())

    def finish(self, pepper_check: str | None) -> None:
        """The mark goes in the transaction that held everybody off; statistics are what the first queries plan by."""
        with _mapped(self.address):
            for table, column, sequence in self._connection.execute(IDENTITIES).fetchall():
                last = f"SELECT setval(%s, coalesce((SELECT max({column}) FROM {table}), 0) + 1, false)"  # noqa: S608 - the schema's
                self._connection.execute(last.encode(), (sequence,))
            self._connection.execute(b"ANALYZE")
            self._holder.execute(COUNT_TURNS)
            # No key of an empty store was made with the secret that it may have known before.
            gone = "DELETE FROM meta WHERE key IN (%s, %s)"
            self._holder.execute(gone, (COPYING_KEY, schema.PEPPER_KEY))
            if pepper_check is not None:
                kept = "INSERT INTO meta (key, value) VALUES (%s, %s)"
                self._holder.execute(kept, (schema.PEPPER_KEY, pepper_check))
            self._holder.execute(b"COMMIT")

    def close(self) -> None:
        self._holder.close()
        self._connection.close()

    def _hold(self) -> None:
        try:
            with _mapped(self.address):
                for statement in (b"BEGIN", *PATIENT, b"SELECT position FROM turn WHERE workspace = 0 FOR UPDATE"):
                    self._holder.execute(statement)
        except psycopg.errors.LockNotAvailable as error:
            raise Conflict(
                f"Another process writes in {self.address}.",
                why="A copy is made by one process, and nobody works in the target before it is whole.",
                next_call="Stop it, then repeat the command.",
                retry_safe=True,
            ) from error

    def _types_of(self, table: Table) -> dict[str, int]:
        if table.name not in self._types:
            with _mapped(self.address):
                rows = self._connection.execute(TYPES, (table.name,)).fetchall()
            self._types[table.name] = {str(column): int(kind) for column, kind in rows}
        return self._types[table.name]


def _connect(sessions: Sessions) -> psycopg.Connection[Any]:
    connection = sessions.connect()
    # A pooler in transaction mode may stand in between, as everywhere.
    connection.prepare_threshold = None
    return connection


def _query(connection: psycopg.Connection[Any], address: str, sql: str, parameters: Sequence[Any]) -> list[Row]:
    with _mapped(address), connection.cursor(binary=True) as cursor:
        return cursor.execute(sql.replace("?", "%s").encode(), parameters).fetchall()


@contextlib.contextmanager
def _mapped(address: str) -> Iterator[None]:
    """What the server or the line did, in our words. Texts and locks are left to who knows what they were for."""
    try:
        yield
    except (psycopg.DataError, psycopg.errors.LockNotAvailable):
        raise
    except psycopg.Error as error:
        first = (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
        raise Unavailable(
            f"The database at {address} did not do it: {first}.",
            why="What was copied before stays, under a mark that keeps others from opening it.",
            next_call="Repeat the command: it goes on where it stopped.",
            retry_safe=True,
        ) from error
