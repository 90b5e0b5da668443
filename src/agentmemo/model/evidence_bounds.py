"""Exact bounds on a success probability from counts: what a number of runs that was fixed beforehand shows.

Each bound is a tail of the beta distribution, after Clopper and Pearson (1934). They hold for one look at the end; who
looks after each run needs `evidence_process`. Up to a million runs a tail has a relative error below 1e-7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from agentmemo.errors import InvalidInput

# Halvings of the interval from 0 to 1: to 6e-14.
_HALVINGS = 44
# A continued fraction needs about the square root of the runs; this is enough for 10^9 of them.
_FRACTION_TERMS = 200_000
_FRACTION_PRECISION = 1e-15
_TINY = 1e-300
_SHOWN_LEVEL = 0.95


class Interval(NamedTuple):
    low: float
    high: float


def clopper_pearson_lower(successes: int, trials: int, alpha: float = 0.05) -> float:
    """The exact one-sided lower bound: at most with probability `alpha` is the truth below it."""
    check_counts(successes, trials - successes)
    check_share("alpha", alpha)
    return 0.0 if successes == 0 else beta_quantile(alpha, successes, trials - successes + 1)


def clopper_pearson_upper(successes: int, trials: int, alpha: float = 0.05) -> float:
    return 1.0 - clopper_pearson_lower(trials - successes, trials, alpha)


def reaches(successes: int, trials: int, bar: float, alpha: float = 0.05) -> bool:
    """Whether the Clopper-Pearson lower bound is at the bar or above, asked of the tail itself."""
    check_counts(successes, trials - successes)
    check_share("bar", bar)
    check_share("alpha", alpha)
    return successes > 0 and log_beta_tail(successes, trials - successes + 1, bar) <= math.log(alpha)


def runs_needed(bar: float, alpha: float = 0.05, failures: int = 0) -> int:
    """The smallest number of runs that reaches the bar with so many failures, if it was fixed beforehand."""
    check_share("bar", bar)
    check_share("alpha", alpha)
    check_counts(0, failures)
    return least(lambda successes: reaches(successes, successes + failures, bar, alpha), at_least=1) + failures


def failures_allowed(trials: int, bar: float, alpha: float = 0.05) -> int | None:
    """With how many failures in so many runs the bar is still reached; None where even none would not do."""
    if not reaches(trials, trials, bar, alpha):
        return None
    return least(lambda failures: not reaches(trials - failures, trials, bar, alpha), at_least=1) - 1


def wilson(successes: int, trials: int, z: float = 1.96) -> Interval:
    """Wilson's score interval (1927). For display: near 1 it is too liberal to decide by."""
    check_counts(successes, trials - successes)
    if trials == 0:
        return Interval(0.0, 1.0)
    rate, weight = successes / trials, z * z / trials
    middle = rate + weight / 2
    reach = z * math.sqrt(rate * (1 - rate) / trials + weight / (4 * trials))
    # At the ends the exact value is 0 or 1, which rounding would miss.
    low = 0.0 if successes == 0 else (middle - reach) / (1 + weight)
    return Interval(low, 1.0 if successes == trials else (middle + reach) / (1 + weight))


def jeffreys_interval(successes: int, trials: int, level: float = _SHOWN_LEVEL) -> Interval:
    """The central interval of Beta(1/2, 1/2) after the runs. For display."""
    check_counts(successes, trials - successes)
    check_share("level", level)
    tail, failures = (1 - level) / 2, trials - successes
    low = 0.0 if successes == 0 else beta_quantile(tail, successes + 0.5, failures + 0.5)
    return Interval(low, 1.0 if failures == 0 else 1.0 - beta_quantile(tail, failures + 0.5, successes + 0.5))


def rogan_gladen(observed: float, sensitivity: float, specificity: float) -> float:
    """The true error rate behind an observed rate of failed checks (Rogan and Gladen, 1978), within 0 and 1.

    `sensitivity` is the share of wrong results that the check fails, `specificity` the share of right ones it passes;
    both come from audited runs. Raises InvalidInput for a check that is no better than chance.
    """
    check_informed(sensitivity, specificity)
    return min(max((observed + specificity - 1.0) / (sensitivity + specificity - 1.0), 0.0), 1.0)


