"""One question: what will happen, why a person, what they may say, who waits, and what was done so far."""

from __future__ import annotations

import contextlib
from typing import Any

from agentmemo.clock import SECOND
from agentmemo.console import timeline
from agentmemo.console.fields import fields_of
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, escalation_look, said, then
from agentmemo.errors import NotFound
from agentmemo.model.audit import Event
from agentmemo.model.escalation_rules import is_excluded, warning_at
from agentmemo.model.escalations import FAILED, NEGATIVE, READY, UNDECIDED, WAITING, Answer, Escalation, Vote, Waiter
from agentmemo.model.runs import Run

EVENTS = 200
PEOPLE = 100
SNOOZE_PERCENT = 80
HOUR = 3600 * SECOND
SNOOZES = (("in one hour", HOUR), ("in four hours", 4 * HOUR), ("in one day", 24 * HOUR))


async def escalation(visit: Visit) -> Page:
    found = await visit.connection.inbox.get(visit.request.path_params["escalation"])
    events = await trail(visit, found.id)
    undecided = found.state in UNDECIDED
    you = f"person:{visit.identity.actor}"
    excluded = is_excluded(you, found.needs, found.on_behalf_of)
    may = visit.may("escalations:answer")
    data = {
        "escalation": found,
        "look": escalation_look(found),
        "then": then(found),
        "undecided": undecided,
        "may_answer": may,
        "excluded": excluded,
        "options": options(found) if undecided and may and not excluded else [],
        "fields": fields_of(found.response_schema or {}),
        "yours": found.holder == you,
        "votes": [vote_row(found, vote) for vote in found.votes],
        "votes_text": votes_text(found, you),
        "snoozes": snoozes(found, visit.now),
        "people": await people(visit) if undecided and may else [],
        "outcome": outcome(found),
        "run": await run_of(visit, found.run),
        "waiters": [await waiter_row(visit, waiter) for waiter in found.waiters],
        "failed": sum(waiter.state == FAILED for waiter in found.waiters),
        "moments": timeline.moments(found, events),
        "coming": timeline.coming(found),
        "readable": events is not None,
        "newest": events[0].revision if events else 0,
        "live": bool(events) and (undecided or found.undelivered > 0),
    }
    return Page(template="escalation.html", title=found.reason, section="Inbox", data=data)


async def trail(visit: Visit, handle: str) -> list[Event] | None:
    """What was done to it, newest first; None when the person may not read it."""
    if not visit.may("audit:read"):
        return None
    return list((await visit.connection.audit.events(run=handle, newest_first=True, limit=EVENTS)).items)


def options(found: Escalation) -> list[dict[str, Any]]:
    """What a person may say, in the order of the form; `key` is the single key that chooses it."""
    made = [
        option(
            f"choose:{action.id}",
            action.label,
            action.effect,
            str(number),
            reversible=action.reversible,
            cost=action.cost,
        )
        for number, action in enumerate(found.suggested_actions, 1)
    ]
    if found.action is not None:
        made.append(option("approve", "Approve", "It runs exactly as shown.", "a", reversible=found.action.reversible))
        made.append(option("edit", "Approve with changes", "With other arguments, see below.", "e"))
    elif found.kind in ("approval", "risk") or not (found.suggested_actions or found.response_schema):
        made.append(option("approve", "Approve", "Whoever asked goes ahead.", "a"))
    if found.response_schema is not None or found.action is None:
        how = "What you fill in below goes back." if found.response_schema else "Your comment goes back as the answer."
        made.append(option("answer", "Answer", how))
    made.append(option("reject", "Reject", "Your reason goes back as a refusal.", "r"))
    made.append(option("abort", "Stop the work", "Your reason goes back; the work ends."))
    return made


def option(
    value: str, label: str, effect: str, key: str = "", *, reversible: bool | None = None, cost: str = ""
) -> dict[str, Any]:
    """`undo` says what is known; of what changes nothing by itself it says nothing."""
    undo = {True: "Reversible.", False: "Cannot be undone."}.get(reversible) if reversible is not None else ""
    if reversible is None and value.partition(":")[0] in ("choose", "approve"):
        undo = "Not said whether it can be undone."
    needs_reason = value in NEGATIVE
    return {
        "value": value, "label": label, "effect": effect, "key": key, "undo": undo, "cost": cost,
        "needs_reason": needs_reason,
    }  # fmt: skip


def vote_row(found: Escalation, vote: Vote) -> dict[str, Any]:
    return {
        "person": vote.person,
        "said": said(found, vote.decision, vote.choice),
        "comment": vote.comment,
        "at": vote.at,
        "via": vote.via,
    }


def votes_text(found: Escalation, you: str) -> str:
    """How many must agree, and how far that is."""
    needed = found.needs.count
    if needed <= 1 or found.state not in UNDECIDED:
        return ""
    rule = "one refusal ends it" if found.needs.deny == "any" else "a majority refuses"
    text = f"{count(needed, 'person', 'persons')} must say the same; {rule}. So far: {len(found.votes)}."
    if any(vote.person == you for vote in found.votes):
        text += " You have said yours; another answer takes its place."
    return text[0].upper() + text[1:]


def snoozes(found: Escalation, now: int) -> list[dict[str, Any]]:
    """Until when it can be put off; never into the last part of its time, which is for answering."""
    latest = warning_at(found.created_at, found.deadline, SNOOZE_PERCENT)
    if found.state not in UNDECIDED or latest <= now:
        return []
    made = [{"until": now + after, "label": label} for label, after in SNOOZES if now + after < latest]
    return [*made, {"until": latest, "label": f"as long as it can be, {SNOOZE_PERCENT} % of its time"}]


async def people(visit: Visit) -> list[str]:
    """Whom it can be handed to, as far as the person may know."""
    if not visit.may("access:read"):
        return []
    actors = await visit.connection.keys.actors()
    return [each.name for each in actors.items if each.kind == "person"][:PEOPLE]


def outcome(found: Escalation) -> dict[str, Any] | None:
    """What was decided, by whom; None while nothing is."""
    if found.state in UNDECIDED:
        return None
    given = found.answer or Answer(decision=found.state, at=found.ended_at or 0)
    return {
        "said": said(found, given.decision, given.choice),
        "by": given.by,
        "at": given.at,
        "comment": given.comment,
        "defaulted": given.defaulted,
        "values": given.values,
        "scope": given.scope,
        "execute_by": given.execute_by,
    }


async def run_of(visit: Visit, handle: str | None) -> Run | None:
    """The run that asks, as far as the person may know."""
    if handle is None or not visit.may("runs:read"):
        return None
    with contextlib.suppress(NotFound):
        return await visit.connection.runs.get(handle)
    return None


async def waiter_row(visit: Visit, waiter: Waiter) -> dict[str, Any]:
    run = await run_of(visit, waiter.run)
    return {
        "asker": waiter.asker,
        "run": waiter.run,
        "title": f"{run.name}, {run.key}" if run and run.key else run.name if run else None,
        "step": waiter.step,
        "state": waiter.state,
        "look": delivery_look(waiter),
        "attempts": waiter.attempts,
        "error": waiter.error,
        "since": waiter.updated_at,
    }


def delivery_look(waiter: Waiter) -> str:
    """Which of STATES shows how far the answer has got to one who waits."""
    if waiter.state == READY and waiter.run is None:
        return "unread"
    return {WAITING: "unanswered", FAILED: "unresumed"}.get(waiter.state, waiter.state)
