"""Reports: what asking people costs them and is worth, and how human oversight is set up."""

from __future__ import annotations

from agentmemo.model.wire import Request, Response

# As many are shown of each list in a report.
SHOWN = 10
PEOPLE_MAX = 100
DAYS = 7.0
DAYS_MAX = 366.0
# When a person's decisions look like a reflex: nearly everything is approved, or there is no time to read.
STAMP_SHARE, STAMP_DECISIONS = 0.95, 50
FAST_SECONDS, FAST_DECISIONS = 3.0, 10


class GetAttention(Request, kw_only=True):
    """What was asked from `since` until before `until` (UTC microseconds), and what has come of it; else 7 days."""

    since: int | None = None
    until: int | None = None


class PersonAttention(Response, kw_only=True):
    """One person's decisions.

    `look_seconds` is the most they can have looked: since it was asked, or since their decision before. `approve_rate`
    is of what could be approved or refused; None where there was nothing of it.
    """

    person: str
    decisions: int
    seconds: float
    look_seconds: float
    approve_rate: float | None
    warning: str = ""


class AskerAttention(Response, kw_only=True):
    """Who asked: `questions` is what people saw, `asks` counts those that were joined to one that was open."""

    asker: str
    questions: int
    asks: int


class OftenAsked(Response, kw_only=True):
    """The same question in the same words. `advice` says where a rule could take it off the people."""

    kind: str
    reason: str
    questions: int
    asks: int
    decided: int
    approved: int
    advice: str = ""


class Unanswered(Response, kw_only=True):
    """Nobody answered in time: its fallback was taken, or it goes on waiting where that is `pause`."""

    escalation: str
    severity: str
    reason: str
    default: str
    deadline: int


class Attention(Response, kw_only=True):
    """What asking cost. Counts are of questions asked in the window; `undelivered` is of now.

    `tool_calls` are the recorded steps and the guarded calls of the window. Shares are of all that were answered or
    fell to their default; `approve_rate` is of the decisions to approve, edit, reject or abort.
    """

    since: int
    until: int
    questions: int
    asks: int
    tool_calls: int
    questions_per_100_calls: float | None
    undecided: int
    decided: int
    auto_decided: int
    defaulted: int
    lapsed: int
    withdrawn: int
    seconds: float | None
    seconds_p90: float | None
    approve_rate: float | None
    edited_share: float | None
    rejected_share: float | None
    defaulted_share: float | None
    warned: int
    warned_late: int
    undelivered: int
    people: list[PersonAttention]
    askers: list[AskerAttention]
    often: list[OftenAsked]
    unanswered: list[Unanswered]


class GetOversight(Request, kw_only=True):
    """How human oversight is set up now, line by line of a standard."""


class OversightLine(Response, kw_only=True):
    """One requirement: what it asks in our words, the plane's part in it, and what is not the plane's.

    `met` says that the plane does its part as it is configured now; else `missing` says what to set. `test` is the
    test function that shows the part.
    """

    id: str
    asks: str
    part: str
    configured: list[str]
    met: bool
    missing: list[str]
    left: str
    test: str


class Oversight(Response, kw_only=True):
    """The lines of one standard. It is evidence for a claim of conformance, which is not the plane's to make."""

    standard: str
    at: int
    met: int
    lines: list[OversightLine]


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def warning_of(approved: int, votable: int, decisions: int, look_seconds: float) -> str:
    """Why a person's decisions may be a reflex; empty where nothing hints at it."""
    if decisions >= FAST_DECISIONS and look_seconds < FAST_SECONDS:
        return f"decides within {look_seconds:.1f} s: nobody reads that fast"
    if votable >= STAMP_DECISIONS and approved >= STAMP_SHARE * votable:
        return f"approved {approved} of {votable}: ask less, or let a rule decide"
    return ""


def advice_of(approved: int, decided: int) -> str:
    if decided >= STAMP_DECISIONS and approved >= STAMP_SHARE * decided:
        return "nearly always approved: a rule could decide it (agentmemo policy set rules ...)"
    return ""
