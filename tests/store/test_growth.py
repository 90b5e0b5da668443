"""What an operation costs does not depend on how much is there: each walks an index, to as far as it has to."""

from __future__ import annotations

import contextlib
import shutil

import apsw
import growing
import pytest
import touching
from filled import LOSSY
from grown_operations import operations
from list_prices import ListPrices

from agentmemo.clock import SystemClock
from agentmemo.engine import briefing
from agentmemo.engine.upkeep import duties
from agentmemo.store.open import place_of
from agentmemo.store.transfer import copy
from agentmemo.testing import ManualPlane

COPIES, STEPS, NOTES_PAGE, VERSIONS = 40, 1000, 101, 400
# What reads as much as it is asked about, or may be counted less often the longer it takes.
GROWS = {
    "status": "it counts; what takes long is counted seldom",
    "inbox, mine": "it looks through the questions that are open, which people answer",
    "inbox, of a rare kind": "as above",
    "run, resumed after long": "it counts the steps, once",
    "workflow.search": "it reads all that has one of the words",
}
# Of the steps beside few rows; a page that was cut off costs some more than one that was all there is.
TIMES, MORE = 1.2, 60
# PostgreSQL plans a statement anew five times, and then may keep a plan for whatever values.
CALLS = 8


@pytest.fixture(scope="module")
def few_and_many(tmp_path_factory):
    """Two files: with few rows of everything, and with many, here and in the next workspace."""
    folder = tmp_path_factory.mktemp("growth")
    few, many = folder / "few.db", folder / "many.db"
    with opened(few) as (plane, agent, person):
        growing.sample(agent, person)
        plane.upkeep()
    with contextlib.closing(apsw.Connection(str(few))) as connection:
        growing.Growth(connection).lengthen(NOTES_PAGE)
    shutil.copy(few, many)
    with contextlib.closing(apsw.Connection(str(many))) as connection:
        growth = growing.Growth(connection)
        growth.add(COPIES)
        growth.add(COPIES, elsewhere=True)
        growth.lengthen(STEPS)
    with opened(many) as (_, agent, _):
        for number in range(VERSIONS):
            agent.state.set("grown", "many versions", number)
    return few, many


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        # Less than there is beside few rows, as it is less than there is in a store that has grown.
        patch.setattr(duties, "POSITIONS_PER_ROUND", 100)
        patch.setattr(duties, "BLOBS_PER_ROUND", 1)
        patch.setattr(briefing, "RUNS_SHOWN", growing.PAGE)
        yield patch


@pytest.fixture(scope="module")
def sqlite_costs(few_and_many, patched):
    """name -> (steps of SQLite's machine beside few rows, beside many, the statements that took most of these)."""
    meter = growing.Meter(patched.setattr)
    return compared(*(measure(meter, shutil.copy(file, file.with_suffix(".grown"))) for file in few_and_many))


@pytest.fixture(scope="module")
def postgres_costs(few_and_many, patched, postgres):
    """The same, in rows and pages that PostgreSQL touches."""
    meter = touching.Meter(patched.setattr)
    few, many = (filled(postgres, file) for file in few_and_many)
    # A small table is read as a whole, which is right, and would hide what grows.
    return compared(measure(meter, touching.told(few, enable_seqscan="off")), measure(meter, touching.told(many)))


def filled(postgres, file):
    """The address of a copy in PostgreSQL, as one is that autovacuum has been through."""
    url = postgres.make_database(f"growth_{file.stem}")
    ends = place_of(str(file), LOSSY).source(), place_of(url, LOSSY).target(SystemClock())
    with contextlib.closing(ends[0]), contextlib.closing(ends[1]):
        copy(*ends)
    postgres.execute("VACUUM ANALYZE", database=f"growth_{file.stem}")
    return url


@contextlib.contextmanager
def opened(place):
    with contextlib.closing(ManualPlane(place, settings=LOSSY, prices=ListPrices())) as plane:
        yield plane, plane.connect(), plane.connect(person="ana")


def measure(meter, place):
    with opened(place) as (plane, agent, person):
        plane.upkeep()
        work = operations(agent, person) | {
            "upkeep, nothing due": plane.upkeep,
            "retention, nothing old": lambda: [duty(plane.engine) for duty in (duties.prune, duties.sweep_blobs)],
        }
        return {name: cost(meter, do) for name, do in work.items()}


def cost(meter, do):
    """What it took and its statements that took most: of the first calls, and of one for which plans were kept."""
    do()  # what this process has to learn once
    found = [meter.measure(do) for _ in range(CALLS)]
    taken, _, seen = max(found[0], found[-1], key=lambda each: each[0])
    return taken, sorted(seen.items(), key=lambda each: -each[1])[:2]


def compared(few, many):
    return {name: (few[name][0], *many[name]) for name in few}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_what_an_operation_costs_does_not_grow(database, request):
    costs = request.getfixturevalue(f"{database}_costs")
    print("\n".join(f"{few:8} {many:8}  {name}" for name, (few, many, _) in costs.items()))  # noqa: T201 - reported
    grew = {name: f"{few} to {many}: {most}" for name, (few, many, most) in costs.items() if many > few * TIMES + MORE}
    new = {name: grew[name] for name in grew.keys() - GROWS.keys()}
    assert new == {}, "\n".join(map(str, new.items()))
    assert grew.keys() == GROWS.keys(), "this one does not grow any more"
