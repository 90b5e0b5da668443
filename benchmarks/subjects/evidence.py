"""How often promotions and demotions are wrong, and how many runs they take: histories made up by seed.

Each history is a sequence of runs that succeed with a known probability. Every rule sees the same histories, and is
asked after each run. The peers are the rules that are commonly used instead: the average, and Wilson's lower bound.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness import QUICK, Row, Target

from agentmemo.model import evidence, evidence_bounds, evidence_process, savings
from agentmemo.model.evidence import Standard, Watch

SEED = 20_261
HISTORIES = 200 if QUICK else 2_000
RUNS = 400
FIRST_LOOK = 10
CALM_ERRORS, DRIFTED_ERRORS = 0.03, 0.18
# Promoted with 100 runs behind it, then the errors change, or they do not.
BEFORE = 100
Z_ONE_SIDED = 1.645
Rule = Callable[[int, int, float], bool]
SETTINGS = f"{HISTORIES} histories of {RUNS} runs, seed {SEED}; alpha 0.05, a look after each run"
DRIFT_SETTINGS = (
    f"{HISTORIES} histories of {BEFORE} runs with {CALM_ERRORS:.0%} errors and {RUNS} after it, seed {SEED}; bar 0.95, "
    f"audits 5 %, 20 % while alarmed; score {evidence_process.DEMOTION_SCORE}"
)


def run() -> list[Row]:
    print(f"  seed {SEED}")
    return [*_promotions(), *_decision_times(), *_drifts(), _coverage()]


def _average(successes: int, trials: int, bar: float) -> bool:
    return trials >= FIRST_LOOK and successes >= bar * trials


def _wilson(successes: int, trials: int, bar: float) -> bool:
    return trials >= FIRST_LOOK and evidence_bounds.wilson(successes, trials, Z_ONE_SIDED).low >= bar


def _ours(successes: int, trials: int, bar: float) -> bool:
    return evidence_process.promotes(successes, trials - successes, bar)


def _early(successes: int, trials: int, bar: float) -> bool:
    good = evidence_process.worthy(bar)
    return evidence_process.sprt(successes, trials - successes, bar, good, beta=evidence.GIVEN_UP) == "bad"


def _promotions() -> Iterator[Row]:
    for bar in (0.90, 0.95):
        for below, target in ((0.0, 0.05), (0.05, 0.01)):
            truth = bar - below
            share = {rule: _promoted(rule, truth, bar) for rule in (_ours, _average, _wilson)}
            for peer, name in ((_average, "average >= bar"), (_wilson, "Wilson at each look")):
                yield Row(
                    subject=f"wrongly promoted, truth {truth:.2f}, bar {bar:.2f}",
                    unit="%",
                    peer_name=name,
                    ours=100 * share[_ours],
                    peer=100 * share[peer],
                    target=Target(100 * target, at_most=True),
                    settings=SETTINGS,
                )


def _promoted(rule: Rule, truth: float, bar: float) -> float:
    times = _first_times(rule, truth, bar)
    return sum(time is not None for time in times) / HISTORIES


def _first_times(rule: Rule, truth: float, bar: float, gives_up: Rule | None = None) -> list[int | None]:
    """In which run each history is promoted; None where it never is, or was given up before."""
    source = random.Random(SEED)
    decide, refuse = _remembered(rule, bar), _remembered(gives_up, bar) if gives_up else None
    times: list[int | None] = []
    for _ in range(HISTORIES):
        successes, found = 0, None
        for trials in range(1, RUNS + 1):
            successes += source.random() < truth
            if found is None and decide(successes, trials):
                found = trials
            if found is None and refuse and refuse(successes, trials):
                found = -trials
        times.append(found)
    return times


def _remembered(rule: Rule, bar: float) -> Callable[[int, int], bool]:
    known: dict[tuple[int, int], bool] = {}

    def decide(successes: int, trials: int) -> bool:
        if (successes, trials) not in known:
            known[successes, trials] = rule(successes, trials, bar)
        return known[successes, trials]

    return decide


def _decision_times() -> Iterator[Row]:
    for truth, bar, target in ((0.99, 0.95, 150), (0.99, 0.90, None), (0.97, 0.90, None)):
        times = _first_times(_ours, truth, bar)
        watched = _first_times(_ours, truth, bar, _early)
        lost = sum(time is not None and time < 0 for time in watched) / HISTORIES
        missed = sum(time is None for time in times) / HISTORIES
        yield Row(
            subject=f"runs until a model of {truth:.2f} is promoted, bar {bar:.2f}, median",
            unit="runs",
            ours=statistics.median(time or RUNS + 1 for time in times),
            target=Target(target, at_most=True) if target else None,
            settings=SETTINGS,
            note=f"{missed:.1%} not within {RUNS}; early rejection on, {lost:.1%} are given up",
        )
    for truth in (0.85, 0.90):
        times = [-time for time in _first_times(_ours, truth, 0.95, _early) if time is not None and time < 0]
        yield Row(
            subject=f"runs until a model of {truth:.2f} is given up, bar 0.95, median",
            unit="runs",
            ours=statistics.median(times),
            settings=SETTINGS,
            note=f"{len(times) / HISTORIES:.1%} are",
        )


class Drift(NamedTuple):
    """Runs from the change to the demotion, None where there was none; and demotions before the change."""

    after: list[int | None]
    early: int

    def quantile(self, share: float) -> float:
        times = sorted(math.inf if time is None else time for time in self.after)
        return times[min(int(share * len(times)), len(times) - 1)]

    def within(self, runs: int) -> float:
        return sum(time is not None and time <= runs for time in self.after) / len(self.after)


def _drifts() -> Iterator[Row]:
    for seen, told in ((1.0, 1.0), (0.5, 0.5), (0.5, 1.0), (0.2, 0.2), (0.0, 1.0)):
        found = _drift(DRIFTED_ERRORS, seen, told)
        knowing = "" if seen in {told, 0.0} else ", believed to see all"
        yield Row(
            subject=f"runs from drift to demotion, checks see {seen:.0%} of errors{knowing}, median",
            unit="runs",
            ours=found.quantile(0.5) if found.quantile(0.5) < math.inf else None,
            target=Target(100, at_most=True) if seen == 1.0 else None,
            settings=DRIFT_SETTINGS,
            note=f"{found.within(100):.1%} within 100, {found.within(RUNS):.1%} within {RUNS}",
        )
    for errors in (0.01, CALM_ERRORS, 0.05):
        found = _drift(errors, 1.0, 1.0, before=errors)
        yield Row(
            subject=f"wrongly demoted within {RUNS} runs, {errors:.0%} errors, bar 0.95",
            unit="%",
            ours=100 * found.within(RUNS),
            settings=DRIFT_SETTINGS,
            note="no change of the errors",
        )


def _drift(errors: float, seen: float, told: float, before: float = CALM_ERRORS) -> Drift:
    """`seen` is the share of errors that hard checks notice, `told` what the watch is told of it."""
    source = random.Random(SEED)
    after: list[int | None] = []
    early = 0
    while len(after) < HISTORIES:
        watch = Watch(sensitivity=told)
        time = _demotion(watch, source, (before, errors), seen)
        if time is not None and time <= BEFORE and before != errors:
            early += 1
            continue
        after.append(None if time is None else time - BEFORE if before != errors else time)
    return Drift(after, early)


def _demotion(watch: Watch, source: random.Random, errors: tuple[float, float], seen: float) -> int | None:
    standard = Standard()
    for number in range(1, BEFORE + RUNS + 1):
        is_wrong = source.random() < errors[number > BEFORE]
        is_audited = source.random() < evidence.audit_share_now(standard, watch)
        watch = evidence.observe_check(watch, standard, failed=is_wrong and source.random() < seen)
        if is_audited:
            watch = evidence.observe_audit(watch, standard, failed=is_wrong)
        # A success is no evidence for a demotion.
        if is_wrong and evidence.is_demoted(watch, standard):
            return number
    return None


def _coverage() -> Row:
    """How often the interval of the measured saving holds the truth: sizes vary, and a run may cost twice another."""
    source = random.Random(SEED)
    held = 0
    for _ in range(HISTORIES):
        pairs = [_pair(source) for _ in range(savings.PAIRS_MIN)]
        found = savings.ratio_of_means([pair.cheap_nanousd for pair in pairs], [pair.smart_nanousd for pair in pairs])
        held += found.interval is not None and found.interval.low <= 0.01 <= found.interval.high
    return Row(
        subject=f"95 % interval of the saving holds the truth, {savings.PAIRS_MIN} pairs",
        unit="%",
        ours=100 * held / HISTORIES,
        settings=f"{HISTORIES} sets of pairs, seed {SEED}: sizes log-normal (sigma 0.7), costs within 20 %",
    )


def _pair(source: random.Random) -> savings.Pair:
    size = source.lognormvariate(0.0, 0.7)
    cheap, smart = 2e7 * size * source.uniform(0.8, 1.2), 2e9 * size * source.uniform(0.8, 1.2)
    return savings.Pair(round(cheap), round(smart))
