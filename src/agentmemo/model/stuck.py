"""Whether a run is stuck: `observe` takes what is remembered of it and one more call, and says how it looks.

    memory, verdict = observe(memory, call)

It is a pure function: no clock, no store, no chance, no exception for any JSON value. The ladder is observe, nudge,
block, escalate. A nudge has a text for the agent. A block refuses the same call until something new succeeds; ask
`blocked` before a call. It escalates when a block is ignored, when two nudges brought no progress, or when a signal is
critical, and then has a diagnosis for whoever is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from agentmemo.model import likeness, stuck_signals
from agentmemo.model.likeness import failure_fingerprint
from agentmemo.model.stuck_diagnosis import BLOCK, ESCALATE, NUDGE, OBSERVE, OK, RUNGS, LoopDiagnosis, Repeat
from agentmemo.model.stuck_memory import (
    BLOCKED_KEPT,
    Call,
    Ladder,
    Look,
    Mark,
    Memory,
    Rules,
    Wait,
    fingerprint,
    is_parallel,
    remember,
)
from agentmemo.model.stuck_signals import Finding

__all__ = [
    "BLOCK",
    "ESCALATE",
    "NUDGE",
    "OBSERVE",
    "OK",
    "RULES",
    "Call",
    "Ladder",
    "LoopDiagnosis",
    "Memory",
    "Repeat",
    "Rules",
    "Verdict",
    "Wait",
    "blocked",
    "failure_fingerprint",
    "observe",
    "resume",
]  # fmt: skip

RULES = Rules()
NUDGES_MAX = 2
# Nudges are forgotten after so many events without a finding.
NUDGE_EVENTS = 16
REPEATS_SHOWN, TRIED_SHOWN = 6, 5
_FIELD = re.compile(r"(?:\A| )([\w.-]+)=")


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`score` is 1 at the nudge of the strongest signal; `key` is equal for all verdicts about one loop of a run."""

    rung: str = OK
    signal: str = ""
    score: float = 0.0
    count: int = 0
    text: str = ""
    key: str = ""
    diagnosis: LoopDiagnosis | None = None


FINE = Verdict()


def observe(memory: Memory, call: Call, rules: Rules = RULES) -> tuple[Memory, Verdict]:
    """What is remembered with this call in it, and the verdict. The same input always has the same output."""
    if call.refused:
        return memory, _ignored_block(memory, call)
    mark, look = fingerprint(memory, call)
    if is_parallel(memory, call, mark):
        return _only_cost(memory, call), FINE
    known_block = mark.call in memory.blocked
    memory = remember(memory, call, mark, look)
    found = stuck_signals.find(memory, rules)
    if known_block and any(finding.rung == BLOCK for finding in found):
        return memory, _ignored_block(memory, call, _strongest(found))
    if not found:
        return (memory, FINE) if memory.quiet <= NUDGE_EVENTS else (_forgive(memory), FINE)
    return _climb(memory, _strongest(found), mark)


def blocked(memory: Memory, call: Call) -> Verdict | None:
    """The verdict that refuses this call, or None if it may be made. A declared wait may be."""
    exact = likeness.call_digest(call.tool, call.arguments)
    if call.wait is not None or exact not in memory.blocked:
        return None
    text = f"{_named(call.tool)} is blocked: it gave the same again and again. {_ADVICE[stuck_signals.REPEAT][0]}"
    return Verdict(
        rung=BLOCK, signal=stuck_signals.REPEAT, score=1.0, text=text, key=f"{stuck_signals.REPEAT}-{exact:x}"
    )


def resume(memory: Memory) -> Memory:
    """A person has spoken, or the loop was dealt with: streaks, nudges and blocks end. What is known of costs stays."""
    return msgspec.structs.replace(
        memory, since=0, nudges=0, quiet=0, blocked=(), waiting=None, steps=0, tokens=0, nanousd=0, stalled=0, slope=0
    )


def _strongest(found: Iterable[Finding]) -> Finding:
    return max(found, key=lambda finding: (RUNGS.index(finding.rung), finding.score))


