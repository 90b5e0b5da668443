"""Savings: the formula to the nano-dollar, and what may be said of them."""

from __future__ import annotations

import random
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmemo.errors import InvalidInput
from agentmemo.model import savings
from agentmemo.model.savings import Pair, Spending, break_even, cost, limit, report, saving, terms

NANO = 1_000_000_000
SMART = 2 * NANO
ESCALATED = [Fraction(0), Fraction(5, 100), Fraction(10, 100), Fraction(20, 100)]
SPENDING = Spending(
    runs=600,
    accepted=590,
    execute_nanousd=12 * NANO,
    counterfactual_nanousd=1_250 * NANO,
    design_nanousd=2 * NANO,
    verify_nanousd=1 * NANO,
    escalate_nanousd=60 * NANO,
    audit_nanousd=60 * NANO,
    shadow_nanousd=3 * NANO,
    repair_nanousd=4 * NANO,
    escalated_runs=30,
    audited_runs=30,
    smart_model="opus",
)


def pairs(number, seed=1):
    source = random.Random(seed)
    sizes = [source.lognormvariate(0, 0.7) for _ in range(number)]
    return [Pair(round(2e7 * size), round(2e9 * size * source.uniform(0.8, 1.2))) for size in sizes]


def test_the_arithmetic_of_the_claim():
    claimed = terms(2 * NANO, 20_000_000, design_nanousd=2 * NANO)
    assert cost(claimed, 100) == 4 * NANO
    assert 100 * claimed.smart == 200 * NANO
    assert saving(claimed, 100) == Fraction(98, 100)
    assert limit(claimed) == Fraction(99, 100)
    assert break_even(claimed) == 2


