"""A new SQLite store of the tests gets its schema as pages, which takes a tenth of running its scripts.

What the scripts do is shown where they are run: by every durable store and by every process that the tests start.
"""

from __future__ import annotations

import functools

import apsw

from agentmemo.store import migrate


def give(connection, path):
    """As `migrate.migrate`: an empty store becomes what the scripts of now would make of it."""
    if connection.execute("SELECT count(*) FROM sqlite_master").get:
        return migrate.migrate(connection, path)
    scripts = migrate.migrations("sqlite")
    ready = apsw.Connection(":memory:")
    ready.deserialize("main", _pages(tuple(scripts)))
    with connection.backup("main", ready, "main") as copy:
        copy.step()
    ready.close()
    return [number for number, _ in scripts]


@functools.cache
def _pages(_scripts):
    made = apsw.Connection(":memory:")
    made.pragma("auto_vacuum", "INCREMENTAL")
    migrate.migrate(made, ":memory:")
    pages = made.serialize("main")
    made.close()
    return pages
