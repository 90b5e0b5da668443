"""What stuck detection sees, what it keeps of it, and what may be set: see `stuck` for what it concludes.

A memory is frozen, holds at most MARKS_KEPT events and serialises with msgspec to less than MEMORY_BYTES_MAX, so that
it can be kept with its run. It holds digests and short redacted previews, never arguments or results.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from agentmemo.model import likeness, redaction

# A ring of 64 events: longer than the cycles of agents seen in the field, shorter than what a step could not afford.
MARKS_KEPT = 64
# Of the latest of them also what people are shown: three rounds of a cycle of four, and what came before.
LOOKS_KEPT = 16
MEMORY_BYTES_MAX = 32_000
NEAR_WINDOW = 10
NEAR_JACCARD = 0.8
WORDS_MIN = 4
# Shared by so many messages that are otherwise unlike, a word is boilerplate: by frequency, not by a list.
BOILERPLATE_IN = 3
# A shorter result is an acknowledgement, which says the same of different deeds.
CONTENT_BYTES = 200
# Enough to see whether the last word that is shown of a result is whole.
SHOWN_BYTES = 96
NAME_SHOWN = 48
PROGRESS_KEPT, PAID_KEPT, BLOCKED_KEPT = 32, 16, 8
CONFIDENCE_LOW = 0.3
WAIT_SECONDS_MAX = 365 * 86_400.0

# The order of the ladders in Rules.
PLAIN, READ_ONLY, IDEMPOTENT, POLL = 0, 1, 2, 3

# Flags of a mark.
NEW = 1  # succeeded as nothing before
FRESH = 2  # new, and it may have changed the world: what failed before may succeed now
TEXT = 4  # words of the agent, without a tool
OVERFLOW = 8
UNSURE = 16


class Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """From which occurrence on a repetition is observed, told to the agent, and refused."""

    observe: int = 2
    nudge: int = 3
    block: int = 4


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The thresholds. `tools` overrides the ladder of a tool by its name, `off` names signals that are not looked for.

    2, 3, 4 lies between what ships: OpenRouter's SDK observes at 2 and blocks at 3, OpenHands nudges at 3 and stops at
    4. A poll's 10 and 20 are openclaw's, set after its loop of 1,535 polls. That they hold is shown by
    `tests/model/test_stuck_figures.py`.
    """

    plain: Ladder = Ladder()
    read_only: Ladder = Ladder(observe=3, nudge=4, block=6)
    idempotent: Ladder = Ladder(observe=3, nudge=4, block=6)
    poll: Ladder = Ladder(observe=10, nudge=20, block=40)
    tools: dict[str, Ladder] = {}
    off: tuple[str, ...] = ()
    steps_without_progress: int = 30
    tokens_without_progress: int = 200_000
    # Of the run's own median cost per progress.
    cost_slope: float = 3.0


