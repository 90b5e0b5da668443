"""What a rule matches, what cannot be told, and which rule decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmemo.errors import Error
from agentmemo.model import guards, precedents
from agentmemo.model.guards import ALLOW, ASK, DENY, Annotations, Subject

SCALARS = st.none() | st.booleans() | st.integers(-100, 100) | st.floats(-9, 9) | st.text(max_size=4)
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text(max_size=3), NESTED, max_size=4)


def standing(used=0, **rule):
    return guards.Standing("default", 1, guards.rule_of({"name": "a", "verdict": "allow"} | rule), used)


def subject(arguments=None, tool="refund", agent="worker", **said):
    return Subject(tool, arguments, agent, Annotations(**said))


def decide(*rules, of, now=0):
    return guards.decide(rules, of, now).verdict


@pytest.mark.parametrize(
    ("matcher", "value", "found"),
    [
        ({}, None, True),
        ({"equals": 1}, 1, True),
        ({"equals": 1}, 1.0, False),
        ({"equals": 1}, True, False),
        ({"equals": None}, None, True),
        ({"equals": {"a": [1, 2]}}, {"a": [1, 2]}, True),
        ({"in": ["a", 1]}, 1, True),
        ({"in": []}, 1, False),
        ({"glob": "acme/*"}, "acme/api", True),
        ({"glob": "acme/*"}, "Acme/api", False),
        ({"glob": "*"}, 1, None),
        ({"like": "merge #"}, "merge 12", True),
        ({"like": "merge #"}, "merge 12; rm", False),
        ({"like": "at #"}, "at 3f2a9c1d", True),
        ({"like": "for #"}, "for 0b87b1a0-9f3e-4c0a-8a55-aaaaaaaaaaaa", True),
        ({"less": 5}, 4, True),
        ({"less": 5}, 5, False),
        ({"less": 5}, 10**4000, False),
        ({"less": 5}, "4", None),
        ({"less": 5}, True, None),
        ({"less": 5}, float("nan"), None),
        ({"greater": 5}, float("inf"), None),
        ({"at_least": 5, "at_most": 5}, 5.0, True),
        ({"at_least": 5, "glob": "*"}, 4, False),
    ],
)
def test_what_an_argument_must_be(matcher, value, found):
    assert guards.matches(standing(arguments={"/x": matcher}).rule, subject({"x": value})) is found


@pytest.mark.parametrize(
    ("pointer", "found"),
    [("/a/b", True), ("/a/b/c", False), ("/list/0/n", True), ("/list/00/n", False), ("/list/1", False),
     ("/list/-1", False), ("/x~1y", True), ("/m~0n", True), ("/", False), ("/a", True)],
)  # fmt: skip
def test_arguments_are_found_by_pointer(pointer, found):
    arguments = {"a": {"b": 1}, "list": [{"n": 1}], "x/y": 1, "m~n": 1}
    assert guards.matches(standing(arguments={pointer: {}}).rule, subject(arguments)) is found


def test_what_is_not_said_is_taken_for_the_worse():
    assert decide(standing(reversible=True), of=subject()) == ASK
    assert decide(standing(reversible=True), of=subject(reversible=True)) == ALLOW
    assert decide(standing(reversible=False, verdict="deny"), of=subject()) == DENY
    assert decide(standing(read_only=True), of=subject()) == ASK
    assert decide(standing(cost_nanousd=5), of=subject(cost_nanousd=5)) == ALLOW
    assert decide(standing(cost_nanousd=5), of=subject(cost_nanousd=6)) == ASK
    assert decide(standing(cost_nanousd=5), of=subject()) == ASK
    assert decide(standing(agent="other"), of=subject()) == ASK


def test_what_cannot_be_told_allows_nothing_and_passes_no_refusal():
    everything = standing(name="all")
    for rule in ({"namespace": "prod/*"}, {"cost_nanousd": 5}, {"arguments": {"/x": {"less": 5}}}):
        unclear = subject({"x": "4"})
        assert decide(standing(verdict="deny", **rule), everything, of=unclear) == ASK
        assert decide(standing(verdict="ask", **rule), everything, of=unclear) == ASK
        assert guards.decide([standing(**rule), everything], unclear, 0).by == everything


def test_only_those_arguments_or_no_others():
    rule = standing(arguments={"/x": {}}, only=True)
    assert decide(rule, of=subject({"x": 1})) == ALLOW
    for more in ({"x": 1, "y": 2}, {"x": {"deep": 1}}, {"x": [1]}, {}, None):
        assert decide(rule, of=subject(more)) == ASK
    assert decide(standing(only=True), of=subject({})) == ALLOW


def test_the_order_of_people_is_the_order():
    allow, deny = standing(), standing(verdict="deny")
    assert decide(allow, deny, of=subject()) == ALLOW
    assert decide(deny, allow, of=subject()) == DENY
    assert decide(of=subject(read_only=True, reversible=True, cost_nanousd=0)) == ASK


def test_what_is_over_is_not_asked():
    assert decide(standing(suspended=True), of=subject()) == ASK
    assert [decide(standing(used, uses_max=2), of=subject()) for used in (1, 2)] == [ALLOW, ASK]
    end = standing(expires_at="1970-01-01T00:00:01")
    assert [decide(end, of=subject(), now=now) for now in (999_999, 1_000_000)] == [ALLOW, ASK]


@pytest.mark.parametrize(
    "arguments", [[], "text", 1, {"x": float("nan")}, {"x": {1: 2}}, {"x": object()}, {"x": "\ud800"}]
)
def test_what_is_malformed_is_asked(arguments):
    assert decide(standing(), of=subject(arguments)) == ASK


@given(ARGUMENTS)
def test_a_rule_made_of_a_call_allows_that_call_and_nothing_beside_it(arguments):
    for scope in precedents.SCOPES:
        made = precedents.matchers_of([arguments] * 3, scope)
        rule = standing(arguments=made, only=True)
        assert decide(rule, of=subject(arguments)) == ALLOW
        assert decide(rule, of=subject(arguments | {"another": 1})) == ASK


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=5), st.integers(-60, 60))
def test_a_rule_made_of_numbers_stays_within_them(seen, other):
    members = [{"n": number, "text": f"issue {abs(number)} of x"} for number in seen]
    assert len({precedents.pattern_digest("t", member) for member in members}) == 1
    call = subject({"n": other, "text": f"issue {abs(other)} of x"})
    exact = standing(arguments=precedents.matchers_of(members, precedents.VALUES), only=True)
    wide = standing(arguments=precedents.matchers_of(members, precedents.PATTERN), only=True)
    if other not in seen:
        assert decide(exact, of=call) == ASK
    if not min(seen) <= other <= max(seen):
        assert decide(wide, of=call) == ASK
    assert all(decide(wide, of=subject(member)) == decide(exact, of=subject(member)) == ALLOW for member in members)


def test_calls_are_alike_but_for_what_varies_by_nature():
    digest = precedents.pattern_digest
    assert digest("t", {"a": 1, "b": "pr 12"}) == digest("t", {"b": "pr 7", "a": 2.5})
    different = [("t", {"a": 1}), ("u", {"a": 1}), ("t", {"a": "#"}), ("t", {"a": True}), ("t", {"a": None}),
                 ("t", {"a": [1]}), ("t", {"a": {}}), ("t", {"b": 1}), ("t", {}), ("t", {"a": "x"})]  # fmt: skip
    assert len({digest(*call) for call in different}) == len(different)
    assert digest("t", None) == digest("t", {})


def test_one_in_twenty_uses_is_looked_at():
    found = sum(precedents.is_reviewed(f"{number:064x}", use) for number in range(100) for use in range(100))
    assert 400 < found < 600


def test_a_rule_names_only_so_many_arguments():
    with pytest.raises(Error, match="200 arguments"):
        precedents.matchers_of([{str(number): number for number in range(200)}], precedents.VALUES)
