"""Guards: rules decide on calls, or a person does; precedents become rules, and lose that again."""

from __future__ import annotations

import pytest

from agentmemo import Conflict, InvalidInput, NotFound, PermissionDenied
from agentmemo.model.access import AGENT_DEFAULT
from agentmemo.model.precedents import is_reviewed

promise = pytest.mark.promise
SMALL = {"name": "small", "verdict": "allow", "tool": "refund", "arguments": {"/amount": {"less": 100}}}
HUGE = {
    "name": "huge", "verdict": "deny", "tool": "refund", "arguments": {"/amount": {"greater": 1000}},
    "reason": "more than the cash box holds",
}  # fmt: skip
READS = {"name": "reads", "verdict": "allow", "read_only": True, "reversible": True, "cost_nanousd": 0}
PROD = {
    "name": "prod", "verdict": "ask", "tool": "deploy", "namespace": "prod/*", "severity": "critical",
    "route": "oncall", "needs": {"count": 2, "exclude": ["owner"]},
}  # fmt: skip
SAFE = {"reversible": True}


@pytest.fixture
def ana(surface):
    return surface.connect(person="ana")


def rule(person, *rules, name="default"):
    return person.policies.set("rules", name, {"rules": list(rules)})


def answered(agent, ana, decision, tool="label", arguments=None, *, annotations=SAFE, **more):
    """A call that is asked about, and what a person said."""
    arguments = arguments or {"issue": 7, "name": "bug"}
    decided = agent.guards.check(tool, arguments, annotations=annotations)
    action = {"tool": tool, "arguments": arguments}
    asked = agent.escalations.create(
        severity="low", reason="May I?", context="x", kind="approval", action=action, guard=decided.revision,
        key=str(decided.revision), wait=False,
    )  # fmt: skip
    return ana.inbox.answer(asked.id, decision, comment="as ever", **more)


@promise("guard.rules")
def test_the_first_rule_that_matches_decides_and_the_unknown_is_asked(agent, ana):
    assert agent.guards.check("refund", {"amount": 5}).verdict == "ask"
    rule(ana, HUGE, SMALL, READS, PROD)
    verdicts = [
        ("refund", {"amount": 5}, {}, "allow", "default/small@1"),
        ("refund", {"amount": 5000}, {}, "deny", "default/huge@1"),
        ("refund", {"amount": 500}, {}, "ask", None),
        ("refund", {"amount": "5"}, {}, "ask", "default/huge@1"),  # nobody can tell that it is not huge
        ("refund", [5], {}, "ask", None),
        ("read", None, {"read_only": True, "reversible": True, "cost_nanousd": 0}, "allow", "default/reads@1"),
        ("read", None, {"read_only": True, "reversible": True}, "ask", None),
        ("deploy", None, {"namespace": "prod/api"}, "ask", "default/prod@1"),
        ("deploy", None, {"namespace": "test/api"}, "ask", None),
    ]
    for tool, arguments, said, verdict, by in verdicts:
        found = agent.guards.check(tool, arguments, annotations=said)
        assert (found.verdict, found.rule) == (verdict, by), (tool, arguments)
    found = agent.guards.check("deploy", {}, annotations={"namespace": "prod/api"})
    assert (found.severity, found.route, found.needs.count, found.needs.exclude) == ("critical", "oncall", 2, ["owner"])
    rule(ana, SMALL | {"verdict": "deny"}, SMALL | {"name": "later"})
    found = agent.guards.check("refund", {"amount": 5})
    assert (found.verdict, found.rule) == ("deny", "default/small@2")


@promise("guard.rules")
def test_a_rule_ends_with_its_time_and_its_uses(surface, agent, ana):
    end = "2099-01-01T00:00"
    rule(ana, SMALL | {"uses_max": 2, "expires_at": end})
    assert [agent.guards.check("refund", {"amount": 5}).verdict for _ in range(3)] == ["allow", "allow", "ask"]
    rule(ana, SMALL | {"expires_at": "2001-01-01T00:00"})
    assert agent.guards.check("refund", {"amount": 5}).verdict == "ask"
    rule(ana, SMALL | {"suspended": True})
    assert agent.guards.check("refund", {"amount": 5}).verdict == "ask"
    rule(ana, SMALL | {"agent": "other-*"})
    assert agent.guards.check("refund", {"amount": 5}).verdict == "ask"
    assert surface.connect("other-1").guards.check("refund", {"amount": 5}).verdict == "allow"


