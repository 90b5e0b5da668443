"""Proof of life by a file's lock, as two processes see each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentmemo.engine.presence import Presence
from agentmemo.store.sqlite_files import try_lock

WORKER = "wrk_0000000000000001"


@pytest.fixture
def database(tmp_path):
    return tmp_path / "plane.db"


def test_two_who_ask_at_once_do_not_take_each_other_for_the_holder(database):
    holder, asker = Presence(database), Presence(database)
    holder.hold(WORKER)
    assert (asker.is_gone(WORKER), asker.is_locked(WORKER)) == (False, True)
    holder.abandon(WORKER)
    other = try_lock(database.with_name(database.name + "-workers") / WORKER, shared=True)
    try:
        assert (asker.is_gone(WORKER), asker.is_locked(WORKER)) == (True, False)
    finally:
        os.close(other)


def test_a_worker_taken_for_dead_is_known_again_when_it_calls(database):
    holder, other = Presence(database), Presence(database)
    holder.hold(WORKER)
    other.forget(WORKER)
    assert not other.is_locked(WORKER)
    holder.restore(WORKER)
    assert (other.is_gone(WORKER), other.is_locked(WORKER)) == (False, True)
    holder.abandon(WORKER)
    assert other.is_gone(WORKER)


def test_who_ended_well_is_not_held_and_not_gone(database):
    """`is_gone` is a certainty about a death; of who left in good order the store itself says so."""
    holder, other = Presence(database), Presence(database)
    holder.hold(WORKER)
    holder.hold(WORKER)
    holder.close()
    assert (other.is_gone(WORKER), other.is_locked(WORKER)) == (False, False)


def test_where_there_can_be_no_file_the_lease_alone_decides(database, caplog):
    """A full disk, or a directory that is not ours: no call fails for it."""
    holder, other = Presence(database), Presence(database)
    database.with_name(database.name + "-workers").write_text("in the way")
    holder.hold(WORKER)
    assert "wait for its lease" in caplog.text
    assert not other.is_gone(WORKER)
    holder.forget(WORKER)
    database.with_name(database.name + "-workers").unlink()
    holder.hold(WORKER)
    holder.abandon(WORKER)
    assert other.is_gone(WORKER)


def test_a_lock_that_gets_no_name_is_let_go(database):
    holder = Presence(database)
    (database.with_name(database.name + "-workers") / WORKER / "in the way").mkdir(parents=True)
    open_files = set(Path("/proc/self/fd").iterdir())
    holder.hold(WORKER)
    # What others left behind may be closed meanwhile.
    assert set(Path("/proc/self/fd").iterdir()) <= open_files
    holder.close()
