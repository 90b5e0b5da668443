"""One handoff: what was handed over, who has it, what was tried, what is next, and what else came of it."""

from __future__ import annotations

import contextlib
from typing import Any

from agentmemo import clock
from agentmemo.console.frame import Page, Visit
from agentmemo.console.ladder import drawing, rungs, said
from agentmemo.console.words import between, handoff_look, handoff_title, is_told, receiver, trust_of
from agentmemo.errors import NotFound
from agentmemo.model.audit import Event
from agentmemo.model.handoffs import (
    CANCELLED,
    CLAIMED,
    COMPLETED,
    DEAD,
    DECLINED,
    ENDED,
    EXPIRED,
    FAILED,
    KEPT,
    PENDING,
    SUBMITTED,
    Handoff,
)
from agentmemo.model.runs import Run
from agentmemo.model.webhooks import Delivery

EVENTS = 20
TURNS = 200
MOMENTS = 30
FAMILY = 100
DELIVERIES = 100
# operation -> (icon, what it says; {who} did it and {to} is who it is for from then on)
TOLD: dict[str, tuple[str, str]] = {
    "handoff.create": ("out", "{who} handed it to {to}"),
    "handoff.offer": ("pending", "It was offered"),
    "handoff.readdress": ("out", "{to} was asked instead"),
    "handoff.pass": ("declined", "{who} declined it; others are still asked"),
    "handoff.escalate": ("high", "People were told that nobody came"),
    "handoff.claim": ("running", "{who} claimed it"),
    "handoff.park": ("waiting", "Its run waits"),
    "handoff.wake": ("replay", "Its run may go on"),
    "handoff.release": ("replay", "It came back from its holder"),
    "handoff.overdue": ("high", "People were told that it is late"),
    "handoff.stall": ("high", "People were told that its holder is silent"),
    "handoff.submit": ("submitted", "{who} handed in a result"),
    "handoff.accept": ("completed", "Its verifier accepted the result"),
    "handoff.reject": ("failed", "Its verifier rejected the result"),
    "handoff.complete": ("completed", "{who} completed it"),
    "handoff.decline": ("declined", "{who} declined it"),
    "handoff.fail": ("failed", "{who} ended it for good"),
    "handoff.bury": ("dead", "It is offered to nobody any more"),
    "handoff.expire": ("expired", "Its time has passed"),
    "handoff.cancel": ("low", "{who} cancelled it"),
    "handoff.requeue": ("replay", "{who} offered it to {to} again"),
    "handoff.receive": ("completed", "{who} received what came of it"),
    "handoff.prune": ("low", "What was handed over was removed"),
}
PLANE = "service:agentmemo"
# What the plane says by itself, in words of its own only.
PLAIN = frozenset({"handoff.escalate", "handoff.overdue", "handoff.stall", "handoff.expire"})


async def handoff(visit: Visit) -> Page:
    found = await visit.connection.handoff.get(visit.request.path_params["handoff"])
    turns, events = await trail(visit, found.id)
    family, more = await lineage(visit, found)
    ladder = rungs(found, turns, await told_by_webhook(visit, found.id))
    verification = next((each for each in reversed(family) if each.verifies == found.id), None)
    data = {
        "handoff": found,
        "to": found.to,
        "look": handoff_look(found),
        "why": why(found, verification),
        "next": coming(found),
        "said": last_words(found, turns),
        "told": is_told(found),
        "moments": [moment(event) for event in reversed(turns) if event.operation in TOLD][-MOMENTS:],
        "tree": tree(family, found.id),
        "family": len(family),
        "more_family": more,
        "verification": verification.id if verification else None,
        "run": await run_of(visit, found),
        "ladder": ladder,
        "ladder_said": said(found, ladder),
        "ladder_drawn": drawing(ladder, visit.now),
        "events": events,
        "newest": events[0].revision if events else 0,
        "pruned": any(event.operation == "handoff.prune" for event in turns),
        "ended": found.state in ENDED,
        "kept": found.state in KEPT,
        "may_write": visit.may("handoffs:write"),
        "live": bool(events) and found.state not in ENDED,
    }
    return Page(template="handoff.html", title=handoff_title(found), section="Handoffs", data=data)


async def trail(visit: Visit, handle: str) -> tuple[list[Event], list[Event] | None]:
    """What was done to the handoff and its newest events, newest first; None when the person may not read them."""
    if not visit.may("audit:read"):
        return [], None
    audit = visit.connection.audit
    turns = await audit.events(run=handle, type="handoff.*", newest_first=True, limit=TURNS)
    events = await audit.events(run=handle, newest_first=True, limit=EVENTS)
    return list(turns.items), list(events.items)


async def told_by_webhook(visit: Visit, handle: str) -> list[Delivery]:
    return list((await visit.connection.webhooks.deliveries(subject=handle, limit=DELIVERIES)).items)


async def lineage(visit: Visit, found: Handoff) -> tuple[list[Handoff], bool]:
    """Its family, oldest first, and whether it is larger. The way from the first one down to this is always in it."""
    reading = visit.connection.handoff
    page = await reading.lineage(found.id)
    family = list(page.items)
    known = {each.id for each in family}
    late: list[Handoff] = []
    above: Handoff | None = found
    while above is not None and above.id not in known:
        late.append(above)
        parent, above = above.parent, None
        with contextlib.suppress(NotFound):
            above = await reading.get(parent) if parent and parent not in known else None
    return [*family, *reversed(late)], page.cursor is not None


