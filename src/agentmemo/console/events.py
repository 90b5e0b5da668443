"""The trail: filtered, newest first, one event whole."""

from __future__ import annotations

import contextlib

from agentmemo import clock
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, run_title, sentence
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.model.audit import Event

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
        "names": await run_names(visit, found),
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


async def run_names(visit: Visit, events: list[Event]) -> dict[str, str]:
    """What the runs of these events are called, as far as the person may know."""
    if not visit.may("runs:read"):
        return {}
    names: dict[str, str] = {}
    for handle in {event.run for event in events if event.run}:
        with contextlib.suppress(NotFound):
            names[handle] = run_title(await visit.connection.runs.get(handle))
    return names


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
