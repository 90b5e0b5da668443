from __future__ import annotations

import stat

import apsw
import pytest

import agentmemo
from agentmemo.errors import Conflict
from agentmemo.store.sqlite_restore import restore

# Other files the doctor calls unsafe.
pytestmark = pytest.mark.usefixtures("durable_files")
NOW = 1_750_000_000_000_000


@pytest.fixture
def backup(cli, tmp_path):
    """A backup that holds n/k = 1, and its store."""
    cli("state", "set", "n", "k", "1")
    file = tmp_path / "backup.db"
    assert cli("backup", file).status == 0
    return file


def test_status_and_briefing(cli, agent):
    agent.state.set("n", "k", 1)
    found = cli("status", "--json").json
    assert (found["entries"], found["database"]) == (1, "sqlite")
    said = cli("status").out
    assert "revision" in said
    assert "none" in said
    with pytest.raises(ValueError, match="stop"), agent.run("review", key="1", inputs="the goal"):
        raise ValueError("stop")
    assert "the goal" in cli("briefing", "worker").out
    assert cli("briefing", "worker", "--json").json["data"]["runs"][0]["name"] == "review"


def test_doctor_is_fine_with_a_sound_store(cli):
    cli("state", "set", "n", "k", "1")
    result = cli("doctor")
    assert result.status == 0
    assert "integrity" in result.out
    assert {finding["level"] for finding in cli("doctor", "--json").json["findings"]} <= {"ok", "warn"}


def test_a_broken_store_is_unavailable_with_the_next_call(cli, data):
    data.mkdir()
    (data / "agentmemo.db").write_bytes(b"not a database at all" * 100)
    result = cli("status", "--json")
    assert (result.status, result.problem["code"]) == (6, "unavailable")
    assert "restore" in result.problem["next_call"]
    assert cli("doctor").status == 6
    assert cli("doctor", "--json").json["findings"][0]["level"] == "fail"


def test_a_backup_never_overwrites(cli, backup, tmp_path, monkeypatch):
    assert cli("backup", backup).status == 2
    monkeypatch.chdir(tmp_path)
    assert cli("backup", "relative.db", "--json").json["path"] == str(tmp_path / "relative.db")


def test_restore_into_an_empty_place(cli, backup, tmp_path):
    other = tmp_path / "other"
    result = cli("restore", backup, store=other)
    assert result.status == 0
    assert cli("state", "get", "n", "k", store=other).out == "1\n"
    assert cli("events", "verify", store=other).status == 0
    assert [file.name for file in other.iterdir() if "restor" in file.name] == []
    assert stat.S_IMODE((other / "agentmemo.db").stat().st_mode) == 0o600


def test_restore_needs_force_and_keeps_what_was_there(cli, backup, data):
    cli("state", "set", "n", "k", "2")
    refused = cli("restore", backup, "--json")
    assert (refused.status, refused.problem["code"]) == (4, "conflict")
    assert "--force" in refused.problem["next_call"]
    assert cli("state", "get", "n", "k").out == "2\n"
    found = cli("restore", backup, "--force", "--json").json
    assert cli("state", "get", "n", "k").out == "1\n"
    assert "before-restore" in found["kept"]
    assert cli("state", "get", "n", "k", store=found["kept"]).out == "2\n"
    # Versions go on in the restored store, and its trail is whole.
    assert cli("state", "set", "n", "k", "3", "--json").json["version"] == 2
    assert cli("events", "verify").status == 0


def test_a_store_in_which_nothing_happened_needs_no_force(cli, backup, tmp_path):
    other = tmp_path / "other"
    with agentmemo.connect(str(other)):
        pass
    found = cli("restore", backup, "--json", store=other)
    assert (found.status, found.json["kept"]) == (0, None)


def test_restore_twice_keeps_both(cli, backup, data):
    for number in (2, 3):
        cli("state", "set", "n", "k", number)
    first = restore(backup, data / "agentmemo.db", force=True, now_us=NOW)
    second = restore(backup, data / "agentmemo.db", force=True, now_us=NOW)
    assert first.kept != second.kept
    assert first.kept.endswith("agentmemo.db.before-restore-20250615T150640Z")


def test_restore_is_refused_while_another_has_the_store_open(cli, backup, data):
    cli("state", "set", "n", "k", "2")
    with agentmemo.connect(str(data)) as other:
        result = cli("restore", backup, "--force", "--json")
        assert (result.status, result.problem["code"], result.problem["retry_safe"]) == (4, "conflict", True)
        assert other.state.get("n", "k") == 2
    assert cli("restore", backup, "--force").status == 0


def test_any_sqlite_client_counts_as_another(cli, backup, data):
    connection = apsw.Connection(str(data / "agentmemo.db"))
    connection.execute("SELECT count(*) FROM event").get  # noqa: B018 - reading takes the shared lock
    with pytest.raises(Conflict, match="open"):
        restore(backup, data / "agentmemo.db", force=True, now_us=NOW)
    connection.close()


