"""What an operation costs on PostgreSQL, measured, and from it what so many agents need.

`python benchmarks/capacity.py`: each operation runs at three batch sizes, since how many requests share a transaction
decides what one of them costs. All is counted from outside (process time, /proc, the server's own counters) but round
trips, which are counted where the store waits for an answer. The simulation is arithmetic over these costs, with the
assumptions that it prints. `--simulate` does only that, with the costs of the last run. BENCH_QUICK=1 for a smoke run.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import capacity_model
import load
import postgres
from values import KEYS, VALUES

import agentmemo
from agentmemo.store.postgres_wire import Wire
from agentmemo.testing.postgres import PostgresServer

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
SECONDS = float(os.environ.get("BENCH_SECONDS", "0.5" if QUICK else "3"))
# While one group of clients waits for its commit the other one queues up, so a batch is about half the clients.
CLIENTS = {1: 1, 16: 32, 64: 128}
TASKS = 100 if QUICK else 600
IDLE_SECONDS = 2.0 if QUICK else 10.0
# The server's statistics of the last transactions are there by then.
SETTLE_SECONDS = 1.2
DATABASE = "capacity"
READ = "get"
# Counted, since the server's statistics of a connection that rests come up to ten seconds late.
COUNTED = ("entry", "entry_version", "event", "run", "run_value", "step")
ROWS = " + ".join(f"(SELECT count(*) FROM {table})" for table in COUNTED)  # noqa: S608 - the names above
UNINDEXED = """
SELECT EXISTS (SELECT FROM workspace w JOIN entry_version v ON v.position > w.indexed AND v.position >> 40 = w.id)"""
INDEX_SECONDS_MAX = 20
RESULTS = Path(__file__).parent / "capacity.json"
# Threads of the process whose round trips belong to nobody's operation.
BACKGROUND = ("agentmemo-upkeep", "agentmemo-notify", "agentmemo-heartbeat", "agentmemo-listen")


@dataclass
class Cost:
    """Of one operation. Times in microseconds, sizes in bytes."""

    operation: str
    clients: int
    batch: float
    rate: float
    p50_ms: float
    p99_ms: float
    client_us: float
    server_us: float
    turn_us: float
    round_trips: float
    wal_bytes: float
    rows_added: float
    bytes_stored: float


@dataclass
class Reading:
    """The counters at one moment."""

    at: float
    client: float
    server: float
    commits: int
    writes: int
    round_trips: int
    wal: float
    rows: float
    size: float


class Meter:
    """Reads every counter before and after a piece of work."""

    def __init__(self, server: PostgresServer, agent: agentmemo.Connection, round_trips: list[None]) -> None:
        self._server = server
        self._agent = agent
        self._round_trips = round_trips

    def measure(self, operation: str, clients: int, work: Callable[[], tuple[int, dict[str, float]]]) -> Cost:
        """`work` returns how many operations it did, and what else is known of them."""
        before = self._read()
        done, sample = work()
        after = self._read()
        commits, writes = after.commits - before.commits, after.writes - before.writes
        elapsed = sample["seconds"]
        return Cost(
            operation=operation,
            clients=clients,
            # Reads share no transaction; what upkeep commits meanwhile is not theirs.
            batch=writes / commits if operation != READ else 1.0,
            rate=done / elapsed,
            p50_ms=sample.get("p50_ms", 0.0),
            p99_ms=sample.get("p99_ms", 0.0),
            client_us=(after.client - before.client) / done * 1e6,
            server_us=(after.server - before.server) / done * 1e6,
            turn_us=elapsed / done * 1e6 if operation != READ else 0.0,
            round_trips=(after.round_trips - before.round_trips) / done,
            wal_bytes=(after.wal - before.wal) / done,
            rows_added=(after.rows - before.rows) / done,
            bytes_stored=(after.size - before.size) / done,
        )

    def _read(self) -> Reading:
        self._await_index()
        time.sleep(SETTLE_SECONDS)
        counters = self._agent_counters()
        wal, rows, size = self._server.execute(
            f"SELECT pg_current_wal_lsn() - '0/0', {ROWS}, pg_database_size(current_database())",
            database=DATABASE,
        )[0]
        process = self._server.process
        assert process is not None
        return Reading(
            at=time.monotonic(),
            client=time.process_time(),
            server=postgres.cpu_seconds(process.pid),
            commits=counters["commits"],
            writes=counters["writes"],
            round_trips=len(self._round_trips),
            wal=float(wal),
            rows=float(rows),
            size=float(size),
        )

    def _await_index(self) -> None:
        """Search follows the sets; what it costs belongs to them, and not to what is measured after them."""
        end = time.monotonic() + INDEX_SECONDS_MAX
        while time.monotonic() < end and self._server.execute(UNINDEXED, database=DATABASE)[0][0]:
            time.sleep(0.1)

    def _agent_counters(self) -> dict[str, int]:
        from agentmemo.embedded import shared_plane

        plane = shared_plane(self._server.url(DATABASE))
        plane.users -= 1
        return plane.engine.database.counters()


def main() -> int:
    if "--simulate" in sys.argv[1:]:
        found = json.loads(RESULTS.read_text())
        capacity_model.show(found["costs"], found["idle"])
        return 0
    costs, idle = _measure()
    _show(costs)
    RESULTS.write_text(json.dumps(_report(costs, idle), indent=1) + "\n")
    capacity_model.show([asdict(cost) for cost in costs], idle)
    return 0


def _measure() -> tuple[list[Cost], dict[str, float]]:
    with ExitStack() as stack:
        server = stack.enter_context(postgres.server())
        url = server.make_database(DATABASE)
        stack.enter_context(mock.patch.dict(os.environ, postgres.environment(server, url)))
        round_trips = stack.enter_context(_counted_round_trips())
        agent = stack.enter_context(agentmemo.connect(url, agent="bench"))
        meter = Meter(server, agent, round_trips)
        idle = _idle(server)
        costs = []
        for clients in CLIENTS.values():
            for name, factory in _workloads(agent).items():
                load.measure(factory, clients, seconds=SECONDS / 3)
                costs.append(meter.measure(name, clients, lambda f=factory, c=clients: _closed_loop(f, c)))
            costs += _tasks(agent, meter, clients)
    return costs, idle


@contextmanager
def _counted_round_trips() -> Iterator[list[None]]:
    """Wire.settle is where the store waits for the server; a list, because appending to it is atomic."""
    counted: list[None] = []
    settle = Wire.settle

    def counting(wire: Wire, *arguments: Any, **options: Any) -> Any:
        if not threading.current_thread().name.startswith(BACKGROUND):
            counted.append(None)
        return settle(wire, *arguments, **options)

    with mock.patch.object(Wire, "settle", counting):
        yield counted


def _workloads(agent: agentmemo.Connection) -> dict[str, Callable[[int], Callable[[], Any]]]:
    state = agent.state
    numbers = iter(range(1 << 62))
    runs: dict[int, agentmemo.Run] = {}

    def set_(_client: int) -> Callable[[], Any]:
        def operation() -> None:
            number = next(numbers)
            state.set("bench", f"key:{number % KEYS}", VALUES[number % len(VALUES)])

        return operation

    def get(_client: int) -> Callable[[], Any]:
        state.set("bench", "read", VALUES[0])
        return lambda: state.get("bench", "read")

    def step(client: int) -> Callable[[], Any]:
        # Opened while it warms up, so that only steps are measured.
        if client not in runs:
            runs[client] = agent.run("bench").__enter__()
        run = runs[client]
        return lambda: run.step("work", lambda: VALUES[1])

    return {"set": set_, READ: get, "step": step}


def _closed_loop(factory: Callable[[int], Any], clients: int) -> tuple[int, dict[str, float]]:
    begin = time.monotonic()
    sample = load.measure(factory, clients, seconds=SECONDS)
    elapsed = time.monotonic() - begin
    return round(sample["rate"] * elapsed), {**sample, "seconds": elapsed}


def _tasks(agent: agentmemo.Connection, meter: Meter, clients: int) -> list[Cost]:
    """Enqueue, and then claim and complete what was enqueued: the two ends of a handoff."""

    @agent.task("job")
    def job(_run: agentmemo.Run, inputs: Any) -> int:
        return len(inputs)

    each = -(-TASKS // clients)
    total = each * clients

    def enqueue() -> tuple[int, dict[str, float]]:
        begin = time.monotonic()
        sample = load.measure(
            lambda _client: lambda: agent.start("job", inputs={"inputs": VALUES[2]}), clients, count=each
        )
        return total, {**sample, "seconds": time.monotonic() - begin}

    def drain() -> tuple[int, dict[str, float]]:
        begin = time.monotonic()
        agent.work(concurrency=clients, until_idle=True)
        return total, {"seconds": time.monotonic() - begin}

    return [meter.measure("enqueue", clients, enqueue), meter.measure("claim and complete", clients, drain)]


def _idle(server: PostgresServer) -> dict[str, float]:
    """What an open engine costs while nobody calls it."""
    process = server.process
    assert process is not None

    def read() -> tuple[float, float, float]:
        transactions = server.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'capacity'"
        )[0][0]
        return float(transactions), time.process_time(), postgres.cpu_seconds(process.pid)

    time.sleep(SETTLE_SECONDS)
    before = read()
    time.sleep(IDLE_SECONDS)
    after = read()
    names = ("transactions_per_second", "client_cores", "server_cores")
    return {name: (b - a) / IDLE_SECONDS for name, a, b in zip(names, before, after, strict=True)}


def _show(costs: list[Cost]) -> None:
    """The table; what is zero was not measured, as the latency of one task in a backlog."""
    names = list(asdict(costs[0]))
    lines = [names] + [[figure(value) for value in asdict(cost).values()] for cost in costs]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def figure(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value else "-"


def _report(costs: list[Cost], idle: dict[str, float]) -> dict[str, Any]:
    return {
        "at": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "quick": QUICK,
        "seconds": SECONDS,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "settings": postgres.SETTINGS,
        "idle": idle,
        "costs": [asdict(cost) for cost in costs],
        "assumptions": capacity_model.ASSUMPTIONS,
        "needs": capacity_model.needs([asdict(cost) for cost in costs], idle),
    }


if __name__ == "__main__":
    sys.exit(main())
