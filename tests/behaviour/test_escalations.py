"""Escalations: asking a person durably, and answering as one."""

from __future__ import annotations

import threading

import pytest

from agentmemo import (
    IdempotencyMismatch,
    InvalidInput,
    InvalidTransition,
    NotFound,
    PermissionDenied,
)
from agentmemo.clock import SECOND

promise = pytest.mark.promise
ACTIONS = ["Rollback deploy", "Patch immediately", "Notify team"]
DELETE = {"tool": "delete_branch", "arguments": {"name": "old", "force": True}, "revision": "abc"}


@pytest.fixture
def ana(surface):
    return surface.connect(person="ana")


@pytest.fixture
def ben(surface):
    return surface.connect(person="ben")


def ask(agent, reason="Which way?", **options):
    options.setdefault("severity", "high")
    return agent.escalate(reason=reason, wait=False, **options)


def operations(agent, handle):
    return [event.operation for event in agent.audit.events(run=handle)]


@promise("article.escalate")
def test_the_article_runs_as_written(surface, plane, agent):
    ana = plane.person("ana").will_answer("choose", choice="rollback-deploy")
    full_context = {"cve": "CVE-2026-1", "service": "api"}
    answer = agent.escalate(
        severity="high",
        reason="Security vulnerability found in production",
        context=full_context,
        suggested_actions=["Rollback deploy", "Patch immediately", "Notify team"],
    )
    assert (answer.decision, answer.choice, answer.by) == ("choose", "rollback-deploy", "person:ana")
    (asked,) = ana.answered
    assert asked.context == full_context
    assert [action.label for action in asked.suggested_actions] == ACTIONS


@promise("escalation.durable")
def test_the_answer_outlives_whoever_asked_and_nothing_before_it_runs_again(surface, plane, agent, ana):
    done = []

    def deploy(agent, run):
        run.step("scan", lambda: done.append("scan") or "found")
        answer = agent.escalate(severity="high", reason="Deploy?", suggested_actions=ACTIONS)
        run.step("act", lambda: done.append(answer.choice))
        return answer.choice

    agent.task("deploy")(lambda run: deploy(agent, run))

    started = agent.start("deploy", key="1")
    agent.work(until_idle=True)
    parked = agent.runs.get(started.id)
    (asked,) = ana.inbox.list()
    assert (parked.state, parked.wake, parked.waiting_for, parked.worker) == ("waiting", "person", asked.id, None)
    plane.restart()
    ana, successor = surface.connect(person="ana"), surface.connect()
    assert ana.inbox.answer(asked.id, "choose", choice="notify-team").undelivered == 1
    successor.task("deploy")(lambda run: deploy(successor, run))
    successor.work(until_idle=True)
    assert (successor.runs.get(started.id).result, done) == ("notify-team", ["scan", "notify-team"])
    told = successor.escalations.get(asked.id)
    assert [(waiter.state, waiter.run) for waiter in told.waiters] == [("applied", started.id)]
    # The completed run replays the answer; nobody is asked again.
    with successor.run("deploy", "1") as run:
        assert deploy(successor, run) == "notify-team"
    assert len(successor.escalations.list()) == 1


@promise("escalation.durable")
def test_while_it_waits_the_clocks_of_its_budget_stand_still(surface, plane, agent, ana):
    @agent.task("slow")
    def slow(run):
        agent.escalate(severity="low", reason="Go on?")
        run.step("last", lambda: 1)

    started = agent.start("slow", budget={"seconds": 60})
    agent.work(until_idle=True)
    plane.advance(3600)
    (asked,) = ana.inbox.list()
    ana.inbox.answer(asked.id, "answer", comment="yes")
    agent.work(until_idle=True)
    run = agent.runs.get(started.id)
    assert (run.state, run.spent.seconds < 60) == ("completed", True)


