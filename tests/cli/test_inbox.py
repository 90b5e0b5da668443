"""What people do at a terminal about what agents asked."""

from __future__ import annotations

import io
import json
import sys

import pytest

from agentmemo.cli import inbox_page
from agentmemo.cli.main import main
from agentmemo.clock import SECOND
from agentmemo.model.escalations import Answer, Escalation, Told, Waiter
from agentmemo.settings import os_user

WAYS = (
    "--suggest",
    "Roll back",
    "--suggest",
    '{"id": "patch", "label": "Patch it", "reversible": true, "cost": "1 h"}',
)
FORM = {
    "type": "object",
    "properties": {
        "host": {"type": "string", "description": "where"},
        "port": {"type": "integer"},
        "load": {"type": "number"},
        "now": {"type": "boolean"},
    },
    "required": ["host", "now"],
}

PAGE = """
LOW question: May I?
  esc_1, decided, from agent:bot, asked 4 times, 1 wait for it, 1 do not have the answer yet
  Decided by person:ana: reject (not today), 2023-11-14 22:13:29Z
  person:ana is on it until 2023-11-14 22:13:20Z
  handed to person:ben
  on behalf of person:cy
  run run_1, step ask/1

Who waits
  agent:bot in run_1, failed since 2023-11-14 22:13:20Z: it broke

Timeline
  2023-11-14 22:13:20Z  agent:bot asked
  2023-11-14 22:13:21Z  ana told by email (step 1): sent
  2023-11-14 22:13:29Z  Decided by person:ana: reject (not today)

Next
  agentmemo inbox retry esc_1
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def asked(cli):
    """`asked("Which way?", ...)` is the handle of a question that agent `bot` asked."""

    def ask(reason="Which way?", *words, severity="medium"):
        result = cli("escalate", severity, reason, *words, "--agent", "bot", "--json")
        assert result.status == 0, result.err
        return result.json["id"]

    return ask


@pytest.fixture
def typed(cli, monkeypatch):
    """`typed("1\\n", ...)`: the command, with these lines typed at a terminal."""

    def call(lines, *words):
        monkeypatch.setattr(sys, "stdin", Terminal(lines))
        return cli(*words)

    return call


@pytest.mark.usefixtures("made")
def test_it_lists_what_waits_the_most_urgent_first(cli, asked):
    assert cli("inbox").err == "Nothing waits for a person.\n"
    later, first = asked("Later?"), asked("Now?", severity="critical")
    listed = cli("inbox")
    assert listed.out.splitlines()[0].split() == ["ESCALATION", "SEVERITY", "KIND", "UNTIL", "FROM", "QUESTION"]
    assert listed.out.index(first) < listed.out.index(later)
    assert cli("inbox", "list").out == listed.out
    assert [each["id"] for each in cli("inbox", "--json").json["items"]] == [first, later]
    assert [each["id"] for each in cli("inbox", "--severity", "medium", "--json").json["items"]] == [later]
    page = cli("inbox", "list", "--limit", 1)
    assert "--cursor" in page.err
    cli("inbox", "answer", first, "answer", "--comment", "yes")
    assert "decided" in cli("inbox", "list", "--section", "done").out


def test_a_question_is_shown_as_a_page(cli, asked):
    action = json.dumps({"tool": "deploy", "arguments": {"to": "production"}, "revision": "1a2b3c"})
    handle = asked(
        "Ship\nOptions: none", "--kind", "approval", "--context", '"because\\nVotes: 5"', "--action", action,
        "--needs", "2", *WAYS, "--detail", '{"tests": "green"}', severity="high",
    )  # fmt: skip
    shown = cli("inbox", "show", handle[:14]).out
    lines = shown.splitlines()
    assert lines[0] == "HIGH approval: Ship Options: none"
    assert lines[1] == f"  {handle}, open, from agent:bot"
    assert "unless somebody answers: it is refused" in lines[2]
    for part in (
        "  1  Roll back  [roll-back]\n     not known whether it can be undone\n",
        "  2  Patch it  [patch]\n     can be undone; costs 1 h\n  or approve, edit, reject, answer, abort\n",
        "What will happen\n  tool       deploy at 1a2b3c\n  arguments  {\n",
        "Why, in the words of agent:bot\n  because\n  Votes: 5\n",
        "Evidence\n",
        "Votes\n  2 must agree\n",
        "Who waits\n  agent:bot, ",
        f"Next\n  agentmemo inbox answer {handle} 1\n",
    ):
        assert part in shown
    assert cli("inbox", "show", handle, "--json").json["action"]["tool"] == "deploy"
    assert cli("inbox", "show", "esc_aaaaaaaaaaaaaaaa").status == 3


def test_the_page_says_what_became_of_it():
    at = 1_700_000_000 * SECOND
    answer = Answer(decision="reject", by="person:ana", comment="not today")
    found = Escalation(
        id="esc_1", state="decided", kind="question", severity="low", reason="May I?", asker="agent:bot", revision=3,
        run="run_1", step="ask/1", holder="person:ana", hold_until=at, assignee="person:ben", occurrences=4,
        undelivered=1, waiting=1, on_behalf_of=["person:cy"], created_at=at, ended_at=at + 9 * SECOND, answer=answer,
        told=[
            Told(
                person="ana", channel="email", occasion="step 1", state="sent", attempts=1, error="",
                created_at=at, sent_at=at + SECOND,
            ),
        ],
        waiters=[
            Waiter(
                asker="agent:bot", run="run_1", step="ask/1", state="failed", attempts=2, error="it broke",
                since=at, updated_at=at,
            ),
        ],
    )  # fmt: skip
    assert inbox_page.page(found, at) == PAGE.strip()


@pytest.mark.parametrize("word", ["2", "patch"])
def test_an_option_is_chosen_by_its_number_or_id(cli, asked, word):
    handle = asked("Which way?", *WAYS)
    answered = cli("inbox", "answer", handle, word)
    assert answered.out == f"{handle}  Decided by person:{os_user()}: choose patch.\n"
    again = cli("inbox", "answer", handle, "1", "--person", "ben", "--json")
    assert (again.status, again.problem["code"], again.problem["details"]["choice"]) == (
        4,
        "invalid_transition",
        "patch",
    )


def test_what_names_no_option_or_two_decides_nothing(cli, asked):
    ways = ("--suggest", '{"id": "2", "label": "Twice"}', "--suggest", '{"id": "once", "label": "Once"}')
    handle = asked("How often?", *ways)
    for word, said in (("3", "is no decision"), ("perhaps", "is no decision"), ("2", "names two options")):
        result = cli("inbox", "answer", handle, word)
        assert (result.status, said in result.err) == (2, True)
    assert cli("inbox", "answer", handle, "--choice", "2", "--json").json["answer"]["choice"] == "2"


def test_words_values_and_reasons(cli, asked, tmp_path):
    handle = asked("Which port?")
    assert cli("inbox", "answer", handle, "reject").status == 2  # why?
    assert cli("inbox", "answer", handle, "reject", "--comment", "none").status == 0
    file = tmp_path / "values.json"
    file.write_text('{"host": "a", "now": true}', encoding="utf-8")
    handle = asked("Which host?", "--response-schema", json.dumps(FORM))
    assert "-  host: string, required, where" in cli("inbox", "show", handle).out
    answered = cli("inbox", "answer", handle, "answer", "--values", f"@{file}", "--json").json["answer"]
    assert answered["values"] == {"host": "a", "now": True}
    handle = asked("And this?")
    assert cli("inbox", "answer", handle, "approve", "--seen", "other").status == 4
    vote = asked("Both?", "--needs", "2")
    assert "1 of 2 votes are in" in cli("inbox", "answer", vote, "approve").out


def test_an_agent_does_not_answer(cli, asked, monkeypatch):
    handle = asked()
    assert cli("inbox", "answer", handle, "approve", "--agent", "bot").status == 5
    monkeypatch.setenv("AGENTMEMO_AGENT", "bot")
    assert cli("inbox", "acknowledge", handle).status == 5


def test_somebody_is_on_it(cli, asked):
    handle = asked()
    assert f"person:{os_user()} is on it" in cli("inbox", "acknowledge", handle[4:14]).out
    assert [each["id"] for each in cli("inbox", "--section", "mine", "--json").json["items"]] == [handle]
    assert cli("inbox", "snooze", handle, "1h", "--json").json["hold_until"] is not None
    assert [each["id"] for each in cli("inbox", "--section", "snoozed", "--json").json["items"]] == [handle]
    assert cli("inbox", "snooze", handle, "7d").status == 2
    assert cli("inbox", "release", handle, "--person", "ben").status == 5
    assert cli("inbox", "release", handle, "--comment", "lunch").out.startswith(f"{handle}  It is open; unanswered by ")
    before = cli("inbox", "show", handle, "--json").json["deadline"]
    assert cli("inbox", "extend", handle, "--json").json["deadline"] > before
    assert cli("inbox", "comment", handle, "I look\x1b[31m").status == 0
    assert "remarked: I look\\x1b[31m" in cli("inbox", "show", handle).out
    assert cli("inbox", "delegate", handle, "nobody").status == 2
    assert cli("inbox", "delegate", handle, "ben").status == 0
    assert "handed to person:ben" in cli("inbox", "show", handle).out
    assert cli("inbox", "retry", handle).status in (0, 4)


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ("2\n", {"decision": "choose", "choice": "patch"}),
        ("nonsense\npatch\n", {"decision": "choose", "choice": "patch"}),
        ("r\n\nnot now\n", {"decision": "reject", "comment": "not now"}),
        ("t\nuse the other one\n", {"decision": "answer", "comment": "use the other one"}),
        ("approve\n", {"decision": "approve"}),
        ("x\nwrong day\n", {"decision": "abort", "comment": "wrong day"}),
    ],
)
def test_at_a_terminal_it_asks(cli, asked, typed, lines, answer):
    handle = asked("Which way?", *WAYS)
    result = typed(lines, "inbox", "answer", handle)
    assert result.status == 0
    assert result.out.startswith("MEDIUM question: Which way?")
    assert "  1  Roll back\n  2  Patch it\n  a  approve it as it is shown\n" in result.err
    found = cli("inbox", "show", handle, "--json").json["answer"]
    assert {name: found[name] for name in answer} == answer


@pytest.mark.parametrize("lines", ["q\n", "", "r\n"])
def test_who_leaves_decides_nothing(cli, asked, typed, lines):
    handle = asked()
    result = typed(lines, "inbox", "answer", handle)
    assert (result.status, result.err.endswith("It is left as it is.\n")) == (1, True)
    assert cli("inbox", "show", handle, "--json").json["state"] == "open"


def test_what_is_grave_takes_two_keys(cli, asked, typed):
    handle = asked("Which way?", *WAYS, severity="critical")
    assert typed("2\nyes\n", "inbox", "answer", handle).status == 1
    assert cli("inbox", "show", handle, "--json").json["state"] == "open"
    assert typed("2\npatch\n", "inbox", "answer", handle).status == 0


def test_a_form_is_filled_in_at_the_terminal(cli, asked, typed):
    handle = asked("Where?", "--response-schema", json.dumps(FORM))
    result = typed("t\n\nweb-1\nmany\n8080\n\nperhaps\ny\n", "inbox", "answer", handle)
    assert "That is no integer." in result.err
    found = cli("inbox", "show", handle, "--json").json["answer"]
    assert found["values"] == {"host": "web-1", "port": 8080, "now": True}


def test_arguments_are_edited_at_the_terminal(cli, asked, typed):
    action = json.dumps({"tool": "deploy", "arguments": {"to": "production"}, "reversible": True})
    handle = asked("Ship?", "--kind", "approval", "--context", '"ready"', "--action", action)
    result = typed('e\nstaging\n{"to": "staging"}\n', "inbox", "answer", handle)
    assert "That is not JSON" in result.err
    found = cli("inbox", "show", handle, "--json").json["answer"]
    assert (found["decision"], found["values"]) == ("edit", {"to": "staging"})


def test_nobody_is_asked_where_there_is_no_terminal(cli, asked, typed):
    handle = asked()
    result = cli("inbox", "answer", handle, stdin=b"1\n")
    assert (result.status, "The decision is missing" in result.err) == (2, True)
    assert typed("1\n", "inbox", "answer", handle, "--json").status == 2
    cli("inbox", "answer", handle, "approve")
    assert typed("1\n", "inbox", "answer", handle).status == 1


@pytest.mark.usefixtures("made")
def test_the_store_may_be_named_before_a_noun_that_stands_alone(data, capsys):
    assert main(["--json", "--data", str(data), "inbox"]) == 0
    assert json.loads(capsys.readouterr().out) == {"items": [], "cursor": None}