def expected_failed_checks(error_rate: float, sensitivity: float = 1.0, specificity: float = 1.0) -> float:
    """The inverse of `rogan_gladen`: which share of the checks fails where so many results are wrong."""
    return sensitivity * error_rate + (1.0 - specificity) * (1.0 - error_rate)


def student_quantile(freedom: int, level: float = _SHOWN_LEVEL) -> float:
    """How many standard errors to both sides hold a mean with probability `level`, by Student's t."""
    check_share("level", level)
    part = beta_quantile(level, 0.5, freedom / 2)
    return math.sqrt(freedom * part / (1.0 - part))


def beta_quantile(level: float, a: float, b: float) -> float:
    """Where Beta(a, b) has so much of its mass below; from below, so that a lower bound is never too high."""
    wanted = math.log(level)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if log_beta_tail(a, b, middle) <= wanted else (low, middle)
    return low


def log_beta_tail(a: float, b: float, x: float) -> float:
    """The logarithm of the regularised incomplete beta function I_x(a, b)."""
    if not 0.0 < x < 1.0:
        return -math.inf if x <= 0.0 else 0.0
    if is_lower_tail(a, b, x):
        return log_lower_tail(a, b, x)
    # Rounding may leave a hair more than everything.
    return math.log1p(-min(math.exp(log_lower_tail(b, a, 1.0 - x)), 1.0 - _FRACTION_PRECISION))


def is_lower_tail(a: float, b: float, x: float) -> bool:
    """Whether x lies where the continued fraction converges fast; else it does for the other tail."""
    return x < (a + 1.0) / (a + b + 2.0)


def log_lower_tail(a: float, b: float, x: float) -> float:
    return a * math.log(x) + b * math.log1p(-x) - math.log(a) - log_beta(a, b) + math.log(beta_fraction(a, b, x))


def log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method (DLMF 8.17.22)."""
    ratio = 1.0
    below = 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1.0))
    value = below
    for m in range(1, _FRACTION_TERMS):
        at = a + 2 * m
        for term in (m * (b - m) * x / ((at - 1.0) * at), -(a + m) * (a + b + m) * x / (at * (at + 1.0))):
            below = 1.0 / _nonzero(1.0 + term * below)
            ratio = _nonzero(1.0 + term / ratio)
            step = below * ratio
            value *= step
        if abs(step - 1.0) < _FRACTION_PRECISION:
            return value
    raise ArithmeticError(f"The incomplete beta function of {a}, {b} at {x} did not converge.")


def _nonzero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY


def least(holds: Callable[[int], bool], *, at_least: int) -> int:
    """The smallest whole number from `at_least` on for which it holds, where it holds for all greater ones."""
    below, high = at_least - 1, at_least
    while not holds(high):
        below, high = high, max(2 * high, 1)
    while high - below > 1:
        middle = (below + high) // 2
        below, high = (below, middle) if holds(middle) else (middle, high)
    return high


def check_share(name: str, value: float) -> None:
    """Raises InvalidInput for what is not strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise InvalidInput(f"`{name}` is {value}.", next_call=f"Send a `{name}` above 0 and below 1, such as 0.95.")


def check_counts(successes: int, failures: int) -> None:
    if successes < 0 or failures < 0:
        raise InvalidInput(
            f"{successes} successes in {successes + failures} runs cannot be.",
            next_call="Send counts from 0 on, with at most as many successes as runs.",
        )


def check_informed(sensitivity: float, specificity: float) -> None:
    """Raises InvalidInput for a check that is no better than chance."""
    if not (0.0 <= sensitivity <= 1.0 and 0.0 <= specificity <= 1.0 and sensitivity + specificity > 1.0):
        raise InvalidInput(
            f"A check with sensitivity {sensitivity} and specificity {specificity} says nothing about errors.",
            why="Both are shares, and their sum has to be above 1, else it fails right results as often as wrong ones.",
            next_call="Count only the audited runs, or mend the check.",
        )
