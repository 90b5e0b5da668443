"""What is said of a run that is stuck: the rungs of the ladder, and what somebody who is asked gets to see."""

from __future__ import annotations

import msgspec

OK, OBSERVE, NUDGE, BLOCK, ESCALATE = RUNGS = ("ok", "observe", "nudge", "block", "escalate")


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """One of the events that show the loop, oldest first. Texts are short and redacted."""

    at: int
    tool: str
    arguments: str
    outcome: str
    cost_nanousd: int


class LoopDiagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody needs to decide: the repeats side by side, what differed, what it cost, what was tried, ways out.

    Steps, tokens and cost are counted since the last declared progress; where none is declared, since something new
    succeeded.
    """

    repeats: list[Repeat]
    differed: list[str]
    tried: list[str]
    ways_out: list[str]
    steps_since_progress: int
    tokens_since_progress: int
    cost_since_progress_nanousd: int