def _climb(memory: Memory, finding: Finding, mark: Mark) -> tuple[Memory, Verdict]:
    """The rung that a finding leads to, after what was said before."""
    rung = finding.rung
    if rung == BLOCK and not memory.nudges:
        rung = NUDGE  # nothing is refused that was not warned of
    if rung == NUDGE and memory.nudges >= NUDGES_MAX:
        rung = ESCALATE
    memory = msgspec.structs.replace(
        memory,
        quiet=0,
        nudges=memory.nudges + (rung == NUDGE),
        blocked=(*memory.blocked[1 - BLOCKED_KEPT :], mark.call) if rung == BLOCK else memory.blocked,
        stalled=int(finding.score) if finding.signal == stuck_signals.NO_PROGRESS else memory.stalled,
        slope=int(finding.score) if finding.signal == stuck_signals.COST else memory.slope,
    )
    return memory, _verdict(memory, finding, rung)


def _ignored_block(memory: Memory, call: Call, finding: Finding | None = None) -> Verdict:
    key = likeness.call_digest(call.tool, call.arguments)
    back = finding.back if finding else tuple(
        distance for distance, mark in enumerate(reversed(memory.marks), 1) if mark.call == key
    )  # fmt: skip
    ignored = Finding(stuck_signals.BLOCK_IGNORED, ESCALATE, len(back), 2.0, finding.key if finding else key, back)
    return _verdict(memory, ignored, ESCALATE)


def _only_cost(memory: Memory, call: Call) -> Memory:
    return msgspec.structs.replace(
        memory, tokens=memory.tokens + call.tokens, nanousd=memory.nanousd + call.cost_nanousd
    )


def _forgive(memory: Memory) -> Memory:
    return msgspec.structs.replace(memory, nudges=0, quiet=0)


def _verdict(memory: Memory, finding: Finding, rung: str) -> Verdict:
    return Verdict(
        rung=rung,
        signal=finding.signal,
        score=finding.score,
        count=finding.times,
        text=_text(memory, finding, rung) if rung != OBSERVE else "",
        key=f"{finding.signal}-{finding.key:x}",
        diagnosis=_diagnosis(memory, finding) if rung == ESCALATE else None,
    )


# Per signal: what is seen, and three ways out; the first is what the agent is told to do.
_SEEN = {
    stuck_signals.REPEAT: "{call} gave the same result {count} times",
    stuck_signals.CYCLE: "The same {period} calls came round {count} times with the same results, {call} among them",
    stuck_signals.ERROR: "The same kind of error came {count} times, at last from {call}: {outcome}",
    stuck_signals.SAME_FAILURE: "{call} failed in exactly the same way {count} times, whatever was changed",
    stuck_signals.NEAR_DUPLICATE: "{call} says nearly what was said before, {count} times, with the same result",
    stuck_signals.NO_PROGRESS: "Nothing has moved for {count} steps",
    stuck_signals.MONOLOGUE: "{count} texts came one after the other without a call",
    stuck_signals.COST: "What was spent since the last progress is {score} times what this run may expect",
    stuck_signals.OVERFLOWS: "The context overflowed {count} times in short order",
    stuck_signals.WAIT: "{call} was to have changed by now and has not",
    stuck_signals.CONFIDENCE: "Low confidence was reported {count} times",
    stuck_signals.BLOCK_IGNORED: "{call} was made again although it is blocked",
}
_ASK = "Ask a person, with this diagnosis."
_STOP = "End the run with what it has so far, and say what is missing."
_ADVICE = {
    stuck_signals.REPEAT: (
        "Use the result you have, change the arguments, or take another tool.",
        "If you wait for something, declare the wait: until when, and within what time a change is due.",
        _ASK,
    ),
    stuck_signals.CYCLE: ("Leave the round: decide with what you know, or take a step that is not in it.", _ASK, _STOP),
    stuck_signals.ERROR: (
        "Read the error and remove its cause before trying again.", "Reach the goal without this tool.", _ASK,
    ),
    stuck_signals.SAME_FAILURE: (
        "Your changes do not reach the cause: look where the failure comes from before changing more.",
        "Undo what did not help and start from another idea.",
        _ASK,
    ),
    stuck_signals.NEAR_DUPLICATE: (
        "Other words will not give another result: ask something else or elsewhere.", "Go on without it.", _ASK,
    ),
    stuck_signals.NO_PROGRESS: ("Say what is missing and take the smallest step that moves it.", _ASK, _STOP),
    stuck_signals.MONOLOGUE: ("Call a tool, ask a person, or end with the result.", _ASK, _STOP),
    stuck_signals.COST: ("Take a cheaper way, or split what is left.", "Raise the budget, knowing why.", _STOP),
    stuck_signals.OVERFLOWS: (
        "Drop large results, and keep what matters in state.", "Hand the rest to a fresh run with a summary.", _STOP,
    ),
    stuck_signals.WAIT: ("Find out why it does not change.", "Declare a new wait, if there is a reason to.", _ASK),
    stuck_signals.CONFIDENCE: ("Ask a person before you go on.", "Check the doubtful part with a tool.", _STOP),
    stuck_signals.BLOCK_IGNORED: (
        "Do something else: this call stays refused until something new succeeds.", _ASK, _STOP,
    ),
}  # fmt: skip


