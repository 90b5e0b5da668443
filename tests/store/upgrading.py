"""A process of a version before or after an upgrade. Run as `upgrading.py write|open old|new URL`."""

from __future__ import annotations

import sys
import threading

from agentmemo.store import queries

_shipped = queries.migrations
ADDED = (len(_shipped("postgres")) + 1, "ALTER TABLE note ADD COLUMN tag text;")


def _with_the_next(database):
    return [*_shipped(database), ADDED]


def write(url):
    """Write until standard input ends: a value, a step and a note each time. Every acknowledged number is told."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    number = 0
    with agentmemo.connect(url, agent="writer") as agent, agent.run("writing", key=str(version)) as run:
        while not over.is_set():
            number += 1
            agent.state.set("n", "k", number)
            run.step("step", lambda number=number: number, key=str(number))
            run.finding(str(number))
            assert agent.state.get("n", "k") == number
            assert len(list(agent.runs.notes(run.id))) == number
            tell(number)


def open_once(url):
    """Open the store when told to."""
    sys.stdin.readline()
    with agentmemo.connect(url, agent="opener") as agent:
        tell(agent.status().revision)


def tell(what):
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


mode, version, address = sys.argv[1:]
if version == "new":
    queries.migrations = _with_the_next

# Only now: whoever asks for the migrations gets those of the version.
import agentmemo  # noqa: E402

tell("ready")
{"write": write, "open": open_once}[mode](address)
