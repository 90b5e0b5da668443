"""Escalations where two things meet: a wait and an end, two askers, two rulings, a second deadline."""

from __future__ import annotations

import pytest

from agentmemo import InvalidInput
from agentmemo.api.operations import BY_NAME
from agentmemo.clock import SECOND, utc
from agentmemo.model.access import AGENT_DEFAULT, Caller
from agentmemo.model.escalation_rules import YEAR
from agentmemo.model.escalations import CreateEscalation

promise = pytest.mark.promise
HOUR = 3600 * SECOND
DELETE = {"tool": "delete_branch", "arguments": {"name": "old"}, "revision": "abc"}


@pytest.fixture
def ana(surface):
    return surface.connect(person="ana")


@pytest.fixture
def ben(surface):
    return surface.connect(person="ben")


def ask(agent, reason="Which way?", **options):
    options.setdefault("severity", "high")
    return agent.escalate(reason=reason, wait=False, **options)


def approve(agent, **options):
    return ask(agent, "Delete it?", kind="approval", context="merged", action=DELETE, **options)


@promise("escalation.delivery")
def test_a_run_that_asks_something_else_and_ends_leaves_no_answer_undelivered(surface, plane, agent, ana):
    first = []

    @agent.task("job")
    def job(run):
        if first:
            run.wait("permission")  # its code was changed meanwhile
        first.append(run.id)
        return agent.escalate(severity="high", reason="Go?").decision

    started = agent.start("job", key="1")
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    ana.inbox.answer(asked.id, "answer", comment="go")
    agent.work(until_idle=True)
    assert agent.runs.get(started.id).waiting_for == "permission"
    agent.runs.cancel(started.id, "not needed")
    assert [waiter.state for waiter in agent.escalations.get(asked.id).waiters] == ["gone"]
    assert list(ana.inbox.list(section="undelivered")) == []


@promise("escalation.persons")
def test_nobody_asks_in_the_place_of_a_run_that_another_holds(surface, plane, agent, ana):
    stranger = Caller(kind="agent", name="stranger", grants=(AGENT_DEFAULT,))
    with agent.run("job", "1") as run:
        planted = CreateEscalation(
            severity="low", reason="Is it Monday?", run=run.id, name="escalate", key="1", wait=False
        )
        with pytest.raises(InvalidInput, match="needs the claim"):
            plane.engine.call(BY_NAME["escalation.create"], stranger, planted)
        assert ask(agent, "Delete everything?").reason == "Delete everything?"


@promise("escalation.withdraw")
def test_a_question_is_replaced_also_where_it_collapses_with_itself(agent, ana):
    old = ask(agent, "Which mirror?", key="1", collapse_key="mirror")
    new = ask(agent, "Which mirror, of these?", key="2", collapse_key="mirror", supersedes=old.id)
    assert (new.reason, new.supersedes) == ("Which mirror, of these?", old.id)
    assert agent.escalations.get(old.id).superseded_by == new.id
    other = ask(agent, "Another?", key="3")
    joined = ask(agent, "Which mirror?", key="4", collapse_key="mirror", supersedes=other.id)
    assert (joined.id, agent.escalations.get(other.id).superseded_by) == (new.id, new.id)


@promise("escalation.withdraw")
def test_a_question_asked_first_and_waited_for_later_is_withdrawn_with_its_run(surface, plane, agent, ana):
    @agent.task("job")
    def job(run):
        agent.escalate(severity="high", reason="Go?", key="go", wait=False)
        agent.escalate(severity="high", reason="Go?", key="go")

    started = agent.start("job")
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    assert (asked.waiting, agent.runs.get(started.id).waiting_for) == (1, asked.id)
    agent.runs.cancel(started.id, "not needed")
    assert agent.escalations.get(asked.id).state == "withdrawn"


@promise("escalation.durable")
def test_a_fork_has_the_answers_that_were_given_before_it(surface, plane, agent, ana):
    @agent.task("job")
    def job(run):
        said = agent.escalate(severity="high", reason="Go?").comment
        run.step("act", lambda: said)
        return said

    started = agent.start("job", key="1")
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    ana.inbox.answer(asked.id, "answer", comment="go")
    agent.work(until_idle=True)
    forked = agent.runs.fork(started.id, from_step="act")
    agent.work(until_idle=True)
    assert (agent.runs.get(forked.id).result, list(ana.inbox.list())) == ("go", [])


