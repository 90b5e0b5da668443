"""Where a trial stands, from its plan and outcomes alone."""

from __future__ import annotations

import pytest

from agentmemo.model.cases import Effect, agrees, effects_differ
from agentmemo.model.trials import Outcome, Plan, Unit, dollars, due, report, standings

DIGITS = [f"{number:02d}" for number in range(40)]


def plan(*models, count=40, bar=0.8, min_runs=3, thorough=False):
    units = [
        Unit(step="s", step_hash="h", model=model, cases=DIGITS[:count], bar=bar, alpha=0.05, candidates=len(models))
        for model in models
    ]
    return Plan(units=units, min_runs=min_runs, thorough=thorough)


def outcomes(model, verdicts, inputs=None):
    return [
        Outcome("s", model, digits, inputs or digits, verdict, [], 5)
        for digits, verdict in zip(DIGITS, verdicts, strict=False)
    ]


def decisions(asked, *groups):
    return [each.decision for each in standings(asked, [each for group in groups for each in group])]


def test_it_begins_with_the_first_case_of_the_cheapest():
    found = standings(plan("a", "b"), [])
    unit, case = due(found)
    assert (unit.model, case) == ("a", "00")
    assert decisions(plan("a", "b")) == ["testing", "testing"]


def test_what_is_dearer_than_one_that_passed_is_not_tried():
    asked = plan("a", "b")
    passed = outcomes("a", ["passed"] * 40)
    assert decisions(asked, passed) == ["qualified", "not_needed"]
    assert due(standings(asked, passed)) is None
    thorough = plan("a", "b", thorough=True)
    assert decisions(thorough, passed) == ["qualified", "testing"]


@pytest.mark.parametrize(("failures", "decision"), [(2, "testing"), (3, "testing"), (4, "unproven")])
def test_it_is_given_up_at_the_failure_too_many(failures, decision):
    """Of 40, 3 failures still show 0.8 with an alpha of 0.05; the fourth does not."""
    failed = outcomes("a", ["failed"] * failures + ["passed"] * 10)
    asked = plan("a")
    (standing,) = standings(asked, failed)
    assert (standing.decision, standing.is_over) == (decision, decision != "testing")
    (to_the_end,) = standings(plan("a", thorough=True), failed)
    assert to_the_end.is_over is False


def test_the_decision_is_that_of_the_whole_plan():
    for failures, decision in ((0, "qualified"), (3, "qualified"), (4, "unproven")):
        verdicts = ["passed"] * (40 - failures) + ["failed"] * failures
        assert decisions(plan("a", thorough=True), outcomes("a", verdicts)) == [decision]
    assert decisions(plan("a", thorough=True), outcomes("a", ["failed"] * 40)) == ["rejected"]


def test_several_models_share_the_chance_of_being_wrong():
    verdicts = ["passed"] * 37 + ["failed"] * 3
    assert decisions(plan("a", thorough=True), outcomes("a", verdicts)) == ["qualified"]
    assert decisions(plan("a", "b", thorough=True), outcomes("a", verdicts))[0] == "unproven"


def test_who_abstains_has_neither_passed_nor_failed():
    asked = plan("a")
    verdicts = ["abstained"] * 10 + ["passed"] * 30
    (standing,) = standings(asked, outcomes("a", verdicts))
    assert (standing.decision, standing.successes, standing.failures, standing.abstained) == ("qualified", 30, 0, 10)
    assert decisions(asked, outcomes("a", ["abstained"] * 40)) == ["insufficient"]
    assert "10 more given up" in report(asked, standing).text


def test_the_same_input_again_and_again_is_one():
    assert decisions(plan("a", count=5), outcomes("a", ["passed"] * 5, inputs="same")) == ["unproven"]
    assert decisions(plan("a", min_runs=20), outcomes("a", ["passed"] * 40, inputs="same")) != ["qualified"]


def test_an_error_is_a_failure_and_costs_what_it_costs():
    asked = plan("a", count=3)
    tried = [*outcomes("a", ["error", "timeout"]), Outcome("s", "a", "02", "02", "passed", [], None)]
    (standing,) = standings(asked, tried)
    found = report(asked, standing)
    assert (found.failures, found.successes, found.cost_nanousd, found.unpriced) == (2, 1, 10, 1)
    assert dollars(1_500_000, 1) == "$0.001500 and 1 calls without a price"


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("card", " card\n", True),
        ("card", "Card", False),
        ({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}, True),
        ([1, 2], [2, 1], False),
        (1, True, False),
        ("1", 1, False),
        (False, False, True),
    ],
)
def test_an_output_is_the_expected_one_or_not(expected, output, same):
    assert agrees(expected, output) is same


def effect(tool="pay", amount=1):
    return Effect(step="pay", tool=tool, input={"amount": amount}, output="done")


@pytest.mark.parametrize(
    ("expected", "found", "what"),
    [
        ([], [], None),
        ([effect()], [effect()], None),
        ([effect()], [effect(amount=2)], 'would be given {"amount":2}'),
        ([effect()], [effect("refund")], "would be refund, not pay"),
        ([effect()], [], "pay would not be called"),
        ([], [effect()], "pay would be called too"),
    ],
)
def test_intended_effects_are_compared(expected, found, what):
    differ = effects_differ(expected, found)
    assert differ == what if what is None else what in differ