@promise("escalation.delivery")
def test_an_answer_that_did_not_arrive_is_seen_and_never_asked_again(surface, plane, agent, ana):
    @agent.task("job")
    def job(run):
        run.step("first", lambda: 1)
        return agent.escalate(severity="high", reason="Now?").comment

    started = agent.start("job", key="1", max_attempts=5)
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    ana.inbox.answer(asked.id, "answer", comment="now")
    with pytest.raises(RuntimeError), agent.run("job", "1"):
        raise RuntimeError("broken before it has the answer")
    (stuck,) = ana.inbox.list(section="undelivered")
    (waiter,) = agent.escalations.get(stuck.id).waiters
    assert (waiter.state, waiter.attempts, "broken" in waiter.error) == ("failed", 2, True)
    assert ana.escalations.retry(stuck.id).waiters[0].state == "ready"
    agent.work(until_idle=True)
    assert agent.runs.get(started.id).result == "now"
    assert [each.id for each in agent.escalations.list()] == [asked.id]
    assert len(ana.inbox.list(section="undelivered")) == 0


@promise("escalation.durable")
def test_a_step_that_only_reads_may_ask_and_runs_again_from_its_start(surface, plane, agent):
    plane.person("ana").will_answer("answer", comment="blue")
    looked = []

    def look():
        looked.append(1)
        return agent.escalate(severity="low", reason="Which colour?").comment

    with agent.run("paint", "1") as run:
        assert run.step("look", look, effect="read") == "blue"
        with pytest.raises(InvalidInput, match="cannot ask a person"):
            run.step("pay", lambda: agent.escalate(severity="low", reason="Pay?"), effect="write")


@promise("escalation.replay")
def test_outside_a_run_the_same_words_are_the_same_question_until_they_are_answered(surface, plane, agent, ana):
    first = ask(agent, context={"n": 1})
    assert ask(agent, context={"n": 1}).id == first.id
    assert ask(agent, context={"n": 2}).id != first.id
    ana.inbox.answer(first.id, "answer", comment="so")
    assert agent.escalations.wait(first.id).comment == "so"
    assert ask(agent, context={"n": 1}).id != first.id


@promise("escalation.replay")
def test_a_key_stands_for_one_question(agent, ana):
    first = ask(agent, key="k1")
    assert ask(agent, key="k1").id == first.id
    with pytest.raises(IdempotencyMismatch, match="another question"):
        ask(agent, "Something else?", key="k1")
    ana.inbox.answer(first.id, "answer", comment="so")
    assert agent.escalate(severity="high", reason="Which way?", key="k1").comment == "so"


@promise("escalation.collapse")
def test_many_ask_the_same_and_one_answer_goes_to_all(surface, plane, agent, ana):
    @agent.task("import")
    def load(run, part):
        run.step("read", lambda: part)
        return agent.escalate(severity="medium", reason="The credential is missing", collapse_key="credential").comment

    runs = [agent.start("import", {"part": part}).id for part in range(4)]
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    assert (asked.occurrences, asked.waiting) == (4, 4)
    ana.inbox.answer(asked.id, "answer", comment="it is in the vault now")
    agent.work(until_idle=True)
    assert [agent.runs.get(run).state for run in runs] == ["completed"] * 4
    assert [waiter.state for waiter in agent.escalations.get(asked.id).waiters] == ["applied"] * 4
    # Closed: whoever asks again opens a new one.
    assert ask(agent, "The credential is missing", severity="medium", collapse_key="credential").id != asked.id


@promise("escalation.collapse")
def test_approvals_are_shared_only_by_one_agent_and_for_the_same_action(surface, agent):
    first = ask(agent, kind="approval", context="c", action=DELETE, key="1", collapse_key="x")
    assert ask(agent, kind="approval", context="c", action=DELETE, key="2", collapse_key="x").id == first.id
    other = DELETE | {"arguments": {"name": "main"}}
    assert ask(agent, kind="approval", context="c", action=other, key="3", collapse_key="x").id != first.id
    stranger = surface.connect("stranger")
    assert ask(stranger, kind="approval", context="c", action=DELETE, key="4", collapse_key="x").id != first.id


