"""How long an idle worker takes to notice: from before the create until its handler is entered, in another process.

One handoff at a time, with a pause of random length in between, so that whoever polls is met at any moment of its
interval. Sender and worker are processes of one machine and share its monotonic clock; a server is a third process.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import harness
import postgres
import servers
from harness import QUICK, REPETITIONS, Row, Target
from load import Seconds
from subjects.handoffs import VALUE, Client, first_of, work_queue

SAMPLES = 20 if QUICK else 120
WARM_UP = 3 if QUICK else 10
PAUSE_SECONDS = (0.02, 0.06)
# How ours is reached -> what it needs to start, its bounds for the median and the slowest of a hundred, its peers.
WAYS: dict[str, tuple[Any, tuple[float, float], dict[str, str]]] = {
    "embedded": (harness.contenders, (3, 25), {"huey": "huey on SQLite, polling"}),
    "http": (
        harness.contenders,
        (5, 50),
        {"redis": "Redis streams, AOF always", "nats": "NATS JetStream, sync always"},
    ),
    "on_postgres": (postgres.contenders, (10, 50), {"procrastinate": "Procrastinate", "pgqueuer": "PGQueuer"}),
}
TITLES = {"embedded": "embedded on one SQLite file", "http": "over HTTP", "on_postgres": "embedded on PostgreSQL"}
SETTINGS = (
    f"1 KB, one at a time, {1e3 * PAUSE_SECONDS[0]:.0f} to {1e3 * PAUSE_SECONDS[1]:.0f} ms apart; huey polls every 10"
    " to 100 ms, the others are woken"
)
READY = "ready"
Workloads = dict[str, Callable[[int], Any]]


def run() -> list[Row]:
    rows = []
    for way, (start, bounds, peers) in WAYS.items():
        with start(__name__, [way, *peers]) as started:
            for contender in started.values():
                contender.measure("pass", 1, count=WARM_UP)
            samples: dict[str, list[dict[str, Any]]] = {name: [] for name in started}
            for _ in range(REPETITIONS):
                for name, contender in started.items():
                    samples[name].append(contender.measure("pass", 1, count=SAMPLES))
        rows += _rows(way, samples, bounds, peers)
    return rows


def _rows(
    way: str, samples: dict[str, list[dict[str, Any]]], bounds: tuple[float, float], peers: dict[str, str]
) -> list[Row]:
    return [
        Row(
            subject=f"handoff create to idle handler, {TITLES[way]}, {measure.removesuffix('_ms')}",
            unit="ms",
            peer_name=title,
            ours=_median(samples.get(way, []), measure),
            peer=_median(samples.get(peer, []), measure),
            target=Target(bound, at_most=True) if number == 0 else None,
            settings=f"{SETTINGS}; {postgres.SETTINGS_SHOWN}" if way == "on_postgres" else SETTINGS,
            repetitions={"ours": samples.get(way, []), title: samples.get(peer, [])},
        )
        for measure, bound in zip(("p50_ms", "p99_ms"), bounds, strict=True)
        for number, (peer, title) in enumerate(peers.items())
        if number == 0 or peer in samples
    ]


def _median(samples: list[dict[str, Any]], measure: str) -> float | None:
    return statistics.median(sample[measure] for sample in samples) if samples else None


class _Worker:
    """A process that works as FUNCTION of this module and says when its handler was entered."""

    def __init__(self, function: Callable[..., Any], *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, function.__name__, *arguments],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )
        self._line()

    def entered(self) -> float:
        return float(self._line())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the worker ended")
        return line


def _say(text: str) -> None:
    print(text, flush=True)


def _enter() -> None:
    _say(repr(time.monotonic()))


def _passing(worker: _Worker, send: Callable[[], Any]) -> Workloads:
    def operation() -> Seconds:
        time.sleep(random.uniform(*PAUSE_SECONDS))
        begin = time.monotonic()
        send()
        return Seconds(worker.entered() - begin)

    return {"pass": lambda _client: operation}


def _passing_async(worker: _Worker, sender: Callable[[], Awaitable[tuple[Callable[[], Any], Any]]]) -> Workloads:
    """`sender` connects and returns how to send and how to close, in the event loop of the measurement."""

    async def factory(_client: int) -> Client:
        send, close = await sender()

        async def operation() -> Seconds:
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
            begin = time.monotonic()
            await send()
            return Seconds(await asyncio.to_thread(worker.entered) - begin)

        return Client(operation, close)

    return {"pass": factory}


@contextmanager
def embedded(directory: Path) -> Iterator[Workloads]:
    with _ours(str(directory / "plane.db")) as workloads:
        yield workloads


@contextmanager
def http(directory: Path) -> Iterator[Workloads]:
    with servers.our_server(directory) as server, _ours(server["url"], server["agent_key"]) as workloads:
        yield workloads


@contextmanager
def on_postgres(_directory: Path) -> Iterator[Workloads]:
    with _ours(postgres.database()) as workloads:
        yield workloads


@contextmanager
def _ours(target: str, *key: str) -> Iterator[Workloads]:
    with _connect("sender", target, *key) as sender, closing(_Worker(our_worker, target, *key)) as worker:
        yield _passing(worker, lambda: sender.handoff.create(to_queue="desk", context=VALUE))


def _connect(name: str, target: str, *key: str) -> Any:
    import agentmemo

    return agentmemo.connect(target, key=key[0]) if key else agentmemo.connect(target, agent=name)


def our_worker(target: str, *key: str) -> None:
    with _connect("worker", target, *key) as agent:
        agent.handoff.announce(queues=["desk"])
        _say(READY)
        agent.handoff.work(lambda _handoff: _enter())


def _huey(file: str) -> tuple[Any, Any]:
    from huey import SqliteHuey

    queue = SqliteHuey("desk", filename=file, fsync=True, journal_mode="wal", results=False, timeout=60)

    @queue.task(name="job")
    def job(_value: Any) -> None:
        _enter()

    return queue, job


@contextmanager
def huey(directory: Path) -> Iterator[Workloads]:
    file = str(directory / "desk.db")
    _, job = _huey(file)
    with closing(_Worker(huey_worker, file)) as worker:
        yield _passing(worker, lambda: job(VALUE))


def huey_worker(file: str) -> None:
    queue, _ = _huey(file)
    consumer = queue.create_consumer(workers=1, periodic=False, initial_delay=0.01, backoff=1.15, max_delay=0.1)
    _say(READY)
    consumer.run()


@contextmanager
def redis(directory: Path) -> Iterator[Workloads]:
    from redis.asyncio import Redis

    async def sender() -> tuple[Callable[[], Any], Any]:
        mine = Redis(port=port, single_connection_client=True)
        return lambda: mine.xadd("desk", {"job": json.dumps(VALUE)}), mine.aclose

    with servers.redis(directory) as port, closing(_Worker(redis_worker, str(port))) as worker:
        yield _passing_async(worker, sender)


def redis_worker(port: str) -> None:
    from redis import Redis

    mine = Redis(port=int(port), single_connection_client=True)
    mine.xgroup_create("desk", "workers", mkstream=True)
    _say(READY)
    while True:
        if answer := mine.xreadgroup("workers", "worker", {"desk": ">"}, count=1, block=2000):
            number, fields = first_of(answer)
            json.loads(fields[b"job"])
            _enter()
            mine.xack("desk", "workers", number)


@contextmanager
def nats(directory: Path) -> Iterator[Workloads]:
    import nats as library

    async def sender() -> tuple[Callable[[], Any], Any]:
        mine = await library.connect(address)
        stream = mine.jetstream()
        return lambda: stream.publish("desk", json.dumps(VALUE).encode()), mine.close

    with servers.nats(directory) as address, closing(_Worker(nats_worker, address)) as worker:
        yield _passing_async(worker, sender)


async def nats_worker(address: str) -> None:
    import nats as library

    mine = await library.connect(address)
    stream = await work_queue(mine, "desk")
    desk = await stream.pull_subscribe_bind(durable="desk-workers", stream="desk")
    _say(READY)
    while True:
        try:
            (message,) = await desk.fetch(1, timeout=5)
        except TimeoutError:
            continue
        json.loads(message.data)
        _enter()
        await message.ack_sync()


def _procrastinate(address: str) -> tuple[Any, Any]:
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=address, min_size=2, max_size=4))

    @app.task(queue="desk", name="job")
    async def job(inputs: Any) -> None:
        assert inputs
        _enter()

    return app, job


@contextmanager
def procrastinate(_directory: Path) -> Iterator[Workloads]:
    async def sender() -> tuple[Callable[[], Any], Any]:
        app, job = _procrastinate(postgres.database())
        await app.open_async()
        return lambda: job.defer_async(inputs=VALUE), app.close_async

    with closing(_Worker(procrastinate_worker, postgres.database())) as worker:
        yield _passing_async(worker, sender)


async def procrastinate_worker(address: str) -> None:
    app, _ = _procrastinate(address)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        _say(READY)
        await app.run_worker_async(queues=["desk"], concurrency=1)


@contextmanager
def pgqueuer(_directory: Path) -> Iterator[Workloads]:
    import asyncpg
    from pgqueuer import AsyncpgDriver, Queries

    async def sender() -> tuple[Callable[[], Any], Any]:
        mine = await asyncpg.connect(postgres.database())
        queries = Queries(AsyncpgDriver(mine))
        return lambda: queries.enqueue("job", json.dumps(VALUE).encode()), mine.close

    with closing(_Worker(pgqueuer_worker, postgres.database())) as worker:
        yield _passing_async(worker, sender)


async def pgqueuer_worker(address: str) -> None:
    import asyncpg
    from pgqueuer import AsyncpgDriver, PgQueuer, Queries

    driver = AsyncpgDriver(await asyncpg.connect(address))
    await Queries(driver).install()
    app = PgQueuer(driver)

    @app.entrypoint("job")
    async def job(found: Any) -> None:
        json.loads(found.payload)
        _enter()

    _say(READY)
    await app.run()


def main() -> None:
    # By its name as a module: huey finds a task by the module it was made in.
    work = getattr(importlib.import_module("subjects.handoffs_idle"), sys.argv[1])(*sys.argv[2:])
    if work is not None:
        asyncio.run(work)


if __name__ == "__main__":
    main()
