"""Faults that a store could have, each planted in a recorded history that is right.

A fault tells a lie where the history has the place for it: the first of those that fit. What is planted is as small as
it can be: nothing else in the history gives it away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from history import (
    Change,
    Claim,
    Claimed,
    End,
    Ended,
    Found,
    Hand,
    Handed,
    Heard,
    History,
    Move,
    Op,
    Read,
    Refused,
    Version,
    Watch,
    Write,
    Wrote,
    token_of,
)  # fmt: skip
from msgspec.structs import replace

Fault = Callable[[History], History]
# name -> the fault, and the checks of which each finds it by itself
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {}


def found_by(*checks: str):
    """Registers a fault with the checks of `verdict.CHECKS` that find it, each by itself."""

    def register(fault: Fault) -> Fault:
        FAULTS[fault.__name__] = (fault, checks)
        return fault

    return register


def told(history: History, op: Op, said: Any) -> History:
    """The history in which a call was answered this."""
    return replace(history, ops=[replace(each, said=said) if each is op else each for each in history.ops])


def kept(history: History, change: Callable[[Version], list[Version]]) -> History:
    """The history in which other versions are kept, wherever they were heard or read."""
    record = history.record
    watched = [after for version in record.watched for after in change(version)]
    every = [after for version in record.kept for after in change(version)]
    ops = [_seen_otherwise(op, change) if isinstance(op.said, Found | Heard) else op for op in history.ops]
    recorded = [version.revision for version in watched]
    return replace(history, ops=ops, record=replace(record, watched=watched, kept=every, recorded=recorded))


def without(history: History, gone: Version) -> History:
    return kept(history, lambda version: [] if version == gone else [version])


def _seen_otherwise(op: Op, change: Callable[[Version], list[Version]]) -> Op:
    return replace(op, said=replace(op.said, versions=[after for each in op.said.versions for after in change(each)]))


def moved(history: History, moves: list[Move]) -> History:
    return replace(history, record=replace(history.record, moves=moves))


def before(history: History, version: Version) -> Version | None:
    """The version of the key before this one, if it is not deleted."""
    return next(
        (
            each
            for each in history.record.watched
            if (each.key, each.version) == (version.key, version.version - 1) and each.value is not None
        ),
        None,
    )


def last_of(history: History, key: str) -> Version:
    return [version for version in history.record.watched if version.key == key][-1]


def _is_last(history: History, version: Version) -> bool:
    return version == last_of(history, version.key)


def answered(history: History, asked: type, said: type) -> Iterator[Op]:
    return (op for op in history.ops if isinstance(op.asked, asked) and isinstance(op.said, said))


def writer_of(history: History, version: Version) -> Op | None:
    token = token_of(version.value)
    ops = answered(history, Write, Wrote)
    return next((op for op in ops if token in [token_of(change.value) for change in op.changes]), None)


def gets(history: History) -> Iterator[tuple[Op, Version]]:
    for op in answered(history, Read, Found):
        if op.asked.key and op.said.versions:
            yield op, op.said.versions[0]


def single_writes(history: History) -> Iterator[tuple[Op, Version]]:
    for op in answered(history, Write, Wrote):
        if len(op.changes) == 1:
            yield op, op.said.versions[0]


# What is read


@found_by("keys", "order")
def stale_read(history: History) -> History:
    """A read finds what was replaced before it was called."""
    for op, seen in gets(history):
        writer, old = writer_of(history, seen), before(history, seen)
        if writer and old and writer.returned < op.called:
            return told(history, op, Found([old]))
    raise LookupError


@found_by("keys", "order")
def read_of_the_future(history: History) -> History:
    """A read finds what was asked for only after it had returned."""
    for op, _ in gets(history):
        for writer, version in single_writes(history):
            if version.key == op.asked.key and version.value is not None and writer.called > op.returned:
                return told(history, op, Found([version]))
    raise LookupError


@found_by("keys", "answers")
def dirty_read(history: History) -> History:
    """A read finds what was refused."""
    for refused in answered(history, Write, Refused):
        for op, seen in gets(history):
            change = refused.changes[0]
            if change.key == op.asked.key and change.value is not None and refused.called < op.returned:
                return told(history, op, Found([replace(seen, value=change.value)]))
    raise LookupError


@found_by("answers", "lists")
def dirty_read_of_a_transaction(history: History) -> History:
    """A read finds one of the appends of a transaction that was refused."""
    for refused in answered(history, Write, Refused):
        for op, seen in gets(history):
            for change in refused.changes[:1] if len(refused.changes) > 1 else []:
                if change.key == op.asked.key and isinstance(seen.value, list) and refused.called < op.returned:
                    return told(history, op, Found([replace(seen, value=[*seen.value, change.value[-1]])]))
    raise LookupError


@found_by("order", "lists")
def half_of_a_transaction_is_read(history: History) -> History:
    """A list of all keys has one append of a transaction and misses the other."""
    for op in answered(history, Read, Found):
        for writer in answered(history, Write, Wrote) if op.asked.key is None else ():
            versions = [version for version in writer.said.versions if version in op.said.versions]
            lists = [version for version in versions if isinstance(version.value, list)]
            if len(lists) > 1 and (old := before(history, versions[0])):
                said = [old if version == versions[0] else version for version in op.said.versions]
                return told(history, op, Found(said))
    raise LookupError


@found_by("keys", "order")
def deleted_value_is_read(history: History) -> History:
    """A read finds what was deleted before it was called."""
    for deleter, version in single_writes(history):
        old = before(history, version) if version.value is None else None
        for op in answered(history, Read, Found) if old else ():
            if op.asked.key == version.key and op.called > deleter.returned:
                return told(history, op, Found([old]))
    raise LookupError


@found_by("keys", "order")
def absent_though_there(history: History) -> History:
    """A read finds nothing of a key that was never deleted after its write returned."""
    for op, seen in gets(history):
        if isinstance(seen.value, list) and (writer := writer_of(history, seen)) and writer.returned < op.called:
            return told(history, op, Found())
    raise LookupError


@found_by("lists", "answers")
def appends_in_another_order(history: History) -> History:
    """Two lists of one key disagree on what came first."""
    for op, seen in gets(history):
        if isinstance(seen.value, list) and len(seen.value) > 1:
            *first, one, other = seen.value
            return told(history, op, Found([replace(seen, value=[*first, other, one])]))
    raise LookupError


# What is written


@found_by("keys", "answers")
def lost_update(history: History) -> History:
    """Of two writes over one version both are acknowledged."""
    for winner, version in single_writes(history):
        for op in answered(history, Write, Refused):
            if len(op.changes) == 1 and op.changes[0].value is not None and op.changes == [_like(op, winner)]:
                return told(history, op, Wrote([replace(version, value=op.changes[0].value)]))
    raise LookupError


def _like(op: Op, winner: Op) -> Change | None:
    change = winner.changes[0]
    return replace(change, value=op.changes[0].value) if change.expect is not None else None


@found_by("keys")
def write_over_the_wrong_version(history: History) -> History:
    """A write that expected another version is accepted."""
    for op, version in single_writes(history):
        if op.changes[0].expect and version.value is not None:
            asked = Write([replace(op.changes[0], expect=op.changes[0].expect - 1)])
            return replace(history, ops=[replace(each, asked=asked) if each is op else each for each in history.ops])
    raise LookupError


@found_by("keys", "order")
def refused_for_what_was_long_gone(history: History) -> History:
    """A conflict names a version that was replaced before the call."""
    for op in answered(history, Write, Refused):
        for writer, version in single_writes(history):
            old, change = before(history, version), op.changes[0]
            fits = old and change.key == old.key and change.expect not in {None, old.version} and len(op.changes) == 1
            if fits and writer.returned < op.called:
                return told(history, op, replace(op.said, current=old.version))
    raise LookupError


@found_by("answers")
def acknowledged_and_lost(history: History) -> History:
    """The last write of a key was acknowledged, and is nowhere."""
    return without(history, next(version for _, version in single_writes(history) if _is_last(history, version)))


@found_by("answers")
def refused_and_done(history: History) -> History:
    """A write was refused, and is there."""
    for op, version in single_writes(history):
        if version.value is not None:
            return told(history, op, Refused("version_conflict", version.version - 1))
    raise LookupError


@found_by("answers")
def written_twice(history: History) -> History:
    """A write whose answer was lost is repeated, and done again."""
    op, version = next((op, version) for op, version in single_writes(history) if version.value is not None)
    last = last_of(history, version.key)
    again = Version(version.key, last.version + 1, history.record.watched[-1].revision + 1, version.value)
    return told(_added(history, again), op, None)


@found_by("answers")
def written_by_nobody(history: History) -> History:
    """A version that nobody asked for."""
    last = last_of(history, "r0")
    return _added(history, Version("r0", last.version + 1, history.record.watched[-1].revision + 1, "nobody's"))


def _added(history: History, version: Version) -> History:
    record = history.record
    watched, every = [*record.watched, version], [*record.kept, version]
    return replace(
        history, record=replace(record, watched=watched, kept=every, recorded=[*record.recorded, version.revision])
    )


@found_by("answers")
def torn_transaction(history: History) -> History:
    """A transaction whose caller died has left one of its two changes."""
    for op in answered(history, Write, Wrote):
        if len(op.changes) > 1 and _is_last(history, op.said.versions[-1]):
            return told(without(history, op.said.versions[-1]), op, None)
    raise LookupError


@found_by("answers")
def another_write_inside_a_transaction(history: History) -> History:
    """Somebody else's change has its revision between those of a transaction."""
    for op in answered(history, Write, Wrote):
        last = op.said.versions[-1]
        after = [version for version in history.record.watched if version.revision > last.revision]
        if len(op.changes) > 1 and after:
            return _swapped(history, last.revision, after[0].revision)
    raise LookupError


