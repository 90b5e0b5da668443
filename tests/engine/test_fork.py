"""A forked child shares its parent's open files, and must not keep the parent's locks alive."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from agentmemo.clock import SystemClock
from agentmemo.engine.presence import Presence
from agentmemo.store.open import open_database
from agentmemo.store.sqlite_files import try_lock

WORKER = "wrk_0000000000000001"
# Forks in the middle of a write, as a thread of the program may at any time: the writers' lock is held then.
PROGRAM = """
import os, sys, time
from pathlib import Path
from agentmemo.clock import SystemClock
from agentmemo.engine.presence import Presence
from agentmemo.store.open import open_database

path, worker = Path(sys.argv[1]), sys.argv[2]
database = open_database(str(path), SystemClock())
presence = Presence(path)
presence.hold(worker)

def work(tx):
    if os.fork() == 0:
        presence.forget(worker)
        presence.close()
        database.close()
        print(os.getpid(), flush=True)
        sys.stdin.read()
        os._exit(0)
    time.sleep(60)

database.write(work)
"""


@pytest.fixture
def family(tmp_path):
    """The path of a store, a process that writes to it, and the pid of its child."""
    path = tmp_path / "store.db"
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(path), WORKER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        yield path, parent, int(parent.stdout.readline())
        parent.kill()
        # The end of its input ends the child.
        parent.stdin.close()


def test_while_the_parent_lives_its_locks_hold(family):
    path, _, _ = family
    assert try_lock(path.with_name(path.name + "-lock")) is None
    assert Presence(path).is_locked(WORKER)


def test_the_locks_of_a_killed_parent_end_with_it(family):
    path, parent, child = family
    parent.kill()
    parent.wait(60)
    os.kill(child, 0)  # it lives
    lock = try_lock(path.with_name(path.name + "-lock"))
    assert lock is not None
    os.close(lock)
    assert Presence(path).is_gone(WORKER)
    database = open_database(str(path), SystemClock())
    try:
        database.write(lambda tx: tx.one("workspace_add", name="next", blob_key=b""))
    finally:
        database.close()