@promise("escalation.persons")
def test_an_agent_can_ask_and_withdraw_and_never_answer(surface, agent):
    asked = ask(agent)
    calls = [
        lambda: agent.inbox.answer(asked.id, "approve"),
        lambda: agent.inbox.acknowledge(asked.id),
        lambda: agent.inbox.release(asked.id),
        lambda: agent.inbox.delegate(asked.id, "ana"),
        lambda: agent.inbox.snooze(asked.id, 1),
        lambda: agent.inbox.extend(asked.id),
        lambda: agent.inbox.comment(asked.id, "hello"),
        lambda: agent.escalations.retry(asked.id),
    ]
    for call in calls:
        with pytest.raises(PermissionDenied, match="Only a person"):
            call()
    with pytest.raises(PermissionDenied, match="did not ask"):
        surface.connect("stranger").escalations.withdraw(asked.id, "no")
    assert agent.escalations.withdraw(asked.id, "solved").state == "withdrawn"


@promise("escalation.one_decides")
def test_of_many_at_once_one_decides_and_the_others_are_told_who(surface, agent):
    asked = ask(agent, suggested_actions=ACTIONS)
    people = [surface.connect(person=f"p{number}") for number in range(6)]
    outcomes = []

    def answer(person):
        try:
            outcomes.append(person.inbox.answer(asked.id, "choose", choice="notify-team").answer.by)
        except InvalidTransition as error:
            outcomes.append(error)

    threads = [threading.Thread(target=answer, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [each for each in outcomes if isinstance(each, str)]
    losers = [each for each in outcomes if not isinstance(each, str)]
    assert (len(winners), len(losers)) == (1, 5)
    assert {error.details["by"] for error in losers} == set(winners)
    assert {error.details["choice"] for error in losers} == {"notify-team"}


@promise("escalation.answer")
def test_what_does_not_fit_the_question_is_refused(agent, ana):
    asked = ask(agent, suggested_actions=ACTIONS, response_schema={
        "type": "object", "required": ["budget"], "properties": {"budget": {"type": "integer", "minimum": 1}},
    })  # fmt: skip
    refused = [
        ({"decision": "perhaps"}, "decision"),
        ({"decision": "reject"}, "comment"),
        ({"decision": "choose", "choice": "fly"}, "choice"),
        ({"decision": "choose"}, "choice"),
        ({"decision": "approve", "choice": "notify-team"}, "choice"),
        ({"decision": "edit", "values": {}}, "no action"),
        ({"decision": "answer"}, "says something"),
        ({"decision": "answer", "values": {"budget": 0}}, "budget"),
        ({"decision": "answer", "values": {"budget": "much"}}, "budget"),
        ({"decision": "answer", "values": {}}, "budget"),
    ]
    for given, words in refused:
        with pytest.raises(InvalidInput, match=words):
            ana.inbox.answer(asked.id, **given)
    with pytest.raises(InvalidTransition, match="not what was shown"):
        ana.inbox.answer(asked.id, "approve", seen="0" * 64)
    answered = ana.inbox.answer(asked.id, "answer", values={"budget": 3}, seen=asked.digest)
    assert answered.answer.values == {"budget": 3}


@promise("escalation.refused")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"severity": "huge"}, "severity"),
        ({"kind": "approval"}, "context"),
        ({"reason": " "}, "reason"),
        ({"default": "fly"}, "default"),
        ({"suggested_actions": [{"id": "go", "label": "Go"}], "default": "go"}, "reversible"),
        ({"suggested_actions": [{"id": "go", "label": "Go", "reversible": False}], "default": "go"}, "reversible"),
        ({"suggested_actions": ["a", {"id": "a", "label": "A"}]}, "id of its own"),
        ({"suggested_actions": ["a"] * 6}, "Up to 5"),
        ({"needs": {"count": 99}}, "needs.count"),
        ({"deadline": 1}, "deadline"),
        ({"sensitivity": "loud"}, "sensitivity"),
        ({"response_schema": {"type": "objekt"}}, "response_schema"),
    ],
)
def test_what_nobody_could_decide_on_is_not_asked(agent, given, words):
    with pytest.raises(InvalidInput, match=words):
        ask(agent, **({"reason": "Why?"} | given))
    assert len(agent.escalations.list()) == 0


