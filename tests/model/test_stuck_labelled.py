"""The ladder at traces that were written and labelled by hand, for this purpose: what it finds and what it disturbs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from agentmemo.model import stuck
from agentmemo.model.stuck import Call, Memory

FILE = Path(__file__).with_name("traces") / "labelled.txt"
CALL = re.compile(r"(?P<tool>\w+)(?P<kind>[?~]?) (?P<arguments>\{.*\}|\".*\") -> (?P<failed>! )?(?P<result>.*)")
SECOND = 1_000_000
TURN_SECONDS = 8
# What was measured when they were written; neither rules nor labels were changed for it.
PRECISION, RECALL = 1.0, 0.75


class Trace(NamedTuple):
    """`stuck_at` is the step by which a person would say so; None where they would not."""

    name: str
    stuck_at: int | None
    calls: list[Call]


def traces():
    for block in re.split(r"^== ", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, *lines = block.strip().splitlines()
        label, _, name = head.partition(": ")
        at = int(label.split()[1]) if label.startswith("stuck") else None
        yield Trace(name, at, [read(line, number) for number, line in enumerate(lines)])


def read(line, number):
    """`tool {arguments} -> result`; `?` only reads, `~` polls, `!` is a failure."""
    found = CALL.fullmatch(line)
    assert found, line
    said = found["result"]
    return Call(
        tool="" if found["tool"] == "say" else found["tool"],
        arguments=json.loads(found["arguments"]),
        result=None if found["failed"] else json.loads(said) if said[0] in "{[" else said,
        error=said if found["failed"] else None,
        at=number * TURN_SECONDS * SECOND,
        read_only=found["kind"] == "?",
        poll=found["kind"] == "~",
    )


def noticed_at(calls):
    """The step with the first nudge, block or escalation; None without one."""
    memory = Memory()
    for number, call in enumerate(calls, 1):
        memory, verdict = stuck.observe(memory, call)
        if verdict.rung in (stuck.NUDGE, stuck.BLOCK, stuck.ESCALATE):
            return number
    return None


def test_what_it_finds_and_what_it_disturbs():
    found = [(trace, noticed_at(trace.calls)) for trace in traces()]
    right = [trace.name for trace, at in found if at and trace.stuck_at]
    wrong = [trace.name for trace, at in found if at and not trace.stuck_at]
    missed = [trace.name for trace, at in found if trace.stuck_at and not at]
    precision = len(right) / (len(right) + len(wrong))
    recall = len(right) / (len(right) + len(missed))
    late = sorted(at - trace.stuck_at for trace, at in found if at and trace.stuck_at)
    print(  # noqa: T201 - the figures are the point
        f"\n{len(found)} traces: precision {precision:.2f}, recall {recall:.2f}; first word {late} steps after people;"
        f"\ndisturbed: {wrong}; missed: {missed}"
    )
    assert len(found) >= 30
    assert precision >= PRECISION
    assert recall >= RECALL
