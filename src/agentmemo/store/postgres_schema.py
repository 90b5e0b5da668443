"""The schema of a PostgreSQL database: what it is, what is missing, and bringing it up to date.

DDL is transactional there, so a migration commits whole or not at all. Who migrates holds the row of the schema's
version for that long; everybody else waits for it and then finds nothing left to do. No advisory lock: poolers work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from agentmemo import ids
from agentmemo.crashpoints import reach
from agentmemo.errors import Unavailable
from agentmemo.settings import data_directory
from agentmemo.store.migrate import COPYING_KEY, OLDEST_WRITER, Plan, newest_version, refuse_unfinished
from agentmemo.store.postgres_health import setting
from agentmemo.store.postgres_sessions import Sessions
from agentmemo.store.queries import migrations

VERSION_KEY, MIN_READER_KEY, MIN_WRITER_KEY, ID_KEY, PEPPER_KEY = (
    "schema_version",
    "min_reader",
    "min_writer",
    "store_id",
    "pepper_check",
)
OLDEST_SERVER = 140_000
LOCK_TIMEOUT = b"SET LOCAL lock_timeout = '10s'"
SET_META = "INSERT INTO meta (key, value) VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
# A table of which autovacuum knows more rows is its own affair.
SMALL_ROWS = 100_000
# Two that create the same table at once: one of them meets the other's row in a catalogue.
RACED = frozenset({"23505", "42P07", "42710"})


def plan(sessions: Sessions) -> Plan:
    """Read only. Raises Unavailable where the database was written by a newer AgentMemo or is not ours."""
    with sessions.connected() as connection:
        return _plan(sessions, connection)


def migrate(sessions: Sessions) -> list[int]:
    """Apply what is missing, in one transaction. Returns the numbers applied; another's are not among them."""
    for _ in range(3):
        with sessions.connected() as connection:
            found = _plan(sessions, connection)
            if not found.missing:
                return []
            try:
                return _apply(sessions, connection)
            except psycopg.Error as error:
                if error.sqlstate not in RACED:
                    raise Unavailable(
                        f"The schema of {sessions.shown} could not be brought up to date: {error}.",
                        why="Nothing was changed; the user needs the right to create tables in it.",
                        next_call="agentmemo migrate --plan --database URL shows what is missing.",
                    ) from error
    raise Unavailable(f"Others are changing the schema of {sessions.shown}.", next_call="Try again in a moment.")


def meta(connection: psycopg.Connection[Any]) -> dict[str, str]:
    row = connection.execute("SELECT to_regclass('meta') IS NOT NULL").fetchone()
    if not row or not row[0]:
        return {}
    return {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM meta").fetchall()}


def check_server(sessions: Sessions, connection: psycopg.Connection[Any], *, allow_lossy: bool) -> None:
    """Refuse a server that is too old, or set up to forget what it has acknowledged, and a database of other texts."""
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise Unavailable(
            f"The server at {sessions.shown} is PostgreSQL {version // 10_000}.",
            next_call="Use PostgreSQL 14 or newer.",
            retry_safe=False,
        )
    # Others cannot hold every text, and what is stored as bytes is searched as text.
    if (encoding := setting(connection, "server_encoding")) != "UTF8":
        raise Unavailable(
            f"The database {sessions.shown} has the encoding {encoding}.",
            why="AgentMemo keeps texts of every script, which only UTF8 can hold. Nothing was changed in it.",
            next_call="CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0, and name that one.",
            retry_safe=False,
        )
    if allow_lossy:
        return
    for name, lossy in (("synchronous_commit", "off"), ("fsync", "off"), ("full_page_writes", "off")):
        if setting(connection, name) == lossy:
            raise Unavailable(
                f"The server at {sessions.shown} has {name}={lossy}.",
                why="It acknowledges commits that a crash can lose, so no promise of AgentMemo would hold.",
                next_call=f"Set {name}=on, or AGENTMEMO_POSTGRES_ALLOW_LOSSY=true where losing data is fine.",
                retry_safe=False,
            )


def place(known: dict[str, str]) -> Path:
    """Beside it lies what this machine keeps for the database: it is named for the store's id."""
    return data_directory() / f"postgres-{known[ID_KEY]}"


def check_whole(sessions: Sessions, connection: psycopg.Connection[Any]) -> dict[str, str]:
    """What `meta` says, empty for an empty database. Raises Unavailable for a schema that must not be opened."""
    known = meta(connection)
    newest = newest_version("postgres")
    if not known and _has_tables(connection):
        raise Unavailable(
            f"The database {sessions.shown} holds tables of another program.",
            why="Nothing was changed in it.",
            next_call="Name an empty database, or add ?options=-csearch_path%3Dagentmemo and create that schema.",
            retry_safe=False,
        )
    if int(known.get(MIN_WRITER_KEY, 0)) > newest:
        raise Unavailable(
            f"{sessions.shown} was written by a newer AgentMemo (schema {known[VERSION_KEY]}).",
            why=f"Its smallest writer is schema {known[MIN_WRITER_KEY]}, this library knows {newest}.",
            next_call="Upgrade agentmemo: pip install --upgrade agentmemo.",
            retry_safe=False,
        )
    refuse_unfinished(sessions.shown, known.get(COPYING_KEY))
    return known


def analyze(connection: psycopg.Connection[Any]) -> None:
    """Let the server look at the tables that were small when it last did; everybody's kept plans are then made anew."""
    rows = connection.execute(
        "SELECT quote_ident(relname) FROM pg_catalog.pg_class"
        " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND reltuples < %s",
        (SMALL_ROWS,),
    ).fetchall()
    if rows:
        connection.execute(f"ANALYZE {', '.join(row[0] for row in rows)}".encode())


def _plan(sessions: Sessions, connection: psycopg.Connection[Any]) -> Plan:
    version = int(check_whole(sessions, connection).get(VERSION_KEY, 0))
    missing = [(number, script) for number, script in migrations("postgres") if number > version]
    return Plan(database=sessions.shown, version=version, newest=newest_version("postgres"), missing=missing)


def _apply(sessions: Sessions, connection: psycopg.Connection[Any]) -> list[int]:
    applied: list[int] = []
    with connection.transaction():
        connection.execute(LOCK_TIMEOUT)
        if _has_tables(connection):
            connection.execute("SELECT value FROM meta WHERE key = %s FOR UPDATE", (VERSION_KEY,))
        for number, script in _plan(sessions, connection).missing:
            reach("migrate.before_schema")
            connection.execute(script.encode())
            for key, value in ((VERSION_KEY, number), (MIN_READER_KEY, 1), (MIN_WRITER_KEY, OLDEST_WRITER)):
                connection.execute(SET_META, (key, str(value)))
            applied.append(number)
        connection.execute(
            "INSERT INTO meta (key, value) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING",
            (ID_KEY, ids.random_bytes(8).hex()),
        )
        reach("migrate.before_commit")
    return applied


def _has_tables(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = current_schema())"
    ).fetchone()
    return bool(row and row[0])
