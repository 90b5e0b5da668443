"""The statistics of evidence, against exact sums and the exact probabilities of whole histories."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmemo.errors import InvalidInput
from agentmemo.model import evidence, evidence_bounds, evidence_process
from agentmemo.model.evidence import Counts, Evidence, Series, Standard, Watch, judge
from agentmemo.model.workflows import Quality

SEED = 7
counts = st.integers(0, 120)
bars = st.sampled_from([0.5, 0.9, 0.95, 0.99])


def tail(successes, trials, chance):
    """P(X >= successes), exactly."""
    return sum(
        math.comb(trials, hits) * chance**hits * (1 - chance) ** (trials - hits)
        for hits in range(successes, trials + 1)
    )


def spread(successes, failures, inputs=40):
    """The runs over so many inputs, as evenly as they go."""
    found = [[0, 0] for _ in range(inputs)]
    for number in range(successes + failures):
        found[number % inputs][number < failures] += 1
    return {f"input-{number}": Counts(*pair) for number, pair in enumerate(found)}


@pytest.mark.parametrize(
    ("bar", "runs"),
    [
        (0.90, [29, 46, 61, 76]),
        (0.95, [59, 93, 124, 153]),
        (0.97, [99, 157, 208, 257]),
        (0.98, [149, 236, 313, 386]),
        (0.99, [299, 473, 628, 773]),
    ],
)
def test_runs_that_are_fixed_beforehand(bar, runs):
    assert [evidence_bounds.runs_needed(bar, 0.05, failures) for failures in range(4)] == runs
    assert [evidence_bounds.failures_allowed(trials, bar) for trials in runs] == [0, 1, 2, 3]
    exact = Fraction(bar).limit_denominator(100)
    for failures, trials in enumerate(runs):
        assert (
            tail(trials - failures, trials, exact) <= Fraction(1, 20) < tail(trials - failures - 1, trials - 1, exact)
        )


@given(trials=st.integers(1, 60), data=st.data(), bar=bars)
def test_bounds_are_those_of_the_binomial_sum(trials, data, bar):
    successes = data.draw(st.integers(1, trials))
    exact = float(tail(successes, trials, Fraction(bar).limit_denominator(100)))
    found = math.exp(evidence_bounds.log_beta_tail(successes, trials - successes + 1, bar))
    assert found == pytest.approx(exact, rel=1e-10)
    lower = evidence_bounds.clopper_pearson_lower(successes, trials)
    assert float(tail(successes, trials, Fraction(lower))) == pytest.approx(0.05, rel=1e-9)


@given(successes=counts, failures=counts)
def test_intervals_are_ordered_and_hold_the_rate(successes, failures):
    trials = successes + failures
    exact = (
        evidence_bounds.clopper_pearson_lower(successes, trials, 0.025),
        evidence_bounds.clopper_pearson_upper(successes, trials, 0.025),
    )
    rate = successes / trials if trials else 0.5
    for low, high in (
        exact,
        evidence_bounds.jeffreys_interval(successes, trials),
        evidence_bounds.wilson(successes, trials),
    ):
        assert 0 <= low <= rate + 1e-12
        assert rate - 1e-12 <= high <= 1
    assert evidence_bounds.clopper_pearson_lower(successes + 1, trials + 1, 0.025) >= exact[0]


def test_intervals_as_published():
    low, high = evidence_bounds.wilson(43, 150)
    assert (round(100 * low, 1), round(100 * high, 1)) == (22.0, 36.4)
    assert evidence_bounds.student_quantile(19) == pytest.approx(2.093024)
    assert evidence_bounds.student_quantile(1) == pytest.approx(12.706205)


def exact_e_value(successes, failures, bar):
    """The integral of the mixture, as a polynomial in exact fractions."""
    total = Fraction(0)
    for power in range(failures + 1):
        top = successes + power + 1
        total += Fraction((-1) ** power * math.comb(failures, power), top) * (1 - bar**top)
    return total / ((1 - bar) * bar**successes * (1 - bar) ** failures)


@given(successes=counts, failures=st.integers(0, 30), bar=bars)
def test_the_e_value_is_its_integral(successes, failures, bar):
    exact = exact_e_value(successes, failures, Fraction(bar).limit_denominator(100))
    found = evidence_process.log_e_value(successes, failures, bar)
    assert found == pytest.approx(math.log(exact.numerator) - math.log(exact.denominator), rel=1e-9, abs=1e-9)


@given(successes=counts, failures=counts, bar=bars)
def test_an_e_value_is_a_fair_bet_at_the_bar(successes, failures, bar):
    """Its mean after one more run is what it is now: so it exceeds 1/alpha with a probability of alpha at most."""
    now, good, bad = (
        evidence_process.log_e_value(successes + more, failures + worse, bar)
        for more, worse in ((0, 0), (1, 0), (0, 1))
    )
    assert bar * math.exp(good - now) + (1 - bar) * math.exp(bad - now) == pytest.approx(1, rel=1e-9)
    assert bad < now < good


@pytest.mark.parametrize(("successes", "failures"), [(10**6, 0), (950_000, 50_000), (940_000, 60_000), (0, 10**6)])
def test_a_million_runs(successes, failures):
    now, good, bad = (
        evidence_process.log_e_value(successes + more, failures + worse, 0.95)
        for more, worse in ((0, 0), (1, 0), (0, 1))
    )
    assert 0.95 * math.exp(good - now) + 0.05 * math.exp(bad - now) == pytest.approx(1, rel=1e-6)
    if not failures:
        closed = math.log(20 / (successes + 1)) - successes * math.log(0.95)
        assert now == pytest.approx(closed, rel=1e-12)
    assert evidence_process.e_value(10**6, 0, 0.95) == pytest.approx(1e12), "what people see is bounded"


def test_runs_until_a_promotion_without_failures():
    needed = [evidence_process.successes_needed(0, 0, bar) for bar in (0.90, 0.95, 0.97, 0.98, 0.99)]
    assert needed == [43, 88, 148, 224, 449]
    assert evidence_process.proven_bar(88, 0) >= 0.95 > evidence_process.proven_bar(87, 0)


def absorbed(decides, truth, runs, first=1):
    """The exact probability that a rule has decided by each run, from all histories at once."""
    mass, by_run, total = {0: 1.0}, [], 0.0
    for trials in range(1, runs + 1):
        moved: dict[int, float] = {}
        for failures, chance in mass.items():
            moved[failures] = moved.get(failures, 0.0) + chance * truth
            moved[failures + 1] = moved.get(failures + 1, 0.0) + chance * (1 - truth)
        hit = {failures for failures in moved if trials >= first and decides(trials - failures, failures)}
        total += sum(moved.pop(failures) for failures in hit)
        by_run.append(total)
        mass = {failures: chance for failures, chance in moved.items() if chance > 1e-12}
    return by_run


@pytest.fixture(scope="module")
def promotions():
    """How often each bar is passed within 400 runs, for what is true, exactly."""

    def chance(bar, truth):
        # Above this share of failures nothing is promoted; it spares the sums that say so.
        def decides(successes, failures):
            return failures <= (1 - bar) * (successes + failures) and evidence_process.promotes(
                successes, failures, bar
            )

        return absorbed(decides, truth, 400)

    return chance


@pytest.mark.parametrize("bar", [0.90, 0.95])
def test_false_promotions_are_rare_however_often_one_looks(promotions, bar):
    assert promotions(bar, bar)[-1] <= 0.04
    assert promotions(bar, bar - 0.05)[-1] <= 0.002


def test_an_average_promotes_what_is_bad():
    assert absorbed(lambda good, bad: good >= 0.9 * (good + bad), 0.85, 300, first=10)[-1] > 0.6


def test_a_good_model_is_promoted_soon(promotions):
    by_run = promotions(0.95, 0.99)
    assert by_run[149] > 0.5
    assert by_run[-1] > 0.95


def test_what_is_bad_is_given_up_early():
    def decides(which):
        return lambda good, bad: evidence_process.sprt(good, bad, 0.90, 0.97) == which

    rejected = absorbed(decides("bad"), 0.85, 200)
    mean = sum(1 - chance for chance in [0.0, *rejected])
    assert 20 <= mean <= 26
    assert absorbed(decides("bad"), 0.97, 400)[-1] <= 0.10
    assert absorbed(decides("good"), 0.90, 400)[-1] <= 0.05 / 0.90
    assert evidence_process.worthy(0.90) == pytest.approx(0.97)


def runs_to_demotion(source, errors, seen=1.0):
    watch, standard = Watch(sensitivity=seen), Standard()
    for number in range(1, 401):
        is_wrong = source.random() < errors
        watch = evidence.observe_check(watch, standard, failed=is_wrong and source.random() < seen)
        if is_wrong and evidence.is_demoted(watch, standard):
            return number
    return None


def test_a_drift_is_noticed_and_calm_is_left_alone():
    source = random.Random(SEED)
    drifted = [runs_to_demotion(source, 0.18) for _ in range(150)]
    assert sum(number is not None and number <= 100 for number in drifted) >= 0.9 * len(drifted)
    assert sum(runs_to_demotion(source, 0.03) is not None for _ in range(150)) <= 3


def test_checks_that_see_less_are_given_less_room():
    assert evidence_bounds.expected_failed_checks(0.05, 0.5) == 0.025
    assert evidence_bounds.rogan_gladen(0.025, 0.5, 1.0) == pytest.approx(0.05)
    half, whole = Watch(sensitivity=0.5), Watch()
    for watch in (half, whole):
        assert evidence.observe_check(watch, Standard(), failed=False).checks.score == 0
    told, untold = (evidence.observe_check(watch, Standard(), failed=True).checks.score for watch in (half, whole))
    assert told > untold > 0


@given(rate=st.floats(0, 1), sensitivity=st.floats(0.6, 1), specificity=st.floats(0.6, 1))
def test_errors_are_found_behind_imperfect_checks(rate, sensitivity, specificity):
    seen = evidence_bounds.expected_failed_checks(rate, sensitivity, specificity)
    assert evidence_bounds.rogan_gladen(seen, sensitivity, specificity) == pytest.approx(rate, abs=1e-9)


def test_pairs_show_that_nothing_is_lost():
    assert not evidence_process.non_inferiority(0, 0, 100).holds
    assert evidence_process.non_inferiority(0, 0, 200).holds
    assert not evidence_process.non_inferiority(0, 10, 190).holds
    found = evidence_process.non_inferiority(5, 2, 193)
    assert found.difference == 0.015
    assert found.proven_margin < found.margin
    assert evidence_process.non_inferiority(5, 2, 193, found.proven_margin + 1e-6).holds
    assert evidence_process.non_inferiority(0, 0, 0).proven_margin == 1


@given(better=counts, worse=counts, equal=counts)
def test_the_bet_on_pairs_is_fair_at_the_margin(better, worse, equal):
    """At a difference of exactly -3 % its mean does not grow, whatever share of the pairs is equal."""
    pairs = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    now = evidence_process._log_margin_e_value(better, worse, equal, 0.03)
    won, lost, same = (
        math.exp(evidence_process._log_margin_e_value(better + a, worse + b, equal + c, 0.03) - now)
        for a, b, c in pairs
    )
    for ties in (0.0, 0.5, 0.97):
        wins = (1 - ties - 0.03) / 2
        assert wins * won + (wins + 0.03) * lost + ties * same <= 1 + 1e-9
    assert won > same > lost


def test_verdicts_while_runs_come_in():
    none, some, enough = judge(Evidence()), judge(Evidence(inputs=spread(60, 0))), judge(Evidence(inputs=spread(88, 0)))
    assert (none.status, none.successes_needed) == ("insufficient", 88)
    assert none.reasons == ["0 distinct inputs were tried, of at least 20"]
    assert none.needs == ["20 more distinct inputs", "88 more successes without a failure"]
    assert (some.status, some.needs) == ("testing", ["28 more successes without a failure"])
    assert (enough.status, enough.successes_needed) == ("qualified", 0)
    assert enough.e_value >= 20
    assert enough.proven_bar >= 0.95
    assert judge(Evidence(inputs=spread(60, 9))).status == "rejected"
    assert judge(Evidence(inputs=spread(88, 0), candidates=3)).status == "testing", "alpha is shared"
    assert judge(Evidence(inputs=spread(43, 0)), evidence.run_standard(Quality())).status == "qualified"


def test_verdicts_after_a_plan():
    def after(successes, failures, planned=100):
        return judge(Evidence(inputs=spread(successes, failures), planned=planned))

    assert after(99, 1).status == "qualified"
    assert after(50, 1).needs == ["49 more runs of the plan with at most 0 failures"]
    assert after(50, 3).status == "unproven", "what is left cannot change it"
    assert after(50, 3).needs == ["a new plan: 153 runs show it with 3 failures"]
    assert after(40, 20).status == "rejected"
    assert after(59, 0, planned=59).status == "qualified"
    assert after(59, 0, planned=58).status == "testing", "more than planned was not planned"


def test_one_case_a_hundred_times_is_one_case():
    again = {f"input-{number}": Counts(100, 0) for number in range(10)}
    verdict = judge(Evidence(inputs=again))
    assert verdict.status == "insufficient"
    assert verdict.successes == 10 * evidence.RUNS_PER_INPUT
    assert evidence.effective({"a": Counts(97, 3), "b": Counts(2, 0)}) == (Counts(4, 3), Counts(7, 0))


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6))
def test_cuts_help_neither_side(pairs):
    inputs = {name: Counts(*pair) for name, pair in pairs.items()}
    worst, best = evidence.effective(inputs)
    assert worst.trials == best.trials == sum(min(found.trials, 5) for found in inputs.values())
    assert worst.failures >= best.failures


def test_edge_cases_have_to_be_met():
    verdict = judge(Evidence(inputs=spread(120, 0), edge_cases={"large": 3, "empty": 2, "binary": 0}))
    assert verdict.status == "insufficient"
    assert verdict.reasons == [
        f"edge case {name} was met {times} of at least 3 times" for name, times in (("binary", 0), ("empty", 2))
    ]


def test_verdicts_since_a_promotion():
    def since(**seen):
        return judge(Evidence(watch=Watch(**seen)))

    assert since().status == "qualified"
    assert since(served_model="other").status == "demoted"
    assert since(checks=Series(80, 20)).status == "demoted"
    assert "the latest" in since(checks=Series(9_900, 100, 6.0)).reasons[0]
    assert since(audits=Series(10, 8)).status == "demoted"
    alarmed = since(checks=Series(97, 3, 4.0))
    assert (alarmed.status, alarmed.audit_share) == ("qualified", 0.20)
    assert since(checks=Series(97, 3)).audit_share == 0.05
    unseen = judge(Evidence(watch=Watch()), Standard(audit_share=0.0))
    assert (unseen.status, unseen.audit_share) == ("qualified", 0.0)
    assert unseen.reasons[1].startswith("nothing is audited")


def test_a_ladder_is_tested_from_the_top():
    """From the cheapest up, three bad rungs are three chances to err; from the top down only the first is one."""
    assert [evidence.cheapest_qualified(rungs) for rungs in ([], [False], [True, True, False, True], [True])] == [
        None, None, 1, 0,
    ]  # fmt: skip
    wrong = sum(
        0.05 ** sum(errs) * 0.95 ** (3 - sum(errs))
        for errs in ((a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1))
        if evidence.cheapest_qualified([True, *map(bool, errs)]) != 0
    )
    assert wrong == pytest.approx(0.05)


def test_shares_are_of_all_keys_and_grow():
    keys = [f"run-{number}" for number in range(4_000)]
    few, many = ({key for key in keys if evidence.audited(key, "route", rate)} for rate in (0.05, 0.20))
    assert few < many
    assert 0.04 < len(few) / len(keys) < 0.06
    assert few != {key for key in keys if evidence.audited(key, "reply", 0.05)}
    assert all(evidence.in_share(key, "canary", 1.0) for key in keys)
    assert not any(evidence.in_share(key, "canary", 0.0) for key in keys)


def test_the_standards_of_a_document():
    assert evidence.step_standard(Quality()) == Standard()
    assert evidence.run_standard(Quality()).bar == 0.90


def test_a_run_is_worse_than_its_steps():
    assert round(evidence.run_success([0.98] * 5), 2) == 0.90


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Standard(bar=1.0),
        lambda: Standard(alpha=0.0),
        lambda: Standard(min_runs=0),
        lambda: Standard(audit_share=1.1),
        lambda: Watch(sensitivity=0.0),
        lambda: judge(Evidence(candidates=0)),
        lambda: evidence_bounds.wilson(3, 2),
        lambda: evidence_bounds.rogan_gladen(0.1, 0.5, 0.5),
        lambda: evidence_process.promotes(-1, 0, 0.9),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidInput):
        wrong()
