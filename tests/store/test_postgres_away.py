"""What callers are told while the server, the line or a process is away, and that all goes on when it is back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from line import POINTS
from stand import MARGIN_SECONDS, SHORT, WAIT_SECONDS, Stand, in_order, until, versions

from agentmemo.errors import Error, LeaseLost, NotFound, RunHeld, Unavailable, VersionConflict
from agentmemo.testing.postgres import PostgresServer

ZOMBIE = Path(__file__).with_name("zombie.py")
IDLE_SECONDS = 1.0
LEASE_SECONDS = 1.0


def test_more_readers_than_connections(stand):
    plane = stand.plane(postgres_readers=1, postgres_patience_seconds=SHORT)
    begun, go = threading.Event(), threading.Event()

    def long(tx):
        begun.set()
        go.wait(WAIT_SECONDS)
        return tx.all("workspace_all")

    thread = threading.Thread(target=lambda: plane.engine.database.read(long))
    thread.start()
    assert begun.wait(WAIT_SECONDS)
    with pytest.raises(Unavailable) as caught:
        plane.engine.database.read(lambda tx: tx.all("workspace_all"))
    assert caught.value.retry_safe
    go.set()
    thread.join()
    assert plane.engine.database.read(lambda tx: tx.all("workspace_all")) == []


def test_a_refused_read_keeps_its_connection(stand, postgres):
    """What is not found is an answer like any other: the next read goes over the same connection."""
    agent = stand.agent()
    agent.state.set("counters", "counter", 1)
    database = agent._plane.transport.plane.engine.database
    seen = set()
    for _ in range(5):
        with pytest.raises(NotFound):
            agent.state.entry("counters", "missing")
        database.read(lambda tx: seen.add(tx._wire.process))
    assert len(seen) == 1


def test_a_read_that_is_refused_by_its_own_work_is_not_made_again(stand):
    """What a damaged value answers is known at once; only who cannot be reached is waited for."""
    calls = []

    def work(tx):
        calls.append(tx.now)
        raise Unavailable("half a blob")

    with pytest.raises(Unavailable):
        stand.plane().engine.database.read(work)
    assert len(calls) == 1


def test_a_read_that_outlives_its_database_leaves_no_connection(stand):
    database = stand.plane().engine.database
    begun, go, wires = threading.Event(), threading.Event(), []

    def long(tx):
        wires.append(tx._wire)
        begun.set()
        go.wait(WAIT_SECONDS)

    thread = threading.Thread(target=lambda: database.read(long))
    thread.start()
    assert begun.wait(WAIT_SECONDS)
    database.close()
    go.set()
    thread.join()
    assert [wire._connection.closed for wire in wires] == [True]


@pytest.mark.parametrize("again", [False, True])
def test_a_line_that_stays_away_after_its_commit(stand, line, again):
    """Nobody can know now; the caller is told so, and what the server did stands once."""
    agent = stand.agent(line.url, postgres_patience_seconds=WAIT_SECONDS if again else SHORT)
    agent.state.set("counters", "counter", 1)
    line.cut_at(POINTS["before COMMIT is answered"], shut=True)
    if again:
        # Not after a time, which on a busy machine may be over before the line is cut.
        opening = threading.Thread(target=lambda: (until(lambda: line.turned_away), line.shut(closed=False)))
        opening.start()
        assert agent.state.set("counters", "counter", 2, if_version=1).version == 2
        opening.join()
    else:
        begun = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            agent.state.set("counters", "counter", 2, if_version=1)
        assert time.monotonic() - begun < SHORT + MARGIN_SECONDS
        assert not caught.value.retry_safe
    line.shut(closed=False)
    assert versions(stand.trusted()) == [(1, 1), (2, 2)]
    with pytest.raises(VersionConflict):
        agent.state.set("counters", "counter", 2, if_version=1)


def test_what_was_refused_in_a_batch_that_was_not_committed_is_not_known_either(stand, line):
    """A refusal for what another request of the batch did would be of something that never happened."""
    agent = stand.agent(line.url, postgres_patience_seconds=SHORT)
    agent.state.set("counters", "counter", 1)
    engine = agent._plane.transport.plane.engine
    begun, go, errors = threading.Event(), threading.Event(), []

    def busy(_tx):
        begun.set()
        go.wait(WAIT_SECONDS)

    def set_it():
        with pytest.raises(Error) as caught:
            agent.state.set("counters", "counter", 2, if_version=1)
        errors.append(caught.value)

    engine.database.submit(busy, lambda *_: None, lane=engine.names.workspace("default")[0])
    assert begun.wait(WAIT_SECONDS)
    threads = in_order(engine, [set_it, set_it])
    line.cut_at(POINTS["before COMMIT arrives"], shut=True)
    go.set()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [Unavailable, Unavailable]
    line.shut(closed=False)
    assert versions(stand.trusted()) == [(1, 1)]


@pytest.mark.parametrize("point", list(POINTS)[:2])
def test_a_line_that_stays_away_before_its_commit(stand, line, point):
    """Nothing can have happened: the call may be made again as it is."""
    agent = stand.agent(line.url, postgres_patience_seconds=SHORT)
    agent.state.set("counters", "counter", 1)
    line.cut_at(POINTS[point], shut=True)
    with pytest.raises(Unavailable) as caught:
        agent.state.set("counters", "counter", 2, if_version=1)
    assert caught.value.retry_safe is (point != "before COMMIT arrives"), "once COMMIT was sent nobody knows"
    line.shut()
    with pytest.raises(Unavailable) as caught:
        agent.state.get("counters", "counter")
    assert caught.value.retry_safe
    line.shut(closed=False)
    assert versions(stand.trusted()) == [(1, 1)]
    assert agent.state.set("counters", "counter", 2, if_version=1).version == 2


def test_a_line_that_is_cut_while_a_store_is_opened(stand, line, chance):
    """Whatever byte it ends at, the answer is one of ours."""
    stand.agent().state.set("counters", "counter", 1)
    refused = 0
    for _ in range(20):
        line.cut_after(chance.randrange(4000))
        try:
            stand.agent(line.url, postgres_patience_seconds=SHORT).state.get("counters", "counter")
        except Unavailable:
            refused += 1
    assert refused


@pytest.fixture(scope="module")
def own_server():
    """A server that may be stopped: the session's own is everybody's."""
    with PostgresServer(settings={"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}) as server:
        yield server


@pytest.fixture
def own(own_server, request):
    made = Stand(own_server.make_database(request.node.name.partition("[")[0]))
    yield made
    made.close()


@pytest.mark.parametrize("seconds", [SHORT])
def test_a_server_that_is_away_and_comes_back(own, own_server, seconds):
    agent = own.agent(postgres_patience_seconds=seconds)
    agent.state.set("counters", "counter", 1)
    own_server.stop()
    for call in (lambda: agent.state.set("counters", "counter", 2), lambda: agent.state.get("counters", "counter")):
        begun = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.retry_safe
        assert time.monotonic() - begun < seconds + MARGIN_SECONDS
    own_server.start()
    assert agent.state.set("counters", "counter", 2, if_version=1).version == 2
    assert agent.audit.verify().intact


def test_a_server_that_comes_back_within_patience_is_not_noticed(own, own_server):
    agent = own.agent()
    agent.state.set("counters", "counter", 1)
    answers = []
    own_server.stop()
    thread = threading.Thread(target=lambda: answers.append(agent.state.set("counters", "counter", 2).version))
    thread.start()
    own_server.start()
    thread.join(WAIT_SECONDS)
    assert answers == [2]


def test_a_server_that_hangs_hangs_nobody(own, own_server):
    """Its kernel still takes what is sent, so only waiting no longer tells that nothing will come."""
    agent = own.agent(postgres_patience_seconds=SHORT, postgres_statement_seconds=2 * SHORT)
    # So impatient, it is refused by a server that is merely slow, too.
    until(lambda: answers(lambda: agent.state.set("counters", "counter", 1)))
    until(lambda: answers(lambda: agent.state.get("counters", "counter")))
    own_server.freeze()
    try:
        for call in (lambda: agent.state.set("counters", "counter", 2), lambda: agent.state.get("counters", "counter")):
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                call()
            assert time.monotonic() - begun < WAIT_SECONDS
    finally:
        own_server.thaw()
    until(lambda: answers(lambda: agent.state.set("counters", "counter", "after")))
    trusted = own.trusted()
    # What was set while it hung is there once or not; what was refused on the way there may be, and was made again.
    values = [value for _, value in versions(trusted)]
    assert values.count(2) <= 1
    assert list(dict.fromkeys(values)) in ([1, "after"], [1, 2, "after"])
    assert trusted.audit.verify().intact


def answers(call):
    """Whether it is not refused."""
    try:
        call()
    except Unavailable:
        return False
    return True


def test_a_connection_closes_at_once_while_its_server_is_away(own, own_server):
    agent = own.agent()
    database = agent._plane.transport.plane.engine.database
    stop = database.listen(lambda: None)
    agent.state.set("counters", "counter", 1)
    own_server.stop()
    threads = [threading.Thread(target=hopeless, args=(agent,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: any(lane.busy.locked() for lane in database._lanes._lanes.values()))
    begun = time.monotonic()
    database.close()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun < MARGIN_SECONDS
    stop()
    own_server.start()


def hopeless(agent):
    with pytest.raises(Unavailable):
        agent.state.set("counters", "counter", 2)


# A process that is frozen while it has the turn.


@pytest.fixture
def zombies(postgres_url, tmp_path):
    made = []

    def start(mode, **environment):
        with (tmp_path / "errors").open("ab") as errors:
            made.append(
                subprocess.Popen(
                    [sys.executable, str(ZOMBIE), mode, postgres_url],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=os.environ | environment,
                )
            )
        assert made[-1].stdout.readline() == b"turn\n", (tmp_path / "errors").read_text(encoding="utf-8")
        made[-1].send_signal(signal.SIGSTOP)
        os.waitpid(made[-1].pid, os.WUNTRACED)
        return made[-1]

    yield start
    for child in made:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            pipe.close()


def wake(zombie):
    zombie.stdin.write(b"go on\n")
    zombie.stdin.flush()
    zombie.send_signal(signal.SIGCONT)
    return zombie.stdout.readline().decode().strip()


def test_a_frozen_process_does_not_keep_its_turn(stand, zombies):
    agent = stand.agent()
    agent.state.set("zombie", "counter", 0)
    zombie = zombies("set")
    begun = time.monotonic()
    assert agent.state.set("zombie", "counter", 2).version == 2
    waited = time.monotonic() - begun
    assert waited < IDLE_SECONDS + MARGIN_SECONDS, f"waited {waited:.1f} s"
    assert wake(zombie) == "version 3"
    history = [(entry.version, entry.value) for entry in stand.trusted().state.history("zombie", "counter")]
    assert history == [(3, 1), (2, 2), (1, 0)]


def test_a_frozen_process_whose_run_was_taken_is_refused(stand, zombies):
    agent = stand.agent(name="next", lease_seconds=LEASE_SECONDS)
    agent.state.set("zombie", "counter", 0)
    zombie = zombies("step", AGENTMEMO_LEASE_SECONDS=str(LEASE_SECONDS))
    taken = []

    def is_free():
        with suppress(RunHeld), agent.run("held", "1", max_attempts=10) as run:
            assert run.epoch == 2
            assert wake(zombie) == LeaseLost.code
            assert run.step("late", lambda: "fresh") == "fresh"
            taken.append(run)
        return taken

    until(is_free, IDLE_SECONDS + LEASE_SECONDS + MARGIN_SECONDS)
    (run,) = taken
    steps = list(stand.trusted().runs.steps(run.id))
    assert [(step.name, step.epoch) for step in steps] == [("late", 2)]
