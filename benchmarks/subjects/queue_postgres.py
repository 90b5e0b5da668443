"""Tasks on PostgreSQL: enqueued by sixteen clients, then claimed and completed by sixteen workers, all in one process.

The work is the same where it is durable: a job of 1 KB is a row before its caller goes on, one worker gets it, and its
end is a row. PGQueuer keeps ends in memory until it has a batch of them, so a crash repeats jobs that were done.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import postgres
from contender import Contender
from harness import QUICK, REPETITIONS, Row, compare, take_turns
from values import VALUES

PEERS = {"procrastinate": "Procrastinate", "pgqueuer": "PGQueuer"}
WORKERS = 16
MANY = 50
BACKLOG = 64 if QUICK else 800
SETTINGS = f"1 KB per job; {postgres.SETTINGS_SHOWN}"
VALUE = VALUES[2]
Workloads = dict[str, Callable[[int], Any]]


def run() -> list[Row]:
    with postgres.contenders(__name__, ["ours", *PEERS]) as started:
        # First the drain: what the enqueuing leaves behind would be drained with it.
        drained: dict[str, list[dict[str, Any]]] = {name: [] for name in started}
        for _ in range(REPETITIONS):
            for name, contender in started.items():
                drained[name].append(_drain(contender))
        enqueued = take_turns(started, "enqueue", WORKERS)
    return [
        *compare(f"task enqueue, PostgreSQL, {WORKERS} clients", enqueued, PEERS, settings=SETTINGS),
        *compare(
            f"task claim to complete, PostgreSQL, {WORKERS} workers", drained, PEERS, settings=SETTINGS, each=BACKLOG
        ),
    ]


def _drain(contender: Contender) -> dict[str, Any]:
    return contender.measure("drain", 1, count=1)


@contextmanager
def ours(_directory: Path) -> Iterator[Workloads]:
    import agentmemo

    with agentmemo.connect(postgres.database(), agent="bench") as agent:
        done = _Counted()

        @agent.task("job")
        def job(_run: agentmemo.Run, inputs: Any) -> int:
            done.count()
            return len(inputs)

        def enqueue() -> None:
            agent.start("job", inputs={"inputs": VALUE})

        def drain(_client: int) -> Callable[[], Any]:
            for _ in range(BACKLOG):
                enqueue()
            return done.all_of(lambda: agent.work(concurrency=WORKERS, until_idle=True))

        yield {"enqueue": lambda _client: enqueue, "drain": drain}


@contextmanager
def procrastinate(_directory: Path) -> Iterator[Workloads]:
    from procrastinate import App, PsycopgConnector

    done = _Counted()

    def make() -> tuple[App, Any]:
        app = App(connector=PsycopgConnector(conninfo=postgres.database(), min_size=4, max_size=WORKERS + 4))

        @app.task(queue="bench", name="job")
        async def job(inputs: Any) -> int:
            done.count()
            return len(inputs)

        return app, job

    async def prepare() -> None:
        app, _ = make()
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    asyncio.run(prepare())
    in_loop = _InLoop(make, lambda app: app.open_async(), lambda app: app.close_async())

    async def enqueue(_client: int) -> _Operation:
        _, job = await in_loop.get()
        return _Operation(lambda: job.defer_async(inputs=VALUE), in_loop)

    async def drain(_client: int) -> _Operation:
        app, job = await in_loop.get()
        await job.batch_defer_async(*[{"inputs": VALUE}] * BACKLOG)
        work = {"queues": ["bench"], "wait": False, "concurrency": WORKERS, "install_signal_handlers": False}
        return _Operation(done.all_awaited(lambda: app.run_worker_async(**work)), in_loop)

    yield {"enqueue": enqueue, "drain": drain}


@contextmanager
def pgqueuer(_directory: Path) -> Iterator[Workloads]:
    import asyncpg
    from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, PgQueuer, Queries
    from pgqueuer.types import QueueExecutionMode

    payload = json.dumps(VALUE).encode()
    done = _Counted()

    async def prepare() -> None:
        connection = await asyncpg.connect(postgres.database())
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()

    asyncio.run(prepare())

    def make() -> tuple[Any, Any]:
        return asyncpg.create_pool(postgres.database(), min_size=4, max_size=WORKERS), None

    async def opened(pool: Any) -> None:
        await pool

    in_loop = _InLoop(make, opened, lambda pool: pool.close())

    async def enqueue(_client: int) -> _Operation:
        queries = Queries(AsyncpgPoolDriver((await in_loop.get())[0]))
        return _Operation(lambda: queries.enqueue("job", payload), in_loop)

    async def drain(batch: int) -> _Operation:
        pool = (await in_loop.get())[0]
        await Queries(AsyncpgPoolDriver(pool)).enqueue(["job"] * BACKLOG, [payload] * BACKLOG, [0] * BACKLOG)
        app = PgQueuer(AsyncpgDriver(await asyncpg.connect(postgres.database())))

        @app.entrypoint("job")
        async def job(found: Any) -> None:
            json.loads(found.payload)
            done.count()

        return _Operation(done.all_awaited(lambda: app.run(batch_size=batch, mode=QueueExecutionMode.drain)), in_loop)

    async def drain_few(_client: int) -> _Operation:
        return await drain(WORKERS)

    async def drain_many(_client: int) -> _Operation:
        return await drain(MANY)

    yield {"enqueue": enqueue, "drain": drain_few, "drain many at once": drain_many}


class _Counted:
    """Jobs done, so that a queue that ends early is not taken for a quick one."""

    def __init__(self) -> None:
        self._done: list[None] = []

    def count(self) -> None:
        self._done.append(None)

    def all_of(self, drain: Callable[[], Any]) -> Callable[[], None]:
        self._done.clear()

        def operation() -> None:
            drain()
            self._check()

        return operation

    def all_awaited(self, drain: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[None]]:
        self._done.clear()

        async def operation() -> None:
            await drain()
            self._check()

        return operation

    def _check(self) -> None:
        if len(self._done) != BACKLOG:
            raise RuntimeError(f"{len(self._done)} of {BACKLOG} jobs were done")


class _InLoop:
    """What belongs to an event loop, made with its first use: each measurement has a loop of its own."""

    def __init__(
        self,
        make: Callable[[], tuple[Any, Any]],
        enter: Callable[[Any], Awaitable[Any]],
        leave: Callable[[Any], Awaitable[Any]],
    ) -> None:
        self._make, self._enter, self._leave = make, enter, leave
        self._made: tuple[Any, Any] | None = None

    async def get(self) -> tuple[Any, Any]:
        if self._made is None:
            made = self._make()
            await self._enter(made[0])
            self._made = made
        return self._made

    async def close(self) -> None:
        if self._made is not None:
            made, self._made = self._made, None
            await self._leave(made[0])


class _Operation:
    """A coroutine function that ends with what belongs to its loop."""

    def __init__(self, operation: Callable[[], Awaitable[Any]], in_loop: _InLoop) -> None:
        self._operation = operation
        self._in_loop = in_loop

    async def __call__(self) -> None:
        await self._operation()

    async def close(self) -> None:
        await self._in_loop.close()
