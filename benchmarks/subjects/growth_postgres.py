"""What PostgreSQL touches for an operation in stores of several sizes, each against the smallest.

A file is filled as in `growth`, half of its events in the next workspace, and copied by the product. Rows and pages
depend neither on the machine nor on what else it does. BENCH_GROWTH="1e4 1e5" names the sizes in events.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import apsw
import harness
import postgres
from harness import Row, Target
from subjects.growth import AT_MOST, SIZES

from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane
from agentmemo.testing.postgres import PostgresServer

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "shared"))
import growing
import touching
from grown_operations import operations

SETTINGS = "rows that the plans read, and pages; the dearer of the second call and the seventh; after VACUUM ANALYZE"
Touched = dict[str, tuple[int, int]]


def run() -> list[Row]:
    meter = touching.Meter(setattr)
    looks: dict[int, Touched] = {}
    with harness.directory("growth-postgres") as place, postgres.server() as server:
        path = place / "plane.db"
        with _plane(path) as plane:
            growing.sample(plane.connect(), plane.connect(person="ana"))
        with contextlib.closing(apsw.Connection(str(path))) as connection:
            connection.pragma("synchronous", 0)
            growth = growing.Growth(connection)
            for size in SIZES:
                growth.until(size // 2, elsewhere=True)
                looks[size] = _look(meter, server, path)
    return [_row(name, looks, size) for name in looks[SIZES[0]] for size in SIZES[1:]]


def _look(meter: touching.Meter, server: PostgresServer, path: Path) -> Touched:
    url = touching.filled(server, path, Settings())
    found: Touched = {}
    with _plane(touching.told(url)) as plane:
        for name, work in operations(plane.connect(), plane.connect(person="ana")).items():
            work()  # what this process has to learn once
            touched, statements, _ = meter.settled(work)
            found[name] = touched, statements
    size = server.execute("SELECT pg_database_size(current_database())", database=path.stem)[0][0]
    print(f"  {path.stat().st_size / 1e9:.2f} GB as a file, {size / 1e9:.2f} GB there", file=sys.stderr, flush=True)
    server.drop_database(path.stem)
    return found


def _plane(place: Path | str) -> contextlib.closing[ManualPlane]:
    """Nothing is done but what is called for."""
    return contextlib.closing(ManualPlane(place))


def _row(name: str, looks: dict[int, Touched], size: int) -> Row:
    (few, statements), (many, _) = looks[SIZES[0]][name], looks[size][name]
    return Row(
        subject=f"{name}, at {size:,} events",
        unit="x",
        ours=many / few,
        target=Target(AT_MOST, at_most=True),
        note=f"{few:,} to {many:,} rows and pages, {statements} statements",
        settings=f"against {SIZES[0]:,} events; {SETTINGS}",
    )
