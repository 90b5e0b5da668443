"""How well loops are told from legitimate repetition, on the half of the traces that set no threshold.

STUCK_SEEDS=200 takes that many seeds of each kind instead of a few, and -s shows the figures.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter

import pytest
import stuck_traces
from stuck_traces import HELD_OUT, TUNING

SEEDS = int(os.environ.get("STUCK_SEEDS") or 24)
RECALL_MIN = 0.99
WASTED_MEDIAN_MAX = 3.0
FALSE_ALARMS_MAX = 0.005


@pytest.fixture(scope="module")
def loops():
    return stuck_traces.loop_figures(HELD_OUT, range(SEEDS))


@pytest.fixture(scope="module")
def legitimate():
    return stuck_traces.false_alarms(HELD_OUT, range(SEEDS))


def test_there_are_twelve_kinds_of_each():
    assert len(stuck_traces.LOOPS) == len(stuck_traces.LEGITIMATE) == 12


def test_loops_are_caught_by_their_fourth_repetition(loops):
    for name, figure in loops.items():
        wasted = statistics.median(figure.wasted)
        print(f"{name:24}{figure.caught:5} of {figure.runs}, {wasted:.0f} steps wasted")  # noqa: T201 - for the docs
    runs = sum(figure.runs for figure in loops.values())
    assert runs == SEEDS * len(stuck_traces.LOOPS)
    assert sum(figure.early for figure in loops.values()) == 0, "alarms before the loop are false ones"
    assert sum(figure.caught for figure in loops.values()) / runs >= RECALL_MIN
    assert min(figure.caught / figure.runs for figure in loops.values()) >= RECALL_MIN - 1 / SEEDS


def test_few_steps_are_wasted(loops):
    assert statistics.median(steps for figure in loops.values() for steps in figure.wasted) <= WASTED_MEDIAN_MAX


def test_legitimate_repetition_is_left_alone(legitimate):
    for name, (runs, nudged, escalated) in legitimate.items():
        print(f"{name:24}{nudged:5} nudged, {escalated} escalated of {runs}")  # noqa: T201 - for the docs
    total = Counter()
    for runs, nudged, escalated in legitimate.values():
        total.update(runs=runs, nudged=nudged, escalated=escalated)
    assert total["nudged"] / total["runs"] <= FALSE_ALARMS_MAX
    assert total["escalated"] / total["runs"] <= FALSE_ALARMS_MAX


@pytest.mark.parametrize("half", [TUNING, HELD_OUT])
def test_recorded_traces_alone_raise_nothing(half):
    traces = stuck_traces.traces(half)
    assert len(traces) == 24
    assert [number for number, trace in enumerate(traces) if stuck_traces.first_alarm(trace) is not None] == []


def test_the_traces_are_what_their_script_writes():
    import record_traces

    for place, world in enumerate(sorted(record_traces.WORLDS)):
        recorded = stuck_traces.traces(0)[place * 6]
        assert recorded == record_traces.record(world, 0)
