from __future__ import annotations

import stat

import pytest


def test_a_key_is_shown_once_alone_on_standard_output(cli):
    result = cli("keys", "create", "agent", "bob", "--label", "laptop", "--grant", "state:read@team/*")
    assert result.out.startswith("am_agent_")
    assert result.out.count("\n") == 1
    listed = cli("keys", "list", "--json").json["items"]
    assert [(key["actor"], key["label"], key["secret"]) for key in listed] == [("bob", "laptop", None)]
    assert listed[0]["grants"] == [{"permissions": ["state:read"], "namespaces": ["team/*"]}]
    assert result.out.strip() not in cli("keys", "list").out
    assert "state:read@team/*" in cli("keys", "list").out


def test_a_key_goes_to_a_private_file_and_nowhere_else(cli, tmp_path):
    file = tmp_path / "bob.key"
    result = cli("keys", "create", "person", "bob", "--out", file, "--json")
    assert (result.json["secret"], result.json["expires_at"] is None) == (None, False)
    assert file.read_text().startswith("am_person_")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = cli("keys", "create", "person", "bob", "--out", file)
    assert again.status == 2
    assert cli("keys", "create", "person", "bob", "--out", tmp_path / "missing" / "bob.key").status == 2
    assert len(cli("keys", "list", "--json").json["items"]) == 1
    # A refused key leaves no file behind.
    assert cli("keys", "create", "robot", "bob", "--out", tmp_path / "robot.key").status == 2
    assert not (tmp_path / "robot.key").exists()


def test_rotate_revoke_and_their_states(cli):
    first = cli("keys", "create", "agent", "bob", "--never-expires", "--json").json
    second = cli("keys", "rotate", first["id"], "--overlap-hours", "0", "--json").json
    assert second["secret"].startswith("am_agent_")
    assert cli("keys", "revoke", second["id"], "--reason", "lost").status == 0
    said = cli("keys", "list").out
    assert {line.split()[2] for line in said.splitlines()[1:]} == {"expired", "revoked"}
    assert cli("keys", "revoke", "zzzzzzzz").status == 3
    assert cli("events", "list", "--type", "key.revoke", "--json").json["items"][0]["reason"] == "lost"


@pytest.mark.parametrize("words", [["robot", "bob"], ["agent", "b b"], ["agent", "bob", "--grant", "state:fly"]])
def test_keys_that_cannot_be(cli, words):
    assert cli("keys", "create", *words).status == 2


def test_whoami_says_who_acts(cli, monkeypatch):
    assert cli("keys", "whoami", "--agent", "ada", "--json").json["actor"] == "ada"
    assert cli("keys", "whoami", "--person", "eve", "--json").json["kind"] == "person"
    monkeypatch.setenv("AGENTMEMO_AGENT", "from-environment")
    assert "agent:from-environment" in cli("keys", "whoami").out
    assert cli("keys", "whoami", "--agent", "a", "--person", "b").status == 2


def test_the_kill_switch(cli):
    cli("state", "set", "n", "k", "1", "--agent", "rogue")
    assert cli("keys", "disable", "rogue", "--reason", "misbehaves").status == 0
    refused = cli("state", "set", "n", "k", "2", "--agent", "rogue", "--json")
    assert (refused.status, refused.problem["code"]) == (5, "permission_denied")
    assert "agent:rogue" in cli("keys", "actors").out
    assert cli("keys", "enable", "rogue").status == 0
    assert cli("state", "set", "n", "k", "2", "--agent", "rogue").status == 0
    assert cli("keys", "disable", "nobody").status == 3
