"""The reports, as they are printed."""

from __future__ import annotations

import json

import pytest

CONTACT = {"channels": [{"kind": "webhook", "address": "https://example.org/told"}]}


@pytest.mark.usefixtures("made")
def test_what_asking_costs(cli):
    nothing = cli("report", "attention")
    assert nothing.out.splitlines()[1].split() == ["questions", "0"]
    for number in range(3):
        reason = "May I?" if number < 2 else "Which?"
        cli("escalate", "low", reason, "--context", number, "--escalation-key", number, "--agent", "bot")
    handle = cli("inbox", "--json").json["items"][0]["id"]
    cli("inbox", "answer", handle, "approve", "--person", "ana")
    shown = cli("report", "attention", "--days", 1)
    for part in (
        "questions        3\n",
        "decided          1 by people, 2 still open\n",
        "approved         100 %\n",
        "person:ana  1 ",
        "agent:bot  3          3\n",
        "2      1 of 1            May I?\n",
    ):
        assert part in shown.out
    found = cli("report", "attention", "--since", "1h", "--json").json
    assert (found["questions"], found["people"][0]["person"]) == (3, "person:ana")
    assert cli("report", "attention", "--until", "1h", "--json").json["questions"] == 0
    assert cli("report", "attention", "--days", 1, "--since", "1h").status == 2
    assert cli("report", "attention", "--days", 1000).status == 2


@pytest.mark.usefixtures("made")
def test_how_oversight_is_set_up(cli, tmp_path):
    shown = cli("report", "oversight")
    assert (shown.status, shown.out.splitlines()[-1]) == (1, "6 of 8 are met as it is set up now.")
    assert "APTS-HO-001  NOT MET\n" in shown.out
    assert "tests/behaviour/test_oversight.py::test_ho_016_" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 110
    contact = tmp_path / "contact.json"
    contact.write_text(json.dumps(CONTACT), encoding="utf-8")
    for person in ("ana", "ben"):
        cli("policy", "set", "contact", person, contact)
    found = cli("report", "oversight", "--json")
    assert [line["id"] for line in found.json["lines"] if not line["met"]] == ["APTS-HO-001"]