@promise("escalation.bound")
def test_an_approval_is_for_exactly_what_was_shown_and_for_a_while(surface, plane, agent, ana):
    asked = ask(agent, kind="approval", context="cleanup", action=DELETE)
    with pytest.raises(PermissionDenied, match="approves no action"):
        agent.escalations.redeem(asked.id, "delete_branch", DELETE["arguments"], revision="abc")
    ana.inbox.answer(asked.id, "approve", seen=asked.digest)
    for tool, arguments, revision in [
        ("delete_repo", DELETE["arguments"], "abc"),
        ("delete_branch", {"name": "old", "force": False}, "abc"),
        ("delete_branch", {"name": "old", "force": 1}, "abc"),
        ("delete_branch", {"name": "old "}, "abc"),
        ("delete_branch", DELETE["arguments"], "abd"),
    ]:
        with pytest.raises(PermissionDenied, match="not the action"):
            agent.escalations.redeem(asked.id, tool, arguments, revision=revision)
    with pytest.raises(PermissionDenied, match="did not ask"):
        surface.connect("stranger").escalations.redeem(asked.id, "delete_branch", {}, revision="abc")
    used = agent.escalations.redeem(asked.id, "delete_branch", {"force": True, "name": "old"}, revision="abc")
    assert used.uses == 0
    with pytest.raises(PermissionDenied, match="used up"):
        agent.escalations.redeem(asked.id, "delete_branch", DELETE["arguments"], revision="abc")
    again = ask(agent, kind="approval", context="cleanup", action=DELETE, key="again")
    ana.inbox.answer(again.id, "approve")
    plane.advance(16 * 60)
    with pytest.raises(PermissionDenied, match="expired"):
        agent.escalations.redeem(again.id, "delete_branch", DELETE["arguments"], revision="abc")


@promise("escalation.bound")
def test_an_edited_action_is_approved_as_edited(agent, ana):
    asked = ask(agent, kind="approval", context="cleanup", action=DELETE)
    ana.inbox.answer(asked.id, "edit", values={"name": "old", "force": False}, comment="not by force")
    answer = agent.escalations.wait(asked.id)
    assert answer.approved
    with pytest.raises(PermissionDenied, match="not the action"):
        agent.escalations.redeem(asked.id, "delete_branch", DELETE["arguments"], revision="abc")
    assert agent.escalations.redeem(asked.id, "delete_branch", answer.values, revision="abc").uses == 0


@promise("escalation.quorum")
def test_two_must_agree_on_the_same_and_one_refusal_ends_it(surface, agent, ana, ben):
    asked = ask(agent, kind="approval", context="c", action=DELETE, needs={"count": 2, "exclude": ["carl"]})
    with pytest.raises(PermissionDenied, match="somebody else"):
        surface.connect(person="carl").inbox.answer(asked.id, "approve")
    assert ana.inbox.answer(asked.id, "approve").state == "open"
    assert ana.inbox.answer(asked.id, "approve").state == "open"  # one person is one vote
    assert ben.inbox.answer(asked.id, "edit", values={"name": "x"}).state == "open"
    assert [vote.person for vote in agent.escalations.get(asked.id).votes] == ["person:ben"]
    assert ana.inbox.answer(asked.id, "edit", values={"name": "x"}).state == "decided"
    other = ask(agent, "Both?", needs={"count": 2})
    assert ana.inbox.answer(other.id, "reject", comment="no").state == "decided"
    assert agent.escalations.wait(other.id).decision == "reject"


@promise("escalation.deadline")
def test_nobody_answers_and_the_default_is_taken_with_two_warnings(surface, plane, agent):
    asked = ask(agent, severity="high")
    for seconds, warned in [(7200, 50), (4320, 80)]:
        plane.advance(seconds)
        assert agent.escalations.get(asked.id).warned == warned
    plane.advance(2880)
    ended = agent.escalations.get(asked.id)
    assert (ended.state, ended.answer.decision, ended.answer.defaulted) == ("defaulted", "reject", True)
    assert ended.answer.by == "service:agentmemo"
    assert operations(agent, asked.id).count("escalation.warn") == 2