def _swapped(history: History, one: int, other: int) -> History:
    """With two revisions changed for each other everywhere."""
    new = {one: other, other: one}

    def changed(version: Version) -> Version:
        return replace(version, revision=new.get(version.revision, version.revision))

    swapped = kept(history, lambda version: [changed(version)])
    ops = [
        replace(op, said=Wrote([changed(version) for version in op.said.versions]))
        if isinstance(op.said, Wrote)
        else op
        for op in swapped.ops
    ]
    ops = [
        replace(op, said=replace(op.said, versions=sorted(op.said.versions, key=lambda version: version.revision)))
        if isinstance(op.said, Heard)
        else op
        for op in ops
    ]
    watched = sorted(swapped.record.watched, key=lambda version: version.revision)
    recorded = [version.revision for version in watched]
    return replace(swapped, ops=ops, record=replace(swapped.record, watched=watched, recorded=recorded))


@found_by("order")
def order_against_time(history: History) -> History:
    """Of two writes of different keys the later one has the earlier revision."""
    for one, first in single_writes(history):
        for other, second in single_writes(history):
            if first.key != second.key and one.returned < other.called:
                return _swapped(history, first.revision, second.revision)
    raise LookupError


@found_by("record")
def one_revision_for_two_writes(history: History) -> History:
    one, other = history.record.watched[3:5]
    return kept(history, lambda each: [replace(each, revision=one.revision)] if each == other else [each])


