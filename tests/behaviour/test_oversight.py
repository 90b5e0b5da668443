"""What `agentmemo report oversight` calls the plane's part of each requirement, shown; and the report itself."""

from __future__ import annotations

import apsw
import psycopg
import pytest

from agentmemo import InvalidInput, PermissionDenied
from agentmemo.clock import SECOND, iso
from agentmemo.testing import ManualPlane

promise = pytest.mark.promise
MINUTE, HOUR = 60, 3600
ACTION = {"tool": "wire", "arguments": {"to": "DE89", "euro": 10}, "reversible": False}


@pytest.fixture
def ana(surface):
    return surface.connect(person="ana")


def ask(agent, *, severity="high", reason="May I?", **more):
    return agent.escalations.create(severity=severity, reason=reason, wait=False, **more)


def propose(agent, **more):
    """An action that waits for its approval."""
    return ask(agent, kind="approval", context={"for": "invoice 7"}, action=ACTION, **more)


@promise("oversight.part")
def test_ho_001_nothing_happens_that_no_person_approved(agent, ana):
    with pytest.raises(InvalidInput, match="needs context"):
        ask(agent, kind="approval", action=ACTION)
    asked = propose(agent)
    with pytest.raises(PermissionDenied):
        agent.escalations.redeem(asked.id, ACTION["tool"], ACTION["arguments"])
    with pytest.raises(PermissionDenied):
        agent.inbox.answer(asked.id, "approve")
    with pytest.raises(InvalidInput, match="needs a comment"):
        ana.inbox.answer(asked.id, "reject")
    ana.inbox.answer(asked.id, "reject", comment="not this invoice")
    with pytest.raises(PermissionDenied):
        agent.escalations.redeem(asked.id, ACTION["tool"], ACTION["arguments"])
    (event,) = ana.audit.events(type="inbox.answer", outcome="ok")
    assert (event.actor, event.subject["id"], event.reason) == ("person:ana", asked.id, "not this invoice")


@promise("oversight.part")
def test_ho_003_silence_is_never_a_yes(surface, agent, ana):
    for person in ("ana", "ben"):
        contact = {"channels": [{"kind": "webhook", "address": f"https://example.org/{person}"}]}
        ana.policies.set("contact", person, contact)
    route = {"steps": [{"targets": ["person:ana"]}, {"targets": ["person:ben"], "after_seconds": 10 * HOUR}]}
    ana.policies.set("route", "default", route)
    asked = propose(agent, reason="Pay?")
    assert {told.person for told in agent.escalations.get(asked.id).told} == {"ana"}
    surface.plane.advance(2 * HOUR)
    assert {told.person for told in agent.escalations.get(asked.id).told} == {"ana", "ben"}
    surface.plane.advance(2 * HOUR)
    found = agent.escalations.get(asked.id)
    assert (found.state, found.answer.decision, found.answer.defaulted) == ("defaulted", "reject", True)
    assert (found.answer.by, found.votes) == ("service:agentmemo", [])
    (event,) = ana.audit.events(type="escalation.default")
    assert (event.actor, event.subject["id"]) == ("service:agentmemo", asked.id)
    assert [event.subject["percent"] for event in ana.audit.events(type="escalation.warn")] == ["50", "80"]


@pytest.mark.surfaces("sync")
@promise("oversight.part")
def test_ho_005_an_altered_decision_is_noticed(plane, agent, ana):
    asked = propose(agent)
    ana.inbox.acknowledge(asked.id)
    ana.inbox.answer(asked.id, "approve", comment="paid by hand last time")
    agent.escalations.redeem(asked.id, ACTION["tool"], ACTION["arguments"])
    events = [event.operation for event in ana.audit.events(text=asked.id)]
    assert events == [
        "escalation.create", "escalation.climb", "inbox.acknowledge", "inbox.answer", "escalation.decide",
        "escalation.redeem",
    ]  # fmt: skip
    assert ana.audit.verify().intact
    plane.close()
    if plane.engine.database.capabilities.file is None:
        with psycopg.connect(plane.path, autocommit=True) as server:
            server.execute(
                "UPDATE event SET leaf = convert_to(replace(convert_from(leaf, 'UTF8'), '\"ana\"', '\"eve\"'), 'UTF8') "
                "WHERE operation = 'inbox.answer'"
            )
    else:
        with apsw.Connection(str(plane.path)) as file:
            file.execute(
                "UPDATE event SET leaf = CAST(replace(CAST(leaf AS TEXT), '\"ana\"', '\"eve\"') AS BLOB) "
                "WHERE operation = 'inbox.answer'"
            )
    edited = ManualPlane(plane.path, settings=plane.settings)
    assert not edited.connect(person="ben").audit.verify().intact
    edited.close()


