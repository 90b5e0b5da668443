"""Expressions of workflow documents: where an input, an earlier output or an item stands.

`$inputs.pr_number`, `$steps.fetch.output.files[0]`, `$item.path`, `$index`. As a whole text an expression is the value
itself, whatever its type; in braces inside a text, `Review {$inputs.title}`, it is written into the text, as JSON where
it is none. What an expression stands for is never looked at again, so no input can hold one. Conditions are CEL and are
only looked through for the names that they mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agentmemo.errors import InvalidInput
from agentmemo.model.values import encode

INPUTS, STEPS, ITEM, INDEX = "inputs", "steps", "item", "index"
_PART = r'\.[A-Za-z0-9_-]+|\[\d+\]|\["[^"\]]*"\]'
_BODY = rf"\$(?P<root>inputs|steps|item|index)(?P<path>(?:{_PART})*)"
_WHOLE = re.compile(_BODY + r"\Z")
_EMBEDDED = re.compile(r"\{" + _BODY + r"\}")
_BEGINS = re.compile(r"\$(?:inputs|steps|item|index)\b")
_BEGINS_EMBEDDED = re.compile(r"\{\$(?:inputs|steps|item|index)\b")
_PARTS = re.compile(_PART)
# A name inside a quoted text of a condition is no name.
_MENTIONED = re.compile(
    r"""(?<![\w.])(?P<root>inputs|steps)\s*(?:\.\s*(?P<name>\w+)|\[\s*(?P<quoted>"[^"\\]*"|'[^'\\]*')\s*\])"""
    r"""|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?<![\w.$])(?P<alone>item|index)\b(?!\s*\()"""
)
_SHOWN = 200


class Scope(NamedTuple):
    """What expressions can see. `steps` has, by the id of a step that is done, `{"output": ...}`.

    Inside a foreach `item` and its `position`, counted from 0, are given; `$index` is the position.
    """

    inputs: Mapping[str, Any]
    steps: Mapping[str, Any]
    item: Any = None
    position: int | None = None


def resolve(template: Any, scope: Scope) -> Any:
    """JSON with every text in it that is an expression, or holds some, replaced by what they stand for.

    Raises InvalidInput naming an expression that stands for nothing.
    """
    if isinstance(template, str):
        whole = _WHOLE.match(template)
        return _find(whole, scope) if whole else render(template, scope)
    if isinstance(template, list):
        return [resolve(each, scope) for each in template]
    if isinstance(template, dict):
        return {name: resolve(each, scope) for name, each in template.items()}
    return template


def render(text: str, scope: Scope) -> str:
    """A text with the expressions in its braces written out: texts as they are, everything else as JSON."""
    return _EMBEDDED.sub(lambda found: _as_text(_find(found, scope)), text)


def split(text: str, scope: Scope) -> tuple[str, dict[str, Any]]:
    """A text with its numbers and truth values written out, and, by expression, everything else it speaks of."""
    values: dict[str, Any] = {}

    def written(found: re.Match[str]) -> str:
        value = _find(found, scope)
        if value is None or isinstance(value, bool | int | float):
            return _as_text(value)
        values[found[0]] = value
        return found[0]

    whole = _WHOLE.match(text)
    return written(whole) if whole else _EMBEDDED.sub(written, text), values


def references(template: Any) -> set[tuple[str, str]]:
    """What expressions in it refer to, as (kind, name): ("steps", "fetch"), ("inputs", ""), ("item", "").

    Raises InvalidInput for what begins as an expression and is none.
    """
    return {(found["root"], _first(found)) for text in _texts(template) for found in _expressions(text)}


def mentions(condition: str) -> set[tuple[str, str]]:
    """The inputs and steps that a CEL condition names, in the same form."""
    found = set()
    for match in _MENTIONED.finditer(condition):
        if match["root"]:
            found.add((match["root"], match["name"] or match["quoted"][1:-1]))
        elif match["alone"]:
            found.add((match["alone"], ""))
    return found


def is_expression(text: str) -> bool:
    """Whether the whole of a text is one expression."""
    return _WHOLE.match(text) is not None


def _expressions(text: str) -> list[re.Match[str]]:
    """Each expression of a text. A step's is its output: there is nothing else to ask of it."""
    if _BEGINS.match(text):
        whole = _WHOLE.match(text)
        if whole is None:
            raise _malformed(text, "As a part of a text write it in braces: 'Review {$inputs.title}'.")
        found = [whole]
    else:
        found = list(_EMBEDDED.finditer(text))
        if len(found) != len(_BEGINS_EMBEDDED.findall(text)):
            raise _malformed(text, "Write {$inputs.name}, {$steps.id.output.name}, {$item.name} or {$index}.")
    for each in found:
        parts = _PARTS.findall(each["path"])
        if each["root"] == STEPS and (len(parts) < 2 or parts[1] != ".output"):  # noqa: PLR2004 - id and output
            raise _malformed(each[0], "Write $steps.<id>.output, and after it the path inside the output.")
        if each["root"] == INDEX and parts:
            raise _malformed(each[0], "$index is a number; it has no parts.")
    return found


def _find(match: re.Match[str], scope: Scope) -> Any:
    """Along the path, one part after the other."""
    root = match["root"]
    if root in (ITEM, INDEX) and scope.position is None:
        raise _missing(match, "", "Only the steps inside a foreach have an item.")
    found: Any = {INPUTS: scope.inputs, STEPS: scope.steps, ITEM: scope.item, INDEX: scope.position}[root]
    for part in _PARTS.findall(match["path"]):
        key = part[2:-2] if part.startswith('["') else part.strip(".[]")
        is_index = key.isdecimal() and not part.startswith('["')
        if isinstance(found, Mapping) and key in found and not (is_index and part.startswith("[")):
            found = found[key]
        elif isinstance(found, list) and is_index and int(key) < len(found):
            found = found[int(key)]
        else:
            raise _missing(match, part, _what_there_is(found))
    return found


def _what_there_is(found: Any) -> str:
    if isinstance(found, Mapping):
        names = ", ".join(sorted(map(str, found))[:10])
        return f"There it has: {names}." if names else "There it has nothing."
    if isinstance(found, list):
        return f"There it is a list of {len(found)}."
    return "There it is a single value."


def _first(match: re.Match[str]) -> str:
    if match["root"] not in (INPUTS, STEPS):
        return ""
    parts: list[str] = _PARTS.findall(match["path"])
    if not parts:
        return ""
    return parts[0][2:-2] if parts[0].startswith('["') else parts[0].strip(".[]")


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, list):
        for each in template:
            yield from _texts(each)
    elif isinstance(template, dict):
        for each in template.values():
            yield from _texts(each)


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return encode(value).decode()


def _malformed(text: str, next_call: str) -> InvalidInput:
    return InvalidInput(f"{text[:_SHOWN]!r} begins as an expression and is none.", next_call=next_call)


def _missing(match: re.Match[str], part: str, what_there_is: str) -> InvalidInput:
    expression = match[0].strip("{}")
    return InvalidInput(
        f"{expression} stands for nothing" + (f": there is no {part!r}." if part else "."),
        why=what_there_is,
        next_call="Correct the expression, or see that what it names is there: an input, or the output of a step "
        "that was done.",
        details={"expression": expression},
    )
