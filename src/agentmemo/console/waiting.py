"""Who waits for whom: unfinished handoffs as arrows from senders to whom the work went, and their drawing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec

from agentmemo.console.words import between, count, receiver
from agentmemo.model.handoffs import PENDING, Handoff

NODES_MAX = 12
NAME_CHARACTERS = 20
BOX, HIGH, GAP, ROW, EDGE = 154, 40, 76, 56, 6
STEP = BOX + GAP
HEAD = 6  # of an arrow
UNDER = 22  # how deep an arrow goes that leads back

Place = tuple[str, ...]  # (name,) of a box, or (from, to, column) of a line on its way through a column


class Wait(msgspec.Struct, kw_only=True):
    """What one waits for from another: how many handoffs, since when, and how many of them somebody has claimed."""

    sender: str
    to: str
    handoffs: int = 0
    held: int = 0
    since: int = 0
    percent: float | None = None


def waits(unfinished: Iterable[Handoff]) -> list[Wait]:
    """The arrows, the longest wait first. What is claimed waits for its holder, the rest for whom it is offered to."""
    made: dict[tuple[str, str], Wait] = {}
    for handoff in sorted(unfinished, key=lambda handoff: (handoff.created_at, handoff.id)):
        held = handoff.state != PENDING and handoff.holder is not None
        to = str(handoff.holder) if held else handoff.to
        wait = made.setdefault((handoff.from_agent, to), Wait(sender=handoff.from_agent, to=to))
        wait.since = wait.since or handoff.created_at
        wait.handoffs += 1
        wait.held += held
        wait.percent = handoff.percent if wait.handoffs == 1 else None
    return list(made.values())


def circle(found: list[Wait]) -> list[str]:
    """Who wait for each other all the way around, the first of them named once; empty where nobody does."""
    leads: dict[str, list[str]] = {}
    for wait in found:
        if wait.sender != wait.to:
            leads.setdefault(wait.sender, []).append(wait.to)
    done: set[str] = set()
    for start in leads:
        way: list[str] = []
        ahead = [iter([start])]
        while ahead:
            node = next(ahead[-1], None)
            if node is None:
                ahead.pop()
                if way:
                    done.add(way.pop())
            elif node in way:
                return way[way.index(node) :]
            elif node not in done:
                way.append(node)
                ahead.append(iter(leads.get(node, [])))
    return []


def drawing(found: list[Wait], now: int) -> dict[str, Any]:
    """The longest waits as boxes in columns and lines between them; `left_out` counts the arrows beyond the room."""
    shown = _bounded(found)
    columns = _columns(shown)
    at = _places(shown, columns)
    back = [wait for wait in shown if columns[wait.sender] >= columns[wait.to]]
    depth = max((y for _, y in at.values()), default=0) + HIGH
    coming = Counter(wait.to for wait in shown)
    lines = []
    for wait in shown:
        if wait in back:
            path, (x, y), above = *_led_back(at[wait.sender,], at[wait.to,], depth + UNDER), True
            head = f"M{x - 4} {y + HEAD}l4-{HEAD + 1} 4 {HEAD + 1}z"
        else:
            path, (x, y), above = _led_on(wait, shown, columns, at)
            head = f"M{x - HEAD} {y - 4}l{HEAD + 1} 4-{HEAD + 1} 4z"
        alone = coming[wait.to] == 1 and wait not in back
        label = {"label": _about(wait.since, now) if alone else "", "x": x - HEAD - 2, "y": y - 6 if above else y + 15}
        lines.append({"path": path, "head": head, "held": wait.held == wait.handoffs, **label})
    boxes = [
        {"x": x, "y": y, "name": _short(receiver(place[0])), "note": _note(place[0], found, now)}
        for place, (x, y) in at.items()
        if len(place) == 1
    ]
    return {
        "boxes": boxes,
        "lines": lines,
        "width": max((x for x, _ in at.values()), default=0) + BOX,
        "height": depth + (UNDER + EDGE if back else EDGE),
        "left_out": sum(wait.sender != wait.to for wait in found) - len(shown),
    }


def _bounded(found: list[Wait]) -> list[Wait]:
    kept: list[Wait] = []
    names: set[str] = set()
    for wait in found:
        more = names | {wait.sender, wait.to}
        if wait.sender != wait.to and len(more) <= NODES_MAX:
            kept.append(wait)
            names = more
    return kept


def _columns(shown: list[Wait]) -> dict[str, int]:
    """The column of each: to the right of all that wait for it, as far as no circle forbids."""
    forward: list[Wait] = []
    for wait in shown:
        if not circle([*forward, wait]):
            forward.append(wait)
    columns = dict.fromkeys((name for wait in shown for name in (wait.sender, wait.to)), 0)
    for _ in columns:
        for wait in forward:
            columns[wait.to] = max(columns[wait.to], columns[wait.sender] + 1)
    return columns


def _places(shown: list[Wait], columns: dict[str, int]) -> dict[Place, tuple[int, int]]:
    """The upper left corner of each box and of each line's way through a column, near to what leads there."""
    before: dict[Place, list[Place]] = {(name,): [] for name in columns}
    where: dict[Place, int] = {(name,): column for name, column in columns.items()}
    for wait in shown:
        if columns[wait.sender] >= columns[wait.to]:
            continue
        for last, place in pairwise(_way(wait, columns)):
            before.setdefault(place, []).append(last)
            where.setdefault(place, where[last] + 1)
    rows: dict[Place, int] = {}
    for column in range(max(where.values(), default=0) + 1):
        places = [place for place in where if where[place] == column]
        mean = {place: sum(rows[each] for each in before[place]) / max(len(before[place]), 1) for place in places}
        rows |= {place: row for row, place in enumerate(sorted(places, key=mean.__getitem__))}
    return {place: (where[place] * STEP, row * ROW + EDGE) for place, row in rows.items()}


