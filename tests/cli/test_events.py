from __future__ import annotations

import apsw

from agentmemo.cli.output import Output


def test_list_filters_and_show(cli):
    cli("state", "set", "team/a", "k", "1", "--agent", "ada")
    cli("state", "set", "team/b", "k", "1", "--agent", "bob")
    listed = cli("events", "list", "--type", "state.*", "--json").json["items"]
    assert [(event["actor"], event["door"]) for event in listed] == [("agent:ada", "cli"), ("agent:bob", "cli")]
    assert len(cli("events", "list", "--actor", "bob", "--namespace", "team/b", "--json").json["items"]) == 1
    assert cli("events", "list", "--until", "1d").err == "No events.\n"
    assert "team/a/k" in cli("events", "list", "--since", "1h").out
    newest = cli("events", "list", "--newest-first", "--limit", "1", "--json").json["items"][0]
    shown = cli("events", "show", newest["id"]).out
    assert newest["hash"] in shown
    assert "ago" in shown or "now" in shown
    assert cli("events", "show", "evt_0000000000000000").status == 3
    assert cli("events", "list", "--since", "soon").status == 2


def test_verify_says_whether_the_trail_is_whole(cli, data):
    for number in range(3):
        cli("state", "set", "n", "k", number)
    assert cli("events", "verify").status == 0
    connection = apsw.Connection(str(data / "agentmemo.db"))
    connection.execute("DELETE FROM event WHERE position = (SELECT min(position) + 1 FROM event)")
    connection.close()
    result = cli("events", "verify", "--json")
    assert (result.status, result.json["intact"]) == (1, False)
    assert "NOT intact" in cli("events", "verify").out


def test_follow_goes_on_from_a_revision_or_from_now(cli, agent, monkeypatch):
    seen = []

    def collect(_output, event):
        seen.append((event.operation, event.subject["key"]))
        if len(seen) == 1:
            agent.state.set("n", "second", 2)
        else:
            raise KeyboardInterrupt

    agent.state.set("n", "first", 1)
    monkeypatch.setattr(Output, "line", collect)
    assert cli("events", "follow", "--after", "0", "--type", "state.set", "--json").status == 130
    assert seen == [("state.set", "first"), ("state.set", "second")]


def test_a_denial_is_marked(cli, agent):
    with_rights = cli("runs", "resolve", "run_aaaaaaaaaaaaaaaa", "retry", "--agent", "ada")
    assert with_rights.status == 5
    assert "run.resolve (denied)" in cli("events", "list", "--outcome", "denied").out
