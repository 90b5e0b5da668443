"""What a workflow saves against a smart model that does every run itself, with everything that it costs.

All amounts are whole nano-dollars and all shares exact fractions, so a forecast equals its formula to the nano-dollar:

    saving(n) = 1 - (D + n * (C + v + (e + a) * S)) / (n * S)

S: one run by the smart model. C: one by the cheap one. D: design, shadow runs and repairs, paid once. v: verification
of a run. e: the share of runs that are escalated, a: the share that is audited, both by the smart model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec

from agentmemo.errors import InvalidInput
from agentmemo.model import evidence_bounds as bounds
from agentmemo.model.ledger import dollars
from agentmemo.model.wire import Response

PAIRS_MIN = 20
LEVEL = 0.95
METHOD = "ratio of means of paired runs, interval by Fieller (1954)"


class Terms(NamedTuple):
    """The terms of the formula: S, C, D, v in nano-dollars, e and a as shares of all runs."""

    smart: Fraction
    cheap: Fraction
    design: Fraction = Fraction(0)
    verification: Fraction = Fraction(0)
    escalated: Fraction = Fraction(0)
    audited: Fraction = Fraction(0)

    @property
    def per_run(self) -> Fraction:
        return self.cheap + self.verification + (self.escalated + self.audited) * self.smart


def terms(
    smart_nanousd: int,
    cheap_nanousd: int,
    *,
    design_nanousd: int = 0,
    verification_nanousd: int = 0,
    escalated: Fraction | int = 0,
    audited: Fraction | int = 0,
) -> Terms:
    """Raises InvalidInput for amounts below 0, a smart model that costs nothing, and shares that are none."""
    if smart_nanousd < 1 or min(cheap_nanousd, design_nanousd, verification_nanousd) < 0:
        raise InvalidInput(
            "A saving needs costs of 0 or more, and a smart model that costs something.",
            next_call="Send whole nano-dollars: $0.02 is 20_000_000.",
        )
    if not (0 <= escalated <= 1 and 0 <= audited <= 1):
        raise InvalidInput(
            f"Shares of runs lie between 0 and 1, not at {escalated} and {audited}.",
            next_call="Send a fraction, such as Fraction(5, 100).",
        )
    return Terms(
        smart=Fraction(smart_nanousd),
        cheap=Fraction(cheap_nanousd),
        design=Fraction(design_nanousd),
        verification=Fraction(verification_nanousd),
        escalated=Fraction(escalated),
        audited=Fraction(audited),
    )


def cost(of: Terms, runs: int) -> Fraction:
    """What so many runs cost in all, in nano-dollars."""
    return of.design + runs * of.per_run


def saving(of: Terms, runs: int) -> Fraction:
    """The saved share of what the smart model would cost; below 0 where it costs more."""
    if runs < 1:
        raise InvalidInput("A saving is of at least one run.", next_call="Send `runs` from 1 on.")
    return 1 - cost(of, runs) / (runs * of.smart)


def limit(of: Terms) -> Fraction:
    """What the saving comes to with ever more runs: 1 - C/S - v/S - e - a."""
    return 1 - of.per_run / of.smart


def break_even(of: Terms) -> int | None:
    """The first number of runs that cost less than the smart model; None where none does."""
    gain = of.smart - of.per_run
    return math.floor(of.design / gain) + 1 if gain > 0 else None


class Worth(NamedTuple):
    """Whether a promotion pays. `escalated` is the upper bound of the share that it was reckoned with."""

    holds: bool
    saved_nanousd: int
    saving: float
    break_even: int | None
    escalated: float
    reason: str


def worth_promoting(of: Terms, runs: int, *, escalations: int, observed: int, alpha: float = 0.05) -> Worth:
    """The gate before a promotion: what `runs` more runs would save if escalations are as many as they may yet be.

    The upper Clopper-Pearson bound of `escalations` in `observed` runs takes the place of the share in `of`.
    """
    upper = bounds.clopper_pearson_upper(escalations, observed, alpha)
    careful = of._replace(escalated=Fraction(upper))
    saved = runs * careful.smart - cost(careful, runs)
    first = break_even(careful)
    terms_said = f"reckoned with {upper:.1%} escalated, {float(careful.audited):.1%} audited and all overheads"
    if saved > 0:
        reason = f"{runs} runs save {amount(saved)}, {terms_said}; it pays from run {first} on"
    elif first is None:
        reason = f"not worth it: one run costs {amount(careful.per_run)} of {amount(careful.smart)}, {terms_said}"
    else:
        reason = f"not worth it: it pays from run {first} on, and {runs} are expected, {terms_said}"
    share = float(saving(careful, runs)) if runs else 0.0
    return Worth(saved > 0, math.floor(saved), share, first, upper, reason)


class Pair(NamedTuple):
    """One run that both did: what the cheap model's execution cost, and the smart model's on the same input."""

    cheap_nanousd: int
    smart_nanousd: int


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What a workflow cost, summed from the ledger by role, in nano-dollars; and what came of it.

    `counterfactual_nanousd` is what the tokens of `execute` would cost at the list price of `smart_model`, None where
    that is not known or no tokens were used.
    `escalated_runs` and `audited_runs` are counts of runs. `unpriced_calls` are in no sum.
    """

    runs: int
    accepted: int
    execute_nanousd: int
    counterfactual_nanousd: int | None
    design_nanousd: int = 0
    verify_nanousd: int = 0
    escalate_nanousd: int = 0
    audit_nanousd: int = 0
    shadow_nanousd: int = 0
    repair_nanousd: int = 0
    escalated_runs: int = 0
    audited_runs: int = 0
    unpriced_calls: int = 0
    smart_model: str = ""


