"""What a person does with a question of the inbox. Each is one POST, then a look at what came of it."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import msgspec

from agentmemo import clock
from agentmemo.console.frame import Visit, segment
from agentmemo.console.words import actor_name, said
from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model.escalation_rules import is_simple_schema
from agentmemo.model.escalations import UNDECIDED, Escalation

FIELD = "field."  # before the name of a field of the response schema, so that it is none of the form's own
FIELDS_MAX = 20


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
        raise outrun(await inbox.get(found.id), error) from error
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


def outrun(found: Escalation, error: InvalidTransition) -> InvalidTransition:
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


def values_of(form: Any, found: Escalation, decision: str) -> Any:
    """What was filled in: the edited arguments, or the fields of the response schema."""
    if decision == "edit":
        return _json(form.get("arguments", ""), "The arguments")
    if decision not in ("answer", "choose") or found.response_schema is None:
        return None
    if not has_fields(found.response_schema):
        text = form.get("values", "")
        return _json(text, "The answer") if text.strip() else None
    given = fields_of(form, found.response_schema)
    if decision == "choose" and not given:
        return None
    missing = [name for name in required(found.response_schema) if name not in given]
    if missing:
        raise InvalidInput(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not filled in.",
            why="Whoever asked needs it.",
            next_call="Go back and fill it in.",
            details={"escalation": found.id},
        )
    return given


def has_fields(schema: dict[str, Any]) -> bool:
    """Whether the form can show the schema's fields; else the values are written as JSON."""
    return is_simple_schema(schema) and len(schema["properties"]) <= FIELDS_MAX


def required(schema: dict[str, Any]) -> list[str]:
    wanted = schema.get("required")
    return [name for name in wanted if name in schema["properties"]] if isinstance(wanted, list) else []


def fields_of(form: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """The fields that were filled in, each as the type it has. Raises InvalidInput naming the one that does not fit."""
    made: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        text = form.get(FIELD + name, "").strip()
        if text:
            made[name] = _typed(name, field, text)
    return made


def _typed(name: str, field: dict[str, Any], text: str) -> Any:
    if isinstance(field.get("enum"), list):
        for choice in field["enum"]:
            if shown(choice) == text:
                return choice
        raise InvalidInput(f"{text!r} is none of the choices for {name}.", next_call="Choose one of them.")
    kind = field["type"]
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind == "string":
        return text
    with contextlib.suppress(ValueError):
        number = int(text) if kind == "integer" else float(text)
        if math.isfinite(number):
            return number
    raise InvalidInput(f"{name} is {text!r}, which is no {kind}.", next_call=f"Go back and write a {kind}.")


def shown(choice: Any) -> str:
    """A choice of an enum as the form shows it."""
    return choice if isinstance(choice, str) else msgspec.json.encode(choice).decode()


def _json(text: str, what: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{what} must be JSON.", why=str(error), next_call="Go back and correct it.") from None
