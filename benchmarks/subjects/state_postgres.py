"""Audited state on PostgreSQL, the engine in this process, beside LangGraph's stores and one row without any trail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import postgres
from harness import CLIENTS, Row, Target, compare, take_turns
from subjects.state_embedded import Workloads, workloads
from values import KEYS, KEYS_READ, VALUES

TARGETS = {("set", 16): Target(3_000)}
PEERS = {
    "ours_async": "AgentMemo, clients on one event loop",
    "raw": "psycopg, one row and no trail",
    "langgraph": "LangGraph PostgresStore",
    "langgraph_async": "LangGraph AsyncPostgresStore",
}
SETTINGS = f"1 KB JSON, committed before each answer, all clients in one process; {postgres.SETTINGS_SHOWN}"
POOL_MAX = 64


def run() -> list[Row]:
    rows: list[Row] = []
    with postgres.contenders(__name__, ["ours", *PEERS]) as started:
        for workload, numbers in (("set", CLIENTS), ("get", (1, 16))):
            for clients in numbers:
                rows += compare(
                    f"state {workload}, PostgreSQL, {clients} client{'s' * (clients > 1)}",
                    take_turns(started, workload, clients),
                    PEERS,
                    target=TARGETS.get((workload, clients)),
                    settings=SETTINGS,
                )
    return rows


@contextmanager
def ours(_directory: Path) -> Iterator[Workloads]:
    import agentmemo

    with agentmemo.connect(postgres.database(), agent="bench") as agent:
        state = agent.state
        yield workloads(lambda key, value: state.set("bench", key, value), lambda key: state.get("bench", key))


@contextmanager
def ours_async(_directory: Path) -> Iterator[dict[str, Callable[[int], Any]]]:
    """The same with asyncio: clients that share a thread take no turns at the interpreter's lock."""
    import agentmemo

    with agentmemo.connect(postgres.database(), agent="bench") as agent:
        for number in range(KEYS_READ):
            agent.state.set("bench", f"key:{number}", VALUES[number % len(VALUES)])

        async def set_(client: int) -> _Client:
            mine = await agentmemo.connect_async(postgres.database(), agent="bench")

            async def operation(number: int) -> None:
                await mine.state.set("bench", f"key:{number % KEYS}", VALUES[number % len(VALUES)])

            return _Client(operation, client, mine.close)

        async def get_(client: int) -> _Client:
            mine = await agentmemo.connect_async(postgres.database(), agent="bench")

            async def operation(number: int) -> None:
                if (await mine.state.get("bench", f"key:{number % KEYS_READ}"))["status"] != "running":
                    raise ValueError

            return _Client(operation, client, mine.close)

        yield {"set": set_, "get": get_}


@contextmanager
def raw(_directory: Path) -> Iterator[Workloads]:
    """What the driver and the server do for one row: no version, no event, no check of who asks."""
    from psycopg_pool import ConnectionPool

    pool = ConnectionPool(postgres.database(), min_size=4, max_size=POOL_MAX, kwargs={"autocommit": True}, open=True)
    with pool:
        with pool.connection() as connection:
            connection.execute("CREATE TABLE entry (key text PRIMARY KEY, value jsonb NOT NULL)")

        def put(key: str, value: Any) -> None:
            with pool.connection() as connection:
                connection.execute(
                    "INSERT INTO entry VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    (key, json.dumps(value)),
                )

        def get(key: str) -> Any:
            with pool.connection() as connection:
                row = connection.execute("SELECT value FROM entry WHERE key = %s", (key,)).fetchone()
            assert row is not None
            return row[0]

        yield workloads(put, get)


@contextmanager
def langgraph(_directory: Path) -> Iterator[Workloads]:
    from langgraph.store.postgres import PostgresStore
    from psycopg.rows import dict_row
    from psycopg_pool import ConnectionPool

    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool = ConnectionPool(postgres.database(), min_size=4, max_size=POOL_MAX, kwargs=options, open=True)
    with pool:
        store = PostgresStore(pool)
        store.setup()
        yield workloads(
            lambda key, value: store.put(("bench",), key, value),
            lambda key: store.get(("bench",), key).value,
        )


@contextmanager
def langgraph_async(_directory: Path) -> Iterator[dict[str, Callable[[int], Any]]]:
    """It makes one statement of what waits in its event loop. Each measurement has its own loop, so its own store."""
    stores: dict[int, Any] = {}

    async def store() -> Any:
        loop = id(asyncio.get_running_loop())
        if loop not in stores:
            stores[loop] = await _async_store()
        return stores[loop][0]

    async def prepare() -> None:
        for number in range(KEYS_READ):
            await (await store()).aput(("bench",), f"key:{number}", VALUES[number % len(VALUES)])
        await _close(stores)

    asyncio.run(prepare())

    async def set_(client: int) -> _Client:
        mine = await store()

        async def operation(number: int) -> None:
            await mine.aput(("bench",), f"key:{number % KEYS}", VALUES[number % len(VALUES)])

        return _Client(operation, client, lambda: _close(stores))

    async def get_(client: int) -> _Client:
        mine = await store()

        async def operation(number: int) -> None:
            found = await mine.aget(("bench",), f"key:{number % KEYS_READ}")
            if found.value["status"] != "running":
                raise ValueError

        return _Client(operation, client, lambda: _close(stores))

    yield {"set": set_, "get": get_}


class _Client:
    """One client's operation, with numbers of its own, and how it ends."""

    STRIDE = 7919

    def __init__(self, operation: Callable[[int], Any], client: int, close: Callable[[], Any]) -> None:
        self._operation = operation
        self._number = client * self.STRIDE
        self.close = close

    async def __call__(self) -> None:
        self._number += 1
        await self._operation(self._number)


async def _async_store() -> tuple[Any, Any]:
    from langgraph.store.postgres import AsyncPostgresStore
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool = AsyncConnectionPool(postgres.database(), min_size=4, max_size=16, kwargs=options, open=False)
    await pool.open()
    store = AsyncPostgresStore(pool)
    await store.setup()
    return store, pool


async def _close(stores: dict[int, Any]) -> None:
    for _, pool in stores.values():
        await pool.close()
    stores.clear()