class ListPrice(Response, kw_only=True):
    """An estimate: the tokens that were used, at the smart model's list price. It may have used others."""

    smart_nanousd: int
    saved_nanousd: int
    saving: float


class Measured(Response, kw_only=True):
    """From runs that the smart model did too. `low` and `high` are a 95 % interval; None where the pairs give none."""

    pairs: int
    smart_nanousd: int
    saved_nanousd: int
    saving: float
    low: float | None
    high: float | None
    method: str = METHOD


class Savings(Response, kw_only=True):
    """Two lines that are never mixed, and everything that was subtracted, in nano-dollars.

    `headline` says which line counts: `measured` from 20 pairs with an interval on, else `list`, where the price is
    known. r: how many times dearer the smart model's run is. e, a: shares of runs escalated and audited. v:
    verification as a share of the smart model's run. r, v and `break_even` are of the line that counts.
    """

    runs: int
    accepted: int
    smart_model: str
    design_nanousd: int
    execute_nanousd: int
    verify_nanousd: int
    escalate_nanousd: int
    audit_nanousd: int
    shadow_nanousd: int
    repair_nanousd: int
    spent_nanousd: int
    per_accepted_nanousd: int | None
    unpriced_calls: int
    list_price: ListPrice | None
    measured: Measured | None
    headline: Literal["measured", "list", "none"]
    r: float | None
    e: float
    v: float | None
    a: float
    break_even: int | None

    def explain(self) -> str:
        """One paragraph, in which no percentage stands without its terms."""
        said = [
            f"{self.runs} runs cost {amount(self.spent_nanousd)} in all{self._instead()}.",
            f"Of it, {', '.join(f'{name} {amount(nanousd)}' for name, nanousd in self._parts())}.",
            self._per_accepted(),
        ]
        if self.headline != "none":
            pays = f"It pays from run {self.break_even} on." if self.break_even else "It never pays at these costs."
            said.append(pays)
        if self.unpriced_calls:
            said.append(f"{self.unpriced_calls} calls have no known price and are in no sum, so it cost more.")
        return " ".join(said)

    def _instead(self) -> str:
        line = self.measured if self.headline == "measured" else self.list_price
        if line is None:
            return "; what the smart model would have cost is not known, so no saving is stated"
        ratio = "no model paid for" if self.r is None else f"r = {self.r:.1f}"
        return (
            f" instead of {amount(line.smart_nanousd)} by {self.smart_model or 'the smart model'}: "
            f"{_percent(line.saving)} saved, {self._basis()}, with {ratio}, e = {_percent(self.e)} escalated, "
            f"v = {_percent(self.v or 0.0)} verification and a = {_percent(self.a)} audited"
        )

    def _parts(self) -> list[tuple[str, int]]:
        return [
            ("execution", self.execute_nanousd),
            ("design", self.design_nanousd),
            ("verification", self.verify_nanousd),
            ("escalation", self.escalate_nanousd),
            ("audits", self.audit_nanousd),
            ("shadow runs", self.shadow_nanousd),
            ("repairs", self.repair_nanousd),
        ]

    def _basis(self) -> str:
        found = self.measured
        if self.headline == "measured" and found and found.low is not None and found.high is not None:
            return f"measured on {found.pairs} pairs (95% interval {_percent(found.low)} to {_percent(found.high)})"
        pairs = found.pairs if found else 0
        return f"estimated at list prices for the same tokens ({pairs} of {PAIRS_MIN} pairs to measure it)"

    def _per_accepted(self) -> str:
        if self.per_accepted_nanousd is None:
            return "No result was accepted."
        return f"Each of {self.accepted} accepted results cost {amount(self.per_accepted_nanousd)}."


