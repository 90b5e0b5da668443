"""The figures of downgrade-150: shares with their intervals, the gate, decisions, drift, savings."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from agentmemo.model.evidence import Standard, Watch, is_demoted, observe_audit
from agentmemo.model.evidence_bounds import wilson
from agentmemo.model.evidence_process import promotes
from agentmemo.model.savings import break_even, limit, saving, terms

ACCEPTED_AT_LEAST = 0.60
BAR = 0.95
HISTORY = 400
NANO = 1000  # nano-dollars a token for one dollar per million
RATIOS = (5, 40, 100)
RUNS = (1, 10, 100, 1000)
DRIFT_BAR = 0.97


class Routed(NamedTuple):
    """A text's right domain, None where it has none, and its nearest cases with their likeness."""

    wanted: str | None
    near: list[tuple[str, float]]

    @property
    def agreed(self) -> str | None:
        outputs = {output for output, _ in self.near}
        return outputs.pop() if len(outputs) == 1 else None

    @property
    def likeness(self) -> float:
        return sum(likeness for _, likeness in self.near) / len(self.near) if self.near else 0.0

    def accepted(self, likeness: float) -> bool:
        return self.agreed is not None and self.likeness >= likeness


class Said(NamedTuple):
    output: Any
    input_tokens: int
    output_tokens: int
    seconds: float


class Climbed(NamedTuple):
    """What became of an execution: `said` is None where the expert is asked."""

    wanted: str | None
    said: str | None
    rung: int


class Shares(NamedTuple):
    asked: Fraction
    escalated: Fraction


def say_share(what: str, part: int, whole: int) -> None:
    low, high = wilson(part, whole) if whole else (0.0, 1.0)
    share = part / whole if whole else 0.0
    print(f"{what}: {share:.1%} ({low:.1%} to {high:.1%}; {part} of {whole})")


def choose(rows: Sequence[Routed], grid: Sequence[float]) -> float:
    """The strictest likeness that still accepts enough of what is in scope, on the calibration split alone."""
    inside = [row for row in rows if row.wanted]
    enough = [at for at in grid if sum(row.accepted(at) for row in inside) >= ACCEPTED_AT_LEAST * len(inside)]
    chosen = max(enough, default=grid[0])
    print(f"likeness {chosen}: the strictest that accepts {ACCEPTED_AT_LEAST:.0%} of the calibration split in scope")
    return chosen


def say_rung_0(rows: Sequence[Routed], likeness: float) -> None:
    inside, outside = [row for row in rows if row.wanted], [row for row in rows if not row.wanted]
    voted = [Counter(output for output, _ in row.near).most_common(1) for row in inside]
    right = sum(bool(vote) and vote[0][0] == row.wanted for vote, row in zip(voted, inside, strict=True))
    say_share("baseline without a model, most of 5 nearest, in scope: right", right, len(inside))
    for name, at in (("agreement alone", 0.0), (f"agreement and likeness {likeness}", likeness)):
        accepted = [row for row in inside if row.accepted(at)]
        say_share(f"rung 0, {name}: accepted in scope", len(accepted), len(inside))
        say_share("    right among these", sum(row.agreed == row.wanted for row in accepted), len(accepted))
        say_share("    out of scope let through", sum(row.accepted(at) for row in outside), len(outside))


def say_decisions(rows: Sequence[Routed], likeness: float, rng: random.Random, replays: int) -> None:
    """Runs until rung 0 is promoted; and how often one exactly at the bar, or below it, wrongly is."""
    outcomes = [row.agreed == row.wanted for row in rows if row.wanted and row.accepted(likeness)]
    times = [_promoted_at(lambda: rng.choice(outcomes)) for _ in range(replays)]
    known = sorted(at for at in times if at is not None)
    median = statistics.median(known) if known else None
    print(f"promoted to a bar of {BAR:.0%} in {len(known)} of {replays} replays of {HISTORY} runs, median run {median}")
    wrong = [outcome for outcome in outcomes if not outcome] or [False]
    right = [outcome for outcome in outcomes if outcome]
    for share in (BAR, BAR - 0.05):
        draw = _mixed(rng, right, wrong, share)
        false = sum(_promoted_at(draw) is not None for _ in range(replays))
        say_share(f"false promotions where {share:.0%} of the replayed outcomes are right", false, replays)


def _mixed(rng: random.Random, right: list[bool], wrong: list[bool], share: float) -> Any:
    return lambda: rng.choice(right if rng.random() < share else wrong)


