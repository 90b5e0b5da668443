"""Handoffs on SQLite: created, then claimed and completed one at a time, by sixteen clients of one process.

What all of them do: 1 KB is on disk before its sender goes on, one receiver gets it, and that it was done is on disk.
Ours beside that checks who may claim, keeps the result and writes an event for each move. huey removes a job when it is
claimed, so a job whose worker dies is gone. Redis and NATS are servers of their own, with one connection per client.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import servers
from harness import QUICK, REPETITIONS, Row, Target, compare, contenders, take_turns
from values import VALUES

WORKERS = 16
# For each worker. Who finds nothing to claim has failed, so nobody is quick by finding nothing.
EACH = 20 if QUICK else 400
AT_ONCE = 50
CREATES, CYCLES = Target(6_000), Target(5_000)
PEERS = {"huey": "huey on SQLite", "redis": "Redis streams, AOF always", "nats": "NATS JetStream, sync always"}
KEYED = {"keyless": "AgentMemo, no key"}
SETTINGS = (
    "1 KB, on disk before each answer; huey: WAL, FULL, claiming removes; Redis: XADD, XREADGROUP count 1 and XACK;"
    " NATS: work queue, fetch 1 and confirmed ack"
)
VALUE, RESULT = VALUES[2], {"accepted": True}
BODY = json.dumps(VALUE).encode()
CREATE, CREATE_KEYED, CYCLE = "create", "create with a key", "claim and complete"
Workloads = dict[str, Callable[[int], Any]]


def run() -> list[Row]:
    with contenders(__name__, ["ours", *PEERS]) as started:
        cycles = drained(started)
        created = take_turns(started, CREATE, WORKERS)
        keyed = take_turns({"ours": started["ours"]}, CREATE_KEYED, WORKERS) if "ours" in started else {}
    clients = f"SQLite, {WORKERS} threads"
    return [
        *compare(f"handoff create, {clients}, no key", created, PEERS, target=CREATES, settings=SETTINGS),
        *compare(
            f"handoff create, {clients}, with a key",
            keyed | {"keyless": created.get("ours", [])},
            KEYED,
            target=CREATES,
            settings=SETTINGS,
        ),
        *compare(f"handoff claim to complete, {clients}", cycles, PEERS, target=CYCLES, settings=SETTINGS),
    ]


def drained(started: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Samples of claiming and completing what each worker has put there before the time begins."""
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in started}
    for _ in range(REPETITIONS):
        for name, contender in started.items():
            samples[name].append(contender.measure(CYCLE, WORKERS, count=EACH))
    return samples


@contextmanager
def ours(directory: Path) -> Iterator[Workloads]:
    import agentmemo

    with agentmemo.connect(directory / "plane.db", agent="worker") as agent:
        yield our_workloads(agent)


def our_workloads(agent: Any, each: int = EACH) -> Workloads:
    numbers = itertools.count()

    def create(_client: int) -> Callable[[], Any]:
        return lambda: agent.handoff.create(to_agent="somebody", context=VALUE)

    def create_keyed(_client: int) -> Callable[[], Any]:
        return lambda: agent.handoff.create(to_agent="somebody", context=VALUE, key=f"work {next(numbers)}")

    def cycle(_client: int) -> Callable[[], None]:
        fill(agent, each, to_agent="worker")

        def operation() -> None:
            found = agent.handoff.claim()
            agent.handoff.complete(found.id, RESULT)

        return operation

    return {CREATE: create, CREATE_KEYED: create_keyed, CYCLE: cycle}


def fill(agent: Any, count: int, **receiver: str) -> None:
    """So many handoffs, many in one commit."""
    for first in range(0, count, AT_ONCE):
        with agent.transaction() as together:
            for _ in range(min(AT_ONCE, count - first)):
                together.handoff.create(context=VALUE, **receiver)


@contextmanager
def huey(directory: Path) -> Iterator[Workloads]:
    from huey import SqliteHuey

    def queue(name: str) -> tuple[Any, Callable[[Any], Any]]:
        made = SqliteHuey(
            name, filename=str(directory / name), fsync=True, journal_mode="wal", results=False, timeout=60
        )

        @made.task(name=name)
        def job(value: Any) -> int:
            return len(value)

        return made, job

    _, put = queue("made")
    todo, put_todo = queue("todo")

    def cycle(_client: int) -> Callable[[], Any]:
        for _ in range(EACH):
            put_todo(VALUE)
        return lambda: todo.execute(todo.dequeue())

    yield {CREATE: lambda _client: lambda: put(VALUE), CYCLE: cycle}


@contextmanager
def redis(directory: Path) -> Iterator[Workloads]:
    import redis as library
    from redis.asyncio import Redis

    with servers.redis(directory) as port:
        with library.Redis(port=port) as control:
            for stream in ("made", "todo"):
                control.xgroup_create(stream, "workers", mkstream=True)

        async def create(_client: int) -> Client:
            mine = Redis(port=port, single_connection_client=True)
            return Client(lambda: mine.xadd("made", {"job": json.dumps(VALUE)}), mine.aclose)

        async def cycle(client: int) -> Client:
            mine = Redis(port=port, single_connection_client=True)
            pipeline = mine.pipeline(transaction=False)
            for _ in range(EACH):
                pipeline.xadd("todo", {"job": BODY})
            await pipeline.execute()

            async def operation() -> None:
                number, fields = first_of(await mine.xreadgroup("workers", f"worker-{client}", {"todo": ">"}, count=1))
                json.loads(fields[b"job"])
                await mine.xack("todo", "workers", number)

            return Client(operation, mine.aclose)

        yield {CREATE: create, CYCLE: cycle}


def first_of(answer: Any) -> tuple[bytes, dict[bytes, bytes]]:
    """The first entry of an XREADGROUP, which is a list or a mapping by the version of the protocol."""
    (entries,) = answer.values() if isinstance(answer, dict) else [stream[1] for stream in answer]
    entry = entries[0]
    return entry if isinstance(entry, tuple) else entry[0]


@contextmanager
def nats(directory: Path) -> Iterator[Workloads]:
    import nats as library

    with servers.nats(directory) as address:

        async def create(_client: int) -> Client:
            mine = await library.connect(address)
            stream = await work_queue(mine, "made")
            return Client(lambda: stream.publish("made", json.dumps(VALUE).encode()), mine.close)

        async def cycle(_client: int) -> Client:
            mine = await library.connect(address)
            stream = await work_queue(mine, "todo")
            for _ in range(EACH):
                await stream.publish("todo", BODY)
            todo = await stream.pull_subscribe_bind(durable="todo-workers", stream="todo")

            async def operation() -> None:
                (message,) = await todo.fetch(1, timeout=5)
                json.loads(message.data)
                await message.ack_sync()

            return Client(operation, mine.close)

        yield {CREATE: create, CYCLE: cycle}


async def work_queue(connection: Any, name: str) -> Any:
    """A stream on disk from which a message is removed once it is acknowledged, with one consumer for all workers."""
    from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

    stream = connection.jetstream()
    await stream.add_stream(
        StreamConfig(name=name, subjects=[name], retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.FILE)
    )
    await stream.add_consumer(
        name, ConsumerConfig(durable_name=f"{name}-workers", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000)
    )
    return stream


class Client:
    """The operation of one client, and how its connection ends."""

    def __init__(self, operation: Callable[[], Any], close: Callable[[], Any]) -> None:
        self._operation = operation
        self.close = close

    async def __call__(self) -> Any:
        return await self._operation()
