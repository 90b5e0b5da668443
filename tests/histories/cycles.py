"""Whether transactions that append to lists depend on each other in a circle, as Elle asks (Kingsbury, Alvaro 2020).

A list tells the order of its writers by itself, so nothing is believed of versions or revisions here.
"""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import pairwise
from typing import Any

from history import Found, History, Op, Refused, Wrote
from timeline import Fault

# Why one call must have come after another.
NEXT, READ, UNSEEN, TIME = "appended next after", "read what was appended by", "was not seen by", "was called after"
Graph = dict[int, dict[int, str]]


def check_lists(history: History) -> list[Fault]:
    """A list that disagrees with another of the same key, or the shortest circle."""
    ops = [op for op in history.ops if _is_about_lists(op)]
    orders, faults = _orders(ops)
    if faults:
        return faults
    writers = {token: number for number, op in enumerate(ops) for _, token in _appended(op)}
    for key, order in orders.items():
        for token in order:
            number = writers.get(token)
            if number is None or isinstance(ops[number].said, Refused):
                what = "Nobody appended" if number is None else "A refused transaction appended"
                return [Fault(f"{what} {token} to {key}.", [] if number is None else [ops[number]])]
    circle = _circle(_graph(ops, orders, writers))
    if circle is None:
        return []
    numbers, reasons = circle
    order = [f"{(place + 1) % len(numbers) + 1} {reason} {place + 1}" for place, reason in enumerate(reasons)]
    return [Fault(f"A circle: {', '.join(order)}.", [ops[number] for number in numbers])]


def _is_about_lists(op: Op) -> bool:
    return bool(_appended(op) or _read(op))


def _appended(op: Op) -> list[tuple[str, Any]]:
    return [(change.key, change.value[-1]) for change in op.changes if isinstance(change.value, list)]


def _read(op: Op) -> dict[str, list[Any]]:
    """The lists that a call saw: what it read, and what it appended to where it was let."""
    if isinstance(op.said, Found):
        return {version.key: version.value for version in op.said.versions if isinstance(version.value, list)}
    if isinstance(op.said, Wrote):
        return {change.key: change.value[:-1] for change in op.changes if isinstance(change.value, list)}
    return {}


def _orders(ops: list[Op]) -> tuple[dict[str, list[Any]], list[Fault]]:
    """The longest list of each key, of which every other must be a beginning."""
    longest: dict[str, tuple[list[Any], Op]] = {}
    every = [(key, items, op) for op in ops for key, items in _seen_or_made(op)]
    for key, items, op in sorted(every, key=lambda each: -len(each[1])):
        whole, first = longest.setdefault(key, (items, op))
        if whole[: len(items)] != items:
            return {}, [Fault(f"Two lists of {key} disagree on the order of what was appended.", [first, op])]
        if len(set(items)) != len(items):
            return {}, [Fault(f"Something was appended to {key} twice.", [op])]
    return {key: whole for key, (whole, _) in longest.items()}, []


def _seen_or_made(op: Op):
    yield from _read(op).items()
    if isinstance(op.said, Wrote):
        yield from ((change.key, change.value) for change in op.changes if isinstance(change.value, list))


def _graph(ops: list[Op], orders: dict[str, list[Any]], writers: dict[Any, int]) -> Graph:
    graph: Graph = defaultdict(dict)
    for order in orders.values():
        for one, other in pairwise(order):
            graph[writers[one]].setdefault(writers[other], NEXT)
    for number, op in enumerate(ops):
        for key, items in _read(op).items():
            if items and writers[items[-1]] != number:
                graph[writers[items[-1]]].setdefault(number, READ)
            later = orders[key][len(items) : len(items) + 1]
            if later and writers[later[0]] != number:
                graph[number].setdefault(writers[later[0]], UNSEEN)
    for before, after in _in_time(ops):
        graph[before].setdefault(after, TIME)
    return graph


def _in_time(ops: list[Op]):
    """Who returned before whom was called; what follows from two of these is left out."""
    numbers = sorted(range(len(ops)), key=lambda number: ops[number].called)
    returned: list[int] = []
    for number in numbers:
        before = [other for other in returned if ops[other].returned < ops[number].called]
        newest = max((ops[other].called for other in before), default=0)
        yield from ((other, number) for other in before if ops[other].returned >= newest)
        if not ops[number].is_open:
            returned.append(number)


def _circle(graph: Graph) -> tuple[list[int], list[str]] | None:
    """The shortest way from a call back to itself."""
    best: list[int] | None = None
    for start in _in_circles(graph):
        way = _way_back(graph, start)
        if way and (best is None or len(way) < len(best)):
            best = way
    if best is None:
        return None
    return best, [graph[one][other] for one, other in zip(best, [*best[1:], best[0]], strict=True)]


def _in_circles(graph: Graph) -> list[int]:
    """What is left when whatever nothing leads to, or whatever leads nowhere, is taken away again and again."""
    nodes = set(graph) | {other for others in graph.values() for other in others}
    while True:
        reached = {other for node in nodes for other in graph.get(node, ()) if other in nodes}
        leading = {node for node in nodes if any(other in nodes for other in graph.get(node, ()))}
        left = nodes & reached & leading
        if left == nodes:
            return sorted(nodes)
        nodes = left


def _way_back(graph: Graph, start: int) -> list[int] | None:
    came_from: dict[int, int] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for other in graph.get(node, ()):
            if other == start:
                way = [node]
                while way[0] != start:
                    way.insert(0, came_from[way[0]])
                return way
            if other not in came_from:
                came_from[other] = node
                waiting.append(other)
    return None