def _promoted_at(draw: Any) -> int | None:
    successes = failures = 0
    for run in range(1, HISTORY + 1):
        if draw():
            successes += 1
        else:
            failures += 1
        if successes >= 20 and promotes(successes, failures, BAR):
            return run
    return None


def say_drift(rows: Sequence[Routed], likeness: float, rng: random.Random) -> None:
    """What is out of scope grows from 3 to 18 percent; what is let through of it is wrong."""
    inside, outside = [row for row in rows if row.wanted], [row for row in rows if not row.wanted]
    for name, at in (("agreement alone", 0.0), ("agreement and likeness", likeness)):
        kept = [row.agreed == row.wanted for row in inside if row.accepted(at)]
        leak = sum(row.accepted(at) for row in outside) / len(outside)
        rates = [_right(share, kept, len(inside), leak) for share in (0.03, 0.18)]
        print(f"drift, {name}: {rates[0]:.1%} right among accepted at 3 % out of scope, {rates[1]:.1%} at 18 %")
        runs = [_demoted_at(rng, rates[1], audits) for audits in (0.05, 1.0) for _ in range(20)]
        for audits, found in ((0.05, runs[:20]), (1.0, runs[20:])):
            known = [run for run in found if run is not None]
            median = statistics.median(known) if known else None
            print(f"    demoted from a bar of {DRIFT_BAR:.0%} within 2000 runs, {audits:.0%} audited: "
                  f"{len(known)} of 20, median run {median}")  # fmt: skip


def _right(share: float, kept: list[bool], inside: int, leak: float) -> float:
    accepted, strange = (1 - share) * len(kept) / inside, share * leak
    return (1 - share) * sum(kept) / inside / (accepted + strange)


def _demoted_at(rng: random.Random, right: float, audits: float) -> int | None:
    standard, watch = Standard(bar=DRIFT_BAR), Watch()
    for run in range(1, 2001):
        if rng.random() < audits:
            watch = observe_audit(watch, standard, failed=rng.random() >= right)
            if is_demoted(watch, standard):
                return run
    return None


def mean_call(said: Sequence[Said]) -> Said:
    count = len(said)
    return Said(
        None,
        round(sum(one.input_tokens for one in said) / count),
        round(sum(one.output_tokens for one in said) / count),
        sum(one.seconds for one in said) / count,
    )


def say_ladder(seen: Sequence[Climbed]) -> Shares:
    inside, outside = [one for one in seen if one.wanted], [one for one in seen if not one.wanted]
    for rung in (0, 1):
        accepted = [one for one in inside if one.said is not None and one.rung == rung]
        say_share(f"ladder: in scope accepted on rung {rung}", len(accepted), len(inside))
        say_share("    right among these", sum(one.said == one.wanted for one in accepted), len(accepted))
    accepted = [one for one in inside if one.said is not None]
    say_share("ladder: in scope accepted on rung 0 or 1", len(accepted), len(inside))
    say_share("    right among these", sum(one.said == one.wanted for one in accepted), len(accepted))
    say_share("    out of scope let through", sum(one.said is not None for one in outside), len(outside))
    escalated = sum(one.said is None for one in seen)
    say_share("ladder: escalated to the expert, of all", escalated, len(seen))
    return Shares(Fraction(sum(one.rung for one in seen), len(seen)), Fraction(escalated, len(seen)))


def say_savings(call: Said, shares: Shares, price: dict[str, float]) -> None:
    """The expert's run is the same tokens at so many times the price; the design is priced as one of them."""
    cheap = round(NANO * (call.input_tokens * price["input"] + call.output_tokens * price["output"]))
    print(f"one call of rung 1: {call.input_tokens} + {call.output_tokens} tokens, {cheap} nano-dollars at {price}; "
          f"made in {float(shares.asked):.1%} of the runs")  # fmt: skip
    for ratio in RATIOS:
        smart = ratio * cheap
        of = terms(smart, round(cheap * shares.asked), design_nanousd=smart, escalated=shares.escalated,
                   audited=Fraction(5, 100))  # fmt: skip
        shown = ", ".join(f"n={runs} {float(saving(of, runs)):.1%}" for runs in RUNS)
        print(f"saving at r={ratio}, e={float(shares.escalated):.1%}, v=0, a=5%: {shown}, "
              f"limit {float(limit(of)):.1%}, pays from run {break_even(of)}")  # fmt: skip
