"""Questions that nobody is told of while another one is open."""

from __future__ import annotations

import pytest

promise = pytest.mark.promise
RULE = {
    "source": {"kind": "failure"},
    "target": {"kind": "question"},
    "equal": ["asker"],
    "reason": "one broken credential asks many things",
}


@pytest.fixture
def ana(surface):
    ana = surface.connect(person="ana")
    ana.policies.set("contact", "ana", {"channels": [{"kind": "email", "address": "ana@example.org"}]})
    ana.policies.set("inhibition", "parent", RULE)
    return ana


def ask(agent, reason, severity="high", **options):
    return agent.escalate(severity=severity, reason=reason, wait=False, **options)


def occasions(ana, asked):
    return [told.occasion for told in ana.escalations.get(asked.id).told]


@promise("escalation.inhibition")
def test_what_is_inhibited_is_in_the_inbox_and_is_told_when_the_source_ends(surface, plane, agent, ana):
    source = ask(agent, "The credential is gone", kind="failure")
    asked = ask(agent, "Which mirror?")
    elsewhere = ask(surface.connect("other"), "Which branch?")
    assert (occasions(ana, asked), occasions(ana, elsewhere)) == ([], ["step 1"])
    seen = {each.id: (each.inhibited_by, each.inhibited_rule) for each in ana.inbox.list()}
    assert seen == {source.id: (None, None), asked.id: (source.id, "parent@1"), elsewhere.id: (None, None)}
    plane.advance(3600)
    assert occasions(ana, asked) == []
    ana.inbox.answer(source.id, "answer", comment="renewed")
    plane.advance(1)
    assert occasions(ana, asked) == ["step 1"]
    assert ana.escalations.get(asked.id).inhibited_by is None
    kept = [event.operation for event in ana.audit.events() if event.stream == asked.id]
    assert [name for name in kept if "inhibit" in name] == ["escalation.inhibit", "escalation.uninhibit"]


@promise("escalation.inhibition")
def test_nothing_ends_that_nobody_was_told_of(surface, plane, agent, ana):
    ask(agent, "The credential is gone", kind="failure")
    asked = ask(agent, "Which mirror?")
    plane.advance(round(4 * 3600 * 0.8))
    assert "80 %" in occasions(ana, asked)


@promise("escalation.inhibition")
def test_what_is_graver_is_told_and_a_changed_rule_is_looked_at_again(surface, plane, agent, ana):
    ask(agent, "The credential is gone", kind="failure", severity="medium")
    graver = ask(agent, "Delete it all?")
    assert occasions(ana, graver) == ["step 1"]
    asked = ask(agent, "Which mirror?", severity="medium")
    plane.advance(60)
    assert occasions(ana, asked) == []
    ana.policies.delete("inhibition", "parent")
    plane.advance(1)
    assert occasions(ana, asked) == ["step 1"]


@promise("escalation.inhibition")
def test_two_that_inhibit_each_other_are_not_both_unheard(surface, plane, agent, ana):
    ana.policies.set("inhibition", "back", {"source": RULE["target"], "target": RULE["source"]})
    first = ask(agent, "Which mirror?")
    second = ask(agent, "The credential is gone", kind="failure")
    plane.advance(1000)
    assert occasions(ana, first)[0] == "step 1"
    assert occasions(ana, second) == []


@promise("escalation.inhibition")
def test_only_people_rule_what_is_inhibited_and_a_silence_names_the_key_that_was_given(surface, plane, agent, ana):
    silence = {"matcher": {"collapse_key": "disk"}, "until": "2099-01-01", "reason": "known"}
    ana.policies.set("silence", "disks", silence)
    assert occasions(ana, ask(agent, "Disk full?", collapse_key="disk:a")) == []
    assert occasions(ana, ask(agent, "Memory full?", collapse_key="memory:a")) == ["step 1"]