@promise("oversight.part")
def test_ho_006_a_paused_run_goes_on_where_it_was(surface, agent, ana):
    done = []

    @agent.task("deploy")
    def deploy(run):
        run.step("build", lambda: done.append("built"))
        answer = agent.escalate(severity="critical", reason="Ship it?", suggested_actions=["ship", "wait"])
        run.step("ship", lambda: done.append(answer.choice))

    started = agent.start("deploy", key="1")
    agent.work(concurrency=1, until_idle=True)
    paused = agent.runs.get(started.id)
    assert (paused.state, paused.wake, paused.worker) == ("waiting", "person", None)
    (asked,) = ana.inbox.list()
    ana.inbox.answer(asked.id, "choose", choice="ship")
    agent.work(concurrency=1, until_idle=True)
    assert (agent.runs.get(started.id).state, done) == ("completed", ["built", "ship"])


@promise("oversight.part")
def test_ho_008_the_kill_switch_stops_an_agent_and_keeps_its_state(surface, agent, ana):
    agent.state.set("work", "found", ["a", "b"])
    with pytest.raises(PermissionDenied, match="disabled"), agent.run("survey", "1") as run:
        run.step("look", lambda: 1)
        ana.keys.disable("agent", reason="out of bounds")
        agent.state.set("work", "found", [])
    for call in (lambda: agent.state.get("work", "found"), lambda: ask(agent), agent.briefing):
        with pytest.raises(PermissionDenied, match="disabled"):
            call()
    assert ana.state.get("work", "found") == ["a", "b"]
    kept = ana.runs.find("survey", "1")
    assert (kept.state, kept.steps, kept.worker) == ("pending", 1, None)
    (event,) = ana.audit.events(type="actor.disable")
    assert (event.actor, event.reason) == ("person:ana", "out of bounds")
    assert ana.reports.oversight().lines[4].configured == ["disabled now: agent:agent"]


@promise("oversight.part")
def test_ho_010_the_irreversible_never_happens_by_default(surface, agent, ana):
    ways = [{"id": "drop", "label": "Drop the table"}, {"id": "keep", "label": "Keep it", "reversible": True}]
    for context in ({}, {"action": ACTION}):
        with pytest.raises(InvalidInput, match="cannot happen by default"):
            ask(agent, reason="Drop it?", suggested_actions=ways, default="drop", **context)
    with pytest.raises(InvalidInput):
        ask(agent, default="approve")
    asked = propose(agent)
    surface.plane.advance(5 * HOUR)
    assert agent.escalations.get(asked.id).answer.decision == "reject"
    with pytest.raises(PermissionDenied):
        agent.escalations.redeem(asked.id, ACTION["tool"], ACTION["arguments"])
    again = propose(agent, key="again")
    ana.inbox.answer(again.id, "approve")
    with pytest.raises(PermissionDenied, match="not the action that was approved"):
        agent.escalations.redeem(again.id, ACTION["tool"], ACTION["arguments"] | {"euro": 1000})
    agent.escalations.redeem(again.id, ACTION["tool"], ACTION["arguments"])
    with pytest.raises(PermissionDenied, match="used up"):
        agent.escalations.redeem(again.id, ACTION["tool"], ACTION["arguments"])
    late = propose(agent, key="late")
    ana.inbox.answer(late.id, "approve")
    surface.plane.advance(16 * MINUTE)
    with pytest.raises(PermissionDenied, match="expired"):
        agent.escalations.redeem(late.id, ACTION["tool"], ACTION["arguments"])