@promise("escalation.deadline")
def test_what_was_missed_happens_once_after_a_restart_and_whatever_the_clock_did(surface, plane, agent):
    asked = ask(agent, suggested_actions=[{"id": "later", "label": "Later", "reversible": True}], default="later")
    plane.restart()
    plane.clock.step(-3600)
    plane.advance(10 * 3600)
    agent = surface.connect()
    ended = agent.escalations.get(asked.id)
    assert (ended.state, ended.answer.choice, ended.answer.approved) == ("defaulted", "later", False)
    told = operations(agent, asked.id)
    assert (told.count("escalation.warn"), told.count("escalation.default")) == (2, 1)


@promise("escalation.deadline")
def test_a_critical_question_goes_on_waiting_and_is_told_again(surface, plane, agent, ana):
    asked = ask(agent, severity="critical")
    plane.advance(1801)
    late = agent.escalations.get(asked.id)
    assert (late.state, late.default, late.lapsed_at is not None) == ("open", "pause", True)
    assert "escalation.lapse" in operations(agent, asked.id)
    assert ana.inbox.answer(asked.id, "answer", comment="sorry").state == "decided"


@promise("escalation.hold")
def test_who_is_on_it_holds_it_for_a_time_and_no_longer(surface, plane, agent, ana, ben):
    asked = ask(agent, severity="high")
    held = ana.inbox.acknowledge(asked.id)
    assert (held.state, held.holder) == ("acknowledged", "person:ana")
    assert [each.id for each in ana.inbox.list(section="mine")] == [asked.id]
    with pytest.raises(PermissionDenied, match="is not on"):
        ben.inbox.release(asked.id)
    plane.advance(3601)
    opened = agent.escalations.get(asked.id)
    assert (opened.state, opened.holder) == ("open", None)
    assert ana.inbox.acknowledge(asked.id).state == "acknowledged"
    assert ana.inbox.release(asked.id).state == "open"


@promise("escalation.hold")
def test_snooze_delegate_extend_and_comment(surface, plane, agent, ana, ben):
    asked = ask(agent, severity="high")
    latest = asked.created_at + (asked.deadline - asked.created_at) * 80 // 100
    with pytest.raises(InvalidInput, match="can be put off until"):
        ana.inbox.snooze(asked.id, latest + 1)
    assert ana.inbox.snooze(asked.id, latest).hold_until == latest
    assert [each.id for each in ana.inbox.list(section="snoozed")] == [asked.id]
    assert len(ben.inbox.list()) == 1  # whoever came by is known
    handed = ana.inbox.delegate(asked.id, "ben", comment="yours")
    assert (handed.state, handed.assignee) == ("open", "person:ben")
    assert [each.id for each in ben.inbox.list(section="mine")] == [asked.id]
    with pytest.raises(InvalidInput, match="Nobody is known"):
        ana.inbox.delegate(asked.id, "nobody")
    extended = ben.inbox.extend(asked.id)
    assert extended.deadline == asked.deadline + (asked.deadline - asked.created_at)
    with pytest.raises(InvalidTransition, match="moved before"):
        ben.inbox.extend(asked.id)
    assert [comment.text for comment in ben.inbox.comment(asked.id, "looking").comments] == ["looking"]
    with pytest.raises(InvalidInput, match="says something"):
        ben.inbox.comment(asked.id, " ")


@promise("escalation.route")
def test_the_next_people_are_told_until_somebody_takes_it(surface, plane, agent, ana):
    for name in ("ana", "ben"):
        ana.policies.set("contact", name, {"channels": [{"kind": "ntfy", "address": f"https://ntfy.invalid/{name}"}]})
    steps = [{"targets": ["person:ana"], "after_seconds": 0}, {"targets": ["person:ben"], "after_seconds": 300}]
    ana.policies.set("route", "default", {"steps": steps, "repeats": 1})
    asked = ask(agent, severity="high")
    told = lambda: [each.person for each in agent.escalations.get(asked.id).told]  # noqa: E731
    assert told() == ["ana"]
    plane.advance(301)
    assert told() == ["ana", "ben"]
    ana.inbox.acknowledge(asked.id)
    plane.advance(1200)
    assert told() == ["ana", "ben"]