@promise("guard.rules")
def test_what_json_cannot_say_is_refused_before_anything_is_asked(agent, ana):
    rule(ana, {"name": "all", "verdict": "allow"})
    for wrong in ({"amount": float("nan")}, {"amount": float("inf")}, {1: 2}, {"text": "\ud800"}):
        with pytest.raises(InvalidInput):
            agent.guard("refund", wrong)
    for tool, said in (("", {}), ("a" * 129, {}), ("a", {"cost_nanousd": -1}), ("a", {"cost": 1})):
        with pytest.raises(InvalidInput):
            agent.guard(tool, {}, annotations=said)
    assert agent.audit.events(type="guard.check").items == []


@promise("policy.checked")
def test_a_rule_that_does_not_fit_is_refused_with_its_path(ana):
    for wrong, path in (
        ({"name": "a"}, "$.rules[1]"),
        (SMALL | {"verdict": "maybe"}, "$.rules[1].verdict"),
        (SMALL | {"arguments": {"amount": {}}}, "$.rules[1].arguments"),
        (SMALL | {"arguments": {"/amount": {"les": 1}}}, "$.rules[1].arguments[...]"),
        (SMALL | {"needs": {"count": 0}}, "$.rules[1].needs.count"),
        (SMALL | {"expires_at": "soon"}, "$.rules[1].expires_at"),
        (SMALL | {"origin": "precedent", "reversible": True}, "$.rules[1]"),
        (HUGE, "$.rules[1].name"),
    ):
        with pytest.raises(InvalidInput) as caught:
            rule(ana, HUGE, wrong)
        assert caught.value.details == {"path": path}
        assert caught.value.next_call


@promise("guard.recorded")
@promise("trail.event")
def test_each_decision_is_an_event_without_the_arguments(agent, ana):
    rule(ana, SMALL)
    agent.guard("refund", {"amount": 5, "card": "4929000000006"})
    found = agent.guards.check("refund", {"amount": 500})
    events = agent.audit.events(type="guard.check").items
    assert [event.subject for event in events] == [
        {"kind": "guard", "tool": "refund", "verdict": "allow", "rule": "default/small@1"},
        {"kind": "guard", "tool": "refund", "verdict": "ask"},
    ]
    assert [sorted(event.commitments) for event in events] == [["action"], ["action"]]
    assert events[1].revision == found.revision
    assert "4929" not in repr(events)
    assert agent.audit.verify().intact


@promise("guard.refused")
def test_a_refusal_says_why_and_how_to_ask_a_person(surface, plane, agent, ana):
    rule(ana, HUGE)
    action = {"tool": "refund", "arguments": {"amount": 5000}}
    with pytest.raises(PermissionDenied) as caught:
        agent.guard("refund", action["arguments"])
    assert caught.value.why == "more than the cash box holds"
    assert "agent.escalate(kind='approval'" in caught.value.next_call
    assert caught.value.details["rule"] == "default/huge@1"
    plane.person("ana").will_answer("approve")
    answer = agent.escalate(severity="high", reason="All the same", context="why", kind="approval", action=action)
    assert agent.escalations.redeem(answer.escalation, **action).uses == 0


