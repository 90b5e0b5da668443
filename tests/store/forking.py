"""A process that forks with a store open: `python forking.py URL`. It says what went well, a line for each."""

from __future__ import annotations

import os
import sys

from agentmemo.clock import ManualClock
from agentmemo.errors import Unavailable
from agentmemo.settings import Settings
from agentmemo.store.postgres import PostgresDatabase


def backends(database: PostgresDatabase) -> tuple[int, int]:
    """The server's processes that work for this one: the writer's and a reader's."""
    reading = database.read(lambda tx: tx.one("turn_sum") and tx._wire.process)
    return database.write(lambda tx: tx._wire.process), reading


def refused(database: PostgresDatabase) -> bool:
    calls = (database.write, database.read, lambda work: database.submit(work, lambda *_: None))
    for call in calls:
        try:
            call(lambda tx: tx.now)
        except Unavailable as error:
            if "fork" in error.message and not error.retry_safe:
                continue
        return False
    database.close()
    return True


def main() -> None:
    url = sys.argv[1]
    settings = Settings(postgres_allow_lossy=True, postgres_writers=1)
    database = PostgresDatabase(url, ManualClock(), settings)
    before = backends(database)
    child = os.fork()
    if child == 0:
        right = refused(database)
        # It may open a store of its own, and it ends as any program does, with everything collected.
        mine = PostgresDatabase(url, ManualClock(), settings)
        right = right and not set(backends(mine)) & set(before)
        mine.close()
        sys.exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    print("the child is refused" if status == 0 else f"the child ended with {status}")  # noqa: T201 - read by the test
    print("the parent goes on" if backends(database) == before else "the parent lost connections")  # noqa: T201 - ditto
    database.close()


if __name__ == "__main__":
    main()
