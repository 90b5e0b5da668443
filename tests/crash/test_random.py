"""Death at any moment."""

from __future__ import annotations

import time

import checker
import pytest
from children import Plane

ROUNDS = 10
OPENINGS = 12


@pytest.mark.parametrize("number", range(4))
def test_death_at_any_moment(crashing, chance, number):
    """Two processes work on one file and die at moments of their own, again and again."""
    for _ in range(ROUNDS):
        pair = [crashing.start("loop", slot) for slot in ("0", "1")]
        first, second = sorted(chance.uniform(0.0, 0.5) for _ in pair)
        chance.shuffle(pair)
        time.sleep(first)
        pair[0].kill()
        time.sleep(second - first)
        pair[1].kill()
    crashing.finish()
    checker.check(crashing.store, crashing.notes())


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
