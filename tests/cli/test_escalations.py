"""What agents do at a command line: ask, wait, use an approval."""

from __future__ import annotations

import json
import threading

import pytest

import agentmemo

ACTION = {"tool": "deploy", "arguments": {"to": "production"}}


def ask(cli, *words, reason="Which way?"):
    result = cli("escalation", "create", "high", reason, *words, "--agent", "bot", "--json")
    assert result.status == 0, result.err
    return result.json


def test_a_question_is_asked_looked_at_and_taken_back(cli):
    said = cli("escalate", "low", "May I?", "--agent", "bot")
    handle = said.out.split()[0]
    assert said.err == f"A person answers it: agentmemo inbox answer {handle}\n"
    assert said.out.startswith(f"{handle}  It is open; unanswered by ")
    listed = cli("escalation", "list")
    assert handle in listed.out
    assert cli("escalation", "list", "--state", "decided").err == "Nothing was asked.\n"
    assert [each["id"] for each in cli("escalation", "list", "--json").json["items"]] == [handle]
    assert "LOW question: May I?" in cli("escalation", "get", handle[:12]).out
    assert cli("escalation", "get", handle, "--wait-seconds", "0.01", "--json").json["state"] == "open"
    assert cli("escalation", "withdraw", handle, "found it", "--agent", "other").status == 5
    taken_back = cli("escalation", "withdraw", handle, "found it", "--agent", "bot")
    assert taken_back.out == f"{handle}  Withdrawn.\n"
    assert cli("escalation", "receive", handle, "--agent", "bot").out == f"{handle}  Withdrawn: found it.\n"
    assert cli("escalate", "urgent", "May I?").status == 2


def test_everything_of_a_question_can_be_given(cli):
    made = ask(
        cli, "--kind", "question", "--context", '{"cpu": 100}', "--suggest", "Roll back", "--suggest",
        '{"id": "patch", "label": "Patch", "reversible": true}', "--default", "patch", "--deadline", "2h",
        "--escalation-key", "k1", "--route", "night", "--needs", '{"count": 2, "exclude": ["ana"]}',
        "--sensitivity", "secret", "--detail", '{"log": "full"}', "--collapse-key", "cpu",
    )  # fmt: skip
    assert [action["id"] for action in made["suggested_actions"]] == ["roll-back", "patch"]
    assert (made["default"], made["route"], made["sensitivity"]) == ("patch", "night", "secret")
    assert (made["needs"]["count"], made["needs"]["exclude"]) == (2, ["ana"])
    assert (made["context"], made["detail"]) == ({"cpu": 100}, {"log": "full"})
    assert made["collapse_key"].startswith("given:cpu:")  # beside who must agree
    assert made["deadline"] - made["created_at"] == pytest.approx(7200e6, rel=0.01)
    assert ask(cli, "--supersedes", made["id"], reason="And now?")["supersedes"] == made["id"]
    for words in (("--detail", "1"), ("--action", "[]"), ("--suggest", "{"), ("--needs", '"many"')):
        assert cli("escalate", "high", "Which way?", *words).status == 2


def test_an_approval_is_used_for_exactly_what_was_approved(cli):
    made = ask(cli, "--kind", "approval", "--context", '"tests are green"', "--action", json.dumps(ACTION))
    call = ("escalation", "redeem", made["id"], "deploy")
    right, wrong = json.dumps(ACTION["arguments"]), json.dumps({"to": "elsewhere"})
    assert cli(*call, right, "--agent", "bot").status == 5
    cli("inbox", "answer", made["id"], "approve")
    assert cli(*call, wrong, "--agent", "bot").status == 5
    assert cli(*call, right, "--agent", "bot").out == (
        f"{made['id']}  Approved for exactly this; it can be used 0 more times.\n"
    )
    assert cli(*call, right, "--agent", "bot", "--json").problem["code"] == "permission_denied"


@pytest.mark.parametrize(("decision", "status"), [("approve", 0), ("reject", 1)])
def test_a_script_waits_for_the_answer(cli, data, decision, status):
    """A person answers as soon as the question is there."""
    with agentmemo.connect(str(data), person="ana") as ana:

        def answer():
            (asked,) = ana.audit.events(type="escalation.create", wait_seconds=30)
            ana.inbox.answer(asked.subject["id"], decision, comment="seen")

        person = threading.Thread(target=answer)
        person.start()
        result = cli("escalate", "high", "May I?", "--wait", "--agent", "bot")
        person.join()
    assert result.status == status
    handle = result.out.split()[0]
    assert result.out == f"{handle}  {decision}\nby       person:ana\ncomment  seen\n"
    assert f"answer it with `agentmemo inbox answer {handle}" in result.err
    assert cli("escalation", "list", "--state", "undelivered", "--json").json["items"] == []
