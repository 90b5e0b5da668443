from __future__ import annotations

import json

from agentmemo.settings import os_user

ROUTE = {"steps": [{"targets": ["person:ana"]}]}
CALENDAR = b"""BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//EN
BEGIN:VEVENT
UID:1
SUMMARY:Ana Lopez
DTSTART:20300101T090000
DTEND:20300101T170000
RRULE:FREQ=DAILY;COUNT=3
END:VEVENT
END:VCALENDAR
"""


def test_a_policy_is_set_read_and_deleted(cli, tmp_path):
    file = tmp_path / "route.json"
    file.write_text(json.dumps(ROUTE), encoding="utf-8")
    assert cli("policy", "set", "route", "default", file, "--comment", "first").out == (
        "route/default  is ruled, version 1.\n"
    )
    made = cli("policy", "set", "route", "default", "-", "--json", "--if-version", 1, stdin=b'{"steps": []}')
    assert (made.status, made.problem["code"], made.problem["details"]) == (2, "invalid_input", {"path": "$.steps"})
    made = cli("policy", "set", "route", "default", "-", "--json", stdin=json.dumps(ROUTE | {"repeats": 1}).encode())
    assert (made.json["version"], made.json["author"]) == (2, f"person:{os_user()}")
    shown = cli("policy", "get", "route", "default")
    assert json.loads(shown.out) == ROUTE | {"repeats": 1}
    assert "route/default version 2, by person:" in shown.err
    assert cli("policy", "get", "route", "default", "--version", 1, "--json").json["document"] == ROUTE
    assert cli("policy", "set", "route", "default", file, "--if-version", 1).status == 4
    assert "default" in cli("policy", "list", "--kind", "route").out
    assert [each["name"] for each in cli("policy", "list", "--json").json["items"]] == ["default"]
    assert cli("policy", "delete", "route", "default").out == "route/default  is ruled no longer, version 3.\n"
    assert cli("policy", "list").err == "No policies.\n"
    assert cli("policy", "get", "route", "default").status == 3
    listed = cli("policy", "versions", "route", "default").out
    assert "deleted" in listed
    assert "first" in listed
    assert [each["live"] for each in cli("policy", "versions", "route", "default", "--json").json["items"]] == [
        False, True, True,
    ]  # fmt: skip


def test_an_agent_does_not_rule(cli):
    result = cli("policy", "set", "rules", "default", "-", "--agent", "worker", "--json", stdin=b'{"rules": []}')
    assert (result.status, result.problem["code"]) == (5, "permission_denied")


def test_a_calendar_is_imported(cli, tmp_path):
    file = tmp_path / "oncall.ics"
    file.write_bytes(CALENDAR.replace(b"\n", b"\r\n"))
    words = ("--since", "2030-01-01", "--days", 2, "--known-as", "Ana Lopez=ana")
    assert cli("policy", "import-ical", "oncall", file, *words).status == 2  # in which zone?
    done = cli("policy", "import-ical", "oncall", file, *words, "--zone", "UTC")
    assert done.out == "schedule/oncall  has 2 shifts, version 1.\n"
    again = cli("policy", "import-ical", "oncall", "-", *words[:2], "--known-as", "Ana Lopez", stdin=CALENDAR)
    assert (again.status, "--known-as" in again.err) == (2, True)
    again = cli("policy", "import-ical", "oncall", "-", *words[:2], "--json", *words[4:], stdin=CALENDAR)
    assert again.json["document"]["shifts"][2] == {
        "person": "ana", "since": "2030-01-03T09:00:00+00:00", "until": "2030-01-03T17:00:00+00:00",
    }  # fmt: skip