@promise("guard.asked")
def test_a_person_is_asked_with_the_exact_call_and_the_approval_is_used(surface, plane, agent, ana):
    rule(ana, PROD | {"needs": {"count": 1}})
    scripted = plane.person("ana").will_answer("approve")
    said = {"namespace": "prod/api", "reversible": True}
    found = agent.guard("deploy", {"tag": "v1"}, annotations=said, revision="abc", reason="The fix", context="for 12")
    assert (found.approved, bool(found), found.arguments, found.rule) == (True, True, {"tag": "v1"}, "default/prod@1")
    (asked,) = scripted.answered
    assert (asked.kind, asked.severity, asked.route, asked.irreversible) == ("approval", "critical", "oncall", False)
    assert (asked.action.tool, asked.action.arguments, asked.action.revision) == ("deploy", {"tag": "v1"}, "abc")
    assert (asked.reason, asked.context, asked.digest) == ("The fix", "for 12", found.answer.digest)
    assert asked.detail == {"guard": {"rule": "default/prod@1", "precedents": []}}
    assert agent.escalations.get(asked.id).uses == 0
    # The next one is asked anew.
    scripted.will_answer("reject", comment="not today")
    found = agent.guard("deploy", {"tag": "v1"}, annotations=said, revision="abc", reason="The fix", context="for 12")
    assert (found.approved, bool(found), found.arguments, found.answer.comment) == (False, False, None, "not today")
    assert agent.escalations.list().items[0].irreversible is False


@promise("guard.asked")
def test_what_was_edited_is_what_may_be_called(surface, plane, agent):
    plane.person("ana").will_answer("edit", values={"amount": 7})
    found = agent.guard("refund", {"amount": 9})
    assert (found.approved, found.arguments, found.answer.decision) == (True, {"amount": 7}, "edit")
    assert agent.escalations.get(found.answer.escalation).uses == 0


@promise("guard.asked")
def test_an_approval_that_was_used_by_another_is_asked_for_again(surface, plane, agent, ana):
    other = surface.connect()

    def redeem_first(asked):
        ana.inbox.answer(asked.id, "approve")
        other.escalations.redeem(asked.id, "refund", {"amount": 9})

    decided = agent.guards.check("refund", {"amount": 9})
    asked = agent.escalations.create(
        severity="low", reason="May refund be called like this?", context={"tool": "refund", "said": {}},
        action={"tool": "refund", "arguments": {"amount": 9}}, kind="approval", guard=decided.revision, wait=False,
    )  # fmt: skip
    redeem_first(asked)
    plane.person("ana").will_answer("reject", comment="once is enough")
    found = agent.guard("refund", {"amount": 9})
    assert (found.approved, found.answer.comment) == (False, "once is enough")
    assert found.answer.escalation != asked.id


@promise("guard.asked")
def test_nobody_answered_is_no_approval(surface, plane, agent, ana):
    rule(ana, {"name": "slow", "verdict": "ask", "severity": "high"})
    decided = agent.guards.check("refund", {"amount": 9})
    asked = agent.escalations.create(
        severity="high", reason="May I?", context="x", action={"tool": "refund", "arguments": {"amount": 9}},
        guard=decided.revision, wait=False,
    )  # fmt: skip
    assert asked.kind == "approval"
    plane.advance(5 * 3600)
    assert agent.escalations.get(asked.id).answer.approved is False


@promise("guard.asked")
def test_a_decision_stands_for_one_call_of_one_agent(surface, agent, ana):
    decided = agent.guards.check("refund", {"amount": 9})
    right = {"tool": "refund", "arguments": {"amount": 9}}
    more = {"severity": "low", "reason": "May I?", "context": "x", "wait": False}
    for asker, action, guard, error in (
        (agent, right | {"arguments": {"amount": 10}}, decided.revision, PermissionDenied),
        (agent, right | {"revision": "1"}, decided.revision, PermissionDenied),
        (agent, None, decided.revision, PermissionDenied),
        (surface.connect("other"), right, decided.revision, PermissionDenied),
        (agent, right, decided.revision + 1, NotFound),
        (agent, right, -1, NotFound),
    ):
        with pytest.raises(error):
            asker.escalations.create(action=action, guard=guard, **more)
    with pytest.raises(InvalidInput, match="the plane's to fill in"):
        agent.escalations.create(action=right, kind="approval", detail={"guard": {"precedents": ["forged"]}}, **more)
    assert agent.escalations.list().items == []