def tree(family: list[Handoff], here: str) -> list[dict[str, Any]]:
    """The family as nested branches; what has no parent here begins one."""
    made: dict[str, dict[str, Any]] = {
        each.id: {
            "id": each.id,
            "title": handoff_title(each),
            "look": handoff_look(each),
            "from_agent": each.from_agent,
            "to": each.to,
            "holder": each.holder,
            "attempt": each.attempt,
            "max_attempts": each.max_attempts,
            "verifies": each.verifies,
            "created_at": each.created_at,
            "ended_at": each.ended_at,
            "here": each.id == here,
            "branches": [],
        }
        for each in family
    }
    top: list[dict[str, Any]] = []
    for each in family:
        above = made.get(each.parent or "")
        (top if above is None else above["branches"]).append(made[each.id])
    return top


async def run_of(visit: Visit, found: Handoff) -> Run | None:
    """The run that works on it, as far as the person may know."""
    if found.run is None or not visit.may("runs:read"):
        return None
    with contextlib.suppress(NotFound):
        return await visit.connection.runs.get(found.run)
    return None


def why(found: Handoff, verification: Handoff | None) -> str:
    """Where it stands and since when, in a sentence of the plane; times in it are ISO."""
    to, holder = receiver(found.to), receiver(found.holder or "somebody")
    told = f" People were told at {clock.iso(found.escalated_at)}." if is_told(found) and found.escalated_at else ""
    if found.state == PENDING and found.wake == "time":
        text = f"It is for {to}, and is offered from {clock.iso(found.available_at)} on."
    elif found.state == PENDING:
        text = f"It is offered since {clock.iso(found.available_at)}, now to {to}, and nobody has claimed it."
    elif found.state == CLAIMED:
        rest = "; its run waits, and holds nothing meanwhile" if found.wake == "run" else ""
        text = f"It is held by {holder} since {clock.iso(found.claimed_at or found.updated_at)}{rest}."
    elif found.state == SUBMITTED:
        judge = receiver(verification.holder or verification.to) if verification else "its verifier"
        text = f"Its result, by {holder}, waits for {judge}, who says whether it is what was asked for."
    else:
        text = ending(found, holder)
    return text + told


def ending(found: Handoff, holder: str) -> str:
    at = found.ended_at or found.updated_at
    took = between(found.created_at, at)
    heard = f"Its sender has {'received' if found.received_at else 'not yet received'}"
    texts = {
        COMPLETED: f"It was completed by {holder} at {clock.iso(at)}, after {took}. {heard} the result.",
        DECLINED: f"It was declined at {clock.iso(at)}, and nobody else is left to ask. {heard} word of it.",
        FAILED: f"It was ended for good by {holder} at {clock.iso(at)}. {heard} word of it.",
        DEAD: f"It is offered to nobody any more since {clock.iso(at)}, and kept. {heard} word of it.",
        EXPIRED: f"Nobody completed it until {clock.iso(found.complete_by or at)}. {heard} word of it.",
        CANCELLED: f"It was cancelled at {clock.iso(at)}, after {took}.",
    }
    return texts.get(found.state, f"It is {found.state} since {clock.iso(at)}.")


def coming(found: Handoff) -> dict[str, Any]:
    """What happens next by itself, and when; `at` is None where it is not time that moves it."""
    at = found.due_at
    if at is not None and at == found.complete_by:
        what = "if not completed, it " + (
            "expires" if found.state == PENDING else "counts as late, and people are told"
        )
    elif found.state == PENDING and found.wake == "time":
        what = f"it is offered to {receiver(found.to)}"
    elif found.state == PENDING and at is not None:
        what = "if unclaimed, the next on its ladder is asked, or people are told"
    elif found.state == PENDING:
        what = "only a claim moves it, as its ladder is at its end"
    elif at is not None:
        what = "without progress it counts as silent, and people are told"
    elif found.state == CLAIMED:
        what = "its run goes on" if found.wake == "run" else "its holder ends it, or is gone and it is offered again"
    elif found.state == SUBMITTED:
        what = "its verifier answers"
    elif found.state in KEPT:
        what = "nothing by itself; a person can offer it again"
    elif found.state == COMPLETED and found.received_at is None:
        what = f"{receiver(found.from_agent)} looks at the result"
    else:
        what = ""
    return {"at": at, "what": what}


def last_words(found: Handoff, turns: list[Event]) -> dict[str, str] | None:
    """The reason it is where it is, with whoever gave it; a longer one is kept whole in its event."""
    held = found.state in (CLAIMED, SUBMITTED)
    if not found.reason or (held and not is_told(found)):
        return None  # who holds it now came after the reason, which stands among the attempts
    by = next((event for event in turns if event.reason and event.reason.startswith(found.reason)), None)
    author = by.actor if by else found.holder or found.from_agent
    plain = by is not None and by.actor == PLANE and by.operation in PLAIN
    return {"text": found.reason, "author": author, "trust": "verified" if plain else trust_of(author)}


def moment(event: Event) -> dict[str, Any]:
    icon, text = TOLD[event.operation]
    what = text.format(who=receiver(event.actor), to=receiver(event.subject.get("to", "somebody")))
    return {"id": event.id, "at": event.at, "icon": icon, "what": what, "reason": event.reason}
