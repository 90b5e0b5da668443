"""Reports: what asking people costs, whether they still read, and how their oversight is set up."""

from __future__ import annotations

import math
from typing import Any

from agentmemo.clock import SECOND
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import DAY, count, duration, sentence
from agentmemo.errors import InvalidInput, PermissionDenied
from agentmemo.model.reports import DAYS, DAYS_MAX, FAST_SECONDS, Attention, Oversight, PersonAttention

WINDOWS = (7, 30, 90)
# The axis of times to decide, logarithmic: its width, the seconds at its ends, and what is written below it.
AXIS, SHORTEST, LONGEST = 280, 1.0, 86_400.0
TICKS = ((1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3_600, "1 h"), (86_400, "1 d"))


async def reports(visit: Visit) -> Page:
    """Both reports; each only for whom it is, since their rights differ."""
    days = days_of(visit)
    attention = oversight = None
    if visit.may("escalations:read"):
        until = visit.now + 1
        attention = await visit.connection.reports.attention(since=until - round(days * DAY * SECOND), until=until)
    if visit.may("policies:read"):
        oversight = await visit.connection.reports.oversight()
    if attention is None and oversight is None:
        raise PermissionDenied(
            "Your key does not let you see reports.",
            why="They need escalations:read, or policies:read.",
            next_call="Ask whoever gave you the key.",
        )
    data = {
        "headline": headline(attention, oversight),
        "context": context(attention),
        "days": days,
        "windows": WINDOWS,
        "attention": attention,
        "outcomes": outcomes(attention) if attention else [],
        "drawn": drawing(attention.people) if attention and attention.people else None,
        "oversight": oversight,
    }
    return Page(template="reports.html", title="Reports", section="Reports", data=data)


def days_of(visit: Visit) -> float:
    """The length of the window, from the address. Raises InvalidInput for none that there is."""
    asked = visit.asked("days")
    try:
        days = float(asked) if asked is not None else DAYS
    except ValueError:
        days = math.nan
    if not 0 < days <= DAYS_MAX:
        raise InvalidInput(
            f"days is {asked!r}, no length of a window.",
            next_call=f"Give a number up to {DAYS_MAX:.0f}: /reports?days=30.",
        )
    return days


def headline(attention: Attention | None, oversight: Oversight | None) -> str:
    if attention is not None:
        if not attention.questions:
            return "Nobody was asked anything."
        return f"{sentence(count(attention.questions, 'question was', 'questions were'))} put to people."
    assert oversight is not None  # noqa: S101 - one of the two is there
    return f"{oversight.met} of {len(oversight.lines)} requirements of oversight are met."


def context(attention: Attention | None) -> str:
    """Whether people still read; where nothing hints at a reflex, how fast they decide."""
    if attention is None or not attention.questions:
        return ""
    warned = sum(bool(person.warning) for person in attention.people)
    if warned:
        return f"The decisions of {count(warned, 'person', 'people')} look like a reflex."
    if attention.seconds is None:
        return "No person has decided one."
    return f"Half of the decisions took less than {duration(attention.seconds)}."


def outcomes(found: Attention) -> list[dict[str, Any]]:
    """What came of the questions, and which part of all that is; what did not occur is left out."""
    counts = (
        ("Decided by people", found.decided, "completed"),
        ("Decided by rules", found.auto_decided, "completed"),
        ("Fell to their default", found.defaulted, "expired"),
        ("Taken back", found.withdrawn, "declined"),
        ("Still open", found.undecided, "pending"),
    )
    return [
        {"name": name, "count": number, "icon": icon, "percent": round(100 * number / found.questions, 1)}
        for name, number, icon in counts
        if number
    ]


def drawing(people: list[PersonAttention]) -> dict[str, Any]:
    """Per person a line from the time they can have looked to the time it took, and where reading ends."""
    return {
        "least": position(FAST_SECONDS),
        "least_seconds": FAST_SECONDS,
        "ticks": [{"x": position(seconds), "text": text} for seconds, text in TICKS],
        "lines": [
            {"looked": position(person.look_seconds), "took": position(person.seconds), "fast": bool(person.warning)}
            for person in people
        ],
    }


def position(seconds: float) -> float:
    """Where a time is on the axis; what lies beyond its ends is at them."""
    bounded = min(max(seconds, SHORTEST), LONGEST)
    return round(AXIS * math.log(bounded / SHORTEST) / math.log(LONGEST / SHORTEST), 1)
