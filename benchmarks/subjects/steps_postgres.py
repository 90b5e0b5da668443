"""Durable steps on PostgreSQL: runs of ten steps of effect none, 1 KB each, beside three engines that use it too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import postgres
from contender import Contender
from harness import CLIENTS, QUICK, REPETITIONS, Row, Target, compare, rates, take_turns
from subjects.steps import STEPS, VALUE, Workloads, dbos_runs, graph_runs, our_runs

TARGETS = {16: Target(3_000)}
LATENCIES = {"p50_ms": Target(1.5, at_most=True), "p99_ms": Target(10.0, at_most=True)}
PEERS = {
    "ours_async": "AgentMemo, runs on one event loop",
    "dbos": "DBOS",
    "langgraph": "LangGraph PostgresSaver",
    "absurd": "Absurd",
}
SETTINGS = f"1 KB per step, durable before the next one, all runs in one process; {postgres.SETTINGS_SHOWN}"
ABSURD_SETTINGS = "Absurd: a backlog of runs, as many workers as runs at once, each with a connection of its own"
POOL_MAX = 64
BACKLOG = 32 if QUICK else 160
QUEUE = "bench"


def run() -> list[Row]:
    rows: list[Row] = []
    with postgres.contenders(__name__, ["ours", *PEERS]) as started:
        backlog = started.pop("absurd", None)
        runs_alone: dict[str, list[dict[str, Any]]] = {}
        for clients in CLIENTS:
            samples = take_turns(started, "run", clients)
            if backlog:
                samples["absurd"] = _drained(backlog, clients)
            runs_alone = runs_alone or samples
            rows += compare(
                f"durable steps, PostgreSQL, {clients} run{'s' * (clients > 1)} at once",
                samples,
                PEERS,
                target=TARGETS.get(clients),
                settings=f"{SETTINGS}; {ABSURD_SETTINGS}",
                each=STEPS,
            )
        rows += _latencies(started["ours"], runs_alone.get("dbos", []))
    return rows


def _latencies(contender: Contender, peer: list[dict[str, Any]]) -> list[Row]:
    """One step of an open run; of the peer, a tenth of its run of ten steps, which is kind to its p99."""
    samples = take_turns({"ours": contender}, "step", 1)["ours"]
    return [
        Row(
            subject=f"durable step, PostgreSQL, 1 client, {name.removesuffix('_ms')}",
            unit="ms",
            peer_name="DBOS, a run divided by ten",
            ours=_median([sample[name] for sample in samples]),
            peer=_median([sample[name] / STEPS for sample in peer]) if peer else None,
            target=target,
            settings=SETTINGS,
            repetitions={"ours": samples},
        )
        for name, target in LATENCIES.items()
    ]


def _median(numbers: list[float]) -> float | None:
    return rates([{"rate": number} for number in numbers])


def _drained(contender: Contender, workers: int) -> list[dict[str, Any]]:
    """Samples per run of a backlog that so many workers carry out."""
    found = []
    for _ in range(REPETITIONS):
        sample = contender.measure(f"drain {workers}", 1, count=1)
        found.append({**sample, "rate": sample["rate"] * BACKLOG})
    return found


@contextmanager
def ours(_directory: Path) -> Iterator[Workloads]:
    with our_runs(postgres.database()) as workloads:
        yield workloads


@contextmanager
def ours_async(_directory: Path) -> Iterator[Workloads]:
    import agentmemo

    async def give() -> Any:
        return VALUE

    async def factory(_client: int) -> _Runs:
        agent = await agentmemo.connect_async(postgres.database(), agent="bench")

        async def operation() -> None:
            async with agent.run("bench") as run:
                for _ in range(STEPS):
                    await run.step("work", give)

        return _Runs(operation, agent.close)

    with agentmemo.connect(postgres.database(), agent="bench"):  # the plane stays open between measurements
        yield {"run": factory}


class _Runs:
    def __init__(self, operation: Callable[[], Any], close: Callable[[], Any]) -> None:
        self._operation = operation
        self.close = close

    async def __call__(self) -> None:
        await self._operation()


@contextmanager
def dbos(_directory: Path) -> Iterator[Workloads]:
    with dbos_runs(postgres.database()) as workloads:
        yield workloads


@contextmanager
def langgraph(_directory: Path) -> Iterator[Workloads]:
    from langgraph.checkpoint.postgres import PostgresSaver
    from psycopg.rows import dict_row
    from psycopg_pool import ConnectionPool

    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool = ConnectionPool(postgres.database(), min_size=4, max_size=POOL_MAX, kwargs=options, open=True)
    with pool:
        saver = PostgresSaver(pool)
        saver.setup()
        yield graph_runs(saver)


@contextmanager
def absurd(_directory: Path) -> Iterator[Workloads]:
    """Its runs are carried out by workers from a queue. The backlog is made before the time begins."""
    from absurd_sdk import Absurd

    control = Path(sys.executable).with_name("absurdctl")
    environment = os.environ | {"ABSURD_DATABASE_URL": postgres.database()}
    for arguments in (["init"], ["create-queue", QUEUE]):
        subprocess.run([control, *arguments], env=environment, check=True, capture_output=True)

    def drain(workers: int) -> Callable[[int], Callable[[], Any]]:
        def factory(_client: int) -> Callable[[], Any]:
            done = threading.Semaphore(0)
            apps = [_absurd_app(Absurd, done) for _ in range(workers)]
            for _ in range(BACKLOG):
                apps[0].spawn("ten", {})
            return lambda: _carry_out(apps, done)

        return factory

    yield {f"drain {clients}": drain(clients) for clients in CLIENTS}


def _absurd_app(kind: Any, done: threading.Semaphore) -> Any:
    app = kind(postgres.database(), queue_name=QUEUE)

    @app.register_task("ten")
    def ten(_parameters: Any, context: Any) -> int:
        for number in range(STEPS):
            context.step(f"step{number}", lambda: VALUE)
        done.release()
        return STEPS

    return app


def _carry_out(apps: list[Any], done: threading.Semaphore) -> None:
    threads = [
        threading.Thread(target=app.start_worker, kwargs={"worker_id": f"w{number}", "poll_interval": 0.02})
        for number, app in enumerate(apps)
    ]
    for thread in threads:
        thread.start()
    for _ in range(BACKLOG):
        done.acquire()
    for app in apps:
        app.stop_worker()
    for thread in threads:
        thread.join()
