"""Schedules: who is on call when, and which hours are working hours. Pure functions over a document.

Days and hand-overs are local to the schedule's zone, so they stay at the same hour when the clocks change.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from agentmemo.clock import SECOND
from agentmemo.model.access import ACTOR
from agentmemo.model.documents import Document, local, microseconds, misfit, moment, zone_of

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAYS: tuple[Day, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PEOPLE_MAX = 100
TURNS_MAX = 2000
HOLIDAYS_MAX = 1000
# With less in a week, a deadline in working hours would be years away.
WORKING_MINUTES_MIN = 60
MIDNIGHT = "24:00"
DAY = datetime.timedelta(days=1)
EXAMPLE = {
    "zone": "Europe/Berlin",
    "rota": {"people": ["ana", "ben"], "first_day": "2026-11-02", "hand_over": "monday", "at": "09:00"},
    "overrides": [{"person": "ben", "since": "2026-12-24T09:00", "until": "2026-12-27T09:00"}],
    "working_hours": {"days": ["monday", "friday"], "from": "09:00", "to": "17:00", "holidays": ["2026-12-25"]},
}

Person = Annotated[str, Meta(pattern=ACTOR.pattern)]
Clock = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d\Z")]
ClosingClock = Annotated[str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)\Z")]


class Rota(Document):
    """A week each, in this order, for ever. The first begins on `first_day`, and is relieved at the next hand-over."""

    people: Annotated[list[Person], Meta(min_length=1, max_length=PEOPLE_MAX)]
    first_day: datetime.date
    hand_over: Day = "monday"
    at: Clock = "09:00"


class Turn(Document):
    """Somebody from a time until before another one; ISO 8601, without an offset in the schedule's zone."""

    person: Person
    since: str
    until: str


class WorkingHours(Document):
    """Hours of the days of a week, but for holidays. `to` may be 24:00."""

    days: Annotated[tuple[Day, ...], Meta(min_length=1, max_length=7)] = DAYS[:5]
    opens: Clock = msgspec.field(name="from", default="09:00")
    closes: ClosingClock = msgspec.field(name="to", default="17:00")
    holidays: Annotated[list[datetime.date], Meta(max_length=HOLIDAYS_MAX)] = []


class Schedule(Document):
    """Who is on call: the last of the overrides that cover a time, else of the shifts, else the rota's.

    Shifts are what a calendar was imported as; the next import replaces them. Without working hours all hours are.
    """

    zone: str
    rota: Rota | None = None
    overrides: Annotated[list[Turn], Meta(max_length=TURNS_MAX)] = []
    shifts: Annotated[list[Turn], Meta(max_length=TURNS_MAX)] = []
    working_hours: WorkingHours | None = None


def check(schedule: Schedule) -> None:
    """Refuse what has the form of a schedule and makes none. Raises InvalidInput with the path."""
    zone = zone_of(schedule.zone)
    for field, turns in (("overrides", schedule.overrides), ("shifts", schedule.shifts)):
        for index, turn in enumerate(turns):
            path = f"$.{field}[{index}]"
            if moment(turn.since, zone, f"{path}.since") >= moment(turn.until, zone, f"{path}.until"):
                raise misfit(f"{path}.until", "it ends before it begins", "Let `until` be after `since`.")
    hours = schedule.working_hours
    if hours is not None and _minutes(hours.closes) - _minutes(hours.opens) < WORKING_MINUTES_MIN:
        raise misfit(
            "$.working_hours.to",
            f"{hours.opens} to {hours.closes} is less than an hour",
            "Let `to` be at least an hour after `from`, on the same day; 24:00 is the end of it.",
        )


def on_call(schedule: Schedule, at_us: int) -> str | None:
    """The person on call at a time, or None where the schedule names nobody."""
    zone = zone_of(schedule.zone)
    for turns in (schedule.overrides, schedule.shifts):
        for turn in reversed(turns):
            if moment(turn.since, zone, "$.since") <= at_us < moment(turn.until, zone, "$.until"):
                return turn.person
    return _by_rota(schedule.rota, zone, at_us) if schedule.rota else None


def is_working_time(schedule: Schedule, at_us: int) -> bool:
    if schedule.working_hours is None:
        return True
    zone = zone_of(schedule.zone)
    opens, closes = _window(schedule.working_hours, local(at_us, zone).date(), zone)
    return opens <= at_us < closes


def working_deadline(schedule: Schedule, start_us: int, seconds: float) -> int:
    """The time at which so many seconds of working time have passed since the start."""
    left = round(seconds * SECOND)
    if schedule.working_hours is None:
        return start_us + left
    zone = zone_of(schedule.zone)
    day = local(start_us, zone).date()
    while True:
        opens, closes = _window(schedule.working_hours, day, zone)
        begins = max(opens, start_us)
        if begins < closes:
            if left <= closes - begins:
                return begins + left
            left -= closes - begins
        day += DAY


def _by_rota(rota: Rota, zone: ZoneInfo, at_us: int) -> str | None:
    day = local(at_us, zone).date()
    if at_us < _instant(day, rota.at, zone):  # before the hand-over it is still the turn of the day before
        day -= DAY
    if day < rota.first_day:
        return None
    to_hand_over = (DAYS.index(rota.hand_over) - rota.first_day.weekday() - 1) % 7 + 1
    handed_over = ((day - rota.first_day).days - to_hand_over) // 7 + 1
    return rota.people[handed_over % len(rota.people)]


def _window(hours: WorkingHours, day: datetime.date, zone: ZoneInfo) -> tuple[int, int]:
    """The working time of a day, [from, to); empty on a day off, and where the clocks jump over all of it."""
    opens = _instant(day, hours.opens, zone)
    # A zone that crosses the date line has no such day; its hours would be those of the next one.
    if DAYS[day.weekday()] not in hours.days or day in hours.holidays or local(opens, zone).date() != day:
        return opens, opens
    closes = _instant(day + DAY, "00:00", zone) if hours.closes == MIDNIGHT else _instant(day, hours.closes, zone)
    return opens, closes


def _instant(day: datetime.date, clock: str, zone: ZoneInfo) -> int:
    return microseconds(datetime.datetime.combine(day, datetime.time.fromisoformat(clock), tzinfo=zone))


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])
