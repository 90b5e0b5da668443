"""Copying a store and bringing its schema up to date, as it is typed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import agentmemo
from agentmemo.store.queries import migrations

PASSWORD = "hunter2"  # the server of the tests asks for none, so any is right

LAST = migrations("sqlite")[-1][0]


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """What a machine keeps for databases is each test's own, as the databases are."""
    monkeypatch.setenv("AGENTMEMO_DATA", str(tmp_path / "machine"))


@pytest.fixture
def filled(data):
    """The test's store with n/k = 1, a large value, a finished run and the key of agent `bob`."""
    with agentmemo.connect(str(data), agent="worker") as agent:
        agent.state.set("n", "k", 1)
        agent.state.set("n", "large", "x" * 300_000)
        with agent.run("r", key="1") as run:
            run.step("s", lambda: "result")
        return agent.keys.create("agent", "bob").secret


@pytest.fixture(params=["sqlite", "postgres"])
def target(request, tmp_path):
    """Where nothing is yet; the address of the database holds a password."""
    if request.param == "sqlite":
        return str(tmp_path / "target.db")
    return request.getfixturevalue("postgres_url").replace("agentmemo@", f"agentmemo:{PASSWORD}@")


@pytest.fixture
def read(cli):
    """`read(place)` looks into a copy."""

    def look(place):
        option = "--database" if place.startswith("postgresql") else "--data"
        assert cli("events", "verify", option, place, store=None).status == 0
        return cli("state", "get", "n", "k", option, place, store=None).out

    return look


def test_copy_says_what_is_there_now(cli, data, target, filled, read):
    result = cli("copy", data, target)
    assert result.status == 0
    assert "default at revision 8" in result.out
    assert PASSWORD not in result.out + result.err
    assert read(target) == "1\n"
    again = cli("copy", data, target, "--json")
    assert (again.status, again.problem["code"]) == (4, "conflict")
    assert "empty database" in again.problem["next_call"]


def test_copy_as_json(cli, data, target, filled):
    found = cli("copy", data, target, "--json")
    copied = found.json["copied"]
    rows = {table["name"]: table["rows"] for table in copied["tables"]}
    assert (rows["event"], rows["entry"], rows["run"], rows["step"], rows["blob"]) == (8, 2, 1, 1, 1)
    assert copied["revisions"] == {"default": 8}
    assert copied["seconds"] >= 0
    assert PASSWORD not in found.out


def test_copy_brings_the_file_that_proves_keys(cli, data, target, filled, monkeypatch):
    found = cli("copy", data, target, "--json").json
    assert found["pepper"] == "copied"
    assert stat.S_IMODE(Path(found["pepper_file"]).stat().st_mode) == 0o600
    place = agentmemo.connect(target, agent="checker")
    assert place._plane.transport.plane.engine.authenticate(filled).name == "bob"
    place.close()


def test_a_wrong_file_is_refused_by_a_database(cli, data, postgres_url, filled, monkeypatch, tmp_path):
    cli("copy", data, postgres_url)
    monkeypatch.setenv("AGENTMEMO_DATA", str(tmp_path / "another machine"))
    with agentmemo.connect(postgres_url, agent="checker") as agent, pytest.raises(agentmemo.Unavailable) as caught:
        agent.keys.create("agent", "bob")
    assert "pepper" in caught.value.next_call + caught.value.message + caught.value.why


def test_copy_says_when_keys_will_not_work(cli, data, target, filled, tmp_path):
    (data / "agentmemo.db-pepper").rename(tmp_path / "elsewhere")
    result = cli("copy", data, target)
    assert result.status == 0
    assert "keys in it need the pepper file" in result.err
    assert cli("copy", target, tmp_path / "third.db", "--json").json["pepper"] == "absent"


def test_copy_from_a_backup(cli, data, target, filled, tmp_path, read):
    assert cli("backup", tmp_path / "backup.db").status == 0
    assert cli("copy", f"sqlite:///{tmp_path}/backup.db", target).status == 0
    assert read(target) == "1\n"


