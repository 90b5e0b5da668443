"""Who goes on when a holder dies or sleeps: at once by the lock of its file, never by two at a time."""

from __future__ import annotations

import contextlib
import os
import time

import checker
import pytest
from children import LEASE_SECONDS

import agentmemo
from agentmemo.clock import SECOND
from agentmemo.engine.upkeep import loop
from agentmemo.errors import RunHeld
from agentmemo.store.sqlite_files import try_lock

# Machines can be slow: what is done in half of a worker's lease was not done by its end, nor by that of a leader's.
AT_ONCE_SECONDS = LEASE_SECONDS / 2
LONG_LEASE_US = round(2 * LEASE_SECONDS * SECOND)
EVERY_WRITE = {
    "step.complete",
    "state.set",
    "state.delete",
    "step.start",
    "step",
    "note",
    "progress",
    "signal",
    "child",
    "start",
    "park",
    "transaction",
    "fail",
    "complete",
    "leave",  # the end of the block is a write too
}


@pytest.fixture
def agent(crashing):
    with agentmemo.connect(str(crashing.store), agent="next") as connection:
        yield connection


def test_a_killed_holder_is_followed_at_once(crashing, agent):
    """Its lease would run for a minute; its lock is free the moment it is dead."""
    for _ in range(5):
        known = len(crashing.notes("holding"))
        child = crashing.start("hold")
        crashing.wait_for("holding", known + 1)
        with pytest.raises(RunHeld), agent.run("held", "1"):
            pass
        child.kill()
        begun = time.monotonic()
        with contextlib.suppress(ZeroDivisionError), agent.run("held", "1", max_attempts=1000) as run:
            assert time.monotonic() - begun < AT_ONCE_SECONDS
            # Three takeovers without a finished step would rightly ask a person.
            run.step(f"round-{known}", str)
            raise ZeroDivisionError
        assert run.epoch == 2 * (known + 1)
    assert len(crashing.notes("begin")) == 1, "the finished step ran again"
    assert [event.operation for event in agent.audit.events(run=run.id)].count("run.takeover") == 5


def test_a_killed_leader_is_followed_at_once(crashing):
    """The dead process led the upkeep; the leader's lease is not waited for."""
    child = crashing.start("loop")
    crashing.wait_for("cycle", 2)
    with agentmemo.connect(str(crashing.store), agent="next") as agent:
        agent.state.set("brief", "while it lives", 1, ttl_seconds=0.01)
        child.kill()
        _lengthen_the_leaders_lease(agent)
        begun = time.monotonic()
        agent.state.set("brief", "after", 1, ttl_seconds=0.01)
        while not agent.state.history("brief", "after")[0].deleted:
            assert time.monotonic() - begun < AT_ONCE_SECONDS, "nobody does the duties of time"
            time.sleep(0.01)


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_leader_that_left_is_followed_at_once(request, crashing, store, monkeypatch):
    """One program after another, each with its duties of time: none waits for the lease of the one before."""
    monkeypatch.setattr(loop, "LEASE_US", LONG_LEASE_US)
    target = str(crashing.store) if store == "sqlite" else request.getfixturevalue("postgres_url")
    for number in range(3):
        with agentmemo.connect(target, agent="next") as agent:
            agent.state.set("brief", str(number), 1, ttl_seconds=0.01)
            begun = time.monotonic()
            while not agent.state.history("brief", str(number))[0].deleted:
                assert time.monotonic() - begun < AT_ONCE_SECONDS, "nobody does the duties of time"
                time.sleep(0.01)


def test_the_tasks_of_a_killed_worker_go_on_at_once(crashing):
    """Registered code is taken over by another process that knows it, without anybody opening its run."""
    with agentmemo.connect(str(crashing.store), agent="asker") as agent:
        run = agent.start("errand", {"key": "far"}, key="far", max_attempts=1000)
        child = crashing.start("loop", "9", point="step.before_function:40")
        child.died_at_its_point()
        other = crashing.start("loop", "8")
        agent.runs.signal(run.id, "go", "far")
        assert agent.runs.get(run.id, wait_seconds=AT_ONCE_SECONDS).state == "completed"
        other.kill()
    crashing.finish()
    checker.check(crashing.store, crashing.notes())


def test_overdue_duties_run_at_the_next_open(crashing):
    """What fell due while no process lived is done by the first that opens the store."""
    with agentmemo.connect(str(crashing.store), agent="first") as first:
        first.state.set("brief", "due", 1, ttl_seconds=0.2)
    child = crashing.start("loop")
    crashing.wait_for("cycle", 1)
    child.kill()
    time.sleep(0.25)
    with agentmemo.connect(str(crashing.store), agent="second") as second:
        _lengthen_the_leaders_lease(second)
        begun = time.monotonic()
        while second.state.history("brief", "due")[0].deleted is False:
            assert time.monotonic() - begun < AT_ONCE_SECONDS
            time.sleep(0.01)


def test_a_holder_that_slept_past_its_lease_is_refused(crashing, agent):
    """SIGSTOP, a takeover, SIGCONT: whatever the old holder tries, nothing of it is in the store."""
    agent.state.set("zombie", "mine", "kept")
    child = crashing.start("hold")
    crashing.wait_for("holding")
    _stop_outside_a_commit(crashing, child)
    with pytest.raises(RunHeld), agent.run("held", "1"):
        pass
    _end_lease(agent, agent.runs.find("held", "1").worker)
    with agent.run("held", "1") as run:
        taken = run.epoch
        child.say("go on")
        child.go_on()
        answers = crashing.wait_for("answers")[0]["refused"]
        child.succeeded()
        assert run.step("before", lambda: "again") is None, "a finished step ran again"
        run.complete("mine")
    assert taken == crashing.notes("holding")[0]["epoch"] + 1
    assert set(answers) == EVERY_WRITE
    assert set(answers.values()) == {"lease_lost"}, answers
    assert [(entry.key, entry.value) for entry in agent.state.list("zombie")] == [("mine", "kept")]
    assert agent.runs.get(run.id).result == "mine"
    assert [step.name for step in agent.runs.steps(run.id)] == ["before"]
    assert not agent.runs.notes(run.id).items
    assert agent.runs.find("stale", "1") is None
    checker.check(crashing.store, crashing.notes())


def _lengthen_the_leaders_lease(agent) -> None:
    """Whoever follows has not waited for its end."""

    def lengthen(tx):
        leader, boot_id, until = tx.one("duty_get", name=loop.LEADERSHIP)
        tx.write("duty_take", name=loop.LEADERSHIP, leader=leader, boot_id=boot_id, lease_until=until + LONG_LEASE_US)

    _database(agent).write(lengthen)


def _end_lease(agent, worker) -> None:
    """As time does. A short one would end on a busy machine before it was seen that it is kept."""
    _database(agent).write(lambda tx: tx.write("worker_renew", id=worker, lease_until=0, boot_id=""))


def _database(agent):
    return agent._plane.transport.plane.engine.database


def _stop_outside_a_commit(crashing, child) -> None:
    """A process stopped while it commits keeps the file locked for all; that is not what this test is about."""
    lock = crashing.store.with_name(crashing.store.name + "-lock")
    while True:
        child.stop()
        for _ in range(20):
            descriptor = try_lock(lock)
            if descriptor is not None:
                os.close(descriptor)
                return
            time.sleep(0.01)
        child.go_on()
        time.sleep(0.05)