def _spoil_page(file):
    content = bytearray(file.read_bytes())
    content[4096 * 3 : 4096 * 4] = b"\xa5" * 4096
    file.write_bytes(content)


def _truncate(file):
    file.write_bytes(file.read_bytes()[: 4096 * 5])


def _replace_by_text(file):
    file.write_text("hello " * 1000)


def _other_program(file):
    file.unlink()
    connection = apsw.Connection(str(file))
    connection.execute("CREATE TABLE t (x)")
    connection.close()


def _empty(file):
    file.write_bytes(b"")


def _drop_table(file):
    connection = apsw.Connection(str(file))
    connection.execute("DROP TABLE step")
    connection.close()


def _newer(file):
    connection = apsw.Connection(str(file))
    connection.execute("UPDATE meta SET value = '999' WHERE key IN ('min_writer', 'schema_version')")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (_spoil_page, 2),
        (_truncate, 2),
        (_replace_by_text, 2),
        (_other_program, 2),
        (_empty, 2),
        (_drop_table, 2),
        (_newer, 6),
        (lambda file: file.unlink(), 2),
    ],
)
def test_a_backup_that_is_not_whole_replaces_nothing(cli, backup, data, spoil, status):
    cli("state", "set", "n", "k", "2")
    spoil(backup)
    before = sorted(file.name for file in data.iterdir())
    result = cli("restore", backup, "--force", "--json")
    assert result.status == status
    assert result.problem["next_call"]
    assert cli("state", "get", "n", "k").out == "2\n"
    assert sorted(file.name for file in data.iterdir()) == before


@pytest.mark.parametrize("spoil", [_spoil_page, _truncate, _replace_by_text])
def test_a_damaged_store_is_replaced_by_force_and_kept(cli, backup, data, spoil):
    spoil(data / "agentmemo.db")
    assert cli("restore", backup).status == 4
    found = cli("restore", backup, "--force", "--json")
    assert found.status == 0
    assert "before-restore" in found.json["kept"]
    assert cli("state", "get", "n", "k").out == "1\n"
    assert cli("doctor").status == 0


def test_another_programs_file_is_never_replaced(cli, backup, data):
    _other_program(data / "agentmemo.db")
    assert cli("restore", backup, "--force").status == 4


def test_a_log_without_its_store_is_not_taken_for_the_new_ones(cli, backup, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "agentmemo.db-wal").write_bytes(b"an old log")
    found = cli("restore", backup, "--json", store=other).json
    assert found["kept"]
    assert cli("state", "get", "n", "k", store=other).out == "1\n"


def test_restore_of_the_store_onto_itself_and_over_http(cli, backup, data):
    assert cli("restore", data / "agentmemo.db").status == 2
    assert cli("restore", backup, "--url", "http://127.0.0.1:1", store=None).status == 2


def test_keys_of_another_machine_are_warned_about(cli, tmp_path):
    cli("keys", "create", "agent", "bob")
    file = tmp_path / "backup.db"
    cli("backup", file)
    assert "-pepper" in cli("restore", file, store=tmp_path / "other").err


def test_who_only_reads_makes_no_store(cli, tmp_path):
    there = tmp_path / "mistyped" / "place"
    for words in (["status"], ["state", "get", "n", "k"], ["doctor"], ["backup", tmp_path / "copy.db"], ["briefing"]):
        result = cli(*words, "--json", store=there)
        assert (result.status, result.problem["code"]) == (3, "not_found")
        assert f"There is no store at {there}" in result.problem["message"]
    assert "workflow document" in cli("workflow", "schema", store=there).out
    assert not there.parent.exists()
    assert cli("state", "set", "n", "k", "1", store=there).status == 0
    assert cli("state", "get", "n", "k", store=there).out == "1\n"


def test_an_address_without_its_scheme_is_no_store(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["status"], ["restore", "copy.db"]):
        result = cli(*words, "--json", store="127.0.0.1:7707")
        assert (result.status, result.problem["code"]) == (2, "invalid_input")
        assert "http://127.0.0.1:7707" in result.problem["next_call"]
    monkeypatch.setenv("AGENTMEMO_URL", "127.0.0.1:7707")
    assert "http://127.0.0.1:7707" in cli("status", "--json", store=None).problem["next_call"]
    assert cli("status", "--key", "am_x", store="store").status == 2
    assert [*tmp_path.iterdir()] == []


def test_contradicting_targets_are_refused(cli):
    assert cli("status", "--url", "http://127.0.0.1:1").status == 2
    assert cli("status", "--url", "/a/path", store=None).status == 2
    assert cli("up", "--url", "http://127.0.0.1:1", store=None).status == 2


def test_http_needs_a_key(cli):
    result = cli("status", "--url", "http://127.0.0.1:1", "--json", store=None)
    assert (result.status, result.problem["code"]) == (5, "not_authenticated")
    both = cli("status", "--url", "http://127.0.0.1:1", "--key", "a", "--key-file", "b", store=None)
    assert both.status == 2
