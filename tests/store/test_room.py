"""What is written and removed again and again takes bounded room; what retention frees goes back to the disk."""

from __future__ import annotations

import contextlib

import apsw
import pytest

from agentmemo import ids
from agentmemo.settings import Settings
from agentmemo.store import sqlite
from agentmemo.store.migrate import migrate
from agentmemo.testing import ManualPlane

KEYS, CYCLES = 12, 4
DAY = 86_400
BLOB_BYTES = 100_000
SETTINGS = Settings(versions_days=1, versions_kept=0, finished_runs_days=1, request_hours=1, blob_hours=1)


@pytest.fixture
def plane(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "FREE_PAGES_KEPT", 32)
    monkeypatch.setattr(sqlite, "FREED_PAGES", 64)
    with contextlib.closing(ManualPlane(tmp_path / "agentmemo.db", settings=SETTINGS)) as plane:
        yield plane


def room(plane):
    """Pages of the file, and those of them that hold nothing."""
    with contextlib.closing(apsw.Connection(str(plane.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return connection.pragma("page_count"), connection.pragma("freelist_count")


def churn(agent, cycle):
    """New values in the same keys, and runs that end: each larger than a row holds."""
    for number in range(KEYS):
        agent.state.set("churn", f"k{number}", ids.random_bytes(BLOB_BYTES // 2).hex())
    with agent.run("job", str(cycle)) as run:
        for _ in range(3):
            run.step("step", lambda: ids.random_bytes(BLOB_BYTES // 2).hex())


def test_a_store_under_churn_keeps_its_size(plane):
    agent = plane.connect()
    pages = []
    for cycle in range(CYCLES):
        churn(agent, cycle)
        plane.advance(2 * DAY)
        plane.advance(2 * DAY)
        pages.append(room(plane)[0])
    assert max(pages[2:]) < pages[1] * 1.1, pages


def test_what_nobody_needs_any_more_is_given_back(plane):
    agent = plane.connect()
    empty, _ = room(plane)
    churn(agent, 0)
    full, _ = room(plane)
    for number in range(KEYS):
        agent.state.delete("churn", f"k{number}")
    plane.advance(2 * DAY)
    plane.advance(2 * DAY)
    pages, free = room(plane)
    assert pages - empty < (full - empty) / 2
    assert free <= pages / 3
    assert agent.audit.verify().intact


def test_little_free_room_stays_for_what_comes_next(plane):
    churn(plane.connect(), 0)
    assert plane.engine.database.shrink() == 0


def test_an_older_file_is_left_as_it_is(tmp_path):
    """Its pages cannot be moved before the whole of it was written anew, by `agentmemo copy`."""
    path = tmp_path / "agentmemo.db"
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.pragma("journal_mode", "WAL")
        migrate(connection, str(path))
        connection.execute("CREATE TABLE gone (content BLOB); INSERT INTO gone VALUES (zeroblob(9000000))")
        connection.execute("DROP TABLE gone")
    with contextlib.closing(ManualPlane(path)) as plane:
        assert room(plane)[1] > sqlite.FREE_PAGES_KEPT
        assert plane.engine.database.shrink() == 0
