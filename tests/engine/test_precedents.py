"""A thousand answers, two in a hundred against what was said before: no rule outlives the first of them."""

from __future__ import annotations

import random

import pytest

from agentmemo import Error
from agentmemo.testing import ManualPlane

SEED = 20_261_128
ANSWERS = 1000
OBJECTIONS = 0.02
TOOLS = ("label", "comment", "close", "assign")
FINAL = ("delete", "pay")


@pytest.fixture
def plane(tmp_path):
    made = ManualPlane(tmp_path / "plane.db")
    yield made
    made.close()


def answer(agent, ana, call, decision, number):
    """A person is asked about a call whatever the rules say of it, as agents may at any time."""
    action = {"tool": call["tool"], "arguments": call["arguments"], "reversible": call["tool"] in TOOLS}
    decided = agent.guards.check(**call)
    asked = agent.escalations.create(
        severity="low", reason="May I?", context="x", action=action, guard=decided.revision, key=str(number), wait=False
    )
    ana.inbox.answer(asked.id, decision, comment="so")
    return decided


def promote_all(ana):
    for found in ana.guards.precedents():
        if found.rule is None:
            ana.guards.promote(found.id, uses_max=10**6)


def rules(ana):
    try:
        return ana.policies.get("rules", "precedents").document["rules"]
    except Error:
        return []


def test_the_first_contradiction_suspends_and_nothing_final_is_decided(plane):
    agent, ana = plane.connect("worker"), plane.connect(person="ana")
    chance = random.Random(SEED)
    objections = suspended = allowed = 0
    for number in range(ANSWERS):
        tool = chance.choice(TOOLS + FINAL)
        call = {"tool": tool, "arguments": {"name": f"n{number % 5}"}, "annotations": {"reversible": tool in TOOLS}}
        objects = chance.random() < OBJECTIONS
        decided = answer(agent, ana, call, "reject" if objects else "approve", number)
        if decided.verdict == "allow":
            allowed += 1
            assert tool in TOOLS
        if objects:
            objections += 1
            suspended += decided.verdict == "allow"
            assert agent.guards.check(**call).verdict == "ask"
        if number % 50 == 0:
            promote_all(ana)
    assert (objections > 10, suspended > 0, allowed > 100) == (True, True, True)
    assert {rule["tool"] for rule in rules(ana)} <= set(TOOLS)
    assert sum(rule.get("suspended", False) for rule in rules(ana)) == suspended
    assert len(agent.audit.events(type="guard.suspend", limit=1000).items) == suspended
    assert agent.audit.verify().intact
