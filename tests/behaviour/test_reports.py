"""The attention report: what asking people cost."""

from __future__ import annotations

import pytest

from agentmemo import InvalidInput, PermissionDenied
from agentmemo.api.operations import BY_NAME
from agentmemo.clock import SECOND
from agentmemo.model.access import AGENT_DEFAULT, Caller, Grant
from agentmemo.model.escalations import CreateEscalation

promise = pytest.mark.promise
DAY = 86_400
ACTION = {"tool": "deploy", "arguments": {"to": "production"}}


@pytest.fixture
def ana(surface):
    return surface.connect(person="ana")


@pytest.fixture
def ben(surface):
    return surface.connect(person="ben")


def ask(agent, number, *, reason="May I deploy?", severity="low", **more):
    """A question of its own: no two have the same context."""
    return agent.escalations.create(
        severity=severity, reason=reason, context={"number": number}, key=f"{reason} {number}", wait=False, **more
    )


def approve(person, agent, number, *, reason="May I deploy?"):
    asked = ask(agent, number, reason=reason, kind="approval", action=ACTION | {"revision": str(number)})
    return person.inbox.answer(asked.id, "approve")


@promise("report.attention")
def test_nothing_was_asked(surface, ana):
    found = ana.reports.attention()
    assert (found.questions, found.tool_calls, found.questions_per_100_calls) == (0, 0, None)
    assert (found.seconds, found.approve_rate, found.defaulted_share, found.people) == (None, None, None, [])
    assert found.until - found.since == 7 * DAY * SECOND


@promise("report.attention")
def test_what_was_asked_and_what_came_of_it(surface, agent, ana, ben):
    plane = surface.plane
    asked = [
        ask(agent, number, kind="approval", action=ACTION | {"revision": str(number)}, severity="high")
        for number in range(6)
    ]
    answers = (
        (10, ana, "approve", {}),
        (20, ana, "edit", {"values": {"to": "staging"}}),
        (30, ben, "reject", {"comment": "no"}),
        (100, ben, "approve", {}),
    )
    for question, (seconds, person, decision, more) in zip(asked, answers, strict=False):
        plane.advance(seconds)
        person.inbox.answer(question.id, decision, **more)
    agent.escalations.withdraw(asked[4].id, "not needed")
    plane.advance(4 * 3600)
    found = ana.reports.attention()
    assert (found.questions, found.asks, found.decided, found.defaulted, found.withdrawn) == (6, 6, 4, 1, 1)
    assert (found.undecided, found.auto_decided, found.lapsed) == (0, 0, 0)
    assert (found.seconds, found.seconds_p90) == (30.0, 160.0)
    assert (found.approve_rate, found.edited_share, found.rejected_share) == (0.5, 0.2, 0.2)
    assert (found.defaulted_share, found.warned, found.warned_late) == (0.2, 1, 1)
    assert [(each.escalation, each.default) for each in found.unanswered] == [(asked[5].id, "deny")]
    assert [(each.person, each.decisions, each.seconds, each.look_seconds) for each in found.people] == [
        ("person:ana", 2, 10.0, 10.0), ("person:ben", 2, 60.0, 60.0),
    ]  # fmt: skip
    assert [each.approve_rate for each in found.people] == [0.5, 0.5]
    assert [(each.asker, each.questions) for each in found.askers] == [("agent:agent", 6)]


@promise("report.attention")
def test_a_question_that_goes_on_waiting_is_unanswered(surface, agent, ana):
    asked = ask(agent, 1, severity="critical")
    surface.plane.advance(31 * 60)
    found = ana.reports.attention()
    assert (found.lapsed, found.undecided, found.defaulted) == (1, 1, 0)
    assert [each.escalation for each in found.unanswered] == [asked.id]
    ana.inbox.answer(asked.id, "answer", comment="go on")
    assert ana.reports.attention().unanswered == []


@promise("report.attention")
def test_an_answer_that_has_not_arrived_is_counted(surface, agent, ana):
    """Its asker waited, and is gone."""
    caller = Caller(kind="agent", name="agent", grants=(AGENT_DEFAULT,))
    request = CreateEscalation(severity="low", reason="Still there?", key="1")
    asked = surface.plane.engine.call(BY_NAME["escalation.create"], caller, request)
    ana.inbox.answer(asked.id, "answer", comment="yes")
    assert ana.reports.attention().undelivered == 1
    agent.escalations.receive(asked.id)
    agent.escalations.receive(asked.id)
    assert ana.reports.attention().undelivered == 0