@promise("escalation.quorum")
def test_joining_lowers_nobodys_bar(agent):
    assert approve(agent, key="1").id != approve(agent, key="2", needs={"count": 2}).id
    first = ask(agent, key="3", collapse_key="x")
    second = ask(agent, key="4", collapse_key="x", needs={"exclude": ["ben"]})
    assert (first.id != second.id, second.needs.exclude) == (True, ["ben"])
    assert ask(agent, key="5", collapse_key="x").id == first.id


@promise("escalation.quorum")
def test_nobody_widens_alone_what_two_must_approve(agent, ana, ben):
    asked = approve(agent, needs={"count": 2})
    ana.inbox.answer(asked.id, "approve")
    assert ben.inbox.answer(asked.id, "approve", scope="run").state == "open"
    decided = ana.inbox.answer(asked.id, "approve", scope="run")
    assert (decided.state, decided.answer.scope, decided.uses) == ("decided", "run", 1000)


@promise("escalation.quorum")
def test_an_asker_does_not_take_away_the_single_refusal_that_people_ruled(agent, ana):
    ana.policies.set("severity", "high", {"needs": {"count": 2, "deny": "any"}})
    asked = ask(agent, needs={"count": 3, "deny": "majority"})
    assert (asked.needs.count, asked.needs.deny) == (3, "any")
    assert ana.inbox.answer(asked.id, "reject", comment="no").state == "decided"


@promise("escalation.deadline")
def test_people_are_warned_of_a_moved_deadline_too(surface, plane, agent, ana):
    contact(ana)
    asked = ask(agent, severity="high")
    plane.advance(12_000)
    ana.inbox.extend(asked.id)
    told = len(occasions(agent, asked, " %"))
    plane.advance(12_000)
    assert (told, len(occasions(agent, asked, " %"))) == (2, 4)


@promise("escalation.deadline")
def test_after_a_deadline_that_pauses_the_climb_tells_its_people_again(surface, plane, agent, ana):
    contact(ana)
    asked = ask(agent, severity="critical")
    for _ in range(10):
        plane.advance(301)
    told = ["step 1", "step 2", "step 1, late", "step 2, late"]
    assert occasions(agent, asked, "step") == told


@promise("escalation.deadline")
def test_one_that_goes_on_waiting_for_years_is_looked_at_once_a_year(surface, plane, agent):
    asked = ask(agent, severity="critical")
    for seconds in (3600, 3600, 3600, YEAR // SECOND + 1):
        plane.advance(seconds)
    seen = agent.escalations.get(asked.id).revision
    plane.advance(60)
    assert agent.escalations.get(asked.id).revision == seen
    overdue = plane.engine.database.read(
        lambda tx: tx.all("escalation_due", now=plane.clock.now_us(), workspace=None, limit=1)
    )
    assert overdue == []


@promise("escalation.route")
def test_giving_it_back_does_not_raise_it_once_more(surface, plane, agent, ana):
    contact(ana)
    ana.policies.set("route", "default", {"steps": [{"targets": ["person:ana"], "after_seconds": 60}], "repeats": 0})
    asked = ask(agent, severity="low")
    plane.advance(1000)
    for _ in range(3):
        plane.advance(61)
        ana.inbox.acknowledge(asked.id)
        ana.inbox.release(asked.id)
    plane.advance(61)
    assert agent.escalations.get(asked.id).severity == "medium"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": 1},
        {"type": "object", "properties": {"a": {"type": "string", "enum": 1}}},
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": "1"}}},
    ],
)
@promise("escalation.refused")
def test_a_form_that_nobody_can_fill_in_is_refused(agent, schema):
    with pytest.raises(InvalidInput, match="not a flat form"):
        ask(agent, response_schema=schema)


@promise("escalation.refused")
def test_a_collapse_key_is_bounded_as_every_key(agent):
    for key in ("", "x" * 4000, "a\tb"):
        with pytest.raises(InvalidInput, match="collapse_key"):
            ask(agent, collapse_key=key)


