"""Processes killed, frozen and replaced at any moment: nothing acknowledged is lost, nothing is done twice or left."""

from __future__ import annotations

from contextlib import closing, suppress

import apsw
import faulty
import kills
import planted
import pytest
from follower import Follower

from agentmemo.errors import LeaseLost
from agentmemo.testing import ManualPlane

KILLS = 20
SLEPT_SECONDS = 60.0
FOUND = {
    "lose_a_commit": "lost|missing|not there|wrote 0 times",
    "do_a_finished_step_again": "was finished at epoch|was completed twice",
    "accept_an_old_epoch": "a stale write",
    "leave_an_event_out": "are missing",
    "wake_nobody": r"nothing wakes .* \(by a claim\)",
    "sum_wrongly": "sums up to",
}


def test_death_of_anybody_at_any_moment(tmp_path, chance):
    """`make torture KILLS=n` does the same for longer."""
    run, found = kills.attempt(tmp_path / "run", KILLS, chance.randrange(10**9), loud=False)
    assert found is None, kills.report(run, found, tmp_path / "run")
    print(f"\n{run.told()}")  # noqa: T201 - the figures are the point


@pytest.mark.parametrize("plant", planted.PLANTS)
def test_what_is_planted_is_found(plant, tmp_path, monkeypatch):
    """The test of the test, beside a plane that is sound but for one fault."""
    planted.plant(plant, monkeypatch.setattr)
    with closing(ManualPlane(tmp_path / "store.db")) as plane, pytest.raises(AssertionError, match=FOUND[plant]):
        work_followed(plane, tmp_path / "store.db")


def test_a_sound_plane_has_no_fault(tmp_path):
    with closing(ManualPlane(tmp_path / "store.db")) as plane:
        work_followed(plane, tmp_path / "store.db")


def work_followed(plane, store) -> None:
    """Everything twice, as whoever was killed does it, and a holder that slept; looked at after each part."""
    notes = faulty.Notes()
    work, follower = faulty.FaultyWork(plane, notes), Follower()
    with closing(apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)) as file:
        for part in [lambda: sleep_and_go_on(plane, work), *work.parts(), *work.parts()]:
            part()
            told, notes.told = notes.told, []
            follower.look(file, told)


def sleep_and_go_on(plane, work) -> None:
    """Another takes the run over while its holder sleeps, who then goes on."""
    work.agent.start("leaf", key="ready")
    sleeper = plane.connect("worker")
    with suppress(LeaseLost), sleeper.run("slept", "1") as run:
        work.step(run, "before", effect="none")
        plane.pause(sleeper)
        plane.advance(SLEPT_SECONDS)
        with work.agent.run("slept", "1") as taken:
            work.step(taken, "before", effect="none")
            run.step("late", lambda: 1)
