"""Whether everything can have happened in the order of revisions, each call between its call and its return.

Revisions count the commits of a workspace, so they are the order that the store itself claims: strictly serializable,
over keys, transactions, watches and handoffs at once. Each call says between which revisions it can have looked at the
world; whether a place can be chosen for each that goes with real time is then decided exactly, and what cannot be is
two calls: one that returned before the other was called, and must have come after it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

from history import (
    Change,
    Claim,
    Claimed,
    End,
    Ended,
    Hand,
    Handed,
    Heard,
    History,
    Op,
    Read,
    Refused,
    Version,
    Watch,
    Write,
    Wrote,
    shown,
    shown_version,
    token_of,
)  # fmt: skip

LAST = 1 << 60
# Revisions from the first to the last of each span, both included.
Spans = list[tuple[int, int]]
HELD, OFFERED, OVER = "held", "offered", "over"


class Fault(NamedTuple):
    """What is wrong, in words, and the smallest part of the history that is still wrong."""

    what: str
    ops: list[Op]

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {shown(op)}" for op in self.ops)])


class Phase(NamedTuple):
    """How a handoff stood from a revision on."""

    since: int
    state: str
    epoch: int
    actor: str


class Timeline:
    """The world at each revision, as the record at the end says."""

    def __init__(self, history: History) -> None:
        self.keys: dict[str, list[Version]] = defaultdict(list)
        for version in history.record.watched:
            self.keys[version.key].append(version)
        self.phases: dict[str, list[Phase]] = defaultdict(list)
        for move in history.record.moves:
            state = {"create": OFFERED, "release": OFFERED, "claim": HELD}.get(move.act, OVER)
            self.phases[move.handoff].append(Phase(move.revision, state, move.epoch, move.actor))

    def spans_of(self, key: str, fits) -> Spans:
        """When the newest version of a key was such that `fits(version or None)`."""
        versions = [None, *self.keys[key]]
        starts = [0, *(version.revision for version in self.keys[key])]
        ends = [start - 1 for start in starts[1:]] + [LAST]
        return joined(
            [(start, end) for version, start, end in zip(versions, starts, ends, strict=True) if fits(version)]
        )

    def spans_where(self, handoff: str, fits) -> Spans:
        """When a handoff was in a phase such that `fits(phase or None)`."""
        phases = [None, *self.phases[handoff]]
        starts = [0, *(phase.since for phase in self.phases[handoff])]
        ends = [start - 1 for start in starts[1:]] + [LAST]
        return joined([(start, end) for phase, start, end in zip(phases, starts, ends, strict=True) if fits(phase)])


def joined(spans: Spans) -> Spans:
    found: Spans = []
    for start, end in spans:
        if found and found[-1][1] + 1 >= start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def both(one: Spans, other: Spans) -> Spans:
    found = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return sorted((start, end) for start, end in found if start <= end)


def unlike(spans: Spans) -> Spans:
    """All revisions that are in none of them."""
    starts = [0, *(end + 1 for _, end in spans)]
    ends = [*(start - 1 for start, _ in spans), LAST]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start <= end]


def current(version: Version | None) -> int:
    return version.version if version is not None and version.value is not None else 0


class Places:
    """For each call, the revisions after which it can have looked at the world."""

    def __init__(self, history: History) -> None:
        self.line = Timeline(history)
        self.made = {
            token_of(version.value): version for version in history.record.watched if version.value is not None
        }
        self.created = {move.handoff for move in history.record.moves if move.act == "create"}
        # What comes before the record's beginning is nobody's here.
        self.begun = history.record.begun

    def of(self, op: Op) -> Spans | None:
        """None where a call says nothing: it is open, and nobody can tell when it happened."""
        if op.said is None:
            return self._open(op)
        if isinstance(op.said, Refused):
            return self._refused(op.changes, op.said) if op.changes else self._not_held(op.asked)
        match op.asked:
            case Write():
                return [(op.said.versions[0].revision, op.said.versions[-1].revision)]
            case Read(key):
                return self._found(key, op.said.versions)
            case Watch(_, limit):
                # A full page ends with its last change; else all is in it up to when it looked.
                return [(op.said.next, LAST if len(op.said.versions) == limit else op.said.next)]
        return self._of_handoff(op)

    def _open(self, op: Op) -> Spans | None:
        """Whenever it happened, that was not before it was called."""
        made = [self.made[token] for change in op.changes if (token := token_of(change.value)) in self.made]
        return [(made[0].revision, LAST)] if made else None

    def _of_handoff(self, op: Op) -> Spans:
        match op.asked, op.said:
            case Hand(), Handed(handoff):
                return self._moved(handoff, "create", 0)
            case Claim(), Claimed(str(handoff), epoch):
                return self._moved(handoff, "claim", epoch)
            case End(how, handoff, epoch), Ended():
                return self._moved(handoff, how, epoch)
        return self._nothing_offered()

    def _refused(self, changes: list[Change], refused: Refused) -> Spans:
        """When something spoke against at least one of the changes."""
        if len(changes) == 1 and refused.current is not None:
            return self.line.spans_of(changes[0].key, lambda version: current(version) == refused.current)
        permitted: Spans = [(0, LAST)]
        for change in changes:
            permitted = both(permitted, self.line.spans_of(change.key, lambda version, c=change: _permits(c, version)))
        return unlike(joined(permitted))

    def _found(self, key: str | None, versions: list[Version]) -> Spans:
        spans: Spans = [(0, LAST)]
        seen = {version.key: version.version for version in versions}
        for each in [key] if key else list(self.line.keys):
            spans = both(spans, self.line.spans_of(each, lambda version, k=each: current(version) == seen.get(k, 0)))
        return spans

    def _moved(self, handoff: str, act: str, epoch: int) -> Spans:
        state = {"create": OFFERED, "release": OFFERED, "claim": HELD}.get(act, OVER)
        found = [phase.since for phase in self.line.phases[handoff] if (phase.state, phase.epoch) == (state, epoch)]
        return [(revision, revision) for revision in found]

    def _not_held(self, asked: End) -> Spans:
        return self.line.spans_where(
            asked.handoff, lambda phase: phase is None or (phase.state, phase.epoch) != (HELD, asked.epoch)
        )

    def _nothing_offered(self) -> Spans:
        spans: Spans = [(self.begun, LAST)]
        for handoff in self.line.phases:
            spans = both(spans, self.line.spans_where(handoff, lambda phase: phase is None or phase.state != OFFERED))
        return spans


def _permits(change: Change, version: Version | None) -> bool:
    if change.value is None and current(version) == 0:
        return False
    return change.expect is None or change.expect == current(version)


def check_order(history: History) -> list[Fault]:
    """The calls for which no place can be found in the order of revisions."""
    return [*_out_of_time(history.ops, Places(history))]


def _out_of_time(ops: list[Op], places: Places):
    """Each call has its place as early as it can: after those of all that returned before it was called."""
    found = {id(op): places.of(op) for op in ops}
    times = [(op.called, 1, op) for op in ops] + [(op.returned, 0, op) for op in ops if not op.is_open]
    floor, because = 0, None
    chosen: dict[int, tuple[int, Op | None]] = {}
    for _, is_call, op in sorted(times, key=lambda time: time[:2]):
        spans = found[id(op)]
        if spans is None:
            continue
        if not is_call:
            place = chosen.get(id(op))
            if place is not None and place[0] > floor:
                floor, because = place[0], op
            continue
        if not spans:
            yield Fault("It fits nowhere: at no revision was the store as this call was told.", [op])
            continue
        place = _place(op, spans, floor)
        if place is None:
            chain = _chain(because, chosen)
            yield Fault(
                "The last of these was called after the others had returned, and came before them.", [*chain, op]
            )
            continue
        chosen[id(op)] = place, because


def _place(op: Op, spans: Spans, floor: int) -> int | None:
    """The earliest revision of its spans that is not before the floor; all revisions of a write are one place."""
    if isinstance(op.asked, Write) and not isinstance(op.said, Refused):
        first, last = spans[0]
        if first <= floor:
            return None
        return first if op.is_open else last
    return next((max(start, floor) for start, end in spans if end >= floor), None)


def _chain(op: Op | None, chosen: dict[int, tuple[int, Op | None]]) -> list[Op]:
    """The call that set the floor, and those because of which it could not be placed earlier."""
    chain: list[Op] = []
    while op is not None:
        place, before = chosen[id(op)]
        chain.insert(0, op)
        if before is None or chosen[id(before)][0] < place:
            break
        op = before
    return chain


def check_record(history: History) -> list[Fault]:
    """The record agrees with itself: its watch, its histories and its trail tell of the same changes."""
    record = history.record
    faults = []
    revisions = [version.revision for version in record.watched]
    if revisions != sorted(set(revisions)):
        faults.append(Fault("Two changes have one revision, or they are out of order.", []))
    kept = sorted(record.kept, key=lambda version: version.revision)
    if record.watched != kept:
        faults.append(
            Fault(f"What a watch tells is not what the histories say: {_difference(record.watched, kept)}.", [])
        )
    if revisions != record.recorded:
        odd = sorted(set(revisions) ^ set(record.recorded))
        faults.append(
            Fault(f"The trail has events without changes or changes without events: revisions {odd[:5]}.", [])
        )
    for key, versions in Timeline(history).keys.items():
        if [version.version for version in versions] != list(range(1, len(versions) + 1)):
            faults.append(Fault(f"The versions of {key} do not count by one.", []))
    return faults


def _difference(one: list[Version], other: list[Version]) -> str:
    odd = next((pair for pair in zip(one, other, strict=False) if pair[0] != pair[1]), None)
    return f"{len(one)} and {len(other)}" if odd is None else " and ".join(map(shown_version, odd))


def check_answers(history: History) -> list[Fault]:
    """What was answered is in the record as it was said, whole, once, and nothing else is."""
    by_place = {(version.key, version.version): version for version in history.record.watched}
    faults = []
    for op in history.ops:
        for version in getattr(op.said, "versions", []):
            if by_place.get((version.key, version.version)) != version:
                known = by_place.get((version.key, version.version))
                says = f"says {shown_version(known)}" if known else "knows no such version"
                faults.append(Fault(f"The record {says}, and not {shown_version(version)}.", [op]))
    return faults + _phantoms(history) + _transactions(history) + _watches(history)


def _phantoms(history: History) -> list[Fault]:
    """Each version was written by a call that may have happened, and no call wrote two."""
    by_token = {token_of(change.value): op for op in history.ops for change in op.changes if change.value is not None}
    faults, once = [], set()
    for version in history.record.watched:
        token = token_of(version.value)
        op = by_token.get(token)
        if version.value is None:
            continue
        if op is None:
            faults.append(Fault(f"Nobody wrote {shown_version(version)}.", []))
        elif isinstance(op.said, Refused):
            faults.append(Fault(f"A refused write is there: {shown_version(version)}.", [op]))
        elif token in once:
            faults.append(Fault(f"Written twice: {shown_version(version)}.", [op]))
        once.add(token)
    return faults + _deletes(history)


def _deletes(history: History) -> list[Fault]:
    """They carry no token, so they are counted."""
    changes = [change for op in history.ops for change in op.changes if not isinstance(op.said, Refused)]
    asked = Counter(change.key for change in changes if change.value is None)
    done = Counter(version.key for version in history.record.watched if version.value is None)
    return [Fault(f"{key} was deleted more often than anybody asked for.", []) for key in done - asked]


def _transactions(history: History) -> list[Fault]:
    """All changes of a transaction are there, one after the other and with nothing between them, or none is."""
    made = {token_of(version.value): version for version in history.record.watched if version.value is not None}
    faults = []
    for op in history.ops:
        if isinstance(op.said, Wrote):
            revisions = [version.revision for version in op.said.versions]
        elif op.is_open and op.changes and all(change.value is not None for change in op.changes):
            found = [made.get(token_of(change.value)) for change in op.changes]
            if found.count(None) == len(found):
                continue
            revisions = [version.revision if version else 0 for version in found]
        else:
            continue
        if revisions != list(range(revisions[0], revisions[0] + len(op.changes))):
            faults.append(Fault("A torn transaction: its changes are not all there, one right after the other.", [op]))
    return faults


def _watches(history: History) -> list[Fault]:
    """Each answer of a watch has every change after its cursor up to the next one, in order and once."""
    faults = []
    for op in history.ops:
        if not isinstance(op.asked, Watch) or not isinstance(op.said, Heard):
            continue
        low, high = op.asked.after, op.said.next
        due = [version for version in history.record.watched if low < version.revision <= high]
        if op.said.versions != due:
            faults.append(Fault(f"A watch missed, repeated or disordered changes; {len(due)} were due.", [op]))
        if high < low or (len(due) == op.asked.limit and high != due[-1].revision) or len(due) > op.asked.limit:
            faults.append(Fault("The cursor of a watch is not where its changes end.", [op]))
    return faults
