"""A signal handler that writes, as one does that gives a run back on SIGTERM, wherever it comes."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from itertools import count

import pytest

from agentmemo.errors import Unavailable
from agentmemo.store.jobs import Answered, Listeners
from agentmemo.store.postgres_hints import Hints
from agentmemo.store.postgres_lanes import Lanes
from agentmemo.store.postgres_sessions import Permits
from agentmemo.testing.store import add, add_workspace

SECONDS = 60


def interrupted(at, work, handler):
    """Do the work, and what the handler does at this of its calls and returns. False if it has fewer."""
    met = 0

    def hook(*_):
        nonlocal met
        met += 1
        if met == at:
            sys.setprofile(None)
            handler()

    sys.setprofile(hook)
    try:
        work()
    finally:
        sys.setprofile(None)
    return met >= at


def everywhere(work, handler, again=lambda: None, step=1):
    """At each of them in turn, or at some. It fails where one waits for what the interrupted one holds."""

    def turns():
        for at in count(1, step):
            met = interrupted(at, work, handler)
            again()
            if not met:
                return

    thread = threading.Thread(target=turns, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_a_write_inside_a_write(plane):
    agent = plane.connect()
    everywhere(lambda: agent.state.set("ns", "k", 1), lambda: agent.state.set("ns", "handler", 1))
    assert agent.state.entry("ns", "handler").version == agent.state.entry("ns", "k").version - 1


def test_a_write_inside_a_write_on_postgres(stand):
    agent = stand.agent(postgres_writers=1)
    everywhere(lambda: agent.state.set("ns", "k", 1), lambda: agent.state.set("ns", "handler", 1))
    assert agent.state.entry("ns", "handler").version == agent.state.entry("ns", "k").version - 1


def test_a_read_inside_a_read_on_postgres():
    permits = Permits(2)

    def read():
        permits.take(SECONDS)
        permits.give_back()

    everywhere(read, read)
    assert permits.free == 2


@pytest.mark.parametrize("step", [1, 7])
def test_the_first_listener_inside_the_first_listener(step, opened):
    """A file takes longer to open, so that not every place is tried."""
    made = []

    def again():
        if made:
            made[-1].close()
        made.append(opened() if step > 1 else Hints(None, enabled=False, positions=int, notify=int, wanted=bool))

    def listen():
        made[-1].listen(*[lambda: None] * (step > 1))

    again()
    everywhere(listen, listen, again, step)
    made[-1].close()


def test_who_is_interrupted_while_it_reads_leaves_no_reader_in_the_past(opened):
    """As by Ctrl-C: a reader that stays in its transaction would show others what was there then, for ever."""
    database, written = opened(), []
    workspace = add_workspace(database)

    def look(tx):
        return len(tx.all("actor_names", workspace=workspace, after=0))

    def stop():
        raise KeyboardInterrupt

    met = True
    while met:
        with suppress(KeyboardInterrupt):
            met = interrupted(len(written) + 1, lambda: database.read(look), stop)
        written.append(database.write(lambda tx: add(tx, f"agent-{len(written)}")))
        for snapshot in (True, False):
            assert database.read(look, snapshot=snapshot) == len(written)


class Away:
    """Sessions of a server that is away."""

    def open(self):
        raise Unavailable("It is away.")

    def learn_from(self, _refused):
        return False


def test_who_queues_while_it_is_closed_is_answered_or_refused():
    made, answers = [], []

    def again():
        made.append(Lanes(Away(), None, writers=2, patience_seconds=0.0, now_us=lambda: 0, notify=lambda: None))

    def write():
        with pytest.raises(Unavailable) as refused:
            made[-1].write(lambda _: None, 1, ())
        answers.append(refused.value)

    def close():
        made[-1].close()

    again()
    everywhere(write, close, again)
    made[-1].close()
    assert len(answers) == len(made) - 1


def test_the_writer_goes_on_while_one_it_answered_is_interrupted():
    for at in count(1):
        answered = Answered(2)
        answered.expect()
        writer = threading.Thread(target=answered.wait, daemon=True)
        writer.start()
        while answered._wanted is None:
            pass

        def handler(writer=writer):
            writer.join(SECONDS)
            assert not writer.is_alive()

        if not interrupted(at, answered.runs, handler):
            break


def test_a_listener_inside_a_listener():
    listeners = Listeners()

    def listen():
        listeners.add(lambda: None)()

    everywhere(listen, listen)
    assert not listeners