@promise("oversight.part")
def test_ho_013_a_doubt_halts_the_run_until_a_person_decides(surface, agent, ana):
    done = []

    @agent.task("scan")
    def scan(run):
        answer = agent.escalate(
            severity="critical", kind="risk", reason="Is 10.0.1.50 ours?", context={"confidence_percent": 60},
            suggested_actions=["go on", "leave it"], default="pause",
        )  # fmt: skip
        run.step("scan", lambda: done.append(answer.choice))

    started = agent.start("scan", key="1")
    for seconds in (0, HOUR, 24 * HOUR):
        surface.plane.advance(seconds)
        agent.work(concurrency=1, until_idle=True)
        assert (agent.runs.get(started.id).state, done) == ("waiting", [])
    (asked,) = ana.inbox.list()
    assert asked.lapsed_at is not None
    ana.inbox.answer(asked.id, "choose", choice="leave-it", comment="it is the neighbour's")
    agent.work(concurrency=1, until_idle=True)
    assert done == ["leave-it"]
    (event,) = ana.audit.events(type="inbox.answer")
    assert (event.actor, event.reason) == ("person:ana", "it is the neighbour's")


@promise("oversight.part")
def test_ho_016_equal_questions_reach_people_once(surface, agent, ana):
    ana.policies.set("contact", "ana", {"channels": [{"kind": "webhook", "address": "https://example.org/ana"}]})
    for number in range(9):
        surface.connect(f"agent-{number}").escalations.create(severity="high", reason="Which key?", wait=False)
    (asked,) = ana.inbox.list()
    assert (asked.occurrences, len(ana.inbox.get(asked.id).told)) == (9, 1)
    until = iso(surface.plane.clock.now_us() + HOUR * SECOND)
    ana.policies.set("silence", "scans", {"matcher": {"kind": "info"}, "until": until, "reason": "expected"})
    silenced = ask(agent, kind="info", reason="Port 22 is open")
    assert agent.escalations.get(silenced.id).told == []
    surface.plane.advance(HOUR)
    told = ask(agent, kind="info", reason="Port 23 is open")
    assert len(agent.escalations.get(told.id).told) == 1


@promise("oversight.lines")
def test_each_line_says_what_is_missing_until_it_is_set(surface, agent, ana):
    found = agent.reports.oversight()
    assert [line.id[-3:] for line in found.lines] == ["001", "003", "005", "006", "008", "010", "013", "016"]
    assert [line.id[-3:] for line in found.lines if not line.met] == ["001", "003"]
    assert (found.met, found.at) == (6, surface.plane.clock.now_us())
    assert all(line.asks and line.part and line.left and line.configured for line in found.lines)
    gates, timeouts = found.lines[:2]
    assert ["rules" in each for each in gates.missing] == [True]
    assert len(timeouts.missing) == 4
    for person, severities in (("ana", None), ("ben", ["critical", "high", "medium"])):
        channel = {"kind": "webhook", "address": f"https://example.org/{person}", "severities": severities}
        ana.policies.set("contact", person, {"channels": [channel]})
    (missing,) = ana.reports.oversight().lines[1].missing
    assert "low questions" in missing


@promise("oversight.lines")
def test_each_line_shows_what_people_ruled(surface, agent, ana):
    severity = {"deadline_seconds": 300, "fallback": "abort", "needs": {"count": 2}, "batch_seconds": 30}
    ana.policies.set("severity", "low", severity)
    ana.policies.set("silence", "move", {"matcher": {"run": "nightly"}, "until": "2099-01-01", "reason": "moving"})
    _, timeouts, _, pauses, _, irreversible, _, fatigue = agent.reports.oversight().lines
    assert timeouts.configured == [
        "critical: 30 min, then pause; told: nobody",
        "high: 4 h, then deny; told: nobody",
        "medium: 1 d, then deny; told: nobody",
        "low: 5 min, then abort; told: nobody",
    ]
    assert pauses.configured == ["0 runs wait for a person now", "unanswered, these go on waiting: critical"]
    assert irreversible.configured[3] == "low: 2 must agree, an approval holds 15 min"
    assert fatigue.configured == [
        "nobody is told before: critical 0 s, high 0 s, medium 1 min, low 30 s",
        "0 rules",
        "silence move until 2099-01-01",
    ]
