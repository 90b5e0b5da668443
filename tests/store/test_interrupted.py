"""A signal handler that writes, as one does that gives a run back on SIGTERM, wherever it comes."""

from __future__ import annotations

import sys
import threading
from itertools import count

from agentmemo.store.jobs import Answered, Listeners

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


def everywhere(work, handler):
    """At each of them in turn. It fails where one waits for what the interrupted one holds."""

    def turns():
        for at in count(1):
            if not interrupted(at, work, handler):
                return

    thread = threading.Thread(target=turns, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_a_write_inside_a_write(plane):
    agent = plane.connect()
    everywhere(lambda: agent.state.set("ns", "k", 1), lambda: agent.state.set("ns", "handler", 1))
    assert agent.state.entry("ns", "handler").version == agent.state.entry("ns", "k").version - 1


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