def report(spending: Spending, pairs: Sequence[Pair] = ()) -> Savings:
    """The savings of what was spent. Raises InvalidInput where nothing was run."""
    if spending.runs < 1:
        raise InvalidInput("Nothing was run yet, so nothing was saved.", next_call="Ask again after the first run.")
    spent = _once(spending) + _per_runs(spending)
    measured = _measured(spending, spent, pairs)
    listed = _list_price(spending, spent)
    headline: Literal["measured", "list", "none"] = "list" if listed else "none"
    if measured and measured.pairs >= PAIRS_MIN and measured.low is not None:
        headline = "measured"
    line = measured if headline == "measured" else listed
    smart = line.smart_nanousd if line else 0
    gain = Fraction(smart - _per_runs(spending), spending.runs)
    return Savings(
        runs=spending.runs,
        accepted=spending.accepted,
        smart_model=spending.smart_model,
        design_nanousd=spending.design_nanousd,
        execute_nanousd=spending.execute_nanousd,
        verify_nanousd=spending.verify_nanousd,
        escalate_nanousd=spending.escalate_nanousd,
        audit_nanousd=spending.audit_nanousd,
        shadow_nanousd=spending.shadow_nanousd,
        repair_nanousd=spending.repair_nanousd,
        spent_nanousd=spent,
        per_accepted_nanousd=round(Fraction(spent, spending.accepted)) if spending.accepted else None,
        unpriced_calls=spending.unpriced_calls,
        list_price=listed,
        measured=measured,
        headline=headline,
        r=smart / spending.execute_nanousd if smart and spending.execute_nanousd else None,
        e=spending.escalated_runs / spending.runs,
        v=spending.verify_nanousd / smart if smart else None,
        a=spending.audited_runs / spending.runs,
        break_even=math.floor(_once(spending) / gain) + 1 if gain > 0 else None,
    )


def _once(spending: Spending) -> int:
    return spending.design_nanousd + spending.shadow_nanousd + spending.repair_nanousd


def _per_runs(spending: Spending) -> int:
    growing = (spending.execute_nanousd, spending.verify_nanousd, spending.escalate_nanousd, spending.audit_nanousd)
    return sum(growing)


def _list_price(spending: Spending, spent: int) -> ListPrice | None:
    smart = spending.counterfactual_nanousd
    if not smart:
        return None
    return ListPrice(smart_nanousd=smart, saved_nanousd=smart - spent, saving=float(1 - Fraction(spent, smart)))


def _measured(spending: Spending, spent: int, pairs: Sequence[Pair]) -> Measured | None:
    """What the smart model would have cost in all: the cheap one's whole execution, times the ratio of paired means.

    The ratio, not the mean alone, since long inputs are dear for both. Where the cheap one costs nothing there is no
    ratio, and the mean of the smart one's runs stands for all.
    """
    if not pairs or not sum(pair.smart_nanousd for pair in pairs):
        return None
    cheap = [pair.cheap_nanousd for pair in pairs]
    is_free = not sum(cheap) or not spending.execute_nanousd
    known = spending.runs if is_free else spending.execute_nanousd
    ratio = ratio_of_means([1] * len(pairs) if is_free else cheap, [pair.smart_nanousd for pair in pairs])
    smart = round(known / ratio.value)
    scale = Fraction(spent, known)
    interval = ratio.interval
    return Measured(
        pairs=len(pairs),
        smart_nanousd=smart,
        saved_nanousd=smart - spent,
        saving=float(1 - scale * ratio.value),
        low=float(1 - scale * Fraction(interval.high)) if interval else None,
        high=float(1 - scale * Fraction(interval.low)) if interval else None,
    )


class Ratio(NamedTuple):
    value: Fraction
    interval: bounds.Interval | None


def ratio_of_means(numerators: Sequence[int], denominators: Sequence[int], level: float = LEVEL) -> Ratio:
    """The mean of the ones over the mean of the others, of pairs, with Fieller's interval (1954).

    None for the interval where there are fewer than two pairs, or the denominators' mean may be 0. Sums are exact, so
    the order of the pairs does not matter.
    """
    pairs = len(numerators)
    top, under = Fraction(sum(numerators), pairs), Fraction(sum(denominators), pairs)
    value = top / under
    if pairs < 2:  # noqa: PLR2004 - a spread takes two
        return Ratio(value, None)
    free = Fraction(1, pairs * (pairs - 1))
    top_spread = (sum(number * number for number in numerators) - pairs * top * top) * free
    under_spread = (sum(number * number for number in denominators) - pairs * under * under) * free
    products = sum(one * other for one, other in zip(numerators, denominators, strict=True))
    both_spread = (products - pairs * top * under) * free
    t2 = Fraction(bounds.student_quantile(pairs - 1, level)) ** 2
    # The ratios that the pairs do not contradict solve a * ratio^2 - 2 * b * ratio + c <= 0.
    a, b, c = under * under - t2 * under_spread, top * under - t2 * both_spread, top * top - t2 * top_spread
    if a <= 0:
        return Ratio(value, None)
    root = math.sqrt(max(b * b - a * c, Fraction(0)))
    return Ratio(value, bounds.Interval((float(b) - root) / float(a), (float(b) + root) / float(a)))


def amount(nanousd: Fraction | int) -> str:
    """For people, to the nano-dollar, with its sign: `-$0.02`."""
    whole = round(nanousd)
    return f"{'-' if whole < 0 else ''}{dollars(abs(whole))}"


def _percent(share: float) -> str:
    return f"{share:.1%}"
