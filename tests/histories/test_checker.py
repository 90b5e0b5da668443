"""The checker is tested: what is right it accepts, and each fault that is planted it finds."""

from __future__ import annotations

import itertools
import random

import pytest
from clients import Log, read_log
from history import FOR_EVER, Change, Found, History, Op, Read, Refused, Version, Write, Wrote, token_of
from lies import LIES, Lying
from msgspec.structs import replace
from registers import is_linearizable, smallest, steps_of
from verdict import CHECKS, check
from wrong import FAULTS


def test_what_a_store_did_is_accepted(recorded):
    assert check(recorded) == []
    assert sum(op.is_open for op in recorded.ops) > 3


def test_what_was_written_down_is_read_again(recorded, tmp_path):
    log, path = Log(str(tmp_path / "log")), tmp_path / "history.json"
    for each in recorded.ops:
        log.note(each)
    log.close()
    replace(recorded, ops=read_log(str(tmp_path / "log"))).save(path)
    assert History.load(path) == recorded


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(recorded, name):
    plant, checks = FAULTS[name]
    planted = plant(recorded)
    assert [each for each in checks if not CHECKS[each](planted)] == []


@pytest.mark.parametrize("name", ["no lie", *LIES])
def test_a_store_that_lies_is_found_out(tmp_path, name):
    history = Lying(tmp_path, LIES.get(name)).record("2", 4, 40, harm=False)
    assert bool(check(history)) == (name in LIES)


@pytest.mark.parametrize(("name", "calls"), [("stale_read", 2), ("lost_update", 2), ("read_of_the_future", 2)])
def test_the_smallest_part_is_told(recorded, name, calls):
    plant, _ = FAULTS[name]
    (fault,) = CHECKS["keys"](plant(recorded))
    assert len(fault.ops) == calls
    assert str(fault).count("\n") == calls


def test_a_part_is_wrong_by_itself(recorded):
    planted = FAULTS["stale_read"][0](recorded)
    (fault,) = CHECKS["keys"](planted)
    steps = steps_of(planted.ops, fault.ops[0].said.versions[0].key)
    assert {id(step.op) for step in smallest(steps)} == {id(op) for op in fault.ops}


def op(called, returned, asked, said=None):
    return Op("c", called, asked, said, returned if said is not None else FOR_EVER)


def put(called, returned, token, version=None, expect=None):
    said = Wrote([Version("k", version, 0, token)]) if version else None
    return op(called, returned, Write([Change("k", token, expect)]), said)


def got(called, returned, token=None, version=None):
    return op(called, returned, Read("k"), Found([Version("k", version, 0, token)] if version else []))


RIGHT = {
    "one after the other": [put(0, 1, "a", 1), got(2, 3, "a", 1)],
    "at once, in either order": [put(0, 9, "a", 2), put(0, 9, "b", 1), got(10, 11, "a", 2)],
    "a read beside a write finds the old": [put(0, 1, "a", 1), put(2, 9, "b", 2), got(3, 4, "a", 1)],
    "a write without answer happens later": [put(0, 0, "a"), got(1, 2), got(3, 4, "a", 1)],
    "a write without answer never happens": [put(0, 0, "a"), got(1, 2), put(3, 4, "b", 1), got(5, 6, "b", 1)],
    "of two without answer one happens": [put(0, 0, "a"), put(0, 0, "b"), put(1, 2, "c", 2), got(3, 4, "c", 2)],
}
WRONG = {
    "nothing is found of what was written": [put(0, 1, "a", 1), got(2, 3)],
    "a value goes back": [put(0, 1, "a", 1), put(2, 9, "b", 2), got(3, 4, "b", 2), got(5, 6, "a", 1)],
    "one that never wrote is read": [got(0, 1, "a", 1)],
    "a write without answer happens before it": [got(0, 1, "a", 1), put(2, 2, "a")],
    "a version is skipped": [put(0, 1, "a", 1), put(2, 3, "b", 3)],
    "both of two that expected absence": [put(0, 9, "a", 1, 0), put(0, 9, "b", 1, 0)],
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_can_have_happened(name):
    assert is_linearizable(steps_of(RIGHT[name], "k"))


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_have_happened(name):
    steps = steps_of(WRONG[name], "k")
    assert not is_linearizable(steps)
    assert not is_linearizable(smallest(steps))


def test_the_search_agrees_with_trying_every_order():
    chance = random.Random(7)
    answers = {True: 0, False: 0}
    for _ in range(500):
        ops = [_any_op(chance, f"t{number}") for number in range(chance.randint(1, 4))]
        expected = any(_is_an_order(order) for order in _orders(ops))
        assert is_linearizable(steps_of(ops, "k")) == expected, ops
        answers[expected] += 1
    assert min(answers.values()) > 50


def _any_op(chance, token):
    called = chance.randint(0, 9)
    returned = called + chance.randint(1, 20)
    kind, version = chance.randint(0, 9), chance.randint(1, 2)
    expect = chance.choice([None, None, version - 1])
    if kind < 3:
        return put(called, returned, token, version, expect)
    if kind == 3:
        return put(called, returned, token, None, expect)
    if kind == 4:
        return op(
            called, returned, Write([Change("k", token, version)]), Refused("version_conflict", chance.randint(0, 2))
        )
    if kind == 5:
        return op(called, returned, Write([Change("k", None)]), Wrote([Version("k", version, 0)]))
    return got(called, returned, f"t{chance.randint(0, 1)}", version) if kind < 9 else got(called, returned)


def _orders(ops):
    """Every order of those that were answered and any of the others, each within its time."""
    sure = [each for each in ops if not each.is_open]
    unsure = [each for each in ops if each.is_open]
    for count in range(len(unsure) + 1):
        for some in itertools.combinations(unsure, count):
            for order in itertools.permutations([*sure, *some]):
                if all(one.called <= other.returned for one, other in itertools.combinations(order, 2)):
                    yield order


def _is_an_order(order):
    version, value = 0, None
    for each in order:
        now = version if value is not None else 0
        if isinstance(each.asked, Read):
            seen = each.said.versions[0] if each.said.versions else None
            if (seen is None) != (value is None) or (seen and (seen.version, seen.value) != (version, value)):
                return False
            continue
        change = each.asked.changes[0]
        if isinstance(each.said, Refused):
            if each.said.current != now or change.expect == now:
                return False
            continue
        allowed = change.expect in {None, now} and (change.value is not None or value is not None)
        if not allowed or (each.said and each.said.versions[0].version != version + 1):
            return False
        version, value = version + 1, token_of(change.value)
    return True