@promise("report.attention")
def test_questions_are_set_against_the_work_that_was_done(surface, agent, ana):
    with agent.run("old", "1") as run:
        run.step("before", lambda: 1)
    with agent.run("long", "1") as run:
        run.step("before", lambda: 1)
        surface.plane.advance(8 * DAY)
        run.step("within", lambda: 1)
    with agent.run("short", "1") as run:
        for number in range(5):
            run.step(f"step {number}", lambda: 1)
    ask(agent, 1)
    with agent.run("going on", "1") as run:
        run.step("within", lambda: 1)
        found = ana.reports.attention()
        assert (found.tool_calls, found.questions_per_100_calls) == (7, pytest.approx(100 / 7))
    surface.plane.advance(1)
    assert ana.reports.attention().tool_calls == 7


@promise("report.window")
def test_only_the_window_counts(surface, agent, ana):
    clock = surface.plane.clock
    ask(agent, 1)
    surface.plane.advance(DAY)
    middle = clock.now_us()
    approve(ana, agent, 2)
    surface.plane.advance(DAY)
    ask(agent, 3)
    assert ana.reports.attention().questions == 3
    found = ana.reports.attention(since=middle, until=clock.now_us())
    assert (found.questions, found.decided, found.people[0].decisions) == (1, 1, 1)
    assert ana.reports.attention(until=middle).questions == 1
    assert surface.connect(person="ana", workspace="other").reports.attention().questions == 0
    for since, until in ((middle, middle), (middle, middle - 1), (middle - 400 * DAY * SECOND, middle)):
        with pytest.raises(InvalidInput):
            ana.reports.attention(since=since, until=until)


@pytest.mark.surfaces("sync")
@promise("report.reflex")
def test_who_approves_everything_is_named(surface, agent, ana):
    for number in range(49):
        approve(ana, agent, number)
        surface.plane.clock.advance(20)
    assert ana.reports.attention().people[0].warning.startswith("decides within 0.0 s")
    for number in range(50):
        asked = ask(agent, number, reason="And this?", kind="approval", action=ACTION | {"revision": f"b{number}"})
        surface.plane.clock.advance(20)
        ana.inbox.answer(asked.id, "approve")
    (found,) = ana.reports.attention().people
    assert (found.decisions, found.approve_rate, found.look_seconds) == (99, 1.0, 20.0)
    assert found.warning.startswith("approved 99 of 99")


@promise("report.reflex")
def test_who_goes_through_a_heap_faster_than_anybody_reads_is_named(surface, agent, ana, ben):
    """Each was asked an hour ago, and all were answered within seconds."""
    asked = [ask(agent, number) for number in range(20)]
    surface.plane.advance(3600)
    for question in asked[:10]:
        surface.plane.clock.advance(1)
        ana.inbox.answer(question.id, "answer", comment="fine")
    for question in asked[10:]:
        surface.plane.clock.advance(60)
        ben.inbox.answer(question.id, "answer", comment="fine")
    found = {each.person: each for each in ana.reports.attention().people}
    assert found["person:ana"].seconds > 3600
    assert (found["person:ana"].look_seconds, found["person:ben"].look_seconds) == (1.0, 60.0)
    assert found["person:ana"].warning == "decides within 1.0 s: nobody reads that fast"
    assert (found["person:ben"].warning, found["person:ben"].approve_rate) == ("", None)


@pytest.mark.surfaces("sync")
@promise("report.often")
def test_what_is_asked_again_and_again_is_shown(surface, agent, ana):
    other = surface.connect("other")
    for number in range(50):
        approve(ana, agent, number)
    for caller in (agent, other, surface.connect("third")):
        caller.escalations.create(severity="low", reason="Where is the key?", wait=False)
    ask(agent, 1, reason="Asked once")
    found = ana.reports.attention()
    assert [(each.reason, each.questions, each.asks, each.approved) for each in found.often] == [
        ("May I deploy?", 50, 50, 50), ("Where is the key?", 1, 3, 0),
    ]  # fmt: skip
    assert "a rule could decide it" in found.often[0].advice
    assert found.often[1].advice == ""
    assert (found.questions, found.asks) == (52, 54)
    assert [(each.asker, each.questions, each.asks) for each in found.askers] == [("agent:agent", 52, 54)]


@promise("report.attention")
def test_a_report_needs_a_permission(surface):
    agent = surface.connect("bare", grants=[Grant(permissions=("state:read",))])
    with pytest.raises(PermissionDenied):
        agent.reports.attention()
    with pytest.raises(PermissionDenied):
        agent.reports.oversight()
