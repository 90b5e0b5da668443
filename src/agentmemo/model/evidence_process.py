"""What may be concluded while runs come in, however often one looks: e-processes, and watches for drift.

An e-process is a bet against a hypothesis: while that is true, its value exceeds 1/alpha at any time at all with a
probability of at most alpha (Ville's inequality, 1939). Here each value follows from the counts alone, so the counts
are the whole state.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from agentmemo.model.evidence_bounds import (
    beta_fraction,
    check_counts,
    check_share,
    is_lower_tail,
    least,
    log_beta,
    log_lower_tail,
)

# By what a drift multiplies the odds of failure: an allowed 5 % against 13.6 %.
DRIFT_ODDS = 3.0
# Scores in nats. The figures behind them are in docs/evidence.md; `benchmarks/subjects/evidence.py` makes them.
ALARM_SCORE = 3.0
DEMOTION_SCORE = 5.5
# A candidate worth its tests fails at most so large a part of what it may.
_WORTHY_FAILURES = 0.3
_MARGIN_BETS = 64
_HALVINGS = 32
_LOG_SHOWN_MAX = math.log(1e12)


def log_e_value(successes: int, failures: int, bar: float) -> float:
    """The evidence against "the success probability is at most the bar", as a natural logarithm.

    The likelihood ratio of a success probability spread uniformly between bar and 1, against the bar itself. In closed
    form: an incomplete beta function over the likelihood at the bar.
    """
    check_counts(successes, failures)
    check_share("bar", bar)
    a, b, x = failures + 1.0, successes + 1.0, 1.0 - bar
    if is_lower_tail(a, b, x):
        # The powers of the tail and of the likelihood cancel.
        return math.log(bar) - math.log(a) + math.log(beta_fraction(a, b, x))
    mixture = log_beta(a, b) + math.log1p(-min(math.exp(log_lower_tail(b, a, bar)), 1.0 - 1e-15))
    return mixture - math.log(x) - successes * math.log(bar) - failures * math.log1p(-bar)


def shown(log_value: float) -> float:
    """An e-value as people see it: at most 10^12, which is beyond doubt."""
    return math.exp(min(log_value, _LOG_SHOWN_MAX))


def e_value(successes: int, failures: int, bar: float) -> float:
    return shown(log_e_value(successes, failures, bar))


def promotes(successes: int, failures: int, bar: float, alpha: float = 0.05) -> bool:
    """Whether the counts show, at any time one looks, that the success probability is above the bar."""
    check_share("alpha", alpha)
    return log_e_value(successes, failures, bar) >= -math.log(alpha)


def successes_needed(successes: int, failures: int, bar: float, alpha: float = 0.05) -> int:
    """How many more successes in a row would show it; each one raises the evidence."""
    check_share("alpha", alpha)
    return least(lambda more: promotes(successes + more, failures, bar, alpha), at_least=0)


def proven_bar(successes: int, failures: int, alpha: float = 0.05) -> float:
    """The highest bar that the counts show to be passed: a lower bound that holds at any time one looks."""
    check_share("alpha", alpha)
    low, high = 0.0, successes / max(successes + failures, 1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not 0.0 < middle < 1.0:
            break
        low, high = (middle, high) if promotes(successes, failures, middle, alpha) else (low, middle)
    return low


def log_demotion_e_value(successes: int, failures: int, bar: float) -> float:
    """The evidence against "the success probability is at least the bar": the same bet, on failures."""
    return log_e_value(failures, successes, 1.0 - bar)


def demotes(successes: int, failures: int, bar: float, alpha: float = 0.05) -> bool:
    """Whether the counts since a promotion show, at any time one looks, that it is below the bar."""
    check_share("alpha", alpha)
    return log_demotion_e_value(successes, failures, bar) >= -math.log(alpha)


def sprt(
    successes: int, failures: int, bad: float, good: float, alpha: float = 0.05, beta: float = 0.10
) -> Literal["good", "bad", "open"]:
    """Wald's sequential test (1945) between two success probabilities.

    A bad one is called good with a probability of about `alpha`, at most alpha / (1 - beta); a good one is called bad
    with about `beta`, at most beta / (1 - alpha).
    """
    for name, value in (("bad", bad), ("good", good), ("alpha", alpha), ("beta", beta)):
        check_share(name, value)
    check_counts(successes, failures)
    score = successes * math.log(good / bad) + failures * math.log((1.0 - good) / (1.0 - bad))
    if score >= math.log((1.0 - beta) / alpha):
        return "good"
    return "bad" if score <= math.log(beta / (1.0 - alpha)) else "open"


def worthy(bar: float) -> float:
    """The success probability that a candidate should have to be worth its tests: 0.97 for a bar of 0.90."""
    return 1.0 - _WORTHY_FAILURES * (1.0 - bar)


class Series(msgspec.Struct, frozen=True, array_like=True):
    """One kind of observations since a promotion: their counts, and `score`, which rises while failures are too many.

    The score is Page's cumulative sum (1954) in nats: the largest log likelihood ratio, over all times at which a
    drift may have begun, of `DRIFT_ODDS` times the allowed odds of failure against the allowed ones.
    """

    successes: int = 0
    failures: int = 0
    score: float = 0.0


def follow(series: Series, *, failed: bool, allowed: float) -> Series:
    """The series with one more observation, where so large a share of failures is allowed."""
    check_share("allowed", allowed)
    odds = DRIFT_ODDS * allowed / (1.0 - allowed)
    drifted = odds / (1.0 + odds)
    step = math.log(drifted / allowed) if failed else math.log1p(-drifted) - math.log1p(-allowed)
    return Series(series.successes + (not failed), series.failures + failed, max(0.0, series.score + step))


class NonInferiority(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs on the same inputs: how often only the cheaper one was right (`better`), only the dearer one (`worse`).

    `difference` is of success rates, cheaper less dearer. `proven_margin` is the least margin by which the cheaper one
    is shown not to be worse, 1 where nothing is shown. It says how the two compare, and not how good either is.
    """

    better: int
    worse: int
    equal: int
    margin: float
    difference: float
    e_value: float
    proven_margin: float
    holds: bool