def contact(person):
    channel = {"kind": "ntfy", "address": "https://ntfy.invalid/ana"}
    person.policies.set("contact", "ana", {"channels": [channel]})


def occasions(agent, asked, words):
    return [told.occasion for told in agent.escalations.get(asked.id).told if words in told.occasion]


@promise("escalation.deadline")
def test_what_is_medium_is_answered_in_working_hours_where_there_are_any(surface, plane, agent, ana):
    contact(ana)
    now = plane.clock.now_us()
    to_friday = (4 - utc(now).weekday()) % 7 * 86_400 + (16.5 - utc(now).hour) * 3600 - utc(now).minute * 60
    plane.advance((to_friday - utc(now).second) % (7 * 86_400))
    plain = ask(agent, "Without hours?", severity="medium")
    assert plain.deadline == plane.clock.now_us() + 24 * HOUR
    hours = {"from": "09:00", "to": "17:00"}
    ana.policies.set("schedule", "office", {"zone": "UTC", "working_hours": hours})
    asked = ask(agent, severity="medium")
    # Half an hour of Friday, Monday, Tuesday, and 7.5 hours of Wednesday.
    assert utc(asked.deadline).strftime("%A %H:%M") == "Wednesday 16:30"
    assert ask(agent, "High?", severity="high").deadline == plane.clock.now_us() + 4 * HOUR
    plane.advance(60)
    assert utc(agent.escalations.get(asked.id).next_told_at).strftime("%A %H:%M") == "Monday 09:31"
    # Whose hours count is said by the route, and seconds that people rule are seconds.
    ana.policies.set("schedule", "nights", {"zone": "UTC", "working_hours": {"from": "20:00", "to": "24:00"}})
    ana.policies.set("route", "night", {"steps": [{"targets": ["schedule:nights"]}]})
    assert utc(ask(agent, "By night?", severity="medium", route="night").deadline).hour in {23, 0}
    ana.policies.set("severity", "medium", {"deadline_seconds": 3600})
    assert ask(agent, "Ruled?", severity="medium").deadline == plane.clock.now_us() + HOUR


@promise("escalation.withdraw")
def test_whoever_waits_is_told_why_a_question_was_taken_back(surface, plane, agent, ana):
    """Also a run that was awake when it came: it gets the reason from the same call as any answer."""
    with agent.run("deploy", "1") as run:
        asked = agent.escalate(severity="high", reason="Go?", key="go", wait=False)
        ana.escalations.withdraw(asked.id, "the release was called off")
        answer = agent.escalate(severity="high", reason="Go?", key="go")
        assert (answer.decision, answer.comment) == ("abort", "the release was called off")
        run.complete(None)
    outside = ask(agent, "And now?")
    agent.escalations.withdraw(outside.id, "solved itself")
    assert agent.escalations.wait(outside.id).comment == "solved itself"
    assert agent.escalations.get(outside.id).ended_reason == "solved itself"


@promise("escalation.refused")
@pytest.mark.parametrize("key", ["failure:8f3a", "run:run_1:budget"])
def test_the_planes_own_keys_are_nobody_elses(agent, key):
    with pytest.raises(InvalidInput, match="the plane's own"):
        ask(agent, collapse_key=key)


@promise("escalation.route")
def test_the_severity_rises_once_also_where_it_lapsed(surface, plane, agent, ana):
    contact(ana)
    asked = ask(agent, severity="medium", default="pause")
    for _ in range(60):
        plane.advance(3600)
    seen = agent.escalations.get(asked.id)
    assert seen.lapsed_at is not None
    assert seen.severity == "high"
    assert [event.operation for event in agent.audit.events()].count("escalation.raise") == 1


@promise("escalation.replay")
@pytest.mark.parametrize("name", ["escalate", "stuck", "escalate:load/1"])
def test_no_step_has_the_place_of_a_question(surface, agent, name):
    with agent.run("deploy", "1") as run:
        with pytest.raises(InvalidInput, match="name of questions"):
            run.step(name, lambda: 1, key="go")
        run.complete(None)
