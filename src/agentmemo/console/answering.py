"""What a person does with a question of the inbox. Each is one POST, then a look at what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from agentmemo import clock
from agentmemo.console.fields import values_in
from agentmemo.console.frame import Visit, segment
from agentmemo.console.words import actor_name, said
from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model.escalations import UNDECIDED, Escalation
from agentmemo.model.values import NOT_JSON


async def answer(visit: Visit) -> str:
    """Decide, as the question was shown. Raises InvalidTransition, saying who was faster, when and with what."""
    form, inbox = visit.form, visit.connection.inbox
    found = await inbox.get(_asked(visit))
    decision, _, choice = form.get("act", "").partition(":")
    if not decision:
        raise InvalidInput(
            "No answer was chosen.",
            next_call="Go back, choose one of the answers, then send.",
            details={"escalation": found.id},
        )
    try:
        await inbox.answer(
            found.id,
            decision,
            choice=choice or None,
            values=values_of(form, found, decision) if found.state in UNDECIDED else None,
            comment=form.get("comment", "").strip(),
            scope=form.get("scope") or "once",
            seen=form.get("seen") or None,
        )
    except InvalidTransition as error:
        raise outrun(await inbox.get(found.id)) from error
    return _page(found.id)


async def acknowledge(visit: Visit) -> str:
    return _page((await visit.connection.inbox.acknowledge(_asked(visit))).id)


async def release(visit: Visit) -> str:
    found = await visit.connection.inbox.release(_asked(visit), comment=visit.form.get("comment", "").strip())
    return _page(found.id)


async def delegate(visit: Visit) -> str:
    to = visit.form.get("to", "").strip()
    if not to:
        raise InvalidInput("A question is handed to somebody.", next_call="Name the person.")
    found = await visit.connection.inbox.delegate(_asked(visit), to, comment=visit.form.get("comment", "").strip())
    return _page(found.id)


async def snooze(visit: Visit) -> str:
    until = visit.form.get("until", "")
    if not until.isascii() or not until.isdigit():
        raise InvalidInput("No time was chosen.", next_call="Choose until when it is put off.")
    return _page((await visit.connection.inbox.snooze(_asked(visit), int(until))).id)


async def extend(visit: Visit) -> str:
    found = await visit.connection.inbox.extend(_asked(visit), comment=visit.form.get("comment", "").strip())
    return _page(found.id)


async def comment(visit: Visit) -> str:
    return _page((await visit.connection.inbox.comment(_asked(visit), visit.form.get("text", "").strip())).id)


async def retry(visit: Visit) -> str:
    """Deliver the stored answer again; from the list back to the list."""
    found = await visit.connection.escalations.retry(_asked(visit))
    return "/inbox" if visit.form.get("from") == "inbox" else _page(found.id)


def _asked(visit: Visit) -> str:
    handle: str = visit.request.path_params["escalation"]
    return handle


def _page(handle: str) -> str:
    return f"/inbox/{segment(handle)}"


def outrun(found: Escalation) -> InvalidTransition:
    """Why an answer comes too late, in the words that the winner's answer was offered with."""
    details = {"escalation": found.id, "state": found.state}
    if found.state in UNDECIDED:
        return InvalidTransition(
            "The question is not what you were shown.",
            why="Your answer was for what it was when you loaded the page.",
            next_call="Look at the question again.",
            details=details,
        )
    at = clock.iso(found.ended_at or found.updated_at)
    given = found.answer
    if given is None:
        message = f"The question was {found.state} at {at}: nobody waits for an answer any more."
    elif given.defaulted:
        message = f"Its time was over at {at}: {said(found, given.decision, given.choice)}."
    else:
        message = f"{actor_name(given.by)} answered before you, at {at}: {said(found, given.decision, given.choice)}."
    return InvalidTransition(message, why="A decision is final.", next_call="Look at what came of it.", details=details)


def values_of(form: Mapping[str, str], found: Escalation, decision: str) -> Any:
    """What was filled in: the edited arguments, or the fields of the response schema."""
    if decision == "edit":
        return _json(form.get("arguments", ""))
    if decision != "answer" or found.response_schema is None:
        return None
    return values_in(form, found.response_schema)


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except NOT_JSON as error:
        raise InvalidInput("The arguments are no JSON.", why=str(error), next_call="Go back and correct it.") from None
