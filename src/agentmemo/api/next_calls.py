"""The calls that an error's `next_call` names, in the words of each door.

Texts say a call as Python does, `agent.state.list('team/plan')`, with names where a value is not known. Whoever
answers through another door puts its words in their place, made from the table of operations.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from agentmemo.api.openapi import PREFIX
from agentmemo.api.operation import Operation
from agentmemo.api.operations import OPERATIONS

UNKNOWN = "..."
_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_CALL = re.compile(rf"""\bagent\.([a-z_.]+)\(((?:{_TEXT}|[^()'"])*)\)""")
# The parts of a connection that are not called as their noun, and the methods that are not called as their operation.
_PARTS = {
    "actor": "keys",
    "escalation": "escalations",
    "guard": "guards",
    "key": "keys",
    "policy": "policies",
    "run": "runs",
    "webhook": "webhooks",
    "workflow": "workflows",
}
_METHODS = {
    "actor.list": "keys.actors",
    "escalation.create": "escalate",
    "handoff.pending": "handoff.list_pending",
    "run.start": "run",
    "state.get": "state.entry",
    "step.list": "runs.steps",
    "task.schedules": "runs.schedules",
    "workflow.move": "workflows.promote",
    "workflow.open_trial": "workflows.trial",
    "workflow.trial": "workflows.get_trial",
}


class Argument(NamedTuple):
    """`name` is the request's field, or what the text calls it; a `value` that is not known is UNKNOWN."""

    name: str
    value: Any
    by_name: bool = False


Words = Callable[[Operation, list[Argument]], str | None]


def worded(text: str, words: Words) -> str:
    """The text with each call in a door's own words; what it has no words for stays as it is."""

    def put(found: re.Match[str]) -> str:
        operation = _by_method().get(found[1])
        arguments = _arguments(operation, found[2]) if operation else None
        return (words(operation, arguments) if operation and arguments is not None else None) or found[0]

    return _CALL.sub(put, text) if "agent." in text else text


def in_http(operation: Operation, arguments: list[Argument]) -> str:
    """`GET /v1/state/team%2Fplan`; what is not known stands in braces in the path, and as `...` elsewhere."""
    given = dict.fromkeys(_fields(operation, only_required=True), UNKNOWN)
    given |= {each.name: each.value for each in arguments if each.name in _fields(operation)}
    path = PREFIX + operation.path
    for name in _names_in(operation.path):
        value = given.pop(name)
        path = path if value is UNKNOWN else path.replace("{" + name + "}", quote(str(value), safe=""))
    if not given:
        return f"{operation.method} {path}"
    if operation.method in {"GET", "DELETE"}:
        return f"{operation.method} {path}?{urlencode(given, safe='.')}"
    return f"{operation.method} {path} with {json.dumps(given)}"


def _arguments(operation: Operation, text: str) -> list[Argument] | None:
    try:
        call = ast.parse(f"call({text})", mode="eval").body
    except (SyntaxError, ValueError):
        return None
    assert isinstance(call, ast.Call)  # noqa: S101 - it was made one above
    fields = _fields(operation)
    words = [each.id if isinstance(each, ast.Name) and each.id in fields else None for each in call.args]
    others = iter([name for name in fields if name not in words])
    arguments = [Argument(word or next(others, ""), _value(each)) for word, each in zip(words, call.args, strict=True)]
    return arguments + [Argument(each.arg or "", _value(each.value), by_name=True) for each in call.keywords]


def _value(node: ast.expr) -> Any:
    return node.value if isinstance(node, ast.Constant) and node.value is not ... else UNKNOWN


def _fields(operation: Operation, *, only_required: bool = False) -> list[str]:
    """Those of the path first, then those that a request cannot do without, then the others."""
    path = _names_in(operation.path)
    rest = [each for each in msgspec.structs.fields(operation.request) if each.name not in path]
    required = [each.name for each in rest if each.required]
    return path + required + ([] if only_required else [each.name for each in rest if not each.required])


def _names_in(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


@cache
def _by_method() -> dict[str, Operation]:
    found = {}
    for operation in OPERATIONS:
        noun, _, verb = operation.name.partition(".")
        found[_METHODS.get(operation.name, f"{_PARTS.get(noun, noun)}.{verb}")] = operation
    return found
