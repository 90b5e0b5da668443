"""Death at every named point, early and late, two processes on one file at a time."""

from __future__ import annotations

import re
import time
from pathlib import Path

import checker
import pytest
from children import Plane

import agentmemo
from agentmemo.crashpoints import POINTS

# Passed by opening a store, by copying one, and by executing workflows; each has a test of its own.
OPENING = ("migrate.before_schema", "migrate.before_commit")
COPYING = ("backup.after_copy", "backup.before_name", "copy.after_page", "copy.before_finish")
EXECUTING = tuple(point for point in POINTS if point.startswith("execution."))
ONCE_A_PROCESS = ("worker.before_hold",)
WORKING = [point for point in POINTS if point not in (*OPENING, *COPYING, *EXECUTING)]
OPENINGS = 12
# How many passings in, for each of the two processes of a round.
ROUNDS = ((1, 2), (3, 1), (1, 4), (6, 1))


def test_points_and_calls_agree():
    """A point nobody passes would be a test that cannot fail, and a call without a point a kill nobody makes."""
    source = Path(agentmemo.__file__).parent
    found = [
        point
        for file in source.rglob("*.py")
        if "_async" not in file.parts
        for point in re.findall(r"\breach\(\"([^\"]+)\"\)", file.read_text(encoding="utf-8"))
    ]
    assert set(found) == set(POINTS)
    assert len(POINTS) == len(set(POINTS)) >= 20, "each point once"


@pytest.mark.parametrize("point", WORKING)
def test_death_at_a_point(crashing, chance, point):
    """The first passing always, and one of the later ones."""
    armed = [1, 1] if point in ONCE_A_PROCESS else chance.choice(ROUNDS)
    pair = [crashing.start("loop", str(slot), point=f"{point}:{count}") for slot, count in enumerate(armed)]
    for child in pair:
        child.died_at_its_point()
    crashing.finish()
    checker.check(crashing.store, crashing.notes())


@pytest.mark.parametrize("point", OPENING)
def test_death_in_the_first_open(crashing, point):
    """The schema comes whole or not at all, and the next open begins again."""
    for _ in range(3):
        crashing.start("open", point=f"{point}:1").died_at_its_point()
    crashing.start("open").succeeded()
    checker.check(crashing.store, crashing.notes())
    assert len(crashing.notes("set")) == 1


def test_death_in_the_first_open_at_any_moment(tmp_path, chance):
    """Two processes open a store that does not exist yet, and die within milliseconds."""
    for number in range(OPENINGS):
        plane = Plane(tmp_path, f"fresh-{number}")
        pair = [plane.start("open", slot) for slot in ("0", "1")]
        time.sleep(chance.uniform(0.0, 0.03))
        for child in pair:
            child.kill()
        plane.start("open", "2").succeeded()
        checker.check(plane.store, plane.notes())