@promise("guard.durable")
def test_in_a_run_the_decision_and_the_answer_outlive_the_process(surface, plane, agent, ana):
    done = []

    def ship(agent, run):
        found = agent.guard("deploy", {"tag": "v1"}, annotations=SAFE)
        run.step("deploy", lambda: done.append(found.arguments), effect="write")
        return found.approved

    agent.task("ship")(lambda run: ship(agent, run))
    started = agent.start("ship", key="1")
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    assert agent.runs.get(started.id).waiting_for == asked.id
    # What people rule meanwhile is for other calls: this one has been asked.
    rule(ana, {"name": "no", "verdict": "deny"})
    ana.inbox.answer(asked.id, "edit", values={"tag": "v2"})
    plane.restart()
    successor = surface.connect()
    successor.task("ship")(lambda run: ship(successor, run))
    successor.work(until_idle=True)
    assert (successor.runs.get(started.id).result, done) == (True, [{"tag": "v2"}])
    assert len(successor.audit.events(type="guard.check").items) == 1
    with successor.run("ship", "1") as run:
        assert ship(successor, run)
    assert (len(done), len(successor.escalations.list().items)) == (1, 1)


@promise("guard.durable")
def test_an_attempt_that_dies_after_the_approval_asks_nobody_again(surface, plane, agent):
    scripted = plane.person("ana").will_answer("approve")
    paid = {}

    @agent.task("pay")
    def pay(run):
        found = agent.guard("pay", {"amount": 9})
        if not paid:
            paid["begun"] = True
            raise RuntimeError("between the approval and the payment")
        run.step(
            "pay", lambda: paid.setdefault(surface.current_step().idempotency_key, found.arguments), effect="write"
        )

    started = agent.start("pay", max_attempts=3)
    for _ in range(4):
        agent.work(until_idle=True)
        plane.advance(60)
    assert agent.runs.get(started.id).state == "completed"
    assert (len(scripted.answered), len(paid)) == (1, 2)
    assert agent.escalations.get(scripted.answered[0].id).uses == 0


@promise("guard.durable")
def test_another_agent_that_goes_on_with_the_run_is_decided_on_for_itself(surface, plane, agent, ana):
    def ship(agent):
        def task(run):
            return agent.guard("deploy", {"tag": "v1"}, annotations=SAFE).approved and run.id

        return task

    agent.task("ship")(ship(agent))
    started = agent.start("ship", key="1")
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    ana.inbox.answer(asked.id, "approve")
    other = surface.connect("another")
    other.task("ship")(ship(other))
    other.work(until_idle=True)
    assert other.runs.get(started.id).result == started.id
    assert len(other.escalations.list().items) == 1


@promise("guard.durable")
def test_an_approval_that_came_too_late_is_asked_for_again(surface, plane, agent, ana):
    @agent.task("late")
    def late(run):
        return agent.guard("deploy", {"tag": "v1"}, annotations=SAFE).answer.comment

    started = agent.start("late")
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    ana.inbox.answer(asked.id, "approve", comment="first")
    plane.advance(3600)
    agent.work(until_idle=True)
    (again,) = ana.inbox.list()
    assert (again.id != asked.id, again.action) == (True, asked.action)
    ana.inbox.answer(again.id, "approve", comment="second")
    agent.work(until_idle=True)
    assert agent.runs.get(started.id).result == "second"


@promise("guard.durable")
def test_calls_in_a_run_are_asked_one_by_one_and_for_the_whole_run_once(surface, plane, agent, ana):
    scripted = plane.person("ana").will_answer("approve")
    with agent.run("r", "1") as run:
        assert agent.guard("a", {"n": 1})
        assert agent.guard("a", {"n": 1})
        assert agent.guard("a", {"n": 2})
        assert run.step("inside", lambda: agent.guard("a", {"n": 3}).approved)
        assert len(scripted.answered) == 4
        with pytest.raises(InvalidInput, match="before the step"):
            run.step("pay", lambda: agent.guard("a", {"n": 4}), effect="irreversible")
    decided = agent.guards.check("a", {"n": 9})
    assert decided.verdict == "ask"


