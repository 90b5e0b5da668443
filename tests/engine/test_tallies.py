"""How much there is, is counted exactly while that is quick, and seldom once it takes long."""

from __future__ import annotations

import pytest

from agentmemo.engine import tallies


@pytest.fixture
def time(monkeypatch):
    """Each look at the clock is a second later."""
    seconds = iter(range(1, 1000))
    monkeypatch.setattr(tallies, "monotonic", lambda: float(next(seconds)))
    return seconds


def write(agent, count):
    for number in range(count):
        agent.state.set("n", f"k{number}", number)


def test_small_numbers_are_exact(plane, time):
    agent = plane.connect()
    for count in (1, 2, 3):
        write(agent, count)
        assert agent.status().entries == count


def test_large_numbers_are_counted_again_after_a_while(plane, time, monkeypatch):
    agent = plane.connect()
    monkeypatch.setattr(tallies, "LARGE", 2)
    write(agent, 3)
    assert agent.status().entries == 3
    write(agent, 5)
    assert agent.status().entries == 3
    for _ in range(2 * tallies.TIMES_KEPT):
        next(time)
    assert agent.status().entries == 5
