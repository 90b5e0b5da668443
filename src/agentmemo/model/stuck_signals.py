"""What in a memory looks like a loop: one function per signal, each from the memory and the rules to a finding or none.

A repeat counts unless something new, which may have changed the world, succeeded since: tests that pass after each edit
are work, tests that pass between the reading of files are not. Exact cycles count whatever they hold.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from agentmemo.model.stuck_diagnosis import BLOCK, ESCALATE, NUDGE, OBSERVE, OK
from agentmemo.model.stuck_memory import (
    FRESH,
    NEW,
    OVERFLOW,
    TEXT,
    UNSURE,
    Ladder,
    Mark,
    Memory,
    Rules,
    streak,
)

REPEAT, CYCLE, ERROR, SAME_FAILURE, NEAR_DUPLICATE = "repeat", "cycle", "error", "same_failure", "near_duplicate"
NO_PROGRESS, MONOLOGUE, COST, OVERFLOWS = "no_progress", "monologue", "cost", "overflow"
WAIT, CONFIDENCE, BLOCK_IGNORED = "wait", "confidence", "block_ignored"

# One event repeats nothing.
ALIKE_MIN = 2
PERIOD_MAX = 4
# A wait that grows by so much each time, to so many times the run's usual pause, is a backoff: it ends by itself, so it
# gets twice the patience.
BACKOFF_GROWTH, BACKOFF_OF_USUAL, BACKOFF_PATIENCE = 1.25, 3.0, 2
GAPS_COMPARED = 4
# An overflow within so many events of the one before: shortening the context did not help.
OVERFLOW_WINDOW = 8
UNSURE_WINDOW = 8
# A run's costs vary. What is dear must also be twice the dearest so far, and there must be enough to compare with.
PAID_MIN, OF_DEAREST = 6, 3.0


Marks = tuple[Mark, ...]


class Finding(NamedTuple):
    """`times` counts the events that show it, `back` says how far back they are (1: the latest), `key` is the loop."""

    signal: str
    rung: str
    times: int
    score: float
    key: int
    back: tuple[int, ...] = ()
    period: int = 1


def find(memory: Memory, rules: Rules) -> list[Finding]:
    marks = streak(memory)
    # What is new repeats nothing: most events of most runs, for which only the measures are left to look at.
    is_new = memory.marks[-1].flags & (NEW | UNSURE) == NEW
    signals = MEASURES if is_new else SIGNALS
    found = [look_for(memory, marks, rules) for signal, look_for in signals if signal not in rules.off]
    return [finding for finding in found if finding is not None]


def rung_of(count: int, ladder: Ladder, *, can_block: bool) -> str:
    """A nudge is said once; where nothing can be blocked it is said again from `block` on."""
    if count >= ladder.block:
        return BLOCK if can_block else NUDGE
    if count == ladder.nudge:
        return NUDGE
    return OBSERVE if count >= ladder.observe else OK


def _finding(signal: str, back: list[int], ladder: Ladder, key: int, *, can_block: bool = False) -> Finding | None:
    rung = rung_of(len(back), ladder, can_block=can_block)
    if rung == OK:
        return None
    return Finding(signal, rung, len(back), round(len(back) / ladder.nudge, 2), key, tuple(back))


def ladder_for(memory: Memory, rules: Rules, period: int = 1) -> Ladder:
    """The most patient ladder among the calls of one round: a poll with a pause in between is a poll."""
    kinds = (rules.plain, rules.read_only, rules.idempotent, rules.poll)
    round_ = range(1, min(period, len(memory.looks)) + 1)
    ladders = [rules.tools.get(memory.looks[-back].tool) or kinds[memory.marks[-back].kind] for back in round_]
    return ladders[0] if len(ladders) == 1 else max(ladders, key=_patience)


def _patience(ladder: Ladder) -> int:
    return ladder.nudge


def _waited_for(memory: Memory, marks: Marks) -> bool:
    """Whether the run polls what it said it would poll, within the time it said."""
    waiting = memory.waiting
    return (
        waiting is not None
        and marks[-1].at <= waiting.until
        and any(mark.call == waiting.call for mark in marks[-1 - PERIOD_MAX :])
    )


def _patient(ladder: Ladder, memory: Memory, back: list[int]) -> Ladder:
    """Twice the ladder for repeats with growing pauses."""
    if len(back) < ladder.nudge or not _is_backoff(memory.marks, back):
        return ladder
    return Ladder(
        observe=ladder.observe * BACKOFF_PATIENCE,
        nudge=ladder.nudge * BACKOFF_PATIENCE,
        block=ladder.block * BACKOFF_PATIENCE,
    )


def _is_backoff(marks: Marks, back: list[int]) -> bool:
    """Whether the longest pause before each of the latest repeats was longer than the one before the repeat before."""
    import statistics  # here, for few runs come so far

    pauses = [later.at - earlier.at for earlier, later in pairwise(marks)]
    longest = [
        max(pauses[len(pauses) + 1 - earlier : len(pauses) + 1 - later], default=0)
        for later, earlier in pairwise(back[: GAPS_COMPARED + 1])
    ]
    grows = all(later >= earlier * BACKOFF_GROWTH for later, earlier in pairwise(longest))
    return grows and longest[0] > 0 and longest[0] >= BACKOFF_OF_USUAL * statistics.median_low(pauses)


def repeat(memory: Memory, marks: Marks, rules: Rules) -> Finding | None:
    """The same call with the same result, whatever came between that changed nothing."""
    if len(marks) < ALIKE_MIN or _waited_for(memory, marks):
        return None
    newest = marks[-1]
    barrier = NEW if newest.flags & TEXT else FRESH
    back = _same(marks, barrier, lambda mark: mark.same == newest.same)
    if len(back) < ALIKE_MIN:
        return None
    period = min(back[1] - 1, PERIOD_MAX)
    ladder = _patient(ladder_for(memory, rules, period), memory, back)
    return _finding(REPEAT, back, ladder, newest.same, can_block=not newest.flags & TEXT)


def _same(marks: Marks, barrier: int, equal: Callable[[Mark], bool]) -> list[int]:
    """The distances of the events that are equal to the latest, back to what ends their streak."""
    back = []
    for distance, mark in enumerate(reversed(marks), 1):
        if equal(mark):
            back.append(distance)
        if mark.flags & barrier:
            break
    return back


def cycle(memory: Memory, marks: Marks, rules: Rules) -> Finding | None:
    """A-B-A-B, A-B-C and A-B-C-D: rounds of 2 to 4 calls with the results of the round before."""
    if _waited_for(memory, marks) if marks else True:
        return None
    newest = marks[-1]
    for period in range(2, PERIOD_MAX + 1):
        if len(marks) <= period:
            return None
        if marks[-1 - period].same != newest.same:
            continue
        matched = _matched(marks, period)
        if matched < period:
            continue
        back = list(range(1, matched + period + 1, period))
        ladder = _patient(ladder_for(memory, rules, period), memory, back)
        found = _finding(CYCLE, back, ladder, newest.same, can_block=not newest.flags & TEXT)
        if found is not None:
            return found._replace(period=period)
    return None


def _matched(marks: Marks, period: int) -> int:
    """How many of the latest events are the same as the one a period before."""
    matched = 0
    while matched + period < len(marks) and marks[-1 - matched].same == marks[-1 - matched - period].same:
        matched += 1
    return matched


def error(memory: Memory, marks: Marks, rules: Rules) -> Finding | None:
    """The same class of error again and again, whatever the arguments, with nothing new that worked in between."""
    newest = marks[-1] if marks else None
    if newest is None or not newest.error or newest.flags & OVERFLOW:
        return None
    back = _same(marks, NEW, lambda mark: mark.error == newest.error)
    if len(back) < ALIKE_MIN:
        return None
    ladder = _patient(ladder_for(memory, rules), memory, back)
    identical = sum(marks[-distance].call == newest.call for distance in back)
    return _finding(ERROR, back, ladder, newest.error, can_block=identical >= ladder.block)


def same_failure(memory: Memory, marks: Marks, rules: Rules) -> Finding | None:
    """The same call fails in exactly the same way, whatever was changed in between: one more time is allowed for."""
    newest = marks[-1] if marks else None
    if newest is None or not newest.error or newest.flags & OVERFLOW:
        return None
    if len(marks) > 1 and marks[-2].call == newest.call:
        return None  # nothing was changed in between: that is a repeat
    back = []
    for distance, mark in enumerate(reversed(marks), 1):
        if mark.call != newest.call:
            continue
        if mark.result != newest.result:
            break
        back.append(distance)
    if len(back) < ALIKE_MIN:
        return None
    ladder = _patient(ladder_for(memory, rules), memory, back)
    later = Ladder(observe=ladder.observe + 1, nudge=ladder.nudge + 1, block=ladder.block + 2)
    return _finding(SAME_FAILURE, back, later, newest.call ^ newest.result)


def near_duplicate(memory: Memory, marks: Marks, rules: Rules) -> Finding | None:
    """Nearly the same words about the same targets with the same result, in the window of the latest events."""
    if not marks or not marks[-1].near:
        return None
    # The looks have been compared when the event came; what is shown is the latest of the same result.
    newest = marks[-1]
    back = [distance for distance, mark in enumerate(reversed(marks), 1) if mark.result == newest.result]
    return _finding(NEAR_DUPLICATE, back[: newest.near + 1], ladder_for(memory, rules), newest.result)


def monologue(_memory: Memory, marks: Marks, rules: Rules) -> Finding | None:
    """Texts without a tool, one after the other: nothing happens but talk."""
    if not marks or not marks[-1].flags & TEXT:
        return None
    back = []
    for distance, mark in enumerate(reversed(marks), 1):
        if not mark.flags & TEXT:
            break
        back.append(distance)
    return _finding(MONOLOGUE, back, rules.plain, 0)


def overflow(_memory: Memory, marks: Marks, _rules: Rules) -> Finding | None:
    """The context overflows again right after it did: shortening it does not help. The third time is critical."""
    if not marks or not marks[-1].flags & OVERFLOW:
        return None
    back: list[int] = []
    for distance, mark in enumerate(reversed(marks), 1):
        if mark.flags & OVERFLOW:
            back.append(distance)
        elif distance - (back[-1] if back else 0) > OVERFLOW_WINDOW:
            break
    rung = (OBSERVE, OBSERVE, NUDGE, ESCALATE)[min(len(back), 3)]
    return Finding(OVERFLOWS, rung, len(back), round(len(back) / 2, 2), 0, tuple(back))


def no_progress(memory: Memory, _marks: Marks, rules: Rules) -> Finding | None:
    """So many steps or tokens since the last progress, in a run that has declared some. Said once per multiple."""
    if not memory.progress:
        return None
    level = max(memory.steps / rules.steps_without_progress, memory.tokens / rules.tokens_without_progress)
    return _level(NO_PROGRESS, level, memory.stalled, memory.steps, (NUDGE, NUDGE, ESCALATE))


def cost(memory: Memory, _marks: Marks, rules: Rules) -> Finding | None:
    """Since the last progress it has cost more than three times what progress costs this run, and more than ever.

    It is told the agent at twice that: how finely a run declares its progress changes within the run.
    """
    if len(memory.paid) < PAID_MIN:
        return None
    import statistics

    usual = max(rules.cost_slope * statistics.median(memory.paid), OF_DEAREST * memory.dearest)
    level = (memory.nanousd or memory.tokens) / usual if usual else 0.0
    return _level(COST, level, memory.slope, memory.steps, (OBSERVE, NUDGE, ESCALATE))


def _level(signal: str, level: float, told: int, count: int, rungs: tuple[str, ...]) -> Finding | None:
    """A measure that passes its threshold once, twice and three times: each is told once."""
    if int(level) <= told:
        return None
    return Finding(signal, rungs[min(int(level), len(rungs)) - 1], count, round(level, 2), 0)


def wait(memory: Memory, _marks: Marks, _rules: Rules) -> Finding | None:
    """A declared wait is over, or the change it promised is late: late is told, over or twice as late is critical."""
    waiting, newest = memory.waiting, memory.marks[-1]
    if waiting is None or newest.call != waiting.call or newest.at == waiting.changed_at:
        return None
    late = 0.0 if waiting.within_us is None else (newest.at - waiting.changed_at) / max(waiting.within_us, 1)
    over = newest.at > waiting.until
    if not over and late <= 1:
        return None
    back = [distance for distance, mark in enumerate(reversed(memory.marks), 1) if mark.call == waiting.call]
    rung = ESCALATE if over or late > 2 else NUDGE  # noqa: PLR2004 - twice as late
    return Finding(WAIT, rung, len(back), round(max(late, 1.0), 2), waiting.call, tuple(back))


def confidence(_memory: Memory, marks: Marks, _rules: Rules) -> Finding | None:
    """The agent says that it is unsure. The second time, it is told to ask; the third time somebody is asked for it."""
    if not marks or not marks[-1].flags & UNSURE:
        return None
    window = marks[-UNSURE_WINDOW:]
    back = [distance for distance, mark in enumerate(reversed(window), 1) if mark.flags & UNSURE]
    rung = (OBSERVE, OBSERVE, NUDGE, ESCALATE)[min(len(back), 3)]
    return Finding(CONFIDENCE, rung, len(back), round(len(back) / 2, 2), 0, tuple(back))


Signal = tuple[str, Callable[[Memory, Marks, Rules], Finding | None]]
MEASURES: tuple[Signal, ...] = ((NO_PROGRESS, no_progress), (COST, cost))
SIGNALS: tuple[Signal, ...] = (
    (REPEAT, repeat),
    (CYCLE, cycle),
    (ERROR, error),
    (SAME_FAILURE, same_failure),
    (NEAR_DUPLICATE, near_duplicate),
    (MONOLOGUE, monologue),
    (OVERFLOWS, overflow),
    (WAIT, wait),
    (CONFIDENCE, confidence),
    *MEASURES,
)
