"""What the engine asks of policies: whom to tell at a step, what is silenced, and by when there is an answer."""

from __future__ import annotations

import pytest

from agentmemo.clock import SECOND
from agentmemo.engine import policies
from agentmemo.model.policies import ROUTE, SCHEDULE, SEVERITY, Recipient, Subject

HOUR = 3600 * SECOND
FAR = 1 << 60


@pytest.fixture
def ana(plane):
    return plane.connect(person="ana")


@pytest.fixture
def ask(plane, ana):
    """`ask(function, ...)` as the engine's own duties ask, inside a transaction."""
    ana.policies.list()  # a workspace begins with its first call
    calls = plane.engine.system_calls([1])

    def call(function, *arguments, **options):
        return plane.engine.database.read(lambda tx: function(tx, calls[1], *arguments, **options))

    return call


@pytest.fixture
def in_workspace(plane, ana):
    ana.policies.list()
    return lambda function, *arguments: plane.engine.database.read(lambda tx: function(tx, 1, *arguments))


def contact(ana, name, *channels, **fields):
    given = [{"kind": "email", "address": f"{name}@example.org"}, *channels]
    ana.policies.set("contact", name, {"channels": given, **fields})


def people(found):
    return [recipient.person for recipient in found]


def test_without_contacts_nobody_is_told(ana, ask):
    assert ask(policies.recipients, None, 0, 0) == []
    ana.policies.set("route", "default", {"steps": [{"targets": ["person:ana"]}]})
    assert ask(policies.recipients, None, 0, 0) == []


def test_without_a_route_every_contact_is_told(ana, ask):
    contact(ana, "cy", sensitivity="public")
    contact(ana, "ana", {"kind": "ntfy", "address": "alerts"})
    assert ask(policies.recipients, None, 5, 0) == [
        Recipient("ana", "email", "ana@example.org", "internal"),
        Recipient("ana", "ntfy", "alerts", "internal"),
        Recipient("cy", "email", "cy@example.org", "public"),
    ]


def test_steps_go_on_through_repeats_and_a_lost_route_falls_back(ana, ask, in_workspace):
    for name in ("ana", "ben", "cy"):
        contact(ana, name)
    steps = [{"targets": ["person:ben", "person:nobody"]}, {"targets": ["person:cy", "person:cy"], "after_seconds": 60}]
    ana.policies.set("route", "default", {"steps": steps, "repeats": 1})
    ana.policies.set("route", "ops", {"steps": [{"targets": ["person:ana"]}]})
    assert [people(ask(policies.recipients, None, step, 0)) for step in range(4)] == [["ben"], ["cy"], ["ben"], ["cy"]]
    assert people(ask(policies.recipients, "ops", 0, 0)) == ["ana"]
    assert people(ask(policies.recipients, "lost", 0, 0)) == ["ben"]
    found = in_workspace(policies.route_of, None)
    assert ([step.after_seconds for step in found.steps], found.repeats) == ([0.0, 60.0], 1)
    ana.policies.delete("route", "default")
    assert people(ask(policies.recipients, "lost", 0, 0)) == ["ana", "ben", "cy"]


def test_a_schedule_says_who_is_told(plane, ana, ask):
    now = plane.clock.now_us()
    for name in ("ana", "ben"):
        contact(ana, name)
    override = {"person": "ben", "since": "2000-01-01", "until": "2100-01-01"}
    ana.policies.set("schedule", "oncall", {"zone": "UTC", "overrides": [override]})
    ana.policies.set("route", "default", {"steps": [{"targets": ["schedule:oncall", "person:ana", "person:ben"]}]})
    assert people(ask(policies.recipients, None, 0, now)) == ["ben", "ana"]
    ana.policies.set("schedule", "oncall", {"zone": "UTC"})
    assert people(ask(policies.recipients, None, 0, now)) == ["ana", "ben"]


def test_a_channel_may_be_kept_for_some_severities(ana, ask):
    contact(ana, "ana", {"kind": "slack", "address": "U1", "severities": ["critical", "high"]})

    def channels(severity):
        return [recipient.channel for recipient in ask(policies.recipients, None, 0, 0, severity=severity)]

    assert (channels("high"), channels("low"), channels(None)) == (["email", "slack"], ["email"], ["email", "slack"])


def test_what_is_silenced_names_the_silence(plane, ana, ask):
    subject = Subject("failure", "high", "agent:worker", "nightly")
    document = {"matcher": {"run": "nightly"}, "until": "2099-01-01", "reason": "moving"}
    assert ask(policies.silenced, subject, 0) is None
    ana.policies.set("silence", "move", document)
    critical = subject._replace(severity="critical")
    assert ask(policies.silenced, subject, 0) == "move@1"
    assert ask(policies.silenced, subject._replace(run="other"), 0) is None
    assert ask(policies.silenced, subject, FAR) is None
    assert ask(policies.silenced, critical, 0) is None
    plane.connect(person="ben").policies.set("silence", "move", document | {"second": "ben"})
    assert ask(policies.silenced, critical, 0) == "move@2"
    ana.policies.delete("silence", "move")
    assert ask(policies.silenced, subject, 0) is None


def test_the_document_in_force_is_read_as_its_struct(ana, in_workspace):
    assert in_workspace(policies.current, SEVERITY, "high") is None
    ana.policies.set("severity", "high", {"deadline_seconds": 60})
    ana.policies.set("severity", "high", {"deadline_seconds": 120, "needs": {"count": 2}})
    found = in_workspace(policies.current, SEVERITY, "high")
    assert (found.name, found.version, found.document.deadline_seconds, found.document.needs.count) == (
        "high", 2, 120, 2,
    )  # fmt: skip
    ana.policies.delete("severity", "high")
    assert in_workspace(policies.current, SEVERITY, "high") is None
    assert in_workspace(policies.all_of, ROUTE) == []


def test_a_deadline_may_be_in_working_hours(ana, in_workspace):
    start = 1_796_047_200_000_000  # Monday, 30 November 2026, 14:00 in UTC
    hours = {"days": ["monday", "tuesday"], "from": "09:00", "to": "17:00"}
    ana.policies.set("schedule", "office", {"zone": "UTC", "working_hours": hours})
    for document, end in (
        ({}, None),
        ({"deadline_seconds": 3600}, start + HOUR),
        ({"deadline_working_hours": 4, "schedule": "office"}, start + 20 * HOUR),
    ):
        ana.policies.set("severity", "high", document)
        severity = in_workspace(policies.current, SEVERITY, "high").document
        assert in_workspace(policies.deadline_of, severity, start) == end
    assert in_workspace(policies.current, SCHEDULE, "office").version == 1
