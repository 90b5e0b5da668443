"""Precedents: what people said of such calls before, and the rule that a person may make of it.

Two calls are such as each other where they have the same tool and the same arguments but for what varies by nature:
numbers, and the numbers and ids inside texts. Three equal answers and no other make a precedent; a rule is only ever
made of it by a person, and the first answer that says otherwise suspends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from agentmemo.errors import LimitExceeded
from agentmemo.model.guards import MATCHERS_MAX, is_same, leaves, likeness
from agentmemo.model.values import encode_sorted
from agentmemo.model.wire import Request, Response

CONCORDANT = 3
SHOWN = 5
# Only so many of the newest answers are looked at.
ANSWERS_MAX = 5000
DOCUMENT = "precedents"
DAYS, DAYS_MAX = 30.0, 366.0
USES = 100
# One in so many hits of a rule made of precedents is listed for a person.
REVIEWED_OF = 20
VALUES, PATTERN = "values", "pattern"
SCOPES = (VALUES, PATTERN)


class ListPrecedents(Request, kw_only=True):
    """What people have answered alike, and never otherwise; `tool` names one, or some by a glob."""

    tool: str | None = None
    limit: int = 100


class Precedent(Response, kw_only=True):
    """Equal answers of people to such calls. In `arguments`, by JSON Pointer, `#` is what varies.

    `rule` is there where it was made one that is in force or suspended.
    """

    id: str
    tool: str
    arguments: dict[str, Any]
    decision: str
    count: int
    agents: list[str]
    persons: list[str]
    comments: list[str]
    escalations: list[str]
    last_at: int
    rule: str | None = None


class PromotePrecedent(Request, kw_only=True):
    """Make a precedent a rule (a person's call), after all other rules, for `days`, and `uses_max` times at most.

    `scope` values: only with arguments that were answered. `pattern`: numbers and ids inside texts may be others, and
    numbers lie between those that were answered.
    """

    precedent: str
    scope: str = VALUES
    days: float = DAYS
    uses_max: int = USES
    name: str | None = None
    comment: str = ""


def pattern_of(arguments: Any) -> dict[str, Any]:
    """JSON Pointer -> what stands there, with `#` for what varies by nature."""
    return {pointer: _pattern(value) for pointer, value in leaves(arguments if arguments is not None else {})}


def pattern_digest(tool: str, arguments: Any) -> str:
    """Tells calls that are such as each other from all others."""
    return hashlib.sha256(encode_sorted({"arguments": pattern_of(arguments), "tool": tool})).hexdigest()


def matchers_of(members: Sequence[Any], scope: str) -> dict[str, dict[str, Any]]:
    """What the arguments of a rule made of these calls must be; they all have the same pattern."""
    first = pattern_of(members[0])
    if len(first) > MATCHERS_MAX:
        raise LimitExceeded(
            f"These calls have {len(first)} arguments; a rule names {MATCHERS_MAX} at most.",
            next_call="Write a rule by hand: agentmemo policy set rules NAME FILE.",
        )
    found: dict[str, list[Any]] = {pointer: [] for pointer in first if pointer}
    for member in members:
        for pointer, value in leaves(member if member is not None else {}):
            if pointer and not any(is_same(value, other) for other in found[pointer]):
                found[pointer].append(value)
    return {pointer: _matcher(values, scope) for pointer, values in found.items()}


def is_reviewed(digest: str, use: int) -> bool:
    """Whether this use of a rule is one of those that a person looks at afterwards; the same answer at any time."""
    return int(hashlib.sha256(f"{digest}/{use}".encode()).hexdigest()[:8], 16) % REVIEWED_OF == 0


def is_named(tool: str, wanted: str | None) -> bool:
    return wanted is None or fnmatchcase(tool, wanted)


def _pattern(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        # A list, so that it is no text that says the same.
        return ["#"]
    return likeness(value) if isinstance(value, str) else value


def _matcher(values: list[Any], scope: str) -> dict[str, Any]:
    if len(values) == 1:
        return {"equals": values[0]}
    if scope == VALUES:
        return {"in": values}
    if isinstance(values[0], str):
        return {"like": likeness(values[0])}
    return {"at_least": min(values), "at_most": max(values)}
