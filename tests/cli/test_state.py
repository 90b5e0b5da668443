from __future__ import annotations

import json

import pytest

from agentmemo.cli.output import Output


def test_a_value_is_written_and_read_back_exactly(cli):
    value = {"list": [1, 2.5, None, True], "text": "žluťoučký 🐎", "big": 12345678901234567890}
    assert cli("state", "set", "team/a", "k", json.dumps(value)).status == 0
    assert json.loads(cli("state", "get", "team/a", "k").out) == value
    entry = cli("state", "get", "team/a", "k", "--json").json
    assert (entry["value"], entry["version"], entry["namespace"]) == (value, 1, "team/a")


@pytest.mark.parametrize("place", ["before", "behind"])
def test_common_options_stand_before_or_behind_the_command(cli, data, place):
    cli("state", "set", "n", "k", "1")
    words = ["state", "get", "n", "k"]
    options = ["--json", "--agent", "bob"]
    result = cli(*options, *words) if place == "before" else cli(*words, *options)
    assert result.json["value"] == 1


def test_a_value_comes_from_standard_input_or_a_file(cli, tmp_path):
    cli("state", "set", "n", "stdin", "-", stdin=b'{"from": "stdin"}\n')
    file = tmp_path / "value.json"
    file.write_text("[1, 2]")
    cli("state", "set", "n", "file", f"@{file}")
    cli("state", "set", "n", "text", "-", "--text", stdin="not JSON: é\n".encode())
    assert cli("state", "get", "n", "stdin", "--json").json["value"] == {"from": "stdin"}
    assert cli("state", "get", "n", "file", "--json").json["value"] == [1, 2]
    assert cli("state", "get", "n", "text", "--json").json["value"] == "not JSON: é\n"
    assert cli("state", "get", "n", "text", "--text").out == "not JSON: é\n\n"


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("text", ["hello", "{'a': 1}", "NaN", "01", "", "1 2", '"\\ud800"'])
def test_what_is_not_json_is_refused_with_a_hint(cli, text):
    result = cli("state", "set", "n", "k", text)
    assert result.status == 2
    assert "not JSON" in result.err
    assert "--text" in result.err
    missing = cli("state", "get", "n", "k", "--json")
    assert missing.status == 3
    assert missing.problem["next_call"] == "List what there is: agentmemo state list n."


def test_negative_numbers_and_texts_with_hyphens_are_values(cli):
    cli("state", "set", "n", "number", "-5")
    cli("state", "set", "n", "text", "--dashed", "--text")
    assert cli("state", "get", "n", "number").out == "-5\n"
    assert cli("state", "get", "n", "text", "--text").out == "--dashed\n"


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(cli, tmp_path):
    assert cli("state", "set", "n", "k", f"@{tmp_path}/missing").status == 2
    result = cli("state", "set", "n", "k", "-", "--text", stdin=b"\xff\xfe")
    assert (result.status, "UTF-8" in result.err) == (2, True)


def test_if_version_refuses_with_a_conflict(cli):
    assert cli("state", "set", "n", "k", "1", "--if-version", "0").status == 0
    result = cli("--json", "state", "set", "n", "k", "2", "--if-version", "0")
    assert result.status == 4
    assert result.problem["code"] == "version_conflict"
    assert cli("state", "get", "n", "k").out == "1\n"


def test_versions_revisions_history_and_diff(cli):
    first = cli("--json", "state", "set", "n", "k", "1").json
    cli("state", "set", "n", "k", "2")
    cli("state", "delete", "n", "k")
    assert cli("state", "get", "n", "k", "--version", "1").out == "1\n"
    assert cli("state", "get", "n", "k", "--as-of", first["revision"]).out == "1\n"
    versions = cli("state", "history", "n", "k", "--json").json["items"]
    assert [(entry["version"], entry["deleted"]) for entry in versions] == [(3, True), (2, False), (1, False)]
    assert "(deleted)" in cli("state", "history", "n", "k").out
    changes = cli("state", "diff", "n", first["revision"], "--json").json["items"]
    assert [(each["key"], each["change"]) for each in changes] == [("k", "removed")]


def test_pages_are_walked_by_cursor(cli):
    for number in range(5):
        cli("state", "set", "n", f"k{number}", number)
    first = cli("state", "list", "n", "--limit", "3", "--json").json
    second = cli("state", "list", "n", "--limit", "3", "--cursor", first["cursor"], "--json").json
    assert [entry["key"] for entry in first["items"] + second["items"]] == [f"k{n}" for n in range(5)]
    assert second["cursor"] is None
    assert "--cursor" in cli("state", "list", "n", "--limit", "3").err


def test_namespaces_and_prefixes(cli):
    for namespace in ("team/a", "team/b", "other"):
        cli("state", "set", namespace, "k", "1")
    found = cli("state", "namespaces", "--prefix", "team/", "--json").json["items"]
    assert [each["name"] for each in found] == ["team/a", "team/b"]
    assert cli("state", "list", "nothing").err == "No entries.\n"


def test_search_finds_words(cli, agent):
    agent.state.set("n", "k", "the quick brown fox")
    agent.state.set("n", "other", "nothing of that kind")
    agent._plane.transport.plane.upkeep.run_once()  # the index follows writes; here it follows at once
    found = cli("state", "search", "fox", "--json").json["items"]
    assert [match["entry"]["key"] for match in found] == ["k"]


def test_watch_gives_every_change_until_it_is_stopped(cli, monkeypatch):
    revision = cli("state", "set", "n", "a", "1", "--json").json["revision"]
    cli("state", "set", "n", "b", "2")
    cli("state", "delete", "n", "a")
    lines = []

    def collect(_output, change):
        lines.append((change.kind, change.key))
        if len(lines) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Output, "line", collect)
    assert cli("state", "watch", "n", "--after", revision, "--json").status == 130
    assert lines == [("set", "b"), ("delete", "a")]
