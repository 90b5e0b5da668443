"""What rules made of people's answers decided by themselves, a sample of it, and the button that says no."""

from __future__ import annotations

from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, sentence
from agentmemo.errors import InvalidInput

PAGE = 50


async def reviews(visit: Visit) -> Page:
    page = await visit.connection.guards.reviews(cursor=visit.asked("cursor"), limit=PAGE)
    found = list(page.items)
    shown = count(len(found), "decision of a rule", "decisions of rules")
    data = {
        "headline": f"{sentence(shown)} to look at."
        if found
        else "No rule has decided anything that is to be looked at.",
        "reviews": found,
        "may_object": visit.may("policies:write"),
        "older": page.cursor and {"cursor": page.cursor},
    }
    return Page(template="reviews.html", title="Decisions of rules", section="Inbox", data=data)


async def object_(visit: Visit) -> str:
    """One click: the rule rests. Raises InvalidInput for what no page has sent."""
    revision = visit.form.get("revision", "")
    if not revision.isdigit():
        raise InvalidInput("No decision was named.", next_call="Use the button beside it.")
    await visit.connection.guards.object(int(revision))
    return "/reviews"
