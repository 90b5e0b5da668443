"""Whether something is good enough: what counted runs show about a model at a step, or about a whole workflow.

Only strong evidence belongs here: a hard check of the end state, a person's verdict, an audit. Everything is a pure
function of counts, so another machine comes to the same verdict from the same counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

import msgspec

from agentmemo.errors import InvalidInput
from agentmemo.model import evidence_bounds as bounds
from agentmemo.model import evidence_process as process
from agentmemo.model.evidence_process import Series
from agentmemo.model.wire import Response
from agentmemo.model.workflows import Quality

# Of one cluster of inputs only so many runs count: the same case passed a hundred times is one case.
RUNS_PER_INPUT = 5
RUNS_PER_EDGE_CASE = 3
# How often a candidate worth its tests may be given up early.
GIVEN_UP = 0.10
ALARMED_AUDIT_SHARE = 0.20
_HASH_BYTES = 8
_NAMED = 3

Status = Literal["insufficient", "testing", "unproven", "qualified", "rejected", "demoted"]


class Standard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked: a success probability above `bar`, wrongly believed with a probability of at most `alpha`.

    A document's standards are `step_standard` and `run_standard`. `min_runs` are distinct inputs. Of what is qualified,
    the share `audit_share` of the runs is repeated by the smart model or judged by a person, for ever.
    """

    bar: float = 0.95
    alpha: float = 0.05
    min_runs: int = 20
    audit_share: float = 0.05

    def __post_init__(self) -> None:
        bounds.check_share("bar", self.bar)
        bounds.check_share("alpha", self.alpha)
        if self.min_runs < 1:
            raise InvalidInput(f"`min_runs` is {self.min_runs}.", next_call="Send 1 or more; 20 is usual.")
        if not 0.0 <= self.audit_share <= 1.0:
            raise InvalidInput(
                f"`audit_share` is {self.audit_share}.", next_call="Send a share from 0 to 1; 0.05 is usual."
            )


def step_standard(quality: Quality) -> Standard:
    """What a document asks of each of its steps."""
    return _standard(quality, quality.step_bar)


def run_standard(quality: Quality) -> Standard:
    """What a document asks of a whole run."""
    return _standard(quality, quality.run_bar)


def _standard(quality: Quality, bar: float) -> Standard:
    return Standard(bar=bar, alpha=quality.alpha, min_runs=quality.min_runs, audit_share=quality.audit_share)


class Counts(msgspec.Struct, frozen=True, array_like=True):
    successes: int = 0
    failures: int = 0

    @property
    def trials(self) -> int:
        return self.successes + self.failures


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen since the promotion: hard checks of every run, and audits of some.

    `sensitivity` and `specificity` are those of the hard checks, known from audits: see `rogan_gladen`. `served_model`
    is set where another model answered than the one that was qualified.
    """

    checks: Series = Series()
    audits: Series = Series()
    sensitivity: float = 1.0
    specificity: float = 1.0
    served_model: str = ""

    def __post_init__(self) -> None:
        bounds.check_informed(self.sensitivity, self.specificity)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one candidate: one step and model, or one version and ladder.

    `inputs` are counts per cluster of inputs, by its hash: the first `RUNS_PER_INPUT` runs of each are best, more are
    cut so that no cut helps. `edge_cases` says of every edge case of the document how often it was exercised.
    `planned` is the number of runs where it was fixed before the first: a replay of stored cases. `candidates` share
    one `alpha`. With `watch`, the candidate was promoted, and what was seen since decides.
    """

    inputs: dict[str, Counts] = {}
    edge_cases: dict[str, int] = {}
    planned: int | None = None
    candidates: int = 1
    watch: Watch | None = None


class Verdict(Response, kw_only=True):
    """What the evidence shows, why, and what would change it.

    `insufficient`: too few kinds of inputs to conclude anything. `testing`: undecided, runs go on. `unproven`: the
    planned runs are over and show neither. `qualified`: above the bar. `rejected`: not worth more runs. `demoted`: was
    qualified and is no more.

    `low` and `high` are Jeffreys' 95 % interval, for display; `proven_bar` is what is shown at `alpha` however often
    one looked. `e_value` is the evidence for being above the bar, since a promotion that for being below it; it decides
    from 1 / `alpha` on. `successes_needed` is how many in a row would qualify, None where none would. `audit_share` is
    the share to audit from now on.
    """

    status: Status
    reasons: list[str]
    needs: list[str]
    successes_needed: int | None
    successes: int
    failures: int
    low: float
    high: float
    proven_bar: float
    e_value: float
    audit_share: float