def _text(memory: Memory, finding: Finding, rung: str) -> str:
    look = memory.looks[-1] if memory.looks else Look("", "", "", 0, 0)
    seen = _SEEN[finding.signal].format(
        call=f"{_named(look.tool)} {look.arguments}".rstrip(),
        outcome=look.outcome,
        count=finding.times,
        period=finding.period,
        score=finding.score,
    )
    refused = " This call is refused until something new succeeds." if rung == BLOCK else ""
    return f"{seen}. {_ADVICE[finding.signal][0]}{refused}"


def _named(tool: str) -> str:
    return tool[:48] or "The text"


def _diagnosis(memory: Memory, finding: Finding) -> LoopDiagnosis:
    shown = [back for back in reversed(finding.back[:REPEATS_SHOWN]) if back <= len(memory.looks)]
    looks = [memory.looks[-back] for back in shown]
    repeats = [
        Repeat(
            at=memory.marks[-back].at,
            tool=look.tool,
            arguments=look.arguments,
            outcome=look.outcome,
            cost_nanousd=look.cost_nanousd,
        )
        for back, look in zip(shown, looks, strict=True)
    ]
    return LoopDiagnosis(
        repeats=repeats,
        differed=_differed(memory, shown),
        tried=_tried(memory, looks),
        ways_out=list(_ADVICE[finding.signal]),
        steps_since_progress=memory.steps,
        tokens_since_progress=memory.tokens,
        cost_since_progress_nanousd=memory.nanousd,
    )


def _differed(memory: Memory, shown: list[int]) -> list[str]:
    """What was not the same in all the repeats; nothing is the strongest sign of a loop."""
    marks, looks = [memory.marks[-back] for back in shown], [memory.looks[-back] for back in shown]
    differed = []
    if len({look.tool for look in looks}) > 1:
        differed.append("tool")
    if len({mark.call for mark in marks}) > 1:
        fields = _fields_that_differ([look.arguments for look in looks])
        differed.append(f"arguments ({', '.join(fields)})" if fields else "arguments")
    if len({mark.result for mark in marks}) > 1:
        differed.append("error" if all(mark.error for mark in marks) else "result")
    return differed


def _fields_that_differ(arguments: list[str]) -> list[str]:
    """The names before `=` whose text is not the same in all previews."""
    seen: dict[str, set[str]] = {}
    for preview in arguments:
        _, *parts = _FIELD.split(preview)
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            seen.setdefault(name, set()).add(text)
    return [name for name, texts in seen.items() if len(texts) > 1]


def _tried(memory: Memory, repeats: list[Look]) -> list[str]:
    """The latest other calls, each once, oldest first."""
    shown = {(look.tool, look.arguments) for look in repeats}
    other = dict.fromkeys(
        f"{_named(look.tool)} {look.arguments}".rstrip()
        for look in reversed(memory.looks)
        if (look.tool, look.arguments) not in shown
    )
    return list(other)[:TRIED_SHOWN][::-1]
