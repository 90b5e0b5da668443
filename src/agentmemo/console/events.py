"""The trail: filtered, newest first, one event whole."""

from __future__ import annotations

from agentmemo import clock
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, sentence
from agentmemo.errors import InvalidInput

PAGE = 50
FIELDS = ("text", "actor", "type", "outcome", "run", "namespace", "since")
OUTCOMES = ("ok", "denied")


async def events(visit: Visit) -> Page:
    chosen = {field: visit.asked(field) for field in FIELDS}
    cursor = visit.asked("cursor")
    page = await visit.connection.audit.events(
        text=chosen["text"],
        actor=chosen["actor"],
        type=chosen["type"],
        outcome=chosen["outcome"],
        run=chosen["run"],
        namespace=chosen["namespace"],
        since=moment(chosen["since"]),
        newest_first=True,
        cursor=cursor,
        limit=PAGE,
    )
    found = list(page.items)
    filtered = any(chosen.values())
    data = {
        "headline": headline(len(found), more=page.cursor is not None, filtered=filtered, first=cursor is None),
        "events": found,
        "filter": chosen,
        "filtered": filtered,
        "outcomes": OUTCOMES,
        "older": page.cursor and {**chosen, "cursor": page.cursor},
        "cursor": page.cursor,
    }
    return Page(template="events.html", title="Events", section="Events", data=data)


async def event(visit: Visit) -> Page:
    found = await visit.connection.audit.get(visit.request.path_params["event"])
    return Page(template="event.html", title=found.operation, section="Events", data={"event": found})


def headline(number: int, *, more: bool, filtered: bool, first: bool) -> str:
    if not number:
        return "No event fits this filter." if filtered else "Nothing has happened here yet."
    if more or not first:
        return f"{sentence(count(number, 'event'))}, newest first."
    return sentence(count(number, "event")) + (" fits." if filtered and number == 1 else " fit." if filtered else ".")


def moment(text: str | None) -> int | None:
    """Microseconds of a UTC time as the form sends it. Raises InvalidInput."""
    if text is None:
        return None
    try:
        return clock.parse_iso(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a time.", next_call="Write it as 2026-11-23T14:00, in UTC.") from None
