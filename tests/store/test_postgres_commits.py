"""Each request's effect is there exactly once and its answer true, whatever happens to the line and the transaction."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from line import POINTS
from stand import MARGIN_SECONDS, SHORT, WAIT_SECONDS, in_order, until, versions

from agentmemo.errors import Unavailable, VersionConflict
from agentmemo.store.postgres_wire import statement
from agentmemo.store.queries import Query

THREADS = 4
EACH = 25
AT_COMMIT = "DEFERRABLE INITIALLY DEFERRED"


# One after another on one connection; each is cut at every point.


def set_it(agent):
    entry = agent.state.set("counters", "counter", {"n": 2}, if_version=1)
    assert (entry.version, entry.value) == (2, {"n": 2})
    return lambda trusted: versions(trusted) == [(1, {"n": 1}), (2, {"n": 2})]


def delete_it(agent):
    assert agent.state.delete("counters", "counter", if_version=1).version == 2
    return lambda trusted: [entry.deleted for entry in trusted.state.history("counters", "counter")] == [True, False]


def set_two(agent):
    with agent.transaction() as tx:
        tx.state.set("counters", "counter", "both", if_version=1)
        tx.state.set("counters", "other", "both", if_version=0)
    assert [entry.version for entry in tx.results] == [2, 1]
    return lambda trusted: versions(trusted)[1:] + versions(trusted, "other") == [(2, "both"), (1, "both")]


def start_a_task(agent):
    run = agent.start("task", {"x": 1}, key="one")
    return lambda trusted: [found.id for found in trusted.runs.list(name="task")] == [run.id]


OPERATIONS = (set_it, delete_it, set_two, start_a_task)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_cut_line_loses_and_doubles_nothing(stand, line, point, operation):
    agent = stand.agent(line.url)
    agent.state.set("counters", "counter", {"n": 1})
    before = agent.status().revision
    line.cut_at(POINTS[point])
    is_there = operation(agent)
    assert line.cuts == 1
    trusted = stand.trusted()
    assert is_there(trusted)
    assert len(trusted.audit.events(after=before)) == (2 if operation is set_two else 1)


@pytest.mark.parametrize("point", POINTS)
def test_a_run_whose_line_is_cut_at_every_commit(stand, line, point):
    """Whatever a run does, its line is cut there; each function runs once and each result is kept."""
    agent = stand.agent(line.url)
    calls = []

    def work(name):
        calls.append(name)
        return name

    with agent.run("cut", "1") as run:
        for effect in ("none", "write", "read", "irreversible"):
            line.cut_at(POINTS[point])
            assert run.step(effect, work, effect, effect=effect) == effect
        line.cut_at(POINTS[point])
        run.decide("go on", because="it is there")
        line.cut_at(POINTS[point])
        run.complete("done")
    assert calls == ["none", "write", "read", "irreversible"]
    assert line.cuts == 6
    trusted = stand.trusted()
    found = trusted.runs.get(run.id)
    assert (found.state, found.result, found.epoch) == ("completed", "done", 1)
    assert [(step.name, step.state) for step in trusted.runs.steps(run.id)] == [(name, "completed") for name in calls]
    assert len(trusted.runs.notes(run.id).items) == 1


@pytest.mark.parametrize("first_is_refused", [False, True])
def test_what_proves_a_commit_is_an_event_of_it(stand, line, first_is_refused):
    """The first event of a batch may be undone before its commit; then it proves nothing."""
    agent = stand.agent(line.url)
    agent.state.set("counters", "counter", 1)
    engine = agent._plane.transport.plane.engine
    workspace, _ = engine.names.workspace("default")
    begun, go = threading.Event(), threading.Event()

    def busy(_tx):
        begun.set()
        go.wait(WAIT_SECONDS)

    def beat(tx):
        # As the heartbeat that shares a batch: it writes, and no event.
        tx.write("worker_renew", id="wrk_none", lease_until=0, boot_id="")

    def conflict():
        with pytest.raises(VersionConflict), agent.transaction() as tx:
            tx.state.set("counters", "undone", 1)
            tx.state.set("counters", "counter", 2, if_version=7)

    answers = []
    works = [conflict] * first_is_refused
    works.append(lambda: answers.append(agent.state.set("counters", "counter", 2).version))
    engine.database.submit(busy, lambda *_: None, lane=workspace)
    assert begun.wait(WAIT_SECONDS)
    engine.database.submit(beat, lambda *_: None, lane=workspace)
    threads = in_order(engine, works)
    line.cut_at(POINTS["before COMMIT is answered"])
    go.set()
    for thread in threads:
        thread.join()
    assert line.cuts == 1
    assert answers == [2]
    assert versions(stand.trusted()) == [(1, 1), (2, 2)]


def test_counters_on_a_line_that_is_cut_anywhere(stand, line, chance):
    """Threads count up under if_version; the sum tells every lost and every doubled write."""
    agent = stand.agent(line.url, postgres_readers=THREADS)
    agent.state.set("counters", "counter", 0)

    def count(_number):
        answered = []
        while len(answered) < EACH:
            known = agent.state.entry("counters", "counter")
            try:
                entry = agent.state.set("counters", "counter", known.value + 1, if_version=known.version)
            except VersionConflict:
                continue
            answered.append((entry.version, entry.value))
        return answered

    with cutting(line, chance), ThreadPoolExecutor(THREADS) as pool:
        answered = list(pool.map(count, range(THREADS)))
    kept = versions(stand.trusted())
    assert sorted(each for mine in answered for each in mine) == kept[1:]
    assert kept == [(number + 1, number) for number in range(THREADS * EACH + 1)]
    assert line.cuts > 5


def test_steps_on_a_line_that_is_cut_anywhere(stand, line, chance):
    agent = stand.agent(line.url)
    calls = []
    with cutting(line, chance), agent.run("cut", "1") as run:
        for number in range(40):
            effect = chance.choice(["none", "write", "irreversible"])
            assert run.step(f"step-{number}", lambda n=number: calls.append(n) or n, effect=effect) == number
    assert calls == list(range(40))
    assert line.cuts > 5
    assert [step.state for step in stand.trusted().runs.steps(run.id)] == ["completed"] * 40


@contextmanager
def cutting(line, chance):
    """Cut the line again and again: in the first bytes of a connection, or some transactions later."""
    over = threading.Event()

    def cut():
        while not over.is_set():
            cuts = line.cuts
            line.cut_after(chance.randrange(chance.choice([3000, 10_000, 60_000])))
            until(lambda known=cuts: line.cuts > known or over.is_set())

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# What the server itself refuses.


@pytest.mark.parametrize("state", ["40001", "40P01"])
@pytest.mark.parametrize("when", ["", AT_COMMIT])
def test_a_transaction_that_the_server_gave_up_runs_again(stand, fault, state, when):
    agent = stand.agent()
    agent.state.set("counters", "counter", 1)
    fault("event", 3, f"RAISE EXCEPTION 'made up' USING ERRCODE = '{state}'", when)
    assert agent.state.set("counters", "counter", 2, if_version=1).version == 2
    assert versions(stand.trusted()) == [(1, 1), (2, 2)]


def test_a_transaction_that_the_server_always_gives_up_is_unavailable(stand, fault):
    agent = stand.agent(postgres_patience_seconds=SHORT)
    agent.state.set("counters", "counter", 1)
    fault("event", 1_000_000, "RAISE EXCEPTION 'made up' USING ERRCODE = '40001'", AT_COMMIT)
    with pytest.raises(Unavailable) as caught:
        agent.state.set("counters", "counter", 2)
    assert caught.value.retry_safe
    assert versions(stand.trusted()) == [(1, 1)]


def test_a_statement_that_takes_too_long_runs_again(stand, fault):
    agent = stand.agent(postgres_statement_seconds=SHORT)
    agent.state.set("counters", "counter", 1)
    fault("event", 1, f"PERFORM pg_sleep({WAIT_SECONDS})")
    begun = time.monotonic()
    assert agent.state.set("counters", "counter", 2, if_version=1).version == 2
    assert time.monotonic() - begun < SHORT + MARGIN_SECONDS
    assert versions(stand.trusted()) == [(1, 1), (2, 2)]


def test_a_session_that_is_ended_inside_its_turn_runs_again(stand, postgres):
    plane = stand.plane()
    database, runs = plane.engine.database, []

    def work(tx):
        runs.append(tx._wire.process)
        if len(runs) == 1:
            postgres.execute(f"SELECT pg_terminate_backend({runs[0]}, {round(WAIT_SECONDS * 1000)})")
        return tx.run("actor_set_disabled", workspace=1, kind="agent", name="nobody", disabled_at=1)

    assert database.write(work, lane=1) == 0
    assert len(set(runs)) == 2


def test_a_session_that_is_ended_at_its_commit_is_looked_for(stand, fault):
    """The deferred trigger ends its own session: whoever waits for COMMIT hears nothing."""
    agent = stand.agent()
    agent.state.set("counters", "counter", 1)
    fault("event", 2, "PERFORM pg_terminate_backend(pg_backend_pid())", AT_COMMIT)
    assert agent.state.set("counters", "counter", 2, if_version=1).version == 2
    assert versions(stand.trusted()) == [(1, 1), (2, 2)]


def test_the_defaults_of_a_database_do_not_matter(stand, postgres_url):
    """Turns are made for READ COMMITTED: what is read after waiting for one must be what is true then."""
    plane = stand.plane(f"{postgres_url}?options=-c%20default_transaction_isolation%3Dserializable")
    look = statement("isolation", Query("SELECT current_setting('transaction_isolation')"))

    def work(tx):
        tx._wire.send(look, [], ask=True)
        return tx._wire.settle()[0].rows

    assert plane.engine.database.write(work) == [("read committed",)]
