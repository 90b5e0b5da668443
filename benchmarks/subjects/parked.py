"""What runs cost that wait: ten thousand of them at rest, and a claim beside a million.

A few runs are parked as users park them, in a sleep and for a signal; the others are copies of their rows, since it is
rows that the database has to look past. Nothing else touches the server meanwhile, so what it counts is ours.
"""

from __future__ import annotations

import itertools
import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import postgres
from harness import QUICK, Row, Target

import agentmemo
from agentmemo.testing.postgres import PostgresServer

PARKED = 1_000 if QUICK else 10_000
CROWD = 20_000 if QUICK else 1_000_000
IDLE_SECONDS = 3.0 if QUICK else 10.0
CLAIMS = 40 if QUICK else 400
DATABASE = "parked"
# What a connection did before it came to rest is in the server's statistics after ten seconds.
SETTLE_SECONDS = 1.5 if QUICK else 11.0
# Copies keep away from the positions that the workspace will still give out.
COPY_OFFSET = 1 << 39
OTHERS = {"id": f"r.id + {COPY_OFFSET} + n * 64", "handle": "r.handle || '-' || n", "key": "r.key || '-' || n"}
COPY = """
INSERT INTO run ({columns}) SELECT {values} FROM generate_series({first}, {last}) n
JOIN run r ON r.state = 'waiting' AND r.id & {offset} = 0 AND n % 2 = CASE r.wake WHEN 'timer' THEN 0 ELSE 1 END"""
# Filling a million rows through eight indexes takes minutes, making the indexes afterwards does not.
INDEXES = """
SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = 'run'::regclass AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)"""
COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = 'run'::regclass AND attnum > 0 AND NOT attisdropped"
SETTINGS = f"one process with the engine open; {postgres.SETTINGS_SHOWN}"


class Idle(NamedTuple):
    """What a process with an open engine costs while nobody calls it."""

    connections: float
    threads: float
    transactions: float
    rows_written: float
    wal_bytes: float


def run() -> list[Row]:
    with postgres.server() as server, _plane(server) as agent:
        _park(agent)
        alone = _idle(server)
        claim_alone = _claims(agent)
        _copy(server, PARKED)
        beside = _idle(server)
        _copy(server, CROWD)
        claim_beside = _claims(agent)
        waiting = server.execute("SELECT count(*) FROM run WHERE state = 'waiting'", database=DATABASE)[0][0]
    if waiting < CROWD:
        raise RuntimeError(f"{waiting} of {CROWD} runs were parked")
    return [*_idle_rows(alone, beside), *_claim_rows(claim_alone, claim_beside)]


def _idle_rows(alone: Idle, beside: Idle) -> list[Row]:
    units = {
        "connections": "",
        "threads": "",
        "transactions": "per s",
        "rows_written": "per s",
        "wal_bytes": "bytes per s",
    }
    return [
        Row(
            subject=f"{name.replace('_', ' ')} for {PARKED:,} parked runs",
            unit=units[name],
            ours=getattr(beside, name) - getattr(alone, name),
            target=Target(0, at_most=True) if name in {"connections", "threads", "rows_written"} else None,
            note=f"{getattr(alone, name):.4g} without, {getattr(beside, name):.4g} with them",
            settings=f"over {IDLE_SECONDS:g} s, {SETTINGS}",
            repetitions={"without": [alone._asdict()], "with": [beside._asdict()]},
        )
        for name in Idle._fields
    ]


def _claim_rows(alone: list[float], beside: list[float]) -> list[Row]:
    shown = {"p50": statistics.median, "p99": lambda times: sorted(times)[int(len(times) * 0.99)]}
    return [
        Row(
            subject=f"task complete and claim beside {CROWD:,} parked runs, {name}",
            unit="ms",
            peer_name="beside 2 parked runs",
            ours=measure(beside) * 1e3,
            peer=measure(alone) * 1e3,
            settings=SETTINGS,
        )
        for name, measure in shown.items()
    ]


@contextmanager
def _plane(server: PostgresServer) -> Iterator[agentmemo.Connection]:
    url = server.make_database(DATABASE)
    with mock.patch.dict(os.environ, postgres.environment(server, url)), agentmemo.connect(url, agent="bench") as agent:
        yield agent


def _park(agent: agentmemo.Connection) -> None:
    @agent.task("sleeper")
    def sleeper(run: agentmemo.Run) -> None:
        run.sleep(30 * 86400)

    @agent.task("listener")
    def listener(run: agentmemo.Run) -> None:
        run.wait("never")

    for task in ("sleeper", "listener"):
        agent.start(task, key=task)
    agent.work(concurrency=1, until_idle=True)


def _copy(server: PostgresServer, until: int) -> None:
    """Copies of the parked runs until there are so many; then what autovacuum would do within a minute."""
    first = server.execute("SELECT count(*) FROM run WHERE state = 'waiting'", database=DATABASE)[0][0]
    columns = [name for (name,) in server.execute(COLUMNS, database=DATABASE)]
    indexes = server.execute(INDEXES, database=DATABASE)
    copies = COPY.format(
        columns=", ".join(columns),
        values=", ".join(OTHERS.get(name, f"r.{name}") for name in columns),
        first=first,
        last=until,
        offset=COPY_OFFSET,
    )
    dropped = "; ".join(f"DROP INDEX {name}" for name, _ in indexes)
    made = "; ".join(definition for _, definition in indexes)
    server.execute(dropped, copies, made, "VACUUM ANALYZE run", "CHECKPOINT", database=DATABASE)


def _idle(server: PostgresServer) -> Idle:
    time.sleep(SETTLE_SECONDS)
    # Rows are asked for in the database itself, which is a transaction there: outside the time that counts them.
    rows = _rows_written(server)
    before = _counted(server)
    time.sleep(IDLE_SECONDS)
    after = _counted(server)
    rows = _rows_written(server) - rows
    connections = server.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'parked' AND application_name = 'agentmemo'"
    )[0][0]
    transactions, wal = ((later - earlier) / IDLE_SECONDS for earlier, later in zip(before, after, strict=True))
    return Idle(float(connections), float(threading.active_count()), transactions, rows / IDLE_SECONDS, wal)


def _rows_written(server: PostgresServer) -> float:
    """Of our tables; the server's catalogs change with its own upkeep."""
    counted = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"
    return float(server.execute(counted, database=DATABASE)[0][0])


def _counted(server: PostgresServer) -> tuple[float, float]:
    row = server.execute(
        "SELECT xact_commit + xact_rollback, pg_current_wal_lsn() - '0/0' FROM pg_stat_database"
        " WHERE datname = 'parked'"
    )[0]
    return float(row[0]), float(row[1])


def _claims(agent: agentmemo.Connection) -> list[float]:
    """Seconds from the end of a task to the start of the next one: completing it, and claiming the other."""
    marks: list[float] = []

    @agent.task("job")
    def job(_run: agentmemo.Run) -> None:
        marks.append(time.perf_counter())

    for _ in range(CLAIMS):
        agent.start("job")
    agent.work(concurrency=1, until_idle=True)
    return [later - earlier for earlier, later in itertools.pairwise(marks)]