class Wait(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The agent's word that it polls this call until a time, and expects another result within so many seconds.

    It is not prolonged by saying it again while the result stays the same.
    """

    until: int
    change_within_seconds: float | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call of a tool and what came of it; with no tool, a text of the agent (`arguments`).

    `at` is in microseconds. Equal calls of one `turn` count once. `progress` is a measure of the work that changes only
    when the work does: a digest of files, rows done, tests that pass; a value that was there before is no progress.
    `refused` says that the call was blocked and not made.
    """

    tool: str = ""
    arguments: Any = None
    result: Any = None
    error: str | None = None
    at: int = 0
    turn: str = ""
    poll: bool = False
    read_only: bool = False
    idempotent: bool = False
    cost_nanousd: int = 0
    tokens: int = 0
    progress: str | int | float | None = None
    wait: Wait | None = None
    confidence: float | None = None
    refused: bool = False


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event in numbers. `same` is equal for the same call with the same result; `near` counts what it resembles."""

    same: int
    call: int
    result: int
    error: int
    kind: int
    flags: int
    at: int
    near: int = 0


class Look(msgspec.Struct, frozen=True, array_like=True):
    """One of the latest events as people see it, and what finds near-duplicates of it."""

    tool: str
    arguments: str
    outcome: str
    cost_nanousd: int
    targets: int
    sketch: frozenset[int] = frozenset()


class Waiting(msgspec.Struct, frozen=True, array_like=True):
    """A declared wait, and what was seen of it."""

    call: int
    result: int
    until: int
    changed_at: int
    within_us: int | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is known of one run. The default is a run that has just begun."""

    marks: tuple[Mark, ...] = ()
    looks: tuple[Look, ...] = ()
    # How many of the latest marks are younger than the last progress, or the last word of a person.
    since: int = 0
    nudges: int = 0
    quiet: int = 0
    blocked: tuple[int, ...] = ()
    progress: tuple[int, ...] = ()
    # Since the last progress; where none is declared, since something new succeeded.
    steps: int = 0
    tokens: int = 0
    nanousd: int = 0
    paid: tuple[int, ...] = ()
    dearest: int = 0
    stalled: int = 0
    slope: int = 0
    waiting: Waiting | None = None
    turn: int = 0
    turn_calls: tuple[int, ...] = ()


def kind_of(call: Call) -> int:
    if call.poll:
        return POLL
    if call.idempotent and not call.read_only:
        return IDEMPOTENT
    return READ_ONLY if call.read_only else PLAIN


def fingerprint(memory: Memory, call: Call) -> tuple[Mark, Look]:
    """What is kept of a call. Its time is bounded: of long arguments and results only a part is looked at."""
    exact = likeness.call_digest(call.tool, call.arguments)
    error = likeness.plain(call.error) if call.error is not None else likeness.failure(call.result)
    said = likeness.outcome(call.result if error is None else error)
    # A failure is compared by its class, so what the call resembles is not asked for.
    known = likeness.features(call.tool, call.arguments) if error is None else likeness.NO_FEATURES
    # Numbers and element references in the arguments matter where the result is only an acknowledgement.
    is_content = error is None and (said.has_references or said.size >= CONTENT_BYTES)
    same = (known.loose if is_content else exact) ^ said.digest
    shown, outcome = redaction.previews(call.arguments, said.head[:SHOWN_BYTES].decode("utf-8", "ignore"))
    look = Look(_name(call.tool), shown, outcome, call.cost_nanousd, known.targets, known.sketch)
    flags = _said_flags(call, error)
    near = 0
    if error is None:
        if len(look.sketch) >= WORDS_MIN:
            near = _near(memory, look, said.digest)
        if call.tool and not near and same not in [mark.same for mark in streak(memory)]:
            flags |= NEW if call.read_only or call.poll else NEW | FRESH
    kind = likeness.error_class(error) if error is not None else 0
    return Mark(same, exact, said.digest, kind, kind_of(call), flags, call.at, near), look


def _name(tool: str) -> str:
    return tool[:NAME_SHOWN] if tool.isascii() else redaction.encodable(tool[:NAME_SHOWN])


def streak(memory: Memory) -> tuple[Mark, ...]:
    """The marks since the last progress."""
    marks = memory.marks
    return marks if memory.since == len(marks) else marks[len(marks) - memory.since :]


def _said_flags(call: Call, error: bytes | None) -> int:
    flags = 0 if call.tool or error is not None else TEXT
    if error is not None and likeness.is_overflow(error):
        flags |= OVERFLOW
    if call.confidence is not None and call.confidence < CONFIDENCE_LOW:
        flags |= UNSURE
    return flags


def _near(memory: Memory, look: Look, result: int) -> int:
    """How many of the latest events say nearly the same of the same targets and got the same result."""
    alike = []
    barrier = FRESH if look.tool else NEW
    window = min(NEAR_WINDOW, len(memory.looks), memory.since)
    for back in range(1, window + 1):
        other, mark = memory.looks[-back], memory.marks[-back]
        is_near = other.tool == look.tool and other.targets == look.targets and mark.result == result
        if is_near and likeness.jaccard(other.sketch, look.sketch) >= NEAR_JACCARD:
            alike.append(other)
        if mark.flags & barrier:
            break
    if len(alike) > 1:
        own = look.sketch - _boilerplate(memory, look)
        if len(own) < WORDS_MIN:
            return 0
    return len(alike)


def _boilerplate(memory: Memory, look: Look) -> frozenset[int]:
    """The words that messages share which are otherwise unlike this one."""
    unlike = [
        other.sketch
        for other in memory.looks
        if other.tool == look.tool and likeness.jaccard(other.sketch, look.sketch) < NEAR_JACCARD
    ]
    return frozenset(word for word in look.sketch if sum(word in sketch for sketch in unlike) >= BOILERPLATE_IN)


def remember(memory: Memory, call: Call, mark: Mark, look: Look) -> Memory:
    """The memory with one more event in it. Progress ends all streaks: what repeated before it led somewhere."""
    measure = 0 if call.progress is None else likeness.digest(likeness.plain(call.progress)) or 1
    turn = turn_of(call)
    # Waiting is no work that could lead nowhere.
    is_idle = call.poll or (memory.waiting is not None and mark.at <= memory.waiting.until)
    advanced = measure != 0 and measure not in memory.progress
    renewed = advanced or (not memory.progress and not measure and mark.flags & FRESH != 0)
    cost = memory.nanousd + call.cost_nanousd
    tokens = memory.tokens + call.tokens
    return Memory(
        marks=(*memory.marks[1 - MARKS_KEPT :], mark),
        looks=(*memory.looks[1 - LOOKS_KEPT :], look),
        since=0 if advanced else min(memory.since + 1, MARKS_KEPT),
        nudges=0 if advanced else memory.nudges,
        quiet=memory.quiet + 1,
        blocked=_still_blocked(memory, mark) if memory.blocked and not advanced else (),
        progress=(*memory.progress[1 - PROGRESS_KEPT :], measure) if advanced else memory.progress,
        steps=0 if renewed else memory.steps + (not is_idle),
        tokens=0 if renewed else tokens,
        nanousd=0 if renewed else cost,
        paid=(*memory.paid[1 - PAID_KEPT :], cost or tokens) if advanced else memory.paid,
        dearest=max(memory.dearest, cost or tokens) if advanced else memory.dearest,
        stalled=0 if advanced else memory.stalled,
        slope=0 if advanced else memory.slope,
        waiting=_waiting(memory.waiting, call, mark),
        turn=turn,
        turn_calls=(*memory.turn_calls[1 - MARKS_KEPT :], mark.same) if turn and turn == memory.turn else (mark.same,),
    )


def _still_blocked(memory: Memory, mark: Mark) -> tuple[int, ...]:
    """What is new may have changed the outcome of all calls, or, if it only reads, shows that its own has changed."""
    if mark.flags & FRESH:
        return ()
    return tuple(call for call in memory.blocked if call != mark.call) if mark.flags & NEW else memory.blocked


def turn_of(call: Call) -> int:
    return zlib.crc32(call.turn.encode("utf-8", "replace")) if call.turn else 0


def is_parallel(memory: Memory, call: Call, mark: Mark) -> bool:
    """Whether the same call was made in this turn already: models ask for several at once, and that is no loop."""
    return call.turn != "" and memory.turn == turn_of(call) and mark.same in memory.turn_calls


def _waiting(waiting: Waiting | None, call: Call, mark: Mark) -> Waiting | None:
    """A wait begins when it is declared, is renewed by each change, and ends with a change after its time."""
    known = waiting if waiting is not None and waiting.call == mark.call else None
    if known is not None and known.result == mark.result:
        return known
    if call.wait is not None:
        within = call.wait.change_within_seconds
        within_us = None if within is None else _microseconds(within)
        return Waiting(mark.call, mark.result, call.wait.until, mark.at, within_us)
    if known is None:
        return waiting
    return None if mark.at > known.until else Waiting(mark.call, mark.result, known.until, mark.at, known.within_us)


def _microseconds(seconds: float) -> int:
    """Within bounds; what is no number is the longest."""
    return int(max(seconds, 0.0) * 1e6) if seconds < WAIT_SECONDS_MAX else int(WAIT_SECONDS_MAX * 1e6)
