"""Asking the person at the terminal what they decide."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from agentmemo.cli.output import flat
from agentmemo.errors import InvalidInput
from agentmemo.model.escalations import DECISIONS, NEGATIVE, Escalation
from agentmemo.model.notifications import is_guarded
from agentmemo.model.values import NOT_JSON

LEAVE = "q"
# What the letters of the menu stand for; `edit` where there is an action.
LETTERS = {"a": "approve", "e": "edit", "r": "reject", "t": "answer", "x": "abort"}
TEXTS = {
    "approve": "approve it as it is shown",
    "edit": "approve it with other arguments",
    "reject": "reject it, and say why",
    "answer": "answer it",
    "abort": "tell whoever asked to stop, and say why",
}
TRUTHS = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}
CONVERTERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": lambda line: TRUTHS.get(line.lower()),
}


class Reply(NamedTuple):
    """What a person decided; `seen` is the digest of what they were shown."""

    decision: str
    choice: str | None = None
    values: Any = None
    comment: str = ""
    seen: str | None = None


class Left(Exception):
    """The person goes without deciding."""


def is_terminal() -> bool:
    return sys.stdin.isatty()


def reply_of(found: Escalation, word: str) -> Reply:
    """A bare word that is no decision: an option's id, or its number on the page. Raises InvalidInput."""
    actions = found.suggested_actions
    named = [action.id for action in actions if action.id == word]
    numbered = [action.id for number, action in enumerate(actions, 1) if str(number) == word]
    meant = set(named + numbered)
    if len(meant) != 1:
        ids = ", ".join(action.id for action in actions)
        raise InvalidInput(
            f"{word!r} names two options of {found.id}." if meant else f"{word!r} is no decision and no option here.",
            next_call=f"Use {', '.join(DECISIONS)}" + (f", or --choice with one of {ids}." if ids else "."),
        )
    return Reply("choose", choice=meant.pop(), seen=found.digest)


def ask(found: Escalation) -> Reply | None:
    """Ask until there is an answer; None when the person leaves it as it is."""
    try:
        reply = _choose(found)
        _confirm(found, reply)
    except Left:
        return None
    return reply._replace(seen=found.digest)


def _choose(found: Escalation) -> Reply:
    letters = {letter: word for letter, word in LETTERS.items() if word != "edit" or found.action is not None}
    for number, action in enumerate(found.suggested_actions, 1):
        _say(f"  {number}  {flat(action.label)}")
    for letter, word in letters.items():
        _say(f"  {letter}  {TEXTS[word]}")
    _say(f"  {LEAVE}  leave it")
    while True:
        word = _line("Your answer: ")
        if word == LEAVE:
            raise Left
        if word in letters or word in letters.values():
            return _details(found, letters.get(word, word))
        try:
            return reply_of(found, word)
        except InvalidInput as error:
            _say(error.message)


def _details(found: Escalation, decision: str) -> Reply:
    """What belongs to a decision."""
    if decision == "edit":
        return Reply(decision, values=_json_line("The arguments as JSON: "))
    if decision == "answer" and found.response_schema is not None:
        return Reply(decision, values=_form(found.response_schema))
    if decision in NEGATIVE:
        return Reply(decision, comment=_needed("Why: "))
    if decision == "answer":
        return Reply(decision, comment=_needed("Your words: "))
    return Reply(decision)


def _confirm(found: Escalation, reply: Reply) -> None:
    """What is grave takes two keys, so that a slip decides nothing."""
    if reply.decision in NEGATIVE or not is_guarded(found.severity, irreversible=found.irreversible):
        return
    word = reply.choice or reply.decision
    if _line(f"Type {flat(word)} to confirm: ") != word:
        _say("Not confirmed; nothing was decided.")
        raise Left


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    """The fields one after the other; an empty line leaves out what is not required."""
    values = {}
    for name, field in schema["properties"].items():
        required = name in schema.get("required", [])
        hints = [field["type"], *(["required"] if required else []), *map(str, field.get("enum", []))]
        while True:
            line = _line(f"{flat(name)} ({', '.join(map(flat, hints))}): ")
            if not line and not required:
                break
            value = _converted(line, field["type"]) if line else None
            if value is not None:
                values[name] = value
                break
            _say(f"That is no {field['type']}.")
    return values


def _converted(line: str, kind: str) -> Any:
    """The line as a value of a type; None where it is none."""
    try:
        return CONVERTERS[kind](line)
    except ValueError:
        return None


def _json_line(prompt: str) -> Any:
    while True:
        try:
            return msgspec.json.decode(_needed(prompt))
        except NOT_JSON as error:
            _say(f"That is not JSON: {error}.")


def _needed(prompt: str) -> str:
    while not (line := _line(prompt)):
        pass
    return line


def _line(prompt: str) -> str:
    """One line from the terminal; its end is the person leaving."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise Left
    return line.strip()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