def non_inferiority(better: int, worse: int, equal: int, margin: float = 0.03, alpha: float = 0.05) -> NonInferiority:
    """Whether the cheaper one is right at most `margin` less often, valid however often one looks.

    A bet on the bounded mean of the paired differences (Waudby-Smith and Ramdas, 2024): each pair multiplies the stake
    by 1 + bet * (difference + margin), whose mean is at most 1 unless the claim is true.
    """
    check_counts(better, worse)
    check_counts(equal, 0)
    check_share("margin", margin)
    check_share("alpha", alpha)
    value = _log_margin_e_value(better, worse, equal, margin)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_shown = _log_margin_e_value(better, worse, equal, middle) >= -math.log(alpha)
        low, high = (low, middle) if is_shown else (middle, high)
    return NonInferiority(
        better=better,
        worse=worse,
        equal=equal,
        margin=margin,
        difference=(better - worse) / max(better + worse + equal, 1),
        e_value=shown(value),
        proven_margin=high,
        holds=value >= -math.log(alpha),
    )


def _log_margin_e_value(better: int, worse: int, equal: int, margin: float) -> float:
    """The mean over bets of all sizes that a lost pair does not ruin."""
    largest = 1.0 / (1.0 - margin) if margin < 1.0 else math.inf
    stakes = []
    for number in range(1, _MARGIN_BETS + 1):
        bet = min(largest * (number - 0.5) / _MARGIN_BETS, 1e6)
        stakes.append(
            better * math.log1p(bet * (1.0 + margin))
            + worse * math.log1p(bet * (margin - 1.0))
            + equal * math.log1p(bet * margin)
        )
    best = max(stakes)
    return best + math.log(sum(math.exp(stake - best) for stake in stakes) / _MARGIN_BETS)
