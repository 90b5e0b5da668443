"""Trials: a version's steps, or the whole of it, tried on stored cases by each model, cheapest first.

What is tried is fixed beforehand, so the bound at the end is exact. A model that cannot pass any more is tried no
further, and what is dearer than one that passed is not tried at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from agentmemo.model import evidence
from agentmemo.model.cases import Effect
from agentmemo.model.evidence import Counts, Evidence, Standard
from agentmemo.model.evidence_bounds import clopper_pearson_lower, failures_allowed, runs_needed
from agentmemo.model.executions import ABSTAINED, PASSED, Askable, ReportedCheck
from agentmemo.model.prices import Usage
from agentmemo.model.wire import Request, Response

RUN_PREFIX = "trial:"
# What a trial says of a model besides the statuses of evidence: one that is cheaper is good enough.
NOT_NEEDED = "not_needed"
QUALIFIED, TESTING, INSUFFICIENT = "qualified", "testing", "insufficient"
FAILURES_SHOWN = 5
DIGITS = 32
DOLLAR_NANOUSD = 1_000_000_000


class Unit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model on the cases of one step; without `step`, on those of the whole workflow. `bar` is what is asked.

    `candidates` share its `alpha`. `edge_cases` are those that have to be met, `above` is the top of the ladder.
    """

    step: str | None
    step_hash: str
    model: str
    cases: list[str]
    bar: float
    alpha: float
    candidates: int = 1
    edge_cases: list[str] = []
    above: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is tried, in this order. `thorough` tries all of it, whatever comes out."""

    units: list[Unit]
    min_runs: int
    thorough: bool = False


class OpenTrial(Request, kw_only=True):
    """Begin a trial, or go on with the one of this key. Without a key the same trial is the one there is.

    `cases` are ids; without them all that are kept. `models` come cheapest first; without them the ladder, as far as
    `models_here` can be asked. `planned` is how many cases each model is tried on, taken by their hash; all by default.
    """

    name: str
    worker: str
    cases: list[str] | None = None
    version: str | None = None
    models: list[str] | None = None
    models_here: Askable = Askable()
    planned: int | None = None
    key: str | None = None
    thorough: bool = False
    lease_seconds: float | None = None


class GetTrial(Request, kw_only=True):
    trial: str


class ListTrials(Request, kw_only=True):
    """Newest first."""

    workflow: str | None = None
    cursor: str | None = None
    limit: int = 20


class GetTrialStep(Request, kw_only=True):
    """The step of a case as a model is to do it in a trial."""

    trial: str
    step: str
    model: str
    case: str


class TryCase(Request, kw_only=True):
    """What came of a case: the model's output, or why there is none; or the execution of the whole workflow.

    The output is compared, and the call settled, in one commit; told again, it is the same. The answer has what to try
    next.
    """

    trial: str
    model: str
    case: str
    step: str | None = None
    execution: str | None = None
    result: Any = None
    outcome: str = "output"
    reason: str = ""
    checks: list[ReportedCheck] = []
    served_model: str | None = None
    reservation: str | None = None
    billed: bool = True
    usage: Usage | None = None
    provider_nanousd: int | None = None
    request_id: str | None = None


class Due(Response, kw_only=True):
    """What to try now. For the whole workflow with its `input`, and the `effects` that stand for what it would do."""

    model: str
    case: str
    step: str | None = None
    input: Any = None
    effects: list[Effect] = []


class FailedCase(Response, kw_only=True):
    case: str
    problems: list[str]


class Tried(Response, kw_only=True):
    """What one model showed at one step. `low` is the exact lower bound, `decision` what follows from all planned runs.

    qualified: above the bar. rejected: below it. unproven: too few runs, or too many failures, to show it.
    insufficient: too few different inputs. not_needed: a cheaper one is good enough. `cost_nanousd` is known cost;
    `unpriced` calls are not in it.
    """

    step: str | None
    step_hash: str
    model: str
    planned: int
    n: int
    successes: int
    failures: int
    abstained: int
    low: float
    bar: float
    decision: str
    cost_nanousd: int
    unpriced: int
    text: str
    failed: list[FailedCase] = []


class Trial(Response, kw_only=True):
    """A trial and what it has shown so far. `next` is what to try now, None once all is decided. It is a run too."""

    id: str
    workflow: str
    version: str
    state: str
    epoch: int
    planned: int
    done: int
    tried: list[Tried]
    text: str
    cost_nanousd: int
    unpriced: int
    next: Due | None = None
    lease_seconds: float = 0.0


class Outcome(NamedTuple):
    """What came of one case in a trial."""

    step: str | None
    model: str
    case: str
    input_hash: str
    verdict: str
    problems: list[str]
    nanousd: int | None
    edge_cases: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.verdict == PASSED


class Standing(NamedTuple):
    """Where a unit stands: its outcomes so far, and what they decide."""

    unit: Unit
    outcomes: list[Outcome]
    decision: str
    is_over: bool

    @property
    def successes(self) -> int:
        return sum(outcome.passed for outcome in self.outcomes)

    @property
    def abstained(self) -> int:
        return _abstained(self.outcomes)

    @property
    def failures(self) -> int:
        return len(self.outcomes) - self.successes - self.abstained


def execution_key(trial: str, model: str, case: str) -> str:
    """The key of the execution of the whole workflow on a case."""
    return f"{trial}:{model}:{case[:DIGITS]}"


def standings(plan: Plan, outcomes: Sequence[Outcome]) -> list[Standing]:
    """Where each unit stands. Of a step, what comes after a model that passed is over before it begins."""
    mine: dict[tuple[str | None, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        mine[outcome.step, outcome.model].append(outcome)
    passed: set[str | None] = set()
    found = []
    for unit in plan.units:
        got = mine[unit.step, unit.model]
        if unit.step in passed and not got:
            found.append(Standing(unit, [], NOT_NEEDED, is_over=True))
            continue
        standing = _standing(plan, unit, got)
        found.append(standing)
        if standing.decision == QUALIFIED and not plan.thorough:
            passed.add(unit.step)
    return found


def due(found: Sequence[Standing]) -> tuple[Unit, str] | None:
    """The next model and case to try; None once everything is decided."""
    for standing in found:
        if not standing.is_over:
            tried = {outcome.case for outcome in standing.outcomes}
            return standing.unit, next(case for case in standing.unit.cases if case not in tried)
    return None


def report(plan: Plan, standing: Standing) -> Tried:
    """What a model showed, with the bound and in words."""
    unit, counted = standing.unit, standing.successes + standing.failures
    low = clopper_pearson_lower(standing.successes, counted, unit.alpha / unit.candidates) if counted else 0.0
    known = [outcome.nanousd for outcome in standing.outcomes if outcome.nanousd is not None]
    failed = [FailedCase(case=each.case, problems=each.problems) for each in standing.outcomes if not each.passed]
    return Tried(
        step=unit.step,
        step_hash=unit.step_hash,
        model=unit.model,
        planned=len(unit.cases),
        n=len(standing.outcomes),
        successes=standing.successes,
        failures=standing.failures,
        abstained=standing.abstained,
        low=low,
        bar=unit.bar,
        decision=standing.decision,
        cost_nanousd=sum(known),
        unpriced=len(standing.outcomes) - len(known),
        text=_in_words(plan, standing, low),
        failed=failed[:FAILURES_SHOWN],
    )


def _standing(plan: Plan, unit: Unit, outcomes: list[Outcome]) -> Standing:
    """Who abstains knows that it cannot: that is no failure, and shows nothing, so the plan is that much smaller."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for outcome in outcomes:
        if outcome.verdict != ABSTAINED:
            counts[outcome.input_hash][not outcome.passed] += 1
    left = len(unit.cases) - _abstained(outcomes)
    is_over = len(outcomes) == len(unit.cases) or (not plan.thorough and _is_lost(unit, outcomes))
    if not is_over:
        return Standing(unit, outcomes, TESTING, is_over=False)
    if not counts:
        return Standing(unit, outcomes, INSUFFICIENT, is_over=True)
    shown = Evidence(
        inputs={key: Counts(*pair) for key, pair in counts.items()},
        edge_cases={key: sum(key in outcome.edge_cases for outcome in outcomes) for key in unit.edge_cases},
        planned=left,
        candidates=unit.candidates,
    )
    standard = Standard(bar=unit.bar, alpha=unit.alpha, min_runs=plan.min_runs)
    return Standing(unit, outcomes, evidence.judge(shown, standard).status, is_over=True)