@found_by("record")
def event_without_a_change(history: History) -> History:
    recorded = [*history.record.recorded, history.record.recorded[-1] + 1]
    return replace(history, record=replace(history.record, recorded=recorded))


@found_by("record")
def change_without_an_event(history: History) -> History:
    return replace(history, record=replace(history.record, recorded=history.record.recorded[:-1]))


@found_by("record")
def versions_begin_again(history: History) -> History:
    """A key that was deleted counts its versions from one."""
    gone = next(version for version in history.record.watched if version.value is None)

    def changed(each: Version) -> list[Version]:
        later = each.key == gone.key and each.version > gone.version
        return [replace(each, version=each.version - gone.version)] if later else [each]

    return kept(history, changed)


# What is watched


def _heard(history: History, least: int) -> Op:
    return next(op for op in answered(history, Watch, Heard) if len(op.said.versions) >= least)


@found_by("answers")
def watch_out_of_order(history: History) -> History:
    op = _heard(history, 2)
    one, other, *rest = op.said.versions
    return told(history, op, replace(op.said, versions=[other, one, *rest]))


@found_by("answers")
def watch_tells_twice(history: History) -> History:
    op = _heard(history, 1)
    return told(history, op, replace(op.said, versions=[op.said.versions[0], *op.said.versions]))


@found_by("answers")
def watch_leaves_a_gap(history: History) -> History:
    op = _heard(history, 2)
    return told(history, op, replace(op.said, versions=op.said.versions[1:]))


@found_by("answers")
def watch_repeats_after_its_cursor(history: History) -> History:
    """A watch that goes on after its connection was lost tells again what it told last."""
    one, other = [op for op in answered(history, Watch, Heard) if op.client == "w0" and op.said.versions][:2]
    return told(history, other, replace(other.said, versions=[one.said.versions[-1], *other.said.versions]))