def _way(wait: Wait, columns: dict[str, int]) -> list[Place]:
    """From its box through the columns in between to the other box."""
    passed = range(columns[wait.sender] + 1, columns[wait.to])
    return [(wait.sender,), *((wait.sender, wait.to, str(column)) for column in passed), (wait.to,)]


def _led_on(
    wait: Wait, shown: list[Wait], columns: dict[str, int], at: dict[Place, tuple[int, int]]
) -> tuple[str, tuple[int, int], bool]:
    """The path from the right of a box to the left of another, its end, and whether there is room above its end.

    Lines of one box do not share a point.
    """
    way = _way(wait, columns)
    leaving = sorted((at[_way(other, columns)[1]][1], other.to) for other in shown if other.sender == wait.sender)
    coming = sorted((at[_way(other, columns)[-2]][1], other.sender) for other in shown if other.to == wait.to)
    left, top = at[way[0]]
    x, y = left + BOX, _spread(top, leaving.index((at[way[1]][1], wait.to)), len(leaving))
    path = f"M{x} {y}"
    for place in way[1:-1]:
        over, top = at[place]
        line = top + HIGH // 2
        path += f"C{x + GAP // 2} {y} {over - GAP // 2} {line} {over} {line}H{over + BOX}"
        x, y = over + BOX, line
    left, top = at[way[-1]]
    end = left - 2, _spread(top, coming.index((at[way[-2]][1], wait.sender)), len(coming))
    return f"{path}C{x + GAP // 2} {y} {end[0] - GAP // 2} {end[1]} {end[0] - HEAD} {end[1]}", end, y >= end[1]


def _led_back(start: tuple[int, int], end: tuple[int, int], depth: int) -> tuple[str, tuple[int, int]]:
    """The path of a wait that closes a circle: under the boxes and up to the bottom of an earlier one."""
    x, y = start[0] + BOX // 2, start[1] + HIGH
    to = end[0] + BOX // 2 - 16, end[1] + HIGH + 2
    return f"M{x} {y}C{x} {depth} {to[0]} {depth} {to[0]} {to[1] + HEAD}", to


def _spread(top: int, number: int, of: int) -> int:
    return top + HIGH * (number + 1) // (of + 1)


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "…"


def _about(since: int, now: int) -> str:
    """A duration in its largest unit."""
    return " ".join(between(since, now).split()[:2])


def _note(name: str, found: list[Wait], now: int) -> str:
    """What a box says below its name: that it waits itself, works, or has not come."""
    waiting = sum(wait.handoffs for wait in found if wait.sender == name)
    if waiting:
        return f"waits for {waiting:,}"
    for_it = [wait for wait in found if wait.to == name]
    held = sum(wait.held for wait in for_it)
    if not held:
        return f"has not come, {_about(min(wait.since for wait in for_it), now)}"
    if len(for_it) == 1 and for_it[0].handoffs == 1 and for_it[0].percent is not None:
        return f"works, {for_it[0].percent:.0f} %"
    return f"works on {count(held, 'handoff')}" if held > 1 else "works"
