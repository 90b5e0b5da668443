"""Two planes on one database, as two servers are: what one does, the other sees, wakes and takes over."""

from __future__ import annotations

import threading
from contextlib import suppress

import psycopg
import pytest

from agentmemo import Budget
from agentmemo.clock import ManualClock
from agentmemo.errors import LeaseLost, RunHeld, VersionConflict
from agentmemo.model.access import EVERYTHING
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane

WAIT_SECONDS = 60.0


@pytest.fixture
def planes(postgres_url):
    """Two planes whose clock is one: the database's time is the same for all."""
    clock, settings = ManualClock(), Settings(postgres_allow_lossy=True)
    made = [ManualPlane(postgres_url, clock=clock, settings=settings) for _ in range(2)]
    yield made
    for plane in made:
        plane.close()


@pytest.fixture
def one(planes):
    return planes[0].connect("one")


@pytest.fixture
def other(planes):
    return planes[1].connect("other")


def beside(work):
    """Run something in a thread; returns what ends with its result."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()

    def result():
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()
        return found[0]

    return result


def test_a_watch_hears_of_the_others_writes(one, other):
    after = other.state.set("n", "k", 0).revision
    changes = one.state.watch("n", after=after)
    heard = beside(lambda: next(iter(changes)))
    entry = other.state.set("n", "k", 1)
    change = heard()
    assert (change.revision, change.entry.value) == (entry.revision, 1)


def test_revisions_are_dense_over_both(one, other):
    revisions = [each.state.set("n", f"k{number}", number).revision for number in range(20) for each in (one, other)]
    assert revisions == list(range(revisions[0], revisions[0] + 40))
    assert one.audit.verify().intact


def test_one_of_many_writers_wins(planes):
    agents = [plane.connect(f"agent-{number}") for number in range(4) for plane in planes]
    won = []

    def write(agent):
        for version in range(10):
            with suppress(VersionConflict):  # losing is what the others do
                won.append(agent.state.set("n", "k", agent.actor, if_version=version).version)

    threads = [threading.Thread(target=write, args=(agent,)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert won
    assert sorted(won) == list(range(1, len(won) + 1))


def test_a_run_is_held_on_both_and_taken_over_when_its_lease_ends(planes, one, other):
    with pytest.raises(LeaseLost), one.run("r", key="1") as run:
        run.step("first", lambda: 1)
        with pytest.raises(RunHeld), other.run("r", key="1"):
            pass
        planes[0].pause(one)
        planes[1].advance(11)
        with other.run("r", key="1") as taken:
            assert taken.epoch == run.epoch + 1
            assert taken.step("first", lambda: 2) == 1
        run.step("second", lambda: 2)


def test_a_signal_from_the_other_server_wakes_a_run(planes, one, other):
    with one.run("r", key="1") as run:
        given = beside(lambda: run.wait("go", timeout_seconds=3600))
        while other.runs.get(run.id).wake != "signal":
            threading.Event().wait(0.01)
        other.runs.signal(run.id, "go", {"by": "other"})
        assert given() == {"by": "other"}


def test_upkeep_of_either_fires_the_timers_of_both(planes, one, other):
    one.task("t", version="1")(lambda run: run.sleep(60) or "slept")
    other.task("t", version="1")(lambda run: run.sleep(60) or "slept")
    started = one.start("t", {})
    one.work(until_idle=True)
    assert other.runs.get(started.id).wake == "timer"
    planes[1].advance(61)
    other.work(until_idle=True)
    assert one.runs.get(started.id).result == "slept"


def test_a_person_decides_on_the_other_server(planes, one):
    person = planes[1].connect(person="ada", grants=[EVERYTHING])
    with one.run("r", key="1", budget={"steps": 1}) as run:
        run.step("one", lambda: 1)
        goes_on = beside(lambda: run.step("two", lambda: 2) + run.step("three", lambda: 3))
        while (found := person.runs.get(run.id)).wake != "person":
            threading.Event().wait(0.01)
        person.runs.resolve(found.id, "continue", budget=Budget(steps=9))
        assert goes_on() == 5


def test_a_switched_off_actor_is_refused_by_both(planes, one, other):
    other.state.set("n", "k", 1)
    person = planes[0].connect(person="ada", grants=[EVERYTHING])
    person.keys.disable("other", kind="agent", reason="it spends too much")
    planes[1].upkeep()
    with pytest.raises(Exception, match="disabled"):
        other.state.set("n", "k", 2)


def test_nothing_stays_open_in_the_database_while_a_step_works(postgres_url, one):
    def look():
        # A read's end is on its way when its answer is given; what is open for long is what this is about.
        return next(filter(lambda found: not found, (open_now() for _ in range(100))), None)

    def open_now():
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() "
                "AND backend_type = 'client backend' AND pid <> pg_backend_pid() "
                "AND (xact_start IS NOT NULL OR state LIKE 'idle in%')"
            ).fetchall()
        return [list(row) for row in rows]

    with one.run("r", key="1") as run:
        run.step("before", lambda: 1)
        assert run.step("model call", look) == []


def test_a_claim_without_heartbeats_lasts_wherever_its_holder_calls(planes):
    sender = planes[0].connect("sender")
    task = sender.handoff.create(to_agent="model")
    first, second = (plane.connect("model") for plane in planes)
    first.handoff.claim(lease_seconds=60)
    planes[1].upkeep()  # the other server learns of it
    written = []
    for number in range(12):
        planes[0].clock.advance(15)
        second.state.set("n", "k", number)
        written.append(planes[0].engine.database.read(lambda tx: tx.all("worker_unattended_all"))[0][4])
        planes[0].upkeep()
        planes[1].upkeep()
    assert sender.handoff.get(task.id).state == "claimed"
    assert len(set(written)) == 1 + 6, "at the claim, and then at most once per third of the lease"
    planes[0].advance(61)
    assert sender.handoff.get(task.id).state == "pending"
