"""Whether the calls on one key can have happened one after the other, each between its call and its return.

The search of Wing and Gong (1993) with the memory of Lowe (2017): what was put in a row, and the state it leaves, are
looked at once. A key is a register with a version: (version, value), where a deleted one has the value None.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from history import FOR_EVER, Change, Found, Op, Read, Refused, Version, Write, Wrote, token_of

# In a part of a history: a value that some call outside of it may have written.
ANY = object()
CONFLICT = "version_conflict"


class State(NamedTuple):
    """`value` is ANY where calls outside wrote last; then `version` is the least it can be."""

    version: int = 0
    value: Any = None

    @property
    def current(self) -> int:
        """What `if_version` is compared with."""
        return self.version if self.value is not None else 0


class Others(NamedTuple):
    """The calls that are left out: they may write their tokens, and delete, at any time."""

    tokens: frozenset[Any]


class Step(NamedTuple):
    """One call as far as it is about the key: a change with the version it made, or what was seen."""

    op: Op
    change: Change | None = None
    made: Version | None = None  # None while nobody knows
    seen: Version | None = None
    absent: bool = False
    current: int | None = None  # what a conflict named

    @property
    def is_look(self) -> bool:
        return self.change is None or (self.made is None and not self.op.is_open)


def steps_of(ops: list[Op], key: str) -> list[Step]:
    return [step for op in ops if (step := _step(op, key)) is not None]


def _step(op: Op, key: str) -> Step | None:
    match op.asked, op.said:
        case Write(changes), said:
            change = next((change for change in changes if change.key == key), None)
            if change is None:
                return None
            if isinstance(said, Wrote):
                return Step(op, change, made=said.versions[changes.index(change)])
            if isinstance(said, Refused):
                # Which change of several was the reason is not said.
                return Step(op, change, current=said.current) if len(changes) == 1 else None
            return Step(op, change)
        case Read(wanted), Found(versions) if wanted in {None, key}:
            seen = next((version for version in versions if version.key == key), None)
            return Step(op, seen=seen, absent=seen is None)
    return None


def is_linearizable(steps: list[Step], others: Others | None = None) -> bool:
    """Whether there is an order. With `others`, whether there is one whatever the calls left out may have done."""
    steps = sorted(steps, key=lambda step: step.op.called)
    known = _known(steps)
    if others is None and known is None:
        return False
    wanted = sum(1 << number for number, step in enumerate(steps) if not step.op.is_open)
    stack = [(0, State())]
    seen = set(stack)
    while stack:
        done, state = stack.pop()
        if done & wanted == wanted:
            return True
        for number in _looks_first(_next(steps, done), steps):
            after = _after(steps[number], state, known or {}, others)
            if after is None:
                continue
            place = done | 1 << number, after
            if place not in seen:
                seen.add(place)
                stack.append(place)
            if after == state:
                break  # it changes nothing, so nothing is lost by having it here
    return False


def _next(steps: list[Step], done: int) -> list[int]:
    """What may come next: whatever was called before any other of the rest returned."""
    low = (~done & (done + 1)).bit_length() - 1
    found, end = [], FOR_EVER
    for number in range(low, len(steps)):
        if done >> number & 1:
            continue
        if steps[number].op.called > end:
            break
        end = min(end, steps[number].op.returned)
        found.append(number)
    return found


def _looks_first(numbers: list[int], steps: list[Step]) -> list[int]:
    return sorted(numbers, key=lambda number: not steps[number].is_look)


def _known(steps: list[Step]) -> dict[int, Any] | None:
    """Of each version that somebody saw or made, its token; None where two saw different ones."""
    known: dict[int, Any] = {}
    for step in steps:
        version = step.made or step.seen
        if version is not None and known.setdefault(version.version, token_of(version.value)) != token_of(
            version.value
        ):
            return None
    return known


def _after(step: Step, state: State, known: dict[int, Any], others: Others | None) -> State | None:
    """The state after a step; None where it is not possible in this one."""
    if step.change is None:
        return _looked(step, state, others)
    if step.made is None and not step.op.is_open:
        return _was_refused(step, state, others)
    return _wrote(step, state, known, others)


def _looked(step: Step, state: State, others: Others | None) -> State | None:
    if step.absent:
        if state.value is None:
            return state
        return State(state.version + (state.value is not ANY), None) if others else None
    assert step.seen is not None
    found = State(step.seen.version, token_of(step.seen.value))
    if state == found:
        return state
    if others is None or found.value not in others.tokens:
        return None
    may_be = found.version > state.version or (found.version == state.version and state.value is ANY)
    return found if may_be else None


def _was_refused(step: Step, state: State, others: Others | None) -> State | None:
    """A conflict names another version than was expected; a delete of nothing finds nothing."""
    assert step.change is not None
    if step.current is None:
        return _looked(step._replace(absent=True), state, others)
    if step.current == step.change.expect:
        return None
    if state.value is not ANY and state.current == step.current:
        return state
    if others is None:
        return None
    if step.current == 0:
        return State(state.version + (state.value is not ANY), None)
    may_be = step.current > state.version or (step.current == state.version and state.value is ANY)
    return State(step.current, ANY) if may_be else None


def _wrote(step: Step, state: State, known: dict[int, Any], others: Others | None) -> State | None:
    change = step.change
    assert change is not None
    token = token_of(change.value)
    if step.made is None:
        # What others have seen of a call without an answer says which version it made.
        after = State(state.version + 1, token)
        fits = known.get(after.version, token) == token
        return after if fits and _permits(change, state) else None
    after = State(step.made.version, token)
    before = after.version - 1
    if before == state.version and state.value is not ANY:
        return after if _permits(change, state) else None
    if others is None or before < state.version:
        return None
    return after if change.expect in {None, 0, before} else None


def _permits(change: Change, state: State) -> bool:
    if change.value is None and state.value is None:
        return False
    return change.expect is None or change.expect == state.current


def smallest(steps: list[Step]) -> list[Step]:
    """Steps that are not linearizable by themselves, whatever the rest did, and none of which can be spared."""
    kept = [step for step in steps if not step.op.is_open]
    if is_linearizable(kept, _others(steps, kept)):
        return steps  # it takes all of them
    size = max(1, len(kept) // 2)
    while True:
        start = 0
        while start < len(kept):
            tried = kept[:start] + kept[start + size :]
            if tried and not is_linearizable(tried, _others(steps, tried)):
                kept = tried
            else:
                start += size
        if size == 1:
            return kept
        size //= 2


def _others(steps: list[Step], kept: list[Step]) -> Others:
    inside = {id(step.op) for step in kept}
    left = [step.change for step in steps if step.change is not None and id(step.op) not in inside]
    return Others(frozenset(token_of(change.value) for change in left if change.value is not None))
