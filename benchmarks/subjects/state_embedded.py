"""State set and get inside one process, beside diskcache and LangGraph's SqliteStore, alone and beside a CPU hog."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from harness import CLIENTS, Row, Target, compare, contenders, take_turns
from values import KEYS, KEYS_READ, VALUES

TARGETS = {("set", 16): Target(9_000), ("get", 16): Target(30_000)}
PEERS = {"diskcache": "diskcache", "langgraph": "LangGraph SqliteStore"}
SETTINGS = "1 KB JSON, fsync before each answer (WAL, FULL)"
Workloads = dict[str, Callable[[int], Callable[[], Any]]]


def run() -> list[Row]:
    rows: list[Row] = []
    with contenders(__name__, ["ours", *PEERS]) as started:
        for workload in ("set", "get"):
            for clients in CLIENTS:
                samples = take_turns(started, workload, clients)
                rows += compare(
                    f"state {workload}, embedded, {clients} thread{'s' * (clients > 1)}",
                    samples,
                    PEERS,
                    target=TARGETS.get((workload, clients)),
                    settings=SETTINGS,
                )
        for workload in ("set", "get"):
            samples = take_turns(started, workload, 16, hogs=1)
            rows += compare(
                f"state {workload}, embedded, 16 threads, CPU hog",
                samples,
                PEERS,
                settings=f"{SETTINGS}; a busy thread",
            )
    return rows


def workloads(put: Callable[[str, Any], Any], get: Callable[[str], Any]) -> Workloads:
    numbers = itertools.count()
    for number in range(KEYS_READ):
        put(f"key:{number}", VALUES[number % len(VALUES)])

    def set_(_client: int) -> Callable[[], None]:
        def operation() -> None:
            number = next(numbers)
            put(f"key:{number % KEYS}", VALUES[number % len(VALUES)])

        return operation

    def get_(_client: int) -> Callable[[], None]:
        def operation() -> None:
            if get(f"key:{next(numbers) % KEYS_READ}")["status"] != "running":
                raise ValueError

        return operation

    return {"set": set_, "get": get_}


@contextmanager
def ours(directory: Path) -> Iterator[Workloads]:
    import agentmemo

    with agentmemo.connect(directory / "plane.db", agent="bench") as agent:
        state = agent.state
        yield workloads(lambda key, value: state.set("bench", key, value), lambda key: state.get("bench", key))


@contextmanager
def diskcache(directory: Path) -> Iterator[Workloads]:
    import diskcache

    with diskcache.Cache(directory, sqlite_synchronous=2, timeout=60) as cache:
        yield workloads(
            lambda key, value: cache.set(key, json.dumps(value)),
            lambda key: json.loads(cache.get(key)),
        )


@contextmanager
def langgraph(directory: Path) -> Iterator[Workloads]:
    from langgraph.store.sqlite import SqliteStore

    path = directory / "store.db"
    with closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)) as connection:
        store = SqliteStore(connection)
        store.setup()
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        yield workloads(
            lambda key, value: store.put(("bench",), key, value),
            lambda key: store.get(("bench",), key).value,
        )