def judge(evidence: Evidence, standard: Standard | None = None) -> Verdict:
    """The one place where it is decided what may run on a cheaper model. Asked after every run, or once at the end."""
    asked = standard or Standard()
    if evidence.watch is not None:
        return _of_promoted(evidence.watch, asked)
    if evidence.candidates < 1:
        raise InvalidInput(
            f"`candidates` is {evidence.candidates}.", next_call="Send how many are compared, from 1 on."
        )
    alpha = alpha_each(asked.alpha, evidence.candidates)
    counts, _ = effective(evidence.inputs)
    if evidence.planned is not None and 0 < _trials(evidence) <= evidence.planned:
        found = _at_the_end(evidence, evidence.planned, asked, alpha)
    else:
        # More runs than planned means that the number was not fixed beforehand.
        found = _one_by_one(evidence, asked, alpha)
    log_e = process.log_e_value(counts.successes, counts.failures, asked.bar)
    return _verdict(found, counts, alpha, log_e, asked.audit_share)


def status_of(evidence: Evidence, standard: Standard) -> Status:
    """The decision of `judge` alone, of runs that come in one by one, for who asks after every run."""
    alpha = alpha_each(standard.alpha, evidence.candidates)
    return _one_by_one(evidence, standard, alpha).status


def spread(inputs: int, successes: int, failures: int) -> dict[str, Counts]:
    """Counts of so many inputs with these sums, none with more than `RUNS_PER_INPUT`: any such are judged alike.

    It takes sums alone to keep evidence, where no more than that was counted of an input.
    """
    found = {}
    for left in range(inputs, 0, -1):
        trials = -(-(successes + failures) // left)
        failed = min(failures, trials)
        found[str(left)] = Counts(trials - failed, failed)
        successes, failures = successes - (trials - failed), failures - failed
    return found


def _of_promoted(watch: Watch, standard: Standard) -> Verdict:
    found = _since_promotion(watch, standard)
    log_e = max(
        process.log_demotion_e_value(series.successes, series.failures, bar)
        for _, series, bar in _seen(watch, standard)
    )
    shown = watch.audits if watch.audits.successes + watch.audits.failures else watch.checks
    return _verdict(
        found, Counts(shown.successes, shown.failures), standard.alpha, log_e, audit_share_now(standard, watch)
    )


def effective(inputs: Mapping[str, Counts], most: int = RUNS_PER_INPUT) -> tuple[Counts, Counts]:
    """The counts with at most so many runs per cluster: failures kept first, and successes kept first.

    To qualify takes the former, to reject the latter, so that it never helps to repeat what is known to pass.
    """
    worst = [min(counts.failures, most) for counts in inputs.values()]
    best = [min(counts.successes, most) for counts in inputs.values()]
    counted = sum(min(counts.trials, most) for counts in inputs.values())
    return Counts(counted - sum(worst), sum(worst)), Counts(sum(best), counted - sum(best))


class Gap(NamedTuple):
    reason: str
    need: str


def lacking(evidence: Evidence, min_runs: int) -> list[Gap]:
    """What the evidence is too narrow for, in plain words; empty where it is broad enough."""
    found = []
    distinct = sum(counts.trials > 0 for counts in evidence.inputs.values())
    if distinct < min_runs:
        reason = f"{distinct} distinct inputs were tried, of at least {min_runs}"
        found.append(Gap(reason, f"{min_runs - distinct} more distinct inputs"))
    rare = sorted((name, times) for name, times in evidence.edge_cases.items() if times < RUNS_PER_EDGE_CASE)
    for name, times in rare[:_NAMED]:
        reason = f"edge case {name} was met {times} of at least {RUNS_PER_EDGE_CASE} times"
        found.append(Gap(reason, f"edge case {name} {RUNS_PER_EDGE_CASE - times} times more"))
    if len(rare) > _NAMED:
        found.append(Gap(f"{len(rare) - _NAMED} more edge cases were met too rarely", "the other edge cases"))
    return found


def alpha_each(alpha: float, candidates: int) -> float:
    """What each of several candidates may use of one alpha, so that any is wrongly promoted with at most that."""
    return alpha / candidates


def cheapest_qualified(qualified: Sequence[bool]) -> int | None:
    """Which rung of a ladder to use; they come dearest first, in an order that was fixed before the first run.

    Testing goes down from the top and ends at the first rung that does not qualify, so each may use the whole alpha: to
    err, it must err at the first bad rung. Who tests from the cheapest up, and goes on after a failure, has as many
    chances to err as there are rungs, and must share alpha among them (`alpha_each`).
    """
    passed = next((place for place, is_good in enumerate(qualified) if not is_good), len(qualified))
    return passed - 1 if passed else None


def observe_check(watch: Watch, standard: Standard, *, failed: bool) -> Watch:
    """The watch with one more hard check. Every run of what is qualified has one."""
    return msgspec.structs.replace(
        watch, checks=process.follow(watch.checks, failed=failed, allowed=_allowed_checks(watch, standard))
    )


def observe_audit(watch: Watch, standard: Standard, *, failed: bool) -> Watch:
    """The watch with one more audit: of runs that `audited` chose, whatever their checks said."""
    return msgspec.structs.replace(
        watch, audits=process.follow(watch.audits, failed=failed, allowed=1.0 - standard.bar)
    )


def _allowed_checks(watch: Watch, standard: Standard) -> float:
    return bounds.expected_failed_checks(1.0 - standard.bar, watch.sensitivity, watch.specificity)


def is_alarmed(watch: Watch) -> bool:
    return max(watch.checks.score, watch.audits.score) >= process.ALARM_SCORE


def is_demoted(watch: Watch, standard: Standard) -> bool:
    """The decision of `judge` alone, for who asks after every run."""
    return _since_promotion(watch, standard).status == "demoted"


def audit_share_now(standard: Standard, watch: Watch | None) -> float:
    """Which share to audit now: more while something looks like a drift."""
    is_quiet = watch is None or not is_alarmed(watch)
    return standard.audit_share if is_quiet else max(standard.audit_share, ALARMED_AUDIT_SHARE)


def audited(run_key: str, step: str, rate: float) -> bool:
    """Whether this step of this run is audited. A higher rate audits what a lower one would, and more."""
    return in_share(f"{run_key}\0{step}", "audit", rate)


def in_share(key: str, salt: str, share: float) -> bool:
    """Whether a key belongs to so large a share of all keys: by its hash, so that every retry finds the same."""
    digest = blake2b(f"{salt}\0{key}".encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest, "big") < int(share * float(1 << 8 * _HASH_BYTES))


def run_success(steps: Sequence[float]) -> float:
    """How often a whole run succeeds whose steps succeed so often, independently: 0.98 five times is 0.90."""
    product = 1.0
    for rate in steps:
        product *= rate
    return product


_ANEW = "another version or model, whose runs are counted anew"
_UNTIL_DRIFT = "it stays qualified until checks or audits fall below the bar, or another model is served"


class _Finding(NamedTuple):
    status: Status
    reasons: list[str]
    needs: list[str]
    successes_needed: int | None = None


def _trials(evidence: Evidence) -> int:
    return sum(counts.trials for counts in evidence.inputs.values())


def _one_by_one(evidence: Evidence, standard: Standard, alpha: float) -> _Finding:
    """Runs that come in one by one, looked at after each."""
    worst, best = effective(evidence.inputs)
    good = process.worthy(standard.bar)
    needed = process.successes_needed(worst.successes, worst.failures, standard.bar, alpha)
    narrow = lacking(evidence, standard.min_runs)
    if process.sprt(best.successes, best.failures, standard.bar, good, standard.alpha, GIVEN_UP) == "bad":
        reason = f"{_of(best)} succeeded, which {good:.4g} would rarely show: more runs are not worth their cost"
        return _Finding("rejected", [reason], [_ANEW])
    if narrow:
        needs = [*(gap.need for gap in narrow), *_in_a_row(needed)]
        return _Finding("insufficient", [gap.reason for gap in narrow], needs, needed)
    if needed:
        reason = f"{_of(worst)} succeeded, which does not show yet that more than {standard.bar:.4g} do"
        return _Finding("testing", [reason], _in_a_row(needed), needed)
    reason = f"{_of(worst)} succeeded: above {standard.bar:.4g}, wrongly believed at most {alpha:.2%} of the time"
    return _Finding("qualified", [reason], [_UNTIL_DRIFT], 0)


def _at_the_end(evidence: Evidence, planned: int, standard: Standard, alpha: float) -> _Finding:
    """A number of runs that was fixed beforehand: one exact look at its end, or earlier where that is decided."""
    counts, _ = effective(evidence.inputs)
    left = planned - _trials(evidence)
    final = counts.trials + left
    allowed = bounds.failures_allowed(final, standard.bar, alpha)
    if allowed is None:
        plan = f"{final} runs of different inputs are too few to show {standard.bar:.4g} even without a failure"
    else:
        plan = f"{_of(counts)} succeeded; {final} runs show {standard.bar:.4g} with at most {allowed} failures"
    if allowed is None or counts.failures > allowed:
        if bounds.clopper_pearson_upper(counts.successes, counts.trials, alpha) < standard.bar:
            return _Finding("rejected", [plan], [_ANEW])
        larger = bounds.runs_needed(standard.bar, alpha, counts.failures)
        return _Finding("unproven", [plan], [f"a new plan: {larger} runs show it with {counts.failures} failures"])
    spare = allowed - counts.failures
    if left > 0:
        need = f"{left} more runs of the plan with at most {spare} failures"
        return _Finding("testing", [plan], [need], max(left - spare, 0))
    narrow = lacking(evidence, standard.min_runs)
    if narrow:
        return _Finding("insufficient", [gap.reason for gap in narrow], [gap.need for gap in narrow])
    return _Finding("qualified", [plan], [_UNTIL_DRIFT], 0)


def _since_promotion(watch: Watch, standard: Standard) -> _Finding:
    """What was promoted stays so until something is seen that it would rarely show."""
    reasons = []
    if watch.served_model:
        reasons.append(f"{watch.served_model} answered, which is not the model that was qualified")
    for what, series, bar in _seen(watch, standard):
        if process.demotes(series.successes, series.failures, bar, _alpha_of_watch(standard)):
            reasons.append(f"{_passed(series, what)}, which is below {bar:.4g}")
        elif series.score >= process.DEMOTION_SCORE:
            reasons.append(f"{_passed(series, what)}, and the latest of them are below {bar:.4g}")
    if reasons:
        return _Finding("demoted", reasons, [_ANEW])
    reasons.append("nothing shows that it is below the bar")
    if is_alarmed(watch):
        reasons.append("failures are rising, so more is audited")
    elif not standard.audit_share:
        reasons.append("nothing is audited, so errors that the checks miss are not seen")
    return _Finding("qualified", reasons, [_UNTIL_DRIFT], 0)


def _alpha_of_watch(standard: Standard) -> float:
    """Two bets share alpha, one on the checks and one on the audits."""
    return standard.alpha / 2


def _passed(series: Series, what: str) -> str:
    return f"{series.successes} of {series.successes + series.failures} {what} passed since the promotion"


def _seen(watch: Watch, standard: Standard) -> list[tuple[str, Series, float]]:
    """Both kinds of observations, each with the share that passes where the success probability is at the bar."""
    checks_bar = 1.0 - _allowed_checks(watch, standard)
    return [("hard checks", watch.checks, checks_bar), ("audits", watch.audits, standard.bar)]


def _of(counts: Counts) -> str:
    return f"{counts.successes} of {counts.trials}"


def _in_a_row(needed: int) -> list[str]:
    return [f"{needed} more successes without a failure"] if needed else []


def _verdict(found: _Finding, counts: Counts, alpha: float, log_e: float, rate: float) -> Verdict:
    low, high = bounds.jeffreys_interval(counts.successes, counts.trials)
    return Verdict(
        status=found.status,
        reasons=found.reasons,
        needs=found.needs,
        successes_needed=found.successes_needed,
        successes=counts.successes,
        failures=counts.failures,
        low=low,
        high=high,
        proven_bar=process.proven_bar(counts.successes, counts.failures, alpha),
        e_value=process.shown(log_e),
        audit_share=rate,
    )
