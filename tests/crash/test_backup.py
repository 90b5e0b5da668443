"""A backup that dies leaves the store untouched and never a file under the backup's name that is not whole."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import checker
import pytest
import workload
from follower import Follower

import agentmemo

KILLS = 10
COPY_SECONDS = 120.0
COPYING = ("backup.after_copy", "backup.before_name")


@pytest.mark.parametrize("point", COPYING)
def test_death_while_copying(crashing, point):
    fill(crashing)
    for count in (1, 2, 1):
        crashing.start("backup", point=f"{point}:{count}").died_at_its_point()
    check_copies(crashing)


def test_death_while_copying_at_any_moment(crashing, chance):
    """Another process writes all the while."""
    fill(crashing)
    writer = crashing.start("loop", "1")
    whole = first_copy(crashing)
    for _ in range(KILLS):
        child = crashing.start("backup")
        time.sleep(chance.uniform(0.0, 2 * whole))
        child.kill()
    writer.kill()
    check_copies(crashing)
    crashing.finish()
    checker.check(crashing.store, crashing.notes())


def first_copy(crashing) -> float:
    """How long this machine takes now for one that nobody kills."""
    begun = time.monotonic()
    child = crashing.start("backup")
    while not crashing.notes("backup"):
        assert time.monotonic() - begun < COPY_SECONDS, "no backup comes through"
        time.sleep(0.01)
    child.kill()
    return time.monotonic() - begun


def fill(crashing) -> None:
    with agentmemo.connect(str(crashing.store), agent="filler") as agent:
        for number in range(12):
            agent.state.set("filling", str(number), workload.big_text(number))


def check_copies(crashing) -> None:
    copies = [path for path in crashing.directory.glob("store.db.copy-*") if path.suffix != ".partial"]
    copies = [path for path in copies if path.name.rpartition("-")[2].isdigit()]
    acknowledged = {note["path"]: note for note in crashing.notes("backup")}
    assert set(acknowledged) <= {str(path) for path in copies}
    for path in copies:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            checker.check_file(file)
            Follower().look(file, [])
            checker.check_blobs(file)
        if note := acknowledged.get(str(path)):
            with agentmemo.connect(str(path), agent="reader") as agent:
                assert agent.state.entry("facts", note["key"]).version >= note["version"]
                assert agent.audit.verify().intact
    # The name of a copy that died is free: the next backup to it succeeds.
    with agentmemo.connect(str(crashing.store), agent="filler") as agent:
        for partial in crashing.directory.glob("*.partial"):
            whole = partial.with_suffix("")
            assert not whole.exists()
            agent.backup(str(whole))
            assert not partial.exists()
