"""An upgrade of the schema while others work, interrupted, and by several processes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import agentmemo
from agentmemo.errors import Unavailable
from agentmemo.store.migrate import OLDEST_WRITER
from agentmemo.store.queries import migrations

PROGRAM = Path(__file__).with_name("upgrading.py")
OLD = str(migrations("postgres")[-1][0])
NEW = str(int(OLD) + 1)
DEATHS = ("migrate.before_schema", "migrate.before_commit")


class Process:
    """One process of the old or the new version."""

    def __init__(self, mode, version, url, point=None):
        environment = os.environ | {"AGENTMEMO_POSTGRES_ALLOW_LOSSY": "true", "AGENTMEMO_TEST_CRASH": point or ""}
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), mode, version, url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.wait_for("ready")

    def wait_for(self, what=None):
        """The next line, which must be `what`."""
        line = self.process.stdout.readline().strip()
        assert line, self.process.stderr.read()[-2000:]
        assert what in {None, line}
        return line

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        """Let it finish: its exit status and the last line it said."""
        with self.process:
            self.process.stdin.close()
            said, errors = self.process.stdout.read(), self.process.stderr.read()
        assert self.process.returncode in {0, -signal.SIGKILL}, errors[-2000:]
        return self.process.returncode, (said.split() or [""])[-1]


@pytest.fixture
def database(postgres, monkeypatch):
    """An empty database of the test's own: its schema does not stay as it was."""
    monkeypatch.setenv("AGENTMEMO_POSTGRES_ALLOW_LOSSY", "true")
    yield postgres.make_database("upgraded")
    postgres.drop_database("upgraded")


@pytest.fixture
def ask(postgres):
    return lambda sql: postgres.execute(sql, database="upgraded")


def meta(ask):
    return dict(ask("SELECT key, value FROM meta WHERE key <> 'store_id'"))


def test_work_of_the_version_before_goes_on(database, ask):
    """It writes and reads before, during and after the upgrade, and can be started again afterwards."""
    writer = Process("write", "old", database)
    for _ in range(5):
        writer.wait_for()
    assert meta(ask)["schema_version"] == OLD
    upgrading = Process("open", "new", database)
    upgrading.go()
    assert upgrading.end()[0] == 0
    assert meta(ask) == {"schema_version": NEW, "min_reader": "1", "min_writer": str(OLDEST_WRITER)}
    told = [int(writer.wait_for()) for _ in range(5)]
    status, last = writer.end()
    last = int(last or told[-1])
    assert status == 0
    assert ask("SELECT version, live FROM entry") == [(last, 1)]
    assert ask("SELECT count(*), count(tag) FROM note") == [(last, 0)]
    with agentmemo.connect(database, agent="reader") as agent:
        assert agent.state.get("n", "k") == last
        (run,) = agent.runs.list()
        assert (run.state, run.epoch) == ("completed", 1)
        assert [int(note.text) for note in agent.runs.notes(run.id)] == list(range(1, last + 1))
        assert agent.audit.verify().intact
    again = Process("open", "old", database)
    again.go()
    assert again.end()[0] == 0
    assert meta(ask)["schema_version"] == NEW


def test_a_database_that_asks_for_a_newer_writer_is_refused(database, ask):
    agentmemo.connect(database, agent="a").close()
    ask(f"UPDATE meta SET value = '{NEW}' WHERE key IN ('min_writer', 'schema_version')")  # noqa: S608 - our own number
    with pytest.raises(Unavailable, match="newer AgentMemo") as caught:
        agentmemo.connect(database, agent="a")
    assert "pip install --upgrade" in caught.value.next_call
    assert not caught.value.retry_safe


@pytest.mark.parametrize("point", DEATHS)
def test_a_migration_that_dies_leaves_nothing_half_done(database, ask, point):
    """First of an empty database, after its first script; then of one that work was done in."""
    die(database, f"migrate.before_schema:{NEW}" if point == "migrate.before_schema" else point)
    assert ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    with agentmemo.connect(database, agent="a") as agent:
        agent.state.set("n", "k", 1)
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'note' AND column_name = 'tag'"
    die(database, point)
    assert ask(columns) == [(0,)]
    assert meta(ask) == {"schema_version": OLD, "min_reader": "1", "min_writer": str(OLDEST_WRITER)}
    upgrading = Process("open", "new", database)
    upgrading.go()
    assert upgrading.end() == (0, "1")
    assert ask(columns) == [(1,)]
    assert meta(ask)["schema_version"] == NEW


def die(database, point):
    child = Process("open", "new", database, point)
    child.go()
    assert child.end()[0] == -signal.SIGKILL


def test_processes_that_open_an_empty_database_at_once(database, ask):
    """One makes the schema, the others wait for it; all of them open."""
    openers = [Process("open", "old", database) for _ in range(3)]
    for opener in openers:
        opener.go()
    assert [opener.end()[0] for opener in openers] == [0, 0, 0]
    assert meta(ask) == {"schema_version": OLD, "min_reader": "1", "min_writer": str(OLDEST_WRITER)}
    assert ask("SELECT count(*) FROM meta WHERE key = 'store_id'") == [(1,)]
    assert ask("SELECT workspace FROM turn ORDER BY workspace")[0] == (0,)
