"""The list of runs."""

from __future__ import annotations

from agentmemo.console.events import names_of_work
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, sentence
from agentmemo.model.runs import CANCELLED, COMPLETED, FAILED, PENDING, RUNNING, WAITING, Run, check_choice

STATES = ("unfinished", RUNNING, WAITING, PENDING, COMPLETED, FAILED, CANCELLED)
PAGE = 50


async def runs(visit: Visit) -> Page:
    state, name, agent, cursor = (visit.asked(field) for field in ("state", "name", "agent", "cursor"))
    if state is not None:
        check_choice(state, STATES, "state")
    page = await visit.connection.runs.list(state=state, name=name, agent=agent, cursor=cursor, limit=PAGE)
    found = list(page.items)
    filtered = bool(state or name or agent or cursor)
    chosen = {"state": state, "name": name, "agent": agent}
    data = {
        "headline": headline(found, state, more=page.cursor is not None, filtered=filtered),
        "runs": found,
        "work": await names_of_work(visit, found),
        "filter": chosen,
        "filtered": filtered,
        "choices": STATES,
        "older": page.cursor and {**chosen, "cursor": page.cursor},
        "cursor": page.cursor,
    }
    return Page(template="runs.html", title="Runs", section="Runs", data=data)


def headline(found: list[Run], state: str | None, *, more: bool, filtered: bool) -> str:
    """What the list says, with its number; a page of a longer list says so."""
    if not found:
        return "No run fits this filter." if filtered else "Nothing has run here yet."
    kind = f"{state} run" if state else "run"
    if more:
        return f"The {len(found)} newest {kind}s of this list."
    return sentence(count(len(found), kind)) + "."
