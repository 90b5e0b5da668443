"""Calendars as turns on call: RFC 5545, as calendar programs export it. Its libraries are imported when one is read."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from agentmemo.clock import SECOND, iso
from agentmemo.errors import InvalidInput, LimitExceeded, Unavailable
from agentmemo.model.access import ACTOR
from agentmemo.model.documents import local, microseconds, zone_of
from agentmemo.model.schedules import TURNS_MAX, Turn

DAYS_MAX = 5 * 366
DAY_US = 86_400 * SECOND
CANCELLED = "CANCELLED"
# What the libraries raise where a calendar is not what they expect: a property twice, a zone whose name is no file's.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError, RecursionError)
# How long ago a recurring event may have begun.
YEARS_MAX = 50
FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")


def turns_of(content: bytes | str, zone: str, since: int, days: float, names: Mapping[str, str]) -> list[Turn]:
    """The events of a calendar from a time on for so many days, in order; the summary of each names the person.

    `names` translates summaries to persons. All-day events and times without a zone are local to `zone`. Raises
    InvalidInput for what is no calendar, or names nobody.
    """
    if not 0 < days <= DAYS_MAX:
        raise InvalidInput(
            f"A calendar is imported for up to {DAYS_MAX} days, not {days}.",
            next_call="Leave the days out for half a year.",
        )
    place, until = zone_of(zone), since + round(days * DAY_US)
    found = []
    for event in _events(content, *_window(since, until, place)):
        begins, ends = _at(event.start, place), _at(event.end, place)
        if begins < ends and str(event.get("STATUS", "")).upper() != CANCELLED:
            found.append((begins, ends, _person(str(event.get("SUMMARY", "")).strip(), names)))
    if len(found) > TURNS_MAX:
        raise LimitExceeded(
            f"The calendar has {len(found)} events until {iso(until)}; {TURNS_MAX} is the most.",
            next_call="Import fewer days.",
        )
    return [
        Turn(person=person, since=local(begins, place).isoformat(), until=local(ends, place).isoformat())
        for begins, ends, person in sorted(found)
    ]


def zone_in(content: bytes | str) -> str | None:
    """The zone that a calendar says it is in, if it does."""
    said = _calendar(content).get("X-WR-TIMEZONE")
    return None if said is None else str(said)


def _events(content: bytes | str, since: datetime.datetime, until: datetime.datetime) -> list[Any]:
    """Every event between two times, with what recurs and what was moved carried out."""
    calendar = _calendar(content)
    import recurring_ical_events

    try:
        _check_rules(calendar, since)
        found: list[Any] = recurring_ical_events.of(calendar, components=["VEVENT"]).between(since, until)
    except UNREADABLE as error:
        raise _no_calendar(error) from None
    return found


def _check_rules(calendar: Any, since: datetime.datetime) -> None:
    """Nobody is on call by the hour for half a year; a rule by the second would fill the memory."""
    for event in calendar.walk("VEVENT"):
        rules = event.get("RRULE", [])
        rules = rules if isinstance(rules, list) else [rules]
        for rule in rules:
            for frequency in rule.get("FREQ", []):
                if str(frequency).upper() not in FREQUENCIES:
                    raise _refused(event, str(frequency)[:64], f"Let it recur {', '.join(FREQUENCIES)}.")
            if any(int(interval) < 1 for interval in rule.get("INTERVAL", [])):
                # The library would look for the next occurrence for ever.
                raise _refused(event, "without going on", "Let its INTERVAL be 1 or more, or leave it out.")
        if rules and event.start.year < since.year - YEARS_MAX:
            # It would count every occurrence since then.
            raise _refused(event, f"since {event.start.year}", f"Let it begin in the last {YEARS_MAX} years.")


def _refused(event: Any, how: str, next_call: str) -> InvalidInput:
    return InvalidInput(f"The event {str(event.get('SUMMARY', ''))[:64]!r} recurs {how}.", next_call=next_call)


def _window(since: int, until: int, zone: datetime.tzinfo) -> tuple[datetime.datetime, datetime.datetime]:
    try:
        return local(since, zone), local(until, zone)
    except OverflowError:
        raise InvalidInput(
            f"{since} is not a time in microseconds.", next_call="Leave `since` out to begin now."
        ) from None


def _calendar(content: bytes | str) -> Any:
    try:
        import icalendar
        import recurring_ical_events  # noqa: F401 - both or neither
    except ImportError as error:
        raise Unavailable(
            f"A calendar cannot be read here: {error.name} is not installed.",
            why="The libraries for iCal are an extra.",
            next_call="Install it: pip install 'agentmemo[schedules]'.",
            retry_safe=False,
        ) from error
    try:
        return icalendar.Calendar.from_ical(content)
    except UNREADABLE as error:
        raise _no_calendar(error) from None


def _no_calendar(error: Exception) -> InvalidInput:
    return InvalidInput(
        f"This is not a calendar that can be read: {error}.",
        next_call="Send the .ics that your calendar program exports (RFC 5545).",
    )


def _at(when: datetime.datetime | datetime.date, zone: datetime.tzinfo) -> int:
    if not isinstance(when, datetime.datetime):
        when = datetime.datetime.combine(when, datetime.time())
    return microseconds(when if when.tzinfo else when.replace(tzinfo=zone))


def _person(summary: str, names: Mapping[str, str]) -> str:
    person = names.get(summary, summary)
    if not ACTOR.fullmatch(person):
        raise InvalidInput(
            f"The event {summary[:64]!r} names no person.",
            why="The summary of each event is the name of who is on call.",
            next_call="Say whom it means: names={'Ana Lopez': 'ana'}, on the command line --known-as 'Ana Lopez=ana'.",
            details={"summary": summary[:64]},
        )
    return person