@promise("guard.durable")
def test_an_approval_for_the_whole_run_is_not_asked_for_again(surface, plane, agent, ana):
    @agent.task("many")
    def many(run):
        return [agent.guard("a", {"n": n}, annotations=SAFE).approved for n in (1, 1, 1, 2)]

    started = agent.start("many")
    agent.work(until_idle=True)
    (asked,) = ana.inbox.list()
    ana.inbox.answer(asked.id, "approve", scope="run")
    agent.work(until_idle=True)
    (other,) = ana.inbox.list()
    assert other.action.arguments == {"n": 2}
    ana.inbox.answer(other.id, "approve")
    agent.work(until_idle=True)
    assert agent.runs.get(started.id).result == [True] * 4


@promise("guard.durable")
def test_a_run_that_is_lost_decides_nothing(surface, agent):
    with pytest.raises(InvalidInput):
        agent.guards.check("a", {}, run="run_aaaaaaaaaaaaaaaa", name="n", key="1")
    with pytest.raises(InvalidInput):
        agent.guards.check("a", {}, run="somewhere", name="n", key="1")
    with agent.run("r", "1") as run:
        first = agent.guards.check("a", {}, run=run.id, name="n", key="1")
        assert agent.guards.check("a", {}, run=run.id, name="n", key="1") == first
        with pytest.raises(InvalidInput, match="one call"):
            agent.guards.check("a", {"n": 1}, run=run.id, name="n", key="1")


@promise("guard.decorator")
def test_a_guarded_function_runs_only_as_it_was_approved(surface, plane, agent, ana):
    calls = []

    @agent.guarded(reversible=True)
    def refund(amount, to="shop"):
        calls.append((amount, to))
        return amount

    rule(ana, SMALL, HUGE)
    assert refund(5) == 5
    with pytest.raises(PermissionDenied, match="may not be called"):
        refund(amount=5000)
    scripted = plane.person("ana").will_answer("edit", values={"amount": 50, "to": "bank"})
    assert refund(500) == 50
    assert scripted.answered[0].action.arguments == {"amount": 500, "to": "shop"}
    scripted.will_answer("reject", comment="not this one")
    with pytest.raises(PermissionDenied, match="not this one") as caught:
        refund(501)
    assert caught.value.details["by"] == "person:ana"
    scripted.will_answer("edit", values={"sum": 50})
    with pytest.raises(InvalidInput, match="cannot take"):
        refund(502)
    assert calls == [(5, "shop"), (50, "bank")]


@promise("guard.person")
@promise("person.only")
def test_only_people_promote_and_agents_see(surface, agent, ana):
    for _ in range(3):
        answered(agent, ana, "approve")
    bound = surface.connect("worker", grants=(AGENT_DEFAULT,))
    (found,) = bound.guards.precedents()
    with pytest.raises(PermissionDenied) as caught:
        bound.guards.promote(found.id)
    assert caught.value.details["permission"] == "policies:write"


@promise("guard.precedents")
def test_the_newest_answers_stand_beside_the_question(surface, plane, agent, ana):
    for number in range(7):
        answered(agent, ana, "approve" if number % 2 else "reject", arguments={"issue": number})
    scripted = plane.person("ana").will_answer("approve", comment="go")
    with agent.run("r", "1"):
        agent.guard("label", {"issue": 8}, annotations=SAFE)
    agent.guard("label", {"issue": 9}, annotations=SAFE)
    past = scripted.answered[1].detail["guard"]["precedents"]
    assert [each["decision"] for each in past] == ["approve", "reject", "approve", "reject", "approve"]
    assert (past[0]["by"], past[0]["comment"], past[0]["run_state"], past[1]["run_state"]) == (
        "person:ana", "go", "completed", None,
    )  # fmt: skip
    assert past[0]["at"] > 0
    assert past[0]["escalation"] == scripted.answered[0].id
    other = surface.connect("other")
    other.guard("label", {"issue": 9}, annotations=SAFE)
    assert scripted.answered[2].detail["guard"]["precedents"] == []