@found_by("order")
def watch_lags_behind(history: History) -> History:
    """A watch knows nothing of a write that was acknowledged before it asked."""
    for op in answered(history, Watch, Heard):
        for writer, version in single_writes(history):
            if writer.returned < op.called and op.asked.after < version.revision and op.said.versions:
                return told(history, op, Heard([], op.asked.after))
    raise LookupError


# What is handed over


def _claims(history: History) -> list[Op]:
    return [op for op in answered(history, Claim, Claimed) if op.said.handoff]


@found_by("claims")
def claimed_by_two(history: History) -> History:
    """Two callers are given one handoff at one epoch."""
    one = _claims(history)[0]
    other = next(op for op in answered(history, Claim, Claimed) if op.client != one.client)
    return told(history, other, one.said)


@found_by("claims")
def claim_at_an_old_epoch(history: History) -> History:
    """A claim does not raise the epoch."""
    moves = history.record.moves
    again = next(move for move in moves if move.act == "claim" and move.epoch > 1)
    return moved(history, [replace(move, epoch=move.epoch - 1) if move is again else move for move in moves])


@found_by("claims")
def claimed_while_held(history: History) -> History:
    """A handoff is claimed again before it came back."""
    moves = history.record.moves
    back = next(move for move in moves if move.act == "release")
    return moved(history, [move for move in moves if move is not back])


@found_by("claims")
def claimed_after_its_end(history: History) -> History:
    ended = next(move for move in history.record.moves if move.act == "complete")
    last = history.record.moves[-1].revision + 1
    claim = replace(ended, revision=last, act="claim", epoch=ended.epoch + 1)
    op = history.ops[-1]
    late = Op("late", op.called + 1, Claim(), Claimed(claim.handoff, claim.epoch), op.called + 2)
    return replace(moved(history, [*history.record.moves, claim]), ops=[*history.ops, late])


@found_by("claims")
def ended_under_a_stale_epoch(history: History) -> History:
    """A holder whose claim was over is told that it has completed, and has."""
    stale = next(answered(history, End, Refused))
    at = next(move.revision for move in history.record.moves if move.handoff == stale.asked.handoff) + 1
    move = Move(at, stale.asked.how, stale.asked.handoff, stale.asked.epoch, f"agent:{stale.client}")
    moves = sorted([*history.record.moves, move], key=lambda each: each.revision)
    return told(moved(history, moves), stale, Ended())


@found_by("claims")
def ended_and_not_kept(history: History) -> History:
    """An end is acknowledged, and the trail knows nothing of it."""
    ended = next(answered(history, End, Ended))
    place = (ended.asked.how, ended.asked.handoff, ended.asked.epoch)
    moves = [move for move in history.record.moves if (move.act, move.handoff, move.epoch) != place]
    return moved(history, moves)


@found_by("order")
def stale_refusal_of_a_holder(history: History) -> History:
    """Who holds it still is refused as if it did not."""
    for claim in _claims(history):
        place = claim.said.handoff, claim.said.epoch
        later = [move for move in history.record.moves if move.handoff == place[0] and move.epoch >= place[1]]
        if len(later) == 1:
            asked = End("complete", *place)
            op = Op(claim.client, claim.returned + 1, asked, Refused("lease_lost"), claim.returned + 2)
            return replace(history, ops=[*history.ops, op])
    raise LookupError


@found_by("order")
def nothing_offered_though_there_is(history: History) -> History:
    """A claim is told that nothing is offered while something waits all the time."""
    waiting = {move.handoff for move in history.record.moves}
    waiting -= {move.handoff for move in history.record.moves if move.act == "claim"}
    hand = next(op for op in answered(history, Hand, Handed) if op.said.handoff in waiting)
    op = Op("late", hand.returned + 1, Claim(), Claimed(), hand.returned + 2)
    return replace(history, ops=[*history.ops, op])


@found_by("claims")
def out_of_turn(history: History) -> History:
    """What was claimed last was of a higher priority than what was claimed before it."""
    moves = history.record.moves
    for late in reversed([move for move in moves if move.act == "claim" and move.epoch == 1]):
        born = next(move for move in moves if move.act == "create" and move.handoff == late.handoff)
        between = [move for move in moves if born.revision < move.revision < late.revision and move.act == "claim"]
        hand = next((op for op in answered(history, Hand, Handed) if op.said.handoff == late.handoff), None)
        if between and hand:
            ops = [replace(op, asked=Hand(9)) if op is hand else op for op in history.ops]
            return replace(history, ops=ops)
    raise LookupError
