"""Policies: documents that people write, in versions that stay."""

from __future__ import annotations

import pytest

from agentmemo import Conflict, Grant, InvalidInput, LimitExceeded, NotFound, PermissionDenied, VersionConflict
from agentmemo.model.access import AGENT_DEFAULT
from agentmemo.model.policies import EXAMPLES, Route, Step

promise = pytest.mark.promise
ROUTE = {"steps": [{"targets": ["person:ana"]}]}
ONCALL = {"zone": "Europe/Berlin", "rota": {"people": ["ana", "ben"], "first_day": "2025-06-02"}}
CONTACT = {"channels": [{"kind": "email", "address": "ana@example.org"}]}
SILENCE = {"matcher": {"severity": "critical"}, "until": "2099-01-01", "reason": "moving house"}
CALENDAR = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//example//EN\r
X-WR-TIMEZONE:Europe/Berlin\r
BEGIN:VEVENT\r
UID:1\r
SUMMARY:Ana Lopez\r
DTSTART;TZID=Europe/Berlin:20250602T090000\r
DTEND;TZID=Europe/Berlin:20250609T090000\r
RRULE:FREQ=WEEKLY;INTERVAL=2\r
EXDATE;TZID=Europe/Berlin:20250630T090000\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:2\r
SUMMARY:ben\r
DTSTART;VALUE=DATE:20250701\r
DTEND;VALUE=DATE:20250702\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:3\r
SUMMARY:ben\r
STATUS:CANCELLED\r
DTSTART:20250702T090000Z\r
DURATION:PT2H\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:4\r
SUMMARY:cy\r
DTSTART:20250703T220000\r
DTEND:20250704T060000\r
RRULE:FREQ=DAILY;COUNT=2\r
END:VEVENT\r
END:VCALENDAR\r
"""


@pytest.fixture
def ana(surface):
    return surface.connect(person="ana")


@pytest.fixture
def ben(surface):
    return surface.connect(person="ben")


@promise("policy.versions")
def test_each_version_stays(surface, ana):
    first = ana.policies.set("route", "default", ROUTE, comment="to begin with")
    second = ana.policies.set("route", "default", ROUTE | {"repeats": 2})
    gone = ana.policies.delete("route", "default", comment="not needed")
    third = ana.policies.set("route", "default", ROUTE)
    assert [(p.version, p.current, p.live) for p in (first, second, gone, third)] == [
        (1, True, True), (2, True, True), (3, True, False), (4, True, True),
    ]  # fmt: skip
    assert (first.author, first.comment, first.at) == ("person:ana", "to begin with", surface.plane.clock.now_us())
    assert first.digest == third.digest != second.digest
    assert ana.policies.get("route", "default") == third
    assert ana.policies.get("route", "default", version=2).document == {**ROUTE, "repeats": 2}
    assert not ana.policies.get("route", "default", version=2).current
    assert ana.policies.get("route", "default", version=3).document is None
    assert [(p.version, p.live) for p in ana.policies.versions("route", "default")] == [
        (4, True), (3, False), (2, True), (1, True),
    ]  # fmt: skip
    page = ana.policies.versions("route", "default", limit=3)
    assert [p.version for p in ana.policies.versions("route", "default", limit=3, cursor=page.cursor)] == [1]


@promise("policy.versions")
def test_what_is_ruled_now_is_listed_and_what_is_deleted_is_absent(ana):
    for kind, name in (("route", "b"), ("route", "a"), ("contact", "ana"), ("rules", "default")):
        ana.policies.set(kind, name, EXAMPLES[kind] if kind != "route" else ROUTE)
    ana.policies.delete("route", "b")
    listed = [("contact", "ana"), ("route", "a"), ("rules", "default")]
    assert [(p.kind, p.name) for p in ana.policies.list()] == listed
    assert [(p.kind, p.name) for p in ana.policies.list(limit=1)] == listed
    assert [p.name for p in ana.policies.list(kind="route")] == ["a"]
    for call in (lambda: ana.policies.get("route", "b"), lambda: ana.policies.delete("route", "b")):
        with pytest.raises(NotFound):
            call()
    with pytest.raises(NotFound):
        ana.policies.get("route", "a", version=9)


@promise("policy.versions")
def test_a_workspace_rules_for_itself(surface, ana):
    ana.policies.set("route", "default", ROUTE)
    assert list(surface.connect(person="ana", workspace="other").policies.list()) == []


@promise("policy.person")
@promise("person.only")
def test_only_people_rule_and_agents_read(surface, ana):
    ana.policies.set("route", "default", ROUTE)
    agent = surface.connect("worker", grants=(AGENT_DEFAULT,))
    assert agent.policies.get("route", "default").document == ROUTE
    assert [p.name for p in agent.policies.list()] == ["default"]
    assert [p.version for p in agent.policies.versions("route", "default")] == [1]
    for call in (
        lambda: agent.policies.set("route", "default", ROUTE),
        lambda: agent.policies.delete("route", "default"),
        lambda: surface.connect("powerful").policies.set("route", "default", ROUTE),
    ):
        with pytest.raises(PermissionDenied) as caught:
            call()
        assert caught.value.details["permission"] == "policies:write"
    assert ana.policies.get("route", "default").version == 1
    with pytest.raises(InvalidInput, match="Only a person"):
        ana.keys.create("agent", "bob", grants=[type(AGENT_DEFAULT)(permissions=("policies:write",))])


@promise("policy.cas")
def test_if_version_sets_only_over_that_version(ana):
    assert ana.policies.set("rules", "default", {"rules": []}, if_version=0).version == 1
    for wrong in (0, 2):
        with pytest.raises(VersionConflict) as caught:
            ana.policies.set("rules", "default", {"rules": []}, if_version=wrong)
        assert caught.value.details == {"expected": wrong, "current": 1}
    with pytest.raises(VersionConflict):
        ana.policies.delete("rules", "default", if_version=2)
    assert (
        ana.policies.set("rules", "default", {"rules": [{"name": "any", "verdict": "ask"}]}, if_version=1).version == 2
    )
    ana.policies.delete("rules", "default", if_version=2)
    with pytest.raises(VersionConflict):
        ana.policies.set("rules", "default", {"rules": []}, if_version=3)
    assert ana.policies.set("rules", "default", {"rules": []}, if_version=0).version == 4


@promise("policy.checked")
def test_what_does_not_fit_writes_nothing(ana):
    refused = [
        ("route", "a", {"steps": [{"target": []}]}, {"path": "$.steps[0]"}),
        ("schedule", "a", {"zone": "Mars"}, {"path": "$.zone"}),
        ("silence", "a", SILENCE | {"until": "2001-01-01"}, {"path": "$.until"}),
        ("contact", "a", None, {"path": "$"}),
        ("route", "a b", ROUTE, {}),
        ("severity", "urgent", {}, {}),
        ("team", "a", {}, {}),
        ("rules", "a", {"rules": [{"text": "\ud800"}]}, None),
    ]
    for kind, name, document, details in refused:
        with pytest.raises(InvalidInput) as caught:
            ana.policies.set(kind, name, document)
        assert caught.value.next_call
        assert details is None or caught.value.details == details
    for call in (ana.policies.get, ana.policies.versions, ana.policies.delete):
        with pytest.raises(InvalidInput, match="Unknown kind"):
            call("team", "a")
    with pytest.raises(InvalidInput):
        ana.policies.list(kind="team")
    with pytest.raises(LimitExceeded):
        ana.policies.set("rules", "a", {"rules": [{"text": "x" * 300_000}]})
    assert list(ana.policies.list()) == []


@promise("policy.checked")
def test_a_struct_of_the_model_is_a_document_too(ana):
    made = ana.policies.set("route", "default", Route(steps=[Step(targets=["person:ana"])]))
    assert made.document == ROUTE


@promise("policy.named")
def test_a_schedule_that_is_named_is_there(ana):
    route = {"steps": [{"targets": ["schedule:oncall"]}]}
    with pytest.raises(InvalidInput, match="no schedule 'oncall'"):
        ana.policies.set("route", "default", route)
    ana.policies.set("schedule", "oncall", ONCALL)
    ana.policies.set("route", "default", route)
    ana.policies.set("severity", "high", {"deadline_working_hours": 8, "schedule": "oncall"})
    with pytest.raises(Conflict) as caught:
        ana.policies.delete("schedule", "oncall")
    assert caught.value.details == {"named_by": ["route/default", "severity/high"]}
    ana.policies.delete("route", "default")
    ana.policies.set("severity", "high", {"deadline_seconds": 60})
    assert not ana.policies.delete("schedule", "oncall").live


@promise("policy.contact")
def test_agents_see_no_addresses(surface, ana, ben):
    made = ana.policies.set("contact", "ana", CONTACT)
    assert ben.policies.get("contact", "ana").document == CONTACT
    agent = surface.connect("worker")
    seen = [agent.policies.get("contact", "ana"), *agent.policies.list(), *agent.policies.versions("contact", "ana")]
    for found in seen:
        assert found.document == {"channels": [{"kind": "email", "address": "(shown to persons only)"}]}
        assert found.digest == made.digest


@promise("policy.contact")
def test_a_persons_webhook_has_a_secret_that_is_shown_to_its_person(surface, ana):
    url = "https://example.org/told"
    contact = {"channels": [{"kind": "webhook", "address": url}, {"kind": "email", "address": "ana@example.org"}]}
    assert ana.policies.set("contact", "ana", contact).webhook_secrets == {}
    found = ana.policies.get("contact", "ana").webhook_secrets
    assert list(found) == [url]
    assert found[url].startswith("whsec_")
    assert ana.policies.get("contact", "ana").webhook_secrets == found
    other = surface.connect(person="ben", grants=[Grant(permissions=("policies:*",))])
    assert other.policies.get("contact", "ana").webhook_secrets == {}
    assert surface.connect("worker").policies.get("contact", "ana").webhook_secrets == {}
    assert ana.policies.list()[0].webhook_secrets == {}


@promise("policy.contact")
def test_nobody_is_reached_where_another_says(surface, ana):
    other = surface.connect(person="ben", grants=[Grant(permissions=("policies:*",))])
    with pytest.raises(PermissionDenied):
        other.policies.set("contact", "ana", CONTACT)
    ana.policies.set("contact", "ana", CONTACT)
    with pytest.raises(PermissionDenied):
        other.policies.delete("contact", "ana")
    assert other.policies.set("contact", "ben", CONTACT).version == 1


@promise("policy.silence")
def test_a_second_person_confirms_a_silence_and_says_so_alone(ana, ben):
    confirmed = SILENCE | {"second": "ben"}
    with pytest.raises(InvalidInput):  # of nothing
        ben.policies.set("silence", "move", confirmed)
    ana.policies.set("silence", "move", SILENCE)
    for person, document in (
        (ana, confirmed),  # for somebody else
        (ana, SILENCE | {"second": "ana"}),  # of one's own
        (ben, SILENCE | {"second": "cy"}),
        (ben, confirmed | {"until": "2099-01-02"}),  # of something else
    ):
        with pytest.raises(InvalidInput) as caught:
            person.policies.set("silence", "move", document)
        assert caught.value.details == {"path": "$.second"}
    assert ben.policies.set("silence", "move", confirmed).version == 2
    with pytest.raises(InvalidInput):  # a change is not confirmed by what was before
        ana.policies.set("silence", "move", confirmed | {"matcher": {"kind": "failure"}})


@promise("trail.every_change")
def test_each_change_is_an_event_with_its_versions_and_a_digest(ana):
    ana.policies.set("contact", "ana", CONTACT, comment="reach me")
    ana.policies.set("contact", "ana", CONTACT | {"zone": "Europe/Berlin"})
    ana.policies.delete("contact", "ana")
    events = [e for e in ana.audit.events() if e.operation.startswith("policy.")]
    assert [(e.operation, e.from_version, e.to_version, sorted(e.commitments)) for e in events] == [
        ("policy.set", 0, 1, ["document", "reason"]),
        ("policy.set", 1, 2, ["document"]),
        ("policy.delete", 2, 3, []),
    ]
    assert events[0].subject == {"kind": "policy", "id": "contact/ana"}
    assert "example.org" not in repr(events)


@promise("policy.calendar")
def test_a_calendar_becomes_shifts(surface, ana):
    since = 1_750_000_000_000_000  # 2025-06-15T15:06:40Z
    assert surface.plane.clock.now_us() >= since
    made = ana.policies.import_ical("oncall", CALENDAR, since=since, days=30, names={"Ana Lopez": "ana"})
    assert (made.version, made.document["zone"]) == (1, "Europe/Berlin")
    assert made.document["shifts"] == [
        {"person": person, "since": f"2025-{since}+02:00", "until": f"2025-{until}+02:00"}
        for person, since, until in (
            ("ana", "06-16T09:00:00", "06-23T09:00:00"),
            ("ben", "07-01T00:00:00", "07-02T00:00:00"),
            ("cy", "07-03T22:00:00", "07-04T06:00:00"),
            ("cy", "07-04T22:00:00", "07-05T06:00:00"),
            ("ana", "07-14T09:00:00", "07-21T09:00:00"),
        )
    ]
    ana.policies.set("schedule", "oncall", made.document | ONCALL)
    again = ana.policies.import_ical("oncall", CALENDAR.encode(), days=3, names={"Ana Lopez": "ana"}, since=since)
    assert again.version == 3
    assert [shift["person"] for shift in again.document["shifts"]] == ["ana"]
    assert again.document["rota"] == ONCALL["rota"]


@promise("policy.calendar")
def test_what_is_no_calendar_changes_nothing(ana):
    for calendar in ("", "hello", b"\xff\xfe", CALENDAR.replace("20250602T090000", "soon"), CALENDAR):
        with pytest.raises(InvalidInput):  # the last one names nobody known
            ana.policies.import_ical("oncall", calendar)
    with pytest.raises(InvalidInput, match="zone"):
        ana.policies.import_ical("oncall", CALENDAR.replace("X-WR-TIMEZONE:Europe/Berlin\r\n", ""))
    with pytest.raises(InvalidInput, match="SECONDLY"):
        ana.policies.import_ical("oncall", CALENDAR.replace("WEEKLY", "SECONDLY"), names={"Ana Lopez": "ana"})
    for wrong in ({"days": 0}, {"days": float("nan")}, {"days": 1e9}, {"since": 1 << 62}):
        with pytest.raises(InvalidInput):
            ana.policies.import_ical("oncall", CALENDAR, names={"Ana Lopez": "ana"}, **wrong)
    with pytest.raises(InvalidInput, match="'Mars' is not a time zone"):
        ana.policies.import_ical("oncall", CALENDAR, zone="Mars", names={"Ana Lopez": "ana"})
    assert list(ana.policies.list()) == []
