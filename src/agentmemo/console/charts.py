"""Where the lines and dots of charts stand. Templates draw them as inline SVG, with the numbers in a table beside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agentmemo.console.words import money
from agentmemo.model.evidence_bounds import wilson
from agentmemo.model.savings import PAIRS_MIN, Measured, Savings

# An interval as a line on an axis of shares.
AXIS = 280.0
AXES = (0.75, 0.5, 0.0)
TICKS = 5
# Small multiples: one for each model at each step.
SMALL_WIDTH, SMALL_HEIGHT, SMALL_PAD = 220.0, 64.0, 6.0
# What was spent, over runs.
LEFT, TOP, WIDTH, HEIGHT = 8.0, 14.0, 620.0, 190.0
BEYOND = 1.25
RUNS_DRAWN_MAX = 4
GRIDS = 4


def axis_from(lows: Sequence[float]) -> float:
    """Where the common axis of intervals begins: no later than the lowest of them."""
    lowest = min(lows, default=1.0)
    return next(start for start in AXES if start <= lowest)


def ticks(start: float) -> list[dict[str, Any]]:
    steps = range(TICKS + 1)
    return [
        {
            "x": _round(AXIS * step / TICKS),
            "text": f"{start + (1 - start) * step / TICKS:.0%}".replace("%", " %"),
            "anchor": "start" if step == 0 else "end" if step == TICKS else "middle",
        }
        for step in steps
    ]


def interval(low: float, rate: float | None, high: float, bar: float, start: float) -> dict[str, float | None]:
    """A line, its dot (none where nothing was seen yet), and the bar to clear."""

    def place(share: float) -> float:
        return _round(AXIS * max(0.0, share - start) / (1 - start))

    return {
        "low": place(low),
        "rate": None if rate is None else place(rate),
        "high": place(high),
        "bar": place(bar),
    }


def over_time(parts: int, seen: dict[int, tuple[int, int]], bar: float) -> dict[str, Any]:
    """The interval of success in each part of the time; `seen` has passed and failed by part, where there was any."""
    inner = SMALL_HEIGHT - 2 * SMALL_PAD

    def height(share: float) -> float:
        return _round(SMALL_PAD + inner * (1 - share))

    marks = []
    for part, (passed, failed) in sorted(seen.items()):
        total = passed + failed
        if total:
            found = wilson(passed, total)
            marks.append(
                {
                    "x": _round(SMALL_WIDTH * (part + 0.5) / parts),
                    "low": height(found.low),
                    "high": height(found.high),
                    "rate": height(passed / total),
                }
            )
    return {"marks": marks, "bar": height(bar), "top": height(1), "bottom": height(0), "width": SMALL_WIDTH}


def cumulative(found: Savings) -> dict[str, Any] | None:
    """What all runs cost so far, with the workflow and without; None where the latter is not known.

    Only the line that counts is drawn: what was measured and what is estimated are never in one picture. Runs cost
    their mean; what was paid once stands before the first.
    """
    line = found.measured if found.headline == "measured" else found.list_price
    if found.headline == "none" or line is None:
        return None
    once = found.design_nanousd + found.shadow_nanousd + found.repair_nanousd
    each = (found.spent_nanousd - once) / found.runs
    without = line.smart_nanousd / found.runs
    runs = _runs_drawn(found)
    band = _band(found)
    most = max(once + each * runs, without * runs, *(cost / found.runs * runs for cost in band), 1.0)

    def x(run: float) -> float:
        return _round(LEFT + WIDTH * run / runs)

    def y(nanousd: float) -> float:
        return _round(TOP + HEIGHT * (1 - nanousd / most))

    even = found.break_even if found.break_even is not None and found.break_even <= runs else None
    return {
        "with": [(x(0), y(once)), (x(runs), y(once + each * runs))],
        "without": [(x(0), y(0)), (x(runs), y(without * runs))],
        "band": [(x(0), y(0)), *((x(runs), y(cost / found.runs * runs)) for cost in band)] if band else [],
        "now": {"x": x(found.runs), "run": found.runs},
        "even": {"x": x(even), "y": y(once + each * even), "run": even} if even is not None else None,
        "runs": runs,
        "grid": [{"y": y(most * step / GRIDS), "text": money(round(most * step / GRIDS))} for step in range(GRIDS + 1)],
        "left": LEFT, "right": LEFT + WIDTH, "top": TOP, "bottom": TOP + HEIGHT,
        "title": _finding(found, line.smart_nanousd),
    }  # fmt: skip


def _runs_drawn(found: Savings) -> int:
    """As far as it has come, and to where it pays if that is not too far off."""
    even = found.break_even
    if even is None or even > found.runs * RUNS_DRAWN_MAX:
        return found.runs
    return max(found.runs, math.ceil(even * BEYOND))


def _band(found: Savings) -> list[float]:
    """What all runs without the workflow would cost, at the ends of the measured interval."""
    line: Measured | None = found.measured if found.headline == "measured" else None
    if line is None or line.low is None or line.high is None or line.high >= 1:
        return []
    return [found.spent_nanousd / (1 - line.low), found.spent_nanousd / (1 - line.high)]


def _finding(found: Savings, smart_nanousd: int) -> str:
    basis = "measured" if found.headline == "measured" else "estimated at list prices"
    told = (
        f"{found.runs} runs cost {money(found.spent_nanousd)} with the workflow and would have cost "
        f"{money(smart_nanousd)} without, {basis}."
    )
    pays = f"It pays from run {found.break_even} on." if found.break_even else "It never pays at these costs."
    return f"{told} {pays}"


def pairs_missing(found: Savings) -> int:
    """How many paired audit runs are still needed before what was measured counts."""
    return max(0, PAIRS_MIN - (found.measured.pairs if found.measured else 0))


def _round(number: float) -> float:
    return round(number, 1)
