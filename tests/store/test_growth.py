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

from agentmemo.engine import briefing
from agentmemo.engine.upkeep import duties
from agentmemo.store import state
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
# Of what it takes beside few rows; a page that was cut off costs some more than one that was all there is.
TIMES, MORE = 1.2, 60


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        # Less than there is beside few rows, as it is less than there is in a store that has grown.
        patch.setattr(duties, "POSITIONS_PER_ROUND", 100)
        patch.setattr(duties, "BLOBS_PER_ROUND", 1)
        patch.setattr(briefing, "RUNS_SHOWN", growing.PAGE)
        patch.setattr(state, "RECENT", 1)
        yield patch


@pytest.fixture(scope="module")
def few_and_many(tmp_path_factory, patched):
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
def sqlite_costs(few_and_many, patched):
    """name -> (steps of SQLite's machine beside few rows, beside many, the statements that took most of these)."""
    meter = growing.Meter(patched.setattr)
    few, many = (measure(meter.measure, shutil.copy(file, file.with_suffix(".copy"))) for file in few_and_many)
    return compared(few, many)


@pytest.fixture(scope="module")
def postgres_costs(few_and_many, patched, postgres):
    """The same, in rows and pages that PostgreSQL touches."""
    meter = touching.Meter(patched.setattr)
    few, many = (touching.filled(postgres, file, LOSSY) for file in few_and_many)
    # A small table is read as a whole, which is right, and would hide what grows.
    yield compared(
        measure(meter.settled, touching.told(few, enable_seqscan="off")), measure(meter.settled, touching.told(many))
    )
    for file in few_and_many:
        postgres.drop_database(file.stem)


@contextlib.contextmanager
def opened(place):
    with contextlib.closing(ManualPlane(place, settings=LOSSY, prices=ListPrices())) as plane:
        yield plane, plane.connect(), plane.connect(person="ana")


def measure(count, place):
    with opened(place) as (plane, agent, person):
        plane.upkeep()
        work = operations(agent, person) | {
            "upkeep, nothing due": plane.upkeep,
            "retention, nothing old": lambda: [duty(plane.engine) for duty in (duties.prune, duties.sweep_blobs)],
        }
        found = {}
        for name, do in work.items():
            do()  # what this process has to learn once
            taken, _, seen = count(do)
            found[name] = (taken, sorted(seen.items(), key=lambda each: -each[1])[:2])
        return found


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