def _is_lost(unit: Unit, outcomes: list[Outcome]) -> bool:
    """Whether it has failed too often to pass, whatever came of the rest. Too few cases decide nothing either way."""
    allowed = failures_allowed(len(unit.cases), unit.bar, unit.alpha / unit.candidates)
    failures = sum(outcome.verdict not in (PASSED, ABSTAINED) for outcome in outcomes)
    return allowed is not None and failures > allowed


def _abstained(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.verdict == ABSTAINED for outcome in outcomes)


def _in_words(plan: Plan, standing: Standing, low: float) -> str:
    unit, failures = standing.unit, standing.failures
    what = f"{unit.step or 'the whole workflow'} by {unit.model}"
    if standing.decision == NOT_NEEDED:
        return f"{what}: not tried, a cheaper one is good enough"
    counted = standing.successes + failures
    abstained = f", {standing.abstained} more given up" if standing.abstained else ""
    said = f"{what}: {standing.successes} of {counted} right{abstained}, so {low:.1%} or more of all"
    said += f"; {unit.bar:.1%} are asked: "
    if standing.decision == QUALIFIED:
        return said + "good enough"
    if standing.decision == TESTING:
        return said + f"{len(unit.cases) - len(standing.outcomes)} cases to go"
    if standing.decision == "rejected":
        return said + "not good enough"
    if standing.decision == INSUFFICIENT:
        return said + f"too few different inputs ({plan.min_runs} are asked), or edge cases that were hardly met"
    needed = runs_needed(unit.bar, unit.alpha / unit.candidates, failures)
    return said + f"not shown; {needed} cases with {failures} failures would"


def dollars(nanousd: int, unpriced: int) -> str:
    """A cost in words: what has no price is said, never counted as nothing."""
    said = f"${nanousd / DOLLAR_NANOUSD:.6f}"
    return said + (f" and {unpriced} calls without a price" if unpriced else "")
