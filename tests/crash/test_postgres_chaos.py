"""Servers, workers and the database itself killed, frozen and cut off, again and again, under a mixed load."""

from __future__ import annotations

import os
import time

import pytest
from arena import END_SECONDS, Arena, Faults

from agentmemo.testing.postgres import PostgresServer

TORTURE_VARIABLE = "AGENTMEMO_TORTURE_SECONDS"
# Read before the suite's own fixture takes every AGENTMEMO_ variable out of the environment.
TORTURE_SECONDS = float(os.environ.get(TORTURE_VARIABLE) or 3.0)
WORKERS = 16
# Of the rate before the first fault, over measurements long enough that what else the machine does evens out. In the
# short form the figure is printed and not judged: a neighbour's load would be told for ours.
LEAST_RATE = 0.5 if TORTURE_SECONDS >= 60 else 0.0
MEASURED_SECONDS = 1.0 if TORTURE_SECONDS < 60 else 20.0
CALM_SECONDS = (0.2, 1.0) if TORTURE_SECONDS < 60 else (0.5, 4.0)


@pytest.fixture
def database():
    """With everything that makes it durable: a kill must lose nothing."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def arena(tmp_path, database):
    made = Arena(tmp_path, database.make_database("arena"))
    yield made
    made.end()


def test_chaos_loses_nothing(arena, database, chance):
    faults = Faults(arena, database, chance)
    arena.serve(2)
    arena.work(2, 5)
    arena.work(2, 3, http=True, name="h")
    ready = arena.wait_for_work(WORKERS)
    before = measured(arena)
    end = time.monotonic() + TORTURE_SECONDS
    for fault in chance.sample(faults.all, len(faults.all)):
        faults.run(fault)
        time.sleep(chance.uniform(*CALM_SECONDS))
    while time.monotonic() < end:
        faults.one()
        time.sleep(chance.uniform(*CALM_SECONDS))
    # Everybody is back at work, those who were started last too.
    back = arena.wait_for_work(WORKERS, after=time.time(), seconds=END_SECONDS)
    after = measured(arena)
    arena.stop_workers()
    seconds = arena.finish()
    counts = arena.check()
    print(  # noqa: T201 - the figures are the point
        f"\nchaos: {WORKERS} workers after {ready:.1f} s; {faults.done.total()} faults {dict(faults.done)}; "
        f"{counts['set']} sets, {counts['end']} steps, {counts['refused']} refusals; "
        f"all at work {back:.1f} s after the last fault; all finished {seconds:.1f} s after the end; "
        f"{before:.0f}/s before, {after:.0f}/s after the faults"
    )
    assert seconds < END_SECONDS
    assert after >= LEAST_RATE * before


def measured(arena):
    begun = time.time()
    time.sleep(MEASURED_SECONDS)
    return arena.rate(begun, time.time())