@promise("escalation.route")
def test_after_everybody_was_told_the_severity_rises_once(surface, plane, agent, ana):
    ana.policies.set("route", "default", {"steps": [{"targets": ["person:ana"], "after_seconds": 60}], "repeats": 0})
    asked = ask(agent, severity="medium")
    for _ in range(5):
        plane.advance(61)
    assert agent.escalations.get(asked.id).severity == "high"


@promise("escalation.policy")
def test_people_rule_the_timers_and_who_must_agree_and_what_is_open_keeps_its_own(surface, plane, agent, ana, ben):
    before = ask(agent, severity="low")
    ana.policies.set("severity", "low", {"deadline_seconds": 600, "fallback": "abort", "needs": {"count": 2}})
    after = ask(agent, "Another?", severity="low")
    assert after.deadline - after.created_at == 600 * SECOND
    assert (after.default, after.needs.count) == ("abort", 2)
    assert agent.escalations.get(before.id).default == "skip"
    assert ana.inbox.answer(after.id, "answer", comment="x").state == "open"
    plane.advance(601)
    assert agent.escalations.get(after.id).answer.decision == "abort"


@promise("escalation.withdraw")
def test_a_question_that_nobody_waits_for_is_withdrawn(surface, plane, agent, ana):
    @agent.task("job")
    def job(run):
        agent.escalate(severity="high", reason="Go?")

    started = agent.start("job")
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    agent.runs.cancel(started.id, "not needed")
    assert agent.escalations.get(asked.id).state == "withdrawn"
    with pytest.raises(InvalidTransition, match="withdrawn"):
        ana.inbox.answer(asked.id, "approve")


@promise("escalation.withdraw")
def test_whoever_waits_for_a_withdrawn_question_goes_on_with_abort(surface, plane, agent, ana):
    @agent.task("job")
    def job(run):
        run.finding(agent.escalate(severity="high", reason="Go?").decision)

    started = agent.start("job")
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    ana.escalations.withdraw(asked.id, "the condition cleared")
    agent.work(until_idle=True)
    assert agent.runs.get(started.id).state == "completed"
    assert [note.text for note in agent.runs.notes(started.id)] == ["abort"]


@promise("escalation.withdraw")
def test_a_question_can_be_replaced_by_its_asker(surface, agent, ana):
    old = ask(agent, kind="approval", context="c", action=DELETE)
    new = ask(agent, kind="approval", context="c", action=DELETE | {"revision": "abd"}, supersedes=old.id)
    replaced = agent.escalations.get(old.id)
    assert (replaced.state, replaced.superseded_by, new.supersedes) == ("superseded", new.id, old.id)
    with pytest.raises(PermissionDenied, match="did not ask"):
        ask(surface.connect("stranger"), supersedes=new.id)


@promise("escalation.list")
def test_the_inbox_is_sorted_by_urgency_in_pages(surface, plane, agent, ana):
    for severity in ("low", "critical", "medium", "high"):
        ask(agent, f"{severity}?", severity=severity)
        plane.advance(1)
    assert [each.severity for each in ana.inbox.list()] == ["critical", "high", "medium", "low"]
    assert [each.severity for each in ana.inbox.list(limit=1)] == ["critical", "high", "medium", "low"]
    assert [each.severity for each in ana.inbox.list(severity="high")] == ["high"]
    assert len(ana.inbox.list(asker="nobody")) == 0
    for each in list(ana.inbox.list())[:3]:
        ana.inbox.answer(each.id, "answer", comment="ok")
        plane.advance(1)
    assert [each.severity for each in ana.inbox.list(section="done", limit=2)] == ["medium", "high", "critical"]
    assert [each.severity for each in agent.escalations.list(state="open")] == ["low"]
    with pytest.raises(NotFound):
        agent.escalations.get("esc_0000000000000000")
    with pytest.raises(InvalidInput, match="section"):
        ana.inbox.list(section="all")