@promise("guard.precedents")
def test_three_equal_answers_may_become_a_rule_with_an_end(surface, plane, agent, ana):
    for number in (1, 2):
        answered(agent, ana, "approve", arguments={"issue": number, "name": "bug"})
    assert ana.guards.precedents().items == []
    answered(agent, ana, "approve", arguments={"issue": 3, "name": "bug"})
    answered(agent, ana, "approve", arguments={"issue": 3, "name": "other"})
    for _ in range(3):
        answered(agent, ana, "approve", annotations={})  # nothing says that it can be undone
    (found,) = ana.guards.precedents(tool="lab*")
    assert (found.decision, found.count, found.agents, found.persons) == (
        "approve", 3, ["agent:agent"], ["person:ana"],
    )  # fmt: skip
    assert found.arguments == {"/issue": ["#"], "/name": "bug"}
    assert (found.rule, len(found.escalations), found.comments) == (None, 3, ["as ever"] * 3)
    assert ana.guards.precedents(tool="other").items == []
    made = ana.guards.promote(found.id, uses_max=2, comment="enough of that")
    assert (made.kind, made.name, made.version, made.author) == ("rules", "precedents", 1, "person:ana")
    (ruled,) = made.document["rules"]
    assert ana.guards.precedents().items[0].rule == f"precedents/{ruled['name']}"
    allowed = agent.guards.check("label", {"name": "bug", "issue": 2}, annotations=SAFE)
    assert (allowed.verdict, allowed.rule) == ("allow", f"precedents/{ruled['name']}@1")
    for arguments, said in (
        ({"issue": 2, "name": "bug"}, {}),
        ({"issue": 4, "name": "bug"}, SAFE),
        ({"issue": 2.0, "name": "bug"}, SAFE),
        ({"issue": 2, "name": "bug", "force": True}, SAFE),
        ({"issue": 2}, SAFE),
    ):
        assert agent.guards.check("label", arguments, annotations=said).verdict == "ask"
    assert (
        surface.connect("other").guards.check("label", {"issue": 2, "name": "bug"}, annotations=SAFE).verdict == "ask"
    )
    same = {"tool": "label", "arguments": {"issue": 2, "name": "bug"}, "annotations": SAFE}
    assert [agent.guards.check(**same).verdict for _ in range(2)] == ["allow", "ask"]
    ana.guards.promote(found.id, scope="pattern", days=1)
    assert agent.guards.check(**same).verdict == "allow"
    plane.advance(90_000)
    assert agent.guards.check(**same).verdict == "ask"


@promise("guard.precedents")
def test_what_is_no_precedent_is_not_promoted(surface, agent, ana):
    for wrong in ({"scope": "all"}, {"days": 0}, {"days": 1000}, {"uses_max": 0}):
        with pytest.raises(InvalidInput):
            ana.guards.promote("aaaaaaaaaaaaaaaa", **wrong)
    with pytest.raises(NotFound):
        ana.guards.promote("aaaaaaaaaaaaaaaa")
    for decision in ("approve", "approve", "approve", "reject"):
        answered(agent, ana, decision)
    assert ana.guards.precedents().items == []
    for _ in range(3):
        answered(agent, ana, "reject", "other")
    (found,) = ana.guards.precedents()
    rule(ana, {"name": "first", "verdict": "ask", "tool": "other"})
    with pytest.raises(Conflict, match="default/first comes before it") as caught:
        ana.guards.promote(found.id)
    assert caught.value.details == {"rule": "default/first"}
    rule(ana)
    ana.guards.promote(found.id)
    with pytest.raises(PermissionDenied):
        agent.guard("other", {"issue": 7, "name": "bug"}, annotations=SAFE)


@promise("guard.precedents")
def test_what_two_must_agree_to_is_not_ruled_by_one(surface, agent, ana):
    rule(ana, {"name": "two", "verdict": "ask", "needs": {"count": 2}})
    for _ in range(3):
        asked = answered(agent, ana, "approve")
        surface.connect(person="ben").inbox.answer(asked.id, "approve")
    rule(ana)
    (found,) = ana.guards.precedents()
    with pytest.raises(Conflict, match="More than one person"):
        ana.guards.promote(found.id)