def test_backup_of_a_database_is_a_file(cli, data, postgres_url, filled, tmp_path, read):
    cli("copy", data, postgres_url)
    made = cli("backup", tmp_path / "backup.db", "--database", postgres_url, "--json", store=None)
    assert made.json["revision"] == 8
    assert read(str(tmp_path / "backup.db")) == "1\n"
    refused = cli("restore", tmp_path / "backup.db", "--database", postgres_url, "--json", store=None)
    assert (refused.status, refused.problem["code"]) == (2, "invalid_input")
    assert f"agentmemo copy {tmp_path}/backup.db postgresql://" in refused.problem["next_call"]


@pytest.mark.parametrize("pair", [("http://127.0.0.1:7707", "b.db"), ("a.db", "https://plane.example")])
def test_a_plane_is_not_copied(cli, pair):
    refused = cli("copy", *pair, "--json")
    assert (refused.status, refused.problem["code"]) == (2, "invalid_input")
    assert "agentmemo backup" in refused.problem["next_call"]


def test_what_is_not_there_or_in_memory_is_refused(cli, tmp_path):
    assert cli("copy", tmp_path / "absent.db", tmp_path / "b.db").status == 2
    assert not (tmp_path / "b.db").exists()
    assert cli("copy", ":memory:", tmp_path / "b.db").status == 2
    assert cli("copy", "mysql://host/name", tmp_path / "b.db").status == 2


def test_a_copy_that_is_killed_goes_on(cli, data, target, filled, read):
    """Killed in the middle of it, and when all but its end is done."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTMEMO_TEST")}
    for point in ("copy.after_page:6", "copy.before_finish"):
        child = subprocess.run(
            [sys.executable, "-m", "agentmemo", "copy", str(data), target],
            env=environment | {"AGENTMEMO_TEST_CRASH": point}, capture_output=True, check=False,
        )  # fmt: skip
        assert child.returncode == -signal.SIGKILL
        option = "--database" if target.startswith("postgresql") else "--data"
        refused = cli("status", option, target, "--json", store=None)
        assert (refused.status, refused.problem["code"]) == (6, "unavailable")
        assert "agentmemo copy" in refused.problem["next_call"]
    result = cli("copy", data, target)
    assert "kept" in result.out
    assert read(target) == "1\n"


def test_migrate_plan_changes_nothing(cli, data, postgres_url, postgres, tmp_path):
    empty = postgres.make_database("unmigrated")
    for words in (("--data", tmp_path / "new.db"), ("--database", empty)):
        shown = cli("migrate", "--plan", *words, store=None)
        assert shown.status == 0
        assert f"schema 0, the newest is {LAST}" in shown.out
        assert "CREATE TABLE event" in shown.out
    assert not (tmp_path / "new.db").exists()
    assert postgres.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database="unmigrated") == [
        (0,)
    ]
    for words in (("--data", tmp_path / "new.db"), ("--database", empty)):
        found = cli("migrate", *words, "--json", store=None)
        assert (found.json["plan"]["version"], found.json["applied"]) == (
            0,
            [number for number, _ in migrations("sqlite")],
        )
        assert cli("migrate", *words, "--json", store=None).json["applied"] == []
        assert f"schema {LAST}, the newest is {LAST}" in cli("migrate", "--plan", *words, store=None).out
    postgres.drop_database("unmigrated")


def test_migrate_applies_what_is_missing(cli, data, filled, monkeypatch):
    newer = [*migrations("sqlite"), (LAST + 1, "ALTER TABLE note ADD COLUMN tag TEXT;")]
    monkeypatch.setattr("agentmemo.store.migrate.migrations", lambda _database: newer)
    assert f"-- migration {LAST + 1}\nALTER TABLE note" in cli("migrate", "--plan").out
    assert f"had schema {LAST} and now has {LAST + 1}" in cli("migrate").out
    assert cli("state", "get", "n", "k").out == "1\n"
    assert f"schema {LAST + 1}, the newest is {LAST + 1}" in cli("migrate").out


def test_a_plane_is_not_migrated(cli):
    refused = cli("migrate", "--url", "http://127.0.0.1:7707", "--json", store=None)
    assert (refused.status, refused.problem["code"]) == (2, "invalid_input")
