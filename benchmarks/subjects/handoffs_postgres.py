"""Handoffs on PostgreSQL: created, claimed and completed by sixteen clients of one process, one and many at a time.

The engine is in the process of the clients, as the peers' libraries are. Of the peers, PGQueuer keeps ends in memory
until it has a batch of them; pgmq deletes a message that is done and keeps nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import postgres
from harness import QUICK, REPETITIONS, Row, Target, compare, take_turns
from subjects.handoffs import AT_ONCE, CREATE, CYCLE, RESULT, VALUE, WORKERS, Client, Workloads, fill
from subjects.handoffs import our_workloads as one_at_a_time
from subjects.queue_postgres import BACKLOG, pgqueuer, procrastinate

__all__ = ["ours", "pgmq", "pgqueuer", "procrastinate", "run"]  # contenders are found by name

CYCLES, CYCLES_MANY = Target(1_500), Target(6_000)
PEERS = {"procrastinate": "Procrastinate", "pgqueuer": "PGQueuer", "pgmq": "pgmq, its SQL without the extension"}
PEERS_MANY = {"pgqueuer": PEERS["pgqueuer"], "pgmq": PEERS["pgmq"]}
# Who claims many at a time needs few workers; PGQueuer has one.
WORKERS_MANY = 4
BATCHES = 2 if QUICK else 10
EACH = 20 if QUICK else 100
MANY = "claim and complete many"
SETTINGS = f"1 KB; {postgres.SETTINGS_SHOWN}"
# Peers with a loop of their own: they work off a backlog that is made before.
BY_THEMSELVES = ("procrastinate", "pgqueuer")
DRAINS = {CYCLE: "drain", MANY: "drain many at once"}


def run() -> list[Row]:
    with postgres.contenders(__name__, ["ours", *PEERS]) as started:
        cycles = _drained(started, CYCLE)
        many = _drained({name: one for name, one in started.items() if name != "procrastinate"}, MANY)
        queues = {name: one for name, one in started.items() if name in BY_THEMSELVES}
        others = {name: one for name, one in started.items() if name not in queues}
        created = take_turns(others, CREATE, WORKERS) | take_turns(queues, "enqueue", WORKERS)
    cycle = "handoff claim to complete, PostgreSQL"
    return [
        *compare(f"handoff create, PostgreSQL, {WORKERS} clients, no key", created, PEERS, settings=SETTINGS),
        *compare(f"{cycle}, {WORKERS} workers", cycles, PEERS, target=CYCLES, settings=SETTINGS),
        *compare(
            f"{cycle}, {AT_ONCE} at a time",
            many,
            PEERS_MANY,
            target=CYCLES_MANY,
            settings=f"{WORKERS_MANY} workers, PGQueuer 1; {SETTINGS}",
        ),
    ]


def _drained(started: dict[str, Any], workload: str) -> dict[str, list[dict[str, Any]]]:
    """Samples by contender, per handoff. Peers that work off a backlog by themselves say how long all of it took."""
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in started}
    for _ in range(REPETITIONS):
        for name, contender in started.items():
            if name in BY_THEMSELVES:
                sample, units = contender.measure(DRAINS[workload], 1, count=1), BACKLOG
            elif workload == MANY:
                sample, units = contender.measure(workload, WORKERS_MANY, count=BATCHES), AT_ONCE
            else:
                sample, units = contender.measure(workload, WORKERS, count=EACH), 1
            samples[name].append({**sample, "rate": sample["rate"] * units})
    return samples


@contextmanager
def ours(_directory: Path) -> Iterator[Workloads]:
    import agentmemo

    with agentmemo.connect(postgres.database(), agent="worker") as agent:

        def many(_client: int) -> Callable[[], None]:
            fill(agent, BATCHES * AT_ONCE, to_agent="worker")

            def operation() -> None:
                found = agent.handoff.claim_many(AT_ONCE)
                if len(found) != AT_ONCE:
                    raise RuntimeError(f"{len(found)} of {AT_ONCE} were offered")
                with agent.transaction() as together:
                    for handoff in found:
                        together.handoff.complete(handoff.id, RESULT)

            return operation

        yield one_at_a_time(agent, EACH) | {MANY: many}


@contextmanager
def pgmq(_directory: Path) -> Iterator[Workloads]:
    import asyncpg
    import psycopg
    from pgmq.install import get_embedded_install_sql

    with psycopg.connect(postgres.database(), autocommit=True) as control:
        control.execute("CREATE SCHEMA IF NOT EXISTS pgmq")
        control.execute(get_embedded_install_sql().encode())
        for name in ("made", "todo"):
            control.execute("SELECT pgmq.create(%s)", (name,))
    body = json.dumps(VALUE)

    async def create(_client: int) -> Client:
        mine = await asyncpg.connect(postgres.database())
        return Client(lambda: mine.fetchval("SELECT pgmq.send('made', $1::jsonb)", json.dumps(VALUE)), mine.close)

    async def worker(count: int, at_once: int) -> Client:
        mine = await asyncpg.connect(postgres.database())
        await mine.execute("SELECT pgmq.send_batch('todo', array_fill($1::jsonb, ARRAY[$2::int]))", body, count)

        async def operation() -> None:
            found = await mine.fetch("SELECT msg_id, message FROM pgmq.read('todo', 30, $1)", at_once)
            if len(found) != at_once:
                raise RuntimeError(f"{len(found)} of {at_once} were offered")
            for message in found:
                json.loads(message["message"])
            await mine.execute("SELECT pgmq.delete('todo', $1::bigint[])", [message["msg_id"] for message in found])

        return Client(operation, mine.close)

    async def cycle(_client: int) -> Client:
        return await worker(EACH, 1)

    async def many(_client: int) -> Client:
        return await worker(BATCHES * AT_ONCE, AT_ONCE)

    yield {CREATE: create, CYCLE: cycle, MANY: many}
