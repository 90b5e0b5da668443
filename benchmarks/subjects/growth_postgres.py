"""What PostgreSQL touches for an operation in stores of several sizes, and how long it takes, against the smallest.

A file is filled as in `growth`, half of its events in the next workspace, and copied by the product. Rows and pages
depend neither on the machine nor on what else it does. BENCH_GROWTH="1e4 1e5" names the sizes in events.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import harness
import postgres
from harness import Row, Target
from subjects.growth import AT_MOST, SIZES, TIMES, fastest

from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane
from agentmemo.testing.postgres import PostgresServer

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "shared"))
import growing
import touching
from grown_operations import operations

SETTINGS = (
    "rows that the plans read, and pages; the dearer of the second call and the seventh; after VACUUM ANALYZE; "
    f"the best time of {TIMES} calls in either store, in turns"
)


class Cost(NamedTuple):
    """Of one operation: rows and pages, statements, and its time in microseconds: here, and in the smallest store."""

    touched: int
    statements: int
    us: float
    us_first: float


def run() -> list[Row]:
    meter = touching.Meter(setattr)
    looks: dict[int, dict[str, Cost]] = {}
    with harness.directory("growth-postgres") as place, postgres.server() as server:
        path, first = place / "plane.db", place / "first.db"
        with _plane(path) as plane:
            growing.sample(plane.connect(), plane.connect(person="ana"))
        with contextlib.closing(apsw.Connection(str(path))) as connection:
            connection.pragma("synchronous", 0)
            growth = growing.Growth(connection)
            for size in SIZES:
                growth.until(size // 2, elsewhere=True)
                if not looks:
                    connection.execute("VACUUM INTO ?", (str(first),))
                    smallest = touching.filled(server, first, Settings())
                looks[size] = _look(meter, server, path, smallest)
    return [row for name in looks[SIZES[0]] for size in SIZES[1:] for row in _rows(name, looks, size)]


def _look(meter: touching.Meter, server: PostgresServer, path: Path, smallest: str) -> dict[str, Cost]:
    url = touching.filled(server, path, Settings())
    touched = _touched(meter, touching.told(url))
    with _plane(url) as here, _plane(smallest) as there:
        beside = _operations(there)
        times = {name: fastest([work, beside[name]], time.perf_counter) for name, work in _operations(here).items()}
    size = server.execute("SELECT pg_database_size(current_database())", database=path.stem)[0][0]
    print(f"  {path.stat().st_size / 1e9:.2f} GB as a file, {size / 1e9:.2f} GB there", file=sys.stderr, flush=True)
    server.drop_database(path.stem)
    return {name: Cost(*touched[name], *times[name]) for name in times}


def _touched(meter: touching.Meter, url: str) -> dict[str, tuple[int, int]]:
    """Rows and pages of each operation, and statements. Telling them takes time, so that is measured apart."""
    with _plane(url) as plane:
        found = {}
        for name, work in _operations(plane).items():
            work()  # what this process has to learn once
            touched, statements, _ = meter.settled(work)
            found[name] = touched, statements
        return found


def _operations(plane: ManualPlane) -> dict[str, Callable[[], Any]]:
    return operations(plane.connect(), plane.connect(person="ana"))


def _plane(place: Path | str) -> contextlib.closing[ManualPlane]:
    """Nothing is done but what is called for."""
    return contextlib.closing(ManualPlane(place))


def _rows(name: str, looks: dict[int, dict[str, Cost]], size: int) -> list[Row]:
    few, many = looks[SIZES[0]][name], looks[size][name]

    def row(measure: str, times: float, note: str) -> Row:
        return Row(
            subject=f"{name}, at {size:,} events, {measure}",
            unit="x",
            ours=times,
            target=Target(AT_MOST, at_most=True),
            note=note,
            settings=f"against {SIZES[0]:,} events; {SETTINGS}",
        )

    counted = f"{few.touched:,} to {many.touched:,} rows and pages, {few.statements} statements"
    return [
        row("touched", many.touched / few.touched, counted),
        row("time", many.us / many.us_first, f"{many.us_first:,.0f} to {many.us:,.0f} us"),
    ]
