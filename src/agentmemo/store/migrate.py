"""The schema's version: refuse what is not ours or too new, apply what is missing."""

from __future__ import annotations

import apsw

from agentmemo.crashpoints import reach
from agentmemo.errors import Unavailable
from agentmemo.store.queries import migrations

APPLICATION_ID = 0x414D454D  # "AMEM": how a file of ours is told from any other SQLite file
MIN_READER_KEY, MIN_WRITER_KEY, VERSION_KEY = "min_reader", "min_writer", "schema_version"


def newest_version() -> int:
    return migrations("sqlite")[-1][0]


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
    version, min_writer = int(stored[VERSION_KEY]), int(stored[MIN_WRITER_KEY])
    if min_writer > newest_version():
        raise Unavailable(
            f"{path} was written by a newer AgentMemo (schema {version}).",
            why=f"Its smallest writer is schema {min_writer}, this library knows {newest_version()}.",
            next_call="Upgrade agentmemo: pip install --upgrade agentmemo.",
            retry_safe=False,
        )
    return version


def migrate(connection: apsw.Connection, path: str) -> list[int]:
    """Bring the file to the newest schema in one transaction. Returns the numbers applied."""
    applied: list[int] = []
    with connection:
        known = check_version(connection, path) if check_file(connection, path) else 0
        for number, script in migrations("sqlite"):
            if number <= known:
                continue
            reach("migrate.before_schema")
            connection.execute(script)
            for key, value in ((VERSION_KEY, number), (MIN_READER_KEY, 1), (MIN_WRITER_KEY, 1)):
                connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, str(value)))
            applied.append(number)
        if applied:
            connection.pragma("application_id", APPLICATION_ID)
            reach("migrate.before_commit")
    return applied
