"""What an operation costs does not depend on how much is there: each walks an index, to as far as it has to."""

from __future__ import annotations

import contextlib
import shutil

import apsw
import growing
import pytest
from grown_operations import operations
from list_prices import ListPrices

from agentmemo.engine import briefing
from agentmemo.engine.upkeep import duties
from agentmemo.testing import ManualPlane

COPIES, STEPS, NOTES_PAGE = 20, 1000, 101
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


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """name -> (steps beside few rows, beside many, the statements that took most of these)."""
    folder = tmp_path_factory.mktemp("growth")
    few, many = folder / "few.db", folder / "many.db"
    with pytest.MonkeyPatch.context() as patch:
        # Less than there is beside few rows, as it is less than there is in a store that has grown.
        patch.setattr(duties, "POSITIONS_PER_ROUND", 100)
        patch.setattr(duties, "BLOBS_PER_ROUND", 1)
        patch.setattr(briefing, "RUNS_SHOWN", growing.PAGE)
        meter = growing.Meter(patch.setattr)
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
        measured = [measure(meter, path) for path in (few, many)]
    return {name: (measured[0][name][0], *measured[1][name]) for name in measured[0]}


@contextlib.contextmanager
def opened(path):
    with contextlib.closing(ManualPlane(path, prices=ListPrices())) as plane:
        yield plane, plane.connect(), plane.connect(person="ana")


def measure(meter, path):
    with opened(path) as (plane, agent, person):
        plane.upkeep()
        work = operations(agent, person) | {
            "upkeep, nothing due": plane.upkeep,
            "retention, nothing old": lambda: [duty(plane.engine) for duty in (duties.prune, duties.sweep_blobs)],
        }
        found = {}
        for name, do in work.items():
            do()  # what this process has to learn once
            steps, _, seen = meter.measure(do)
            found[name] = (steps, sorted(seen.items(), key=lambda each: -each[1])[:2])
        return found


def test_what_an_operation_costs_does_not_grow(costs):
    print("\n".join(f"{few:8} {many:8}  {name}" for name, (few, many, _) in costs.items()))  # noqa: T201 - reported
    grew = {name: f"{few} to {many}: {most}" for name, (few, many, most) in costs.items() if many > few * TIMES + MORE}
    new = {name: grew[name] for name in grew.keys() - GROWS.keys()}
    assert new == {}, "\n".join(map(str, new.items()))
    assert grew.keys() == GROWS.keys(), "this one does not grow any more"
