from __future__ import annotations

import json

import pytest

from agentmemo.settings import os_user

RULES = {
    "rules": [
        {"name": "small", "verdict": "allow", "tool": "refund", "arguments": {"/amount": {"less": 100}}},
        {"name": "prod", "verdict": "deny", "namespace": "prod/*", "reason": "frozen until Monday"},
    ]
}
REVERSIBLE = ("--reversible", "--agent", "bot")


def test_the_rules_say_what_they_think_of_a_call(cli, tmp_path):
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(RULES), encoding="utf-8")
    assert cli("policy", "set", "rules", "default", file).status == 0
    allowed = cli("guard", "check", "refund", '{"amount": 5}')
    assert (allowed.status, allowed.out) == (0, "allow  refund, by default/small@1.\n")
    denied = cli("guard", "check", "deploy", "--namespace", "prod/api")
    assert (denied.status, denied.out) == (5, "deny  deploy, by default/prod@1.\n")
    assert "frozen until Monday" in denied.err
    asked = cli("guard", "check", "refund", "-", "--namespace", "test", "--json", stdin=b'{"amount": 500}')
    assert (asked.status, asked.json["verdict"], asked.json["severity"]) == (5, "ask", "high")
    assert cli("guard", "check", "refund", "{").status == 2
    assert cli("policy", "set", "rules", "default", "-", stdin=b'{"rules": [{"name": "a"}]}').status == 2


@pytest.mark.usefixtures("made")
def test_a_precedent_is_found_and_made_a_rule(cli):
    assert cli("guard", "precedents").err == "No precedents.\n"
    for number in range(3):
        arguments = json.dumps({"issue": number})
        decided = cli("guard", "check", "label", arguments, "--json", *REVERSIBLE).json
        action = json.dumps({"tool": "label", "arguments": {"issue": number}})
        words = ("--action", action, "--guard", decided["revision"], "--context", '"x"', "--agent", "bot", "--json")
        asked = cli("escalation", "create", "low", "Label it?", *words)
        assert cli("inbox", "answer", asked.json["id"], "approve").status == 0
    (found,) = cli("guard", "precedents", "--tool", "lab*", "--json").json["items"]
    assert (found["count"], found["persons"]) == (3, [f"person:{os_user()}"])
    shown = cli("guard", "precedents").out
    assert "3 x approve" in shown
    assert cli("guard", "promote", found["id"], "--agent", "bot").status == 5
    assert cli("guard", "promote", found["id"], "--days", 0).status == 2
    made = cli("guard", "promote", found["id"], "--name", "labels", "--uses-max", 9, "--days", 2)
    assert made.out.startswith("precedents/labels  allows label until 20")
    assert made.out.endswith(", 9 times at most.\n")
    assert cli("guard", "check", "label", '{"issue": 1}', *REVERSIBLE).out == "allow  label, by precedents/labels@1.\n"
    assert cli("guard", "promote", found["id"], "--scope", "pattern", "--json").json["version"] == 2
    assert cli("guard", "reviews", "--json").json["items"] == []
    assert cli("guard", "reviews").err == "Nothing to look at.\n"