@promise("guard.suspended")
def test_the_first_answer_that_says_otherwise_suspends_it(surface, agent, ana):
    for number in (1, 2, 3):
        answered(agent, ana, "approve", arguments={"issue": number, "name": "bug"})
    (found,) = ana.guards.precedents()
    ana.guards.promote(found.id)
    # It agrees, or is about something else.
    action = {"tool": "label", "arguments": {"issue": 2, "name": "bug"}, "reversible": True}
    for decision, asked in (("approve", action), ("reject", action | {"arguments": {"issue": 2, "name": "x"}})):
        made = agent.escalate(severity="low", reason=decision, context="x", kind="approval", action=asked, wait=False)
        ana.inbox.answer(made.id, decision, comment="so")
    assert ana.policies.get("rules", "precedents").version == 1
    made = agent.escalate(severity="low", reason="Again?", context="x", kind="approval", action=action, wait=False)
    ana.inbox.answer(made.id, "reject", comment="not any more")
    document = ana.policies.get("rules", "precedents")
    assert (document.version, document.author) == (2, "service:agentmemo")
    assert [each["suspended"] for each in document.document["rules"]] == [True]
    assert agent.guards.check("label", action["arguments"], annotations=SAFE).verdict == "ask"
    (event,) = agent.audit.events(type="guard.suspend").items
    name = document.document["rules"][0]["name"]
    assert event.subject == {"kind": "rule", "id": f"precedents/{name}", "escalation": made.id}
    assert event.actor == "service:agentmemo"
    made = agent.escalate(severity="low", reason="Once more?", context="x", kind="approval", action=action, wait=False)
    ana.inbox.answer(made.id, "reject", comment="no")
    assert ana.policies.get("rules", "precedents").version == 2


@promise("guard.precedents")
def test_one_in_twenty_of_its_uses_is_listed_for_people(agent, ana):
    for number in (1, 2, 3):
        answered(agent, ana, "approve", arguments={"issue": number})
    (found,) = ana.guards.precedents()
    ana.guards.promote(found.id)
    decided = [agent.guards.check("label", {"issue": 1}, annotations=SAFE) for _ in range(60)]
    wanted = [each.revision for use, each in enumerate(decided, 1) if is_reviewed(each.digest, use)]
    listed = list(ana.guards.reviews(limit=1))
    assert [each.revision for each in listed] == wanted[::-1]
    assert all((each.arguments, each.agent) == ({"issue": 1}, "agent:agent") for each in listed)


@promise("guard.precedents")
def test_a_person_objects_to_what_a_rule_decided_and_it_rests(agent, ana):
    for number in (1, 2, 3):
        answered(agent, ana, "approve", arguments={"issue": number})
    (found,) = ana.guards.precedents()
    ana.guards.promote(found.id)
    for _ in range(60):
        agent.guards.check("label", {"issue": 1}, annotations=SAFE)
    first, *_ = ana.guards.reviews()
    with pytest.raises(PermissionDenied):
        agent.guards.object(first.revision)
    for _ in range(2):
        seen = ana.guards.object(first.revision, comment="not this one")
        assert (seen.objected_by, seen.rule) == ("person:ana", first.rule)
    assert ana.guards.reviews().items[0].objected_by == "person:ana"
    assert agent.guards.check("label", {"issue": 1}, annotations=SAFE).verdict == "ask"
    made = [(event.operation, event.actor) for event in agent.audit.events(type="guard.*")]
    assert made.count(("guard.object", "person:ana")) == 1
    assert made.count(("guard.suspend", "service:agentmemo")) == 1
    with pytest.raises(NotFound):
        ana.guards.object(1)


@promise("guard.recorded")
def test_decisions_are_kept_as_long_as_finished_runs(plane, agent, ana):
    rule(ana, SMALL)
    agent.guards.check("refund", {"amount": 5})
    plane.advance((plane.settings.finished_runs_days + 1) * 86_400)
    plane.advance(3600)
    since = plane.clock.now_us() - 10**15
    assert plane.engine.database.read(
        lambda tx: tx.one("report_guarded", workspace=1, since=max(0, since), until=plane.clock.now_us())
    ) == (0,)
