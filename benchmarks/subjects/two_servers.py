"""What a second process brings: the same writers in one and in two processes, on one workspace and on two.

Writes of one workspace take turns, so a second process can only help with what is done outside the turn. `pgbench` runs
against the same server in the same minutes: its simple update is three small statements and one commit, without the
turn, without a trail and without Python, so it says what is left when the machine is the bound.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import harness
import postgres
from contender import Contender
from harness import QUICK, REPETITIONS, SECONDS, WARM_UP_SECONDS, Row, rates
from subjects.state_embedded import Workloads, workloads

from agentmemo.testing.postgres import PostgresServer

CLIENTS = 16
WORKSPACE = "BENCH_WORKSPACE"
SETTINGS = f"1 KB JSON, audited; each process has the engine and {CLIENTS // 2} clients, one alone has {CLIENTS}"
PGBENCH = "pgbench simple update"
PGBENCH_SCALE = 1 if QUICK else 4
# Layout -> the workspaces of its processes.
LAYOUTS = {
    "1 process, 1 workspace": ["one"],
    "2 processes, 1 workspace": ["one", "one"],
    "2 processes, 2 workspaces": ["one", "two"],
}


def run() -> list[Row]:
    samples: dict[str, list[dict[str, Any]]] = {layout: [] for layout in (*LAYOUTS, PGBENCH)}
    with ExitStack() as stack:
        server = stack.enter_context(postgres.server())
        server.make_database("pgbench")
        server.run("pgbench", "-i", "-q", "-s", str(PGBENCH_SCALE), *_address(server))
        url = server.make_database("planes")
        started = {
            layout: [_process(stack, server, url, number, name) for number, name in enumerate(names)]
            for layout, names in LAYOUTS.items()
        }
        for repetition in range(REPETITIONS + 1):
            for layout, processes in started.items():
                taken = _together(processes, SECONDS if repetition else WARM_UP_SECONDS)
                samples[layout] += [taken] if repetition else []
            samples[PGBENCH] += [_pgbench(server)] if repetition else []
    return _rows(samples)


def _rows(samples: dict[str, list[dict[str, Any]]]) -> list[Row]:
    alone = next(iter(LAYOUTS))
    rows = [
        Row(
            subject=f"state set, PostgreSQL, {layout}",
            unit="per s",
            peer_name=alone,
            ours=rates(samples[layout]),
            peer=rates(samples[alone]),
            settings=f"{SETTINGS}; {postgres.SETTINGS_SHOWN}",
            repetitions={layout: samples[layout]},
        )
        for layout in LAYOUTS
        if layout != alone
    ]
    return [
        *rows,
        Row(
            subject=f"state set, PostgreSQL, {alone}, {CLIENTS} clients",
            unit="per s",
            peer_name=f"{PGBENCH}, {CLIENTS} clients",
            ours=rates(samples[alone]),
            peer=rates(samples[PGBENCH]),
            settings=f"{SETTINGS}; {postgres.SETTINGS_SHOWN}",
            repetitions={"ours": samples[alone], PGBENCH: samples[PGBENCH]},
        ),
    ]


def _process(stack: ExitStack, server: PostgresServer, url: str, number: int, workspace: str) -> Contender:
    directory = stack.enter_context(harness.directory(f"server-{number}"))
    environment = {**postgres.environment(server, url), WORKSPACE: workspace}
    contender = Contender(__name__, "ours", directory / "process", environment=environment)
    stack.callback(contender.close)
    return contender


def _together(processes: list[Contender], seconds: float) -> dict[str, Any]:
    """All at once; their rates are added, their latencies are those of the slowest."""
    samples: list[dict[str, Any]] = []

    def measure(process: Contender) -> None:
        samples.append(process.measure("set", CLIENTS // len(processes), seconds=seconds))

    threads = [threading.Thread(target=measure, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(samples) < len(processes):
        raise RuntimeError("a process of the benchmark failed")
    return {
        "rate": sum(sample["rate"] for sample in samples),
        "p50_ms": max(sample["p50_ms"] for sample in samples),
        "p99_ms": max(sample["p99_ms"] for sample in samples),
        "cpu": sum(sample["cpu"] for sample in samples),
    }


def _pgbench(server: PostgresServer) -> dict[str, Any]:
    load = ["-N", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(max(1, round(SECONDS)))]
    done = server.run("pgbench", *load, *_address(server))
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(f"pgbench said nothing of its rate: {done.stdout[-500:]}")
    return {"rate": float(found[1])}


def _address(server: PostgresServer) -> list[str]:
    return ["-h", "127.0.0.1", "-p", str(server.port), "-U", "agentmemo", "pgbench"]


@contextmanager
def ours(_directory: Path) -> Iterator[Workloads]:
    import agentmemo

    with agentmemo.connect(postgres.database(), agent="bench", workspace=os.environ[WORKSPACE]) as agent:
        state = agent.state
        yield workloads(lambda key, value: state.set("bench", key, value), lambda key: state.get("bench", key))
