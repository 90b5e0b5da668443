"""The trail: filtered, newest first, one event whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from agentmemo import clock
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, handoff_title, is_escalation, is_handoff, run_title, sentence
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.model.audit import OUTCOMES, Event
from agentmemo.model.handoffs import RUN_NAME
from agentmemo.model.runs import Run

PAGE = 50
FIELDS = ("text", "actor", "type", "outcome", "run", "namespace", "since")


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
        "names": await names_of(visit, found),
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


async def names_of(visit: Visit, events: list[Event]) -> dict[str, str]:
    """What the runs, handoffs and questions of these events are called, as far as the person may know."""
    names: dict[str, str] = {}
    about = {event.subject.get("id", "") for event in events if event.subject.get("kind") in ("handoff", "escalation")}
    for handle in ({event.run or "" for event in events} | about) - {""}:
        with contextlib.suppress(NotFound):
            if is_handoff(handle) and visit.may("handoffs:read"):
                names[handle] = handoff_title(await visit.connection.handoff.get(handle))
            elif is_escalation(handle):
                if visit.may("escalations:read"):
                    names[handle] = (await visit.connection.inbox.get(handle)).reason
            elif not is_handoff(handle) and visit.may("runs:read"):
                run = await visit.connection.runs.get(handle)
                names[handle] = (await names_of_work(visit, [run])).get(handle) or run_title(run)
    return names


async def names_of_work(visit: Visit, runs: Iterable[Run]) -> dict[str, str]:
    """Runs that work on a handoff, by what that is called: their own name and key say nothing to a person."""
    names: dict[str, str] = {}
    for run in runs:
        if run.name == RUN_NAME and run.key and visit.may("handoffs:read"):
            with contextlib.suppress(NotFound):
                names[run.id] = handoff_title(await visit.connection.handoff.get(run.key))
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