@pytest.mark.parametrize(
    ("ratio", "row"),
    [
        (5, [-20, 30, 70, 79.0, 74.0, 67.0, 59.0]),
        (20, [-5, 45, 85, 94.0, 89.0, 83.5, 74.0]),
        (40, [-2.5, 47.5, 87.5, 96.5, 91.5, 86.2, 76.5]),
        (100, [-1, 49, 89, 98.0, 93.0, 87.9, 78.0]),
    ],
)
def test_savings_by_price_ratio(ratio, row):
    def percent(runs, escalated=0, verification=0):
        found = terms(
            SMART,
            SMART // ratio,
            design_nanousd=SMART,
            escalated=ESCALATED[escalated],
            verification_nanousd=verification,
        )
        return round(float(100 * saving(found, runs)), 1)

    cells = [percent(1), percent(2), percent(10), percent(100), percent(100, 1)]
    cells += [percent(100, 2, SMART // ratio // 10), percent(100, 3)]
    assert cells == row


def test_an_audit_costs_its_share():
    audited = terms(SMART, SMART // 100, design_nanousd=SMART, audited=Fraction(5, 100))
    assert saving(audited, 100) == Fraction(93, 100)


@pytest.mark.parametrize(("designs", "first"), [(1, {2}), (5, {6, 7}), (25, {26, 27, 32})])
def test_the_run_from_which_it_pays(designs, first):
    assert {
        break_even(terms(SMART, SMART // ratio, design_nanousd=designs * SMART)) for ratio in (5, 20, 40, 100)
    } == first
    assert break_even(terms(SMART, SMART)) is None
    assert break_even(terms(SMART, SMART // 2)) == 1


amounts = st.integers(0, 10**12)
shares = st.fractions(0, 1, max_denominator=1000)


@given(st.integers(1, 10**12), amounts, amounts, amounts, shares, shares)
def test_break_even_is_the_first_run_that_is_cheaper(smart, cheap, design, verification, escalated, audited):
    found = terms(
        smart, cheap, design_nanousd=design, verification_nanousd=verification, escalated=escalated, audited=audited
    )
    first = break_even(found)
    if first is None:
        assert limit(found) <= 0
    else:
        assert saving(found, first) > 0
        assert first == 1 or saving(found, first - 1) <= 0
        assert saving(found, first) < limit(found) or not design


def test_the_gate_reckons_with_more_escalations_than_were_seen():
    found = terms(SMART, SMART // 100, design_nanousd=SMART, audited=Fraction(5, 100))
    worth = savings.worth_promoting(found, 100, escalations=2, observed=88)
    assert worth.holds
    assert worth.escalated > 2 / 88
    assert "it pays from run 2 on" in worth.reason
    assert not savings.worth_promoting(found, 1, escalations=2, observed=88).holds
    dear = savings.worth_promoting(terms(SMART, SMART // 2), 1_000, escalations=60, observed=100)
    assert (dear.holds, dear.break_even) == (False, None)
    assert dear.reason.startswith("not worth it: one run costs")


def test_every_overhead_is_subtracted():
    found = report(SPENDING)
    assert found.spent_nanousd == (12 + 2 + 1 + 60 + 60 + 3 + 4) * NANO
    assert found.list_price.saved_nanousd == 1_250 * NANO - found.spent_nanousd
    assert found.per_accepted_nanousd == round(Fraction(142 * NANO, 590))
    assert (found.e, found.a, found.v) == (0.05, 0.05, 1 / 1_250)
    assert found.r == pytest.approx(1_250 / 12)
    assert found.break_even == 5, "9 of overheads, and 1117 / 600 gained by each run"


def test_two_lines_are_never_mixed():
    few, enough = report(SPENDING, pairs(19)), report(SPENDING, pairs(20))
    assert (few.headline, enough.headline) == ("list", "measured")
    assert few.list_price == enough.list_price
    assert enough.measured.low < enough.measured.saving < enough.measured.high
    assert enough.measured.smart_nanousd != enough.list_price.smart_nanousd
    assert "estimated at list prices" in few.explain()
    assert "(19 of 20 pairs to measure it)" in few.explain()
    assert "measured on 20 pairs (95% interval" in enough.explain()
    assert report(SPENDING, list(reversed(pairs(20)))) == enough


@pytest.mark.parametrize("measured_by", [0, 20])
def test_no_percentage_without_its_terms(measured_by):
    said = report(SPENDING, pairs(measured_by)).explain()
    for term in ("r = ", "e = 5.0%", "v = 0.1%", "a = 5.0%", "design $2.00", "repairs $4.00", "It pays from run"):
        assert term in said


def test_what_is_not_known_is_not_zero():
    found = report(msgspec.structs.replace(SPENDING, counterfactual_nanousd=None, unpriced_calls=2))
    assert (found.headline, found.list_price, found.v) == ("none", None, None)
    assert "no saving is stated" in found.explain()
    assert "2 calls have no known price" in found.explain()
    assert "saved" not in found.explain()


def test_a_rung_without_a_model_is_measured_by_the_mean():
    free = [Pair(0, pair.smart_nanousd) for pair in pairs(25)]
    found = report(msgspec.structs.replace(SPENDING, execute_nanousd=0, counterfactual_nanousd=None), free)
    assert found.headline == "measured"
    assert found.measured.smart_nanousd == round(Fraction(600 * sum(pair.smart_nanousd for pair in free), 25))
    assert found.r is None
    assert "no model paid for" in found.explain()


def test_an_interval_of_nearly_equal_pairs_is_short():
    found = savings.ratio_of_means(list(range(10, 30)), list(range(100, 300, 10)))
    assert found.value == Fraction(1, 10)
    assert found.interval == pytest.approx((0.1, 0.1))
    assert savings.ratio_of_means([1], [2]).interval is None
    assert savings.ratio_of_means([1, 1], [0, 100]).interval is None, "the mean may be 0"


def test_intervals_hold_the_truth():
    held = 0
    for seed in range(300):
        found = pairs(20, seed)
        ratio = savings.ratio_of_means([pair.cheap_nanousd for pair in found], [pair.smart_nanousd for pair in found])
        held += ratio.interval.low <= 0.01 <= ratio.interval.high
    assert 0.91 <= held / 300 <= 0.99


def test_amounts_are_said_to_the_nano_dollar():
    said = [savings.amount(amount) for amount in (0, 1, 20_000_000, 4 * NANO, -1_234 * NANO - 500_000_000)]
    assert said == ["$0.00", "$0.000000001", "$0.02", "$4.00", "-$1234.50"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: terms(0, 0),
        lambda: terms(1, -1),
        lambda: terms(1, 1, escalated=2),
        lambda: saving(terms(1, 1), 0),
        lambda: report(msgspec.structs.replace(SPENDING, runs=0)),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidInput):
        wrong()
