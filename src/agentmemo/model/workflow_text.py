"""Steps and edge cases that somebody wrote as plain text, taken apart; and ids made of their words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

TITLE_MAX = 80
ID_WORDS = 4
ID_MAX = 40
AS_WRITTEN = "Handle it as written."
_NUMBER = re.compile(r"(?:#{1,6}\s+)?(?:\*\*)?(?:step\s+)?\d+(?:\.(?!\d)|[):])(?:\*\*)?\s+(?=\S)", re.IGNORECASE)
_BULLET = re.compile(r"[-*•]\s+(?=\S)")
_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"#{1,6}\s|[^.!?]*:\s*\Z")
_WORD = re.compile(r"[a-z0-9]+")
_IF = re.compile(r"(?:if|when|whenever|where|in case)\s+", re.IGNORECASE)
_ARROW = re.compile(r"\s*(?:->|=>|→)\s*")
_THEN = re.compile(r",?\s+then\s+", re.IGNORECASE)
_COLON = re.compile(r":\s+")
_COMMA = re.compile(r",\s+")


class Line(NamedTuple):
    indent: int
    text: str
    fenced: bool


def items_of(text: str) -> list[str]:
    """The items of a list as somebody writes one: numbered, else bulleted, else one per line.

    What is indented below an item, and bullets below a number, belong to it. Code between fences begins nothing.
    """
    lines = _lines(text)
    begins = _beginning(lines)
    items: list[list[Line]] = []
    before: list[Line] = []
    for line in lines:
        if begins(line):
            items.append([line])
        else:
            (items[-1] if items else before).append(line)
    if items and (words := [line for line in before if line.text and not _HEADING.match(line.text)]):
        items[0] = [items[0][0], *words, *items[0][1:]]
    return [item for item in map(_join, items) if item]


def bare(item: str) -> str:
    """One item without its marker."""
    return _join(_lines(item.strip()))


def when_and_then(text: str) -> tuple[str, str]:
    """An edge case taken apart at its arrow or `then`; else, after an `if`, at the comma, without one at the colon."""
    bare = _IF.sub("", text, count=1) if _IF.match(text) else text
    seams = (_ARROW, _THEN, _COMMA, _COLON) if bare != text else (_ARROW, _THEN, _COLON, _COMMA)
    for seam in seams:
        found = seam.search(bare)
        if found and found.start() and found.end() < len(bare):
            return bare[: found.start()].strip(), bare[found.end() :].strip()
    return text.strip(), AS_WRITTEN


def title_of(text: str) -> str:
    """The first line of a text, cut at a word."""
    first = " ".join(text.partition("\n")[0].replace("**", "").replace("`", "").split())
    if len(first) <= TITLE_MAX:
        return first
    return first[:TITLE_MAX].rpartition(" ")[0].rstrip(",;:") + " …"


def id_of(words: str, taken: Iterable[str], kind: str) -> str:
    """`fetch_pr_diff` of "Fetch PR diff": underscores, so that it can stand in a condition; each once."""
    ascii_words = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().lower()
    made = "_".join(_WORD.findall(ascii_words)[:ID_WORDS])[:ID_MAX].strip("_")
    number = 1
    first = made or f"{kind}_1"
    found = first
    while found in taken:
        number += 1
        found = f"{made or kind}_{number}"
    return found


def _lines(text: str) -> list[Line]:
    found = []
    fenced = False
    for raw in text.expandtabs(4).splitlines():
        fence = _FENCE.match(raw)
        found.append(Line(len(raw) - len(raw.lstrip()), raw.strip() if not fenced else raw.rstrip(), bool(fenced)))
        if fence:
            fenced = not fenced
    return found


def _beginning(lines: list[Line]) -> Callable[[Line], bool]:
    """What begins an item: the outermost numbers, else the outermost bullets, else each line that is not indented."""
    open_lines = [line for line in lines if line.text and not line.fenced]
    for pattern in (_NUMBER, _BULLET):
        marked = [line.indent for line in open_lines if pattern.match(line.text)]
        if marked:
            outermost = min(marked)
            return lambda line: not line.fenced and line.indent <= outermost and bool(pattern.match(line.text))
    edge = min((line.indent for line in open_lines), default=0)
    return lambda line: bool(line.text) and not line.fenced and line.indent <= edge and not _FENCE.match(line.text)


def _join(item: list[Line]) -> str:
    """The text of an item without its marker; what belongs to it keeps its place below it."""
    first = item[0].text
    marker = _NUMBER.match(first) or _BULLET.match(first)
    rest = item[1:]
    edge = min((line.indent for line in rest if line.text and not line.fenced), default=0)
    lines = [first[marker.end() :] if marker else first]
    lines += [line.text if line.fenced else " " * max(0, line.indent - edge) + line.text for line in rest]
    return "\n".join(line.rstrip() for line in lines).strip()
