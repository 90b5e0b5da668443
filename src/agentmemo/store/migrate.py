"""The schema's version: refuse what is not ours or too new, apply what is missing."""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec

from agentmemo.crashpoints import reach
from agentmemo.errors import InvalidInput, Unavailable
from agentmemo.store.queries import migrations
from agentmemo.store.sqlite_files import whole

APPLICATION_ID = 0x414D454D  # "AMEM": how a file of ours is told from any other SQLite file
MIN_READER_KEY, MIN_WRITER_KEY, VERSION_KEY = "min_reader", "min_writer", "schema_version"
# The oldest schema whose code may write: retention of before would remove the large values of later nouns.
OLDEST_WRITER = 3
# The same of a file: code of before counts work by the wall clock. On PostgreSQL there is one clock for everything.
OLDEST_WRITER_OF_FILES = 10
# While a copy fills a store, its mark and its source stand here, and nobody else may open it.
COPYING_KEY = "copying"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a migration would do: the version that is there (0 for an empty store) and the scripts that are missing."""

    database: str
    version: int
    newest: int
    missing: list[tuple[int, str]]


def newest_version(database: str = "sqlite") -> int:
    return migrations(database)[-1][0]


def plan(path: Path) -> Plan:
    """What opening a file would change; it is only read. Raises Unavailable as opening it would."""
    version = 0
    if path.is_file():
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            version = check_version(connection, str(path)) if check_file(connection, str(path)) else 0
        finally:
            connection.close()
    missing = [(number, script) for number, script in migrations("sqlite") if number > version]
    return Plan(database=str(path), version=version, newest=newest_version(), missing=missing)


def check_file(connection: apsw.Connection, path: str) -> bool:
    """True if the file holds our schema, False if it is empty. Raises Unavailable for anything else."""
    application_id = connection.pragma("application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").get
    if application_id == 0 and tables == 0:
        return False
    if application_id != APPLICATION_ID:
        raise Unavailable(
            f"{path} is an SQLite file of another program.",
            why=f"Its application id is {application_id}; nothing was changed in it.",
            next_call="Choose another file, or leave the path out to use the data directory.",
            retry_safe=False,
        )
    return True


def check_version(connection: apsw.Connection, path: str) -> int:
    """The schema's version. Raises Unavailable when this library is too old to write it."""
    stored = {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM meta")}
    refuse_unfinished(path, stored.get(COPYING_KEY))
    version, min_writer = int(stored[VERSION_KEY]), int(stored[MIN_WRITER_KEY])
    if min_writer > newest_version():
        raise Unavailable(
            f"{path} was written by a newer AgentMemo (schema {version}).",
            why=f"Its smallest writer is schema {min_writer}, this library knows {newest_version()}.",
            next_call="Upgrade agentmemo: pip install --upgrade agentmemo.",
            retry_safe=False,
        )
    return version


def refuse_unfinished(place: str, mark: str | None) -> None:
    """Raise Unavailable where a copy has left its mark: what is there is not whole."""
    if mark is not None:
        source = mark.partition(" ")[2]
        raise Unavailable(
            f"{place} holds an unfinished copy of {source}.",
            why="It goes on at this moment, or was interrupted; half a store is never opened.",
            next_call=f"agentmemo copy {source} {place} goes on where it stopped.",
            retry_safe=False,
        )


def check_newest(version: int, place: str, database: str = "sqlite") -> None:
    """Raise InvalidInput for a schema that is not this library's: a copy takes all there is, or nothing."""
    newest = newest_version(database)
    if version == 0:
        raise InvalidInput(f"{place} holds no store.", next_call="Name a store, or a backup of one.")
    if version != newest:
        older = version < newest
        option = "--data PATH" if database == "sqlite" else "--database URL"
        raise InvalidInput(
            f"{place} has the schema {version}, this library copies {newest}.",
            why="What one of the two does not know would be lost.",
            next_call=f"agentmemo migrate {option}" if older else "Upgrade agentmemo: pip install --upgrade agentmemo.",
        )


def migrate(connection: apsw.Connection, path: str) -> list[int]:
    """Bring the file to the newest schema in one transaction. Returns the numbers applied."""
    applied: list[int] = []
    with whole(connection):
        known = check_version(connection, path) if check_file(connection, path) else 0
        for number, script in migrations("sqlite"):
            if number <= known:
                continue
            reach("migrate.before_schema")
            connection.execute(script)
            for key, value in ((VERSION_KEY, number), (MIN_READER_KEY, 1), (MIN_WRITER_KEY, OLDEST_WRITER_OF_FILES)):
                connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, str(value)))
            applied.append(number)
        if applied:
            connection.pragma("application_id", APPLICATION_ID)
            reach("migrate.before_commit")
    return applied
