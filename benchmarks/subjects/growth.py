"""What an operation costs in stores of several sizes, each against the smallest, and what these take on disk.

A store is filled through the product, and its rows are then copied (tests/shared/growing.py), which gives the same rows
in a hundredth of the time. BENCH_GROWTH="1e4 1e6" names the sizes in events, BENCH_PARKED=1e6 adds runs that wait, and
BENCH_TRAIL=1e7 events alone, which take a third of the room.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import harness
from harness import QUICK, Row, Target

import agentmemo

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "shared"))
import growing
from grown_operations import operations

SIZES = [int(float(size)) for size in os.environ.get("BENCH_GROWTH", "2e3 2e4" if QUICK else "1e4 1e5").split()]
PARKED = int(float(os.environ.get("BENCH_PARKED", "2e3" if QUICK else "1e5")))
TRAIL = int(float(os.environ.get("BENCH_TRAIL", "0")))
TIMES = 5 if QUICK else 60
IDLE_SECONDS = 1.0 if QUICK else 10.0
AT_MOST = 1.2
RESULTS = Path(__file__).parents[1] / "growth.json"
# One that the shipped table has a price of.
growing.MODEL = "claude-3-5-haiku"
SETTINGS = (
    f"one process, SQLite in a file, FULL; processor time, the writer's included, the best of {TIMES} calls in either "
    "store, in turns; steps are those of SQLite's machine"
)


class Cost(NamedTuple):
    """Of one operation: steps of SQLite's machine, statements, and processor time in microseconds: here and there.

    There is the smallest store, where the same was done in the same moments.
    """

    steps: int
    statements: int
    cpu_us: float
    cpu_us_first: float


class Look(NamedTuple):
    """A store of some size: what operations cost in it, and what it takes."""

    title: str
    costs: dict[str, Cost]
    file_bytes: int
    idle_cpu: float
    idle_commits: float


def run() -> list[Row]:
    looks: list[Look] = []
    with harness.directory("growth") as place:
        path, first = place / "plane.db", place / "first.db"
        with _plane(path) as (agent, person):
            growing.sample(agent, person)
        growth = _growth(path)

        def look(title: str) -> None:
            if not looks:
                with _plane(path) as (agent, _):
                    _database(agent).backup(first)
            looks.append(_look(path, first, title))

        for size in SIZES:
            growth.until(size)
            look(f"{size:,} events")
        if PARKED:
            growth.park(PARKED)
            look(f"{PARKED:,} parked runs more")
        if SIZES[-1] < TRAIL:
            growth.lengthen_trail(TRAIL)
            look(f"{TRAIL:,} events, most without what they tell of")
    RESULTS.write_text(json.dumps([_as_data(look) for look in looks], indent=1) + "\n")
    return [*_cost_rows(looks), *_store_rows(looks)]


def _growth(path: Path) -> growing.Growth:
    connection = apsw.Connection(str(path))
    connection.pragma("cache_size", -500_000)
    connection.pragma("synchronous", 0)
    connection.wal_autocheckpoint(100_000)
    return growing.Growth(connection)


@contextlib.contextmanager
def _plane(path: Path) -> Iterator[tuple[Any, Any]]:
    with agentmemo.connect(path, agent="bench") as agent, agentmemo.connect(path, person="ana") as person:
        yield agent, person


def _look(path: Path, first: Path, title: str) -> Look:
    counted = _counted(path)
    with _plane(path) as here, _plane(first) as there:
        beside = operations(*there)
        costs = {name: _cost(counted[name], work, beside[name]) for name, work in operations(*here).items()}
    with _plane(path) as (agent, _):
        file_bytes = sum(file.stat().st_size for file in path.parent.iterdir() if file.name.startswith(path.name))
        began, commits = time.process_time(), _commits(agent)
        time.sleep(IDLE_SECONDS)
        idle = (time.process_time() - began) / IDLE_SECONDS, (_commits(agent) - commits) / IDLE_SECONDS
    print(f"  {title}: {file_bytes / 1e9:.2f} GB", file=sys.stderr, flush=True)
    return Look(title, costs, file_bytes, *idle)


def _counted(path: Path) -> dict[str, tuple[int, int]]:
    """Steps and statements of each operation. Counting takes time, so it is done apart from measuring that."""
    meter = growing.Meter(setattr)
    try:
        with _plane(path) as (agent, person):
            found = {}
            for name, work in operations(agent, person).items():
                work()  # what this process has to learn once
                steps, statements, _ = meter.measure(work)
                found[name] = steps, statements
            return found
    finally:
        meter.remove()


def _database(agent: Any) -> Any:
    return agent._plane.transport._engine.database  # noqa: SLF001 - no call shall count it


def _commits(agent: Any) -> int:
    return int(_database(agent).counters()["commits"])


def _cost(counted: tuple[int, int], work: Callable[[], Any], beside: Callable[[], Any]) -> Cost:
    here, there = fastest([work, beside], time.process_time)
    return Cost(*counted, here, there)


def fastest(works: Sequence[Callable[[], Any]], clock: Callable[[], float]) -> list[float]:
    """The fastest call of each in microseconds. They are made in turns, so that what else is done slows them all."""
    for work in works:
        work()  # what this process has to learn once
    least = [math.inf] * len(works)
    for _ in range(TIMES):
        for number, work in enumerate(works):
            began = clock()
            work()
            least[number] = min(least[number], clock() - began)
    return [seconds * 1e6 for seconds in least]


def _cost_rows(looks: list[Look]) -> list[Row]:
    first = looks[0]
    return [
        Row(
            subject=f"{name}, at {look.title}",
            unit="x",
            ours=look.costs[name].cpu_us / look.costs[name].cpu_us_first,
            target=Target(AT_MOST, at_most=True),
            note=_note(cost, look.costs[name]),
            settings=f"against {first.title}; {SETTINGS}",
            repetitions={look.title: [look.costs[name]._asdict()]},
        )
        for name, cost in first.costs.items()
        for look in looks[1:]
    ]


def _note(first: Cost, later: Cost) -> str:
    times = f"{later.cpu_us_first:,.0f} to {later.cpu_us:,.0f} us"
    return f"{times}, {first.steps} to {later.steps} steps, {later.statements} statements"


def _store_rows(looks: list[Look]) -> list[Row]:
    rows = []
    for look in looks:
        note = f"idle: {look.idle_commits:.2g} commits/s, {100 * look.idle_cpu:.1f} % of a core"
        each = look.file_bytes / 2**20
        rows.append(Row(subject=f"file at {look.title}", unit="MiB", ours=each, note=note))
    return rows


def _as_data(look: Look) -> dict[str, Any]:
    return {**look._asdict(), "costs": {name: cost._asdict() for name, cost in look.costs.items()}}
