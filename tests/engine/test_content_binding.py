"""An approval is for exactly one call: whatever changes in it is refused, what only looks different never is."""

from __future__ import annotations

import json
import random

import pytest

from agentmemo import Error, PermissionDenied
from agentmemo.model.escalation_rules import action_digest
from agentmemo.testing import ManualPlane

SEED = 20_261_128
CALLS = 500
# So many of them go all the way through a plane; the others only through what it compares.
ON_A_PLANE = 25
TEXTS = ("main", "Main", "e\u0301", "\u00e9", "", " ", "1", "true", "null", "\u212b", "a/b", "\u200b")


def value(chance, depth=0):
    kind = chance.randrange(8 if depth < 3 else 6)
    if kind < 6:
        number = chance.randrange(-5, 100)
        return (number, number / 4, chance.choice(TEXTS), chance.random() < 0.5, None, 10**20 + number)[kind]
    if kind == 6:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {f"{chance.choice(TEXTS)}{n}": value(chance, depth + 1) for n in range(chance.randrange(4))}


def call(chance):
    arguments = {f"{chance.choice(TEXTS)}{n}": value(chance) for n in range(chance.randrange(1, 5))}
    return chance.choice(("deploy", "refund", "d\u00e9ploy")), arguments, chance.choice(("", "abc", "v1"))


def other_scalars(found):
    """What somebody may take for the same."""
    if isinstance(found, bool):
        return [not found, int(found), str(found).lower()]
    if found is None:
        return ["null", 0, "", False, {}]
    if isinstance(found, int):
        return [found + 1, str(found), -found - 1, [found], *([float(found)] if abs(found) < 2**53 else [])]
    if isinstance(found, float):
        return [found + 0.5, str(found), [found], *([int(found)] if found.is_integer() else [])]
    return [found + "\u0301", found + " ", f" {found}", [found], {"": found}, found + "\u200b", None]


def mutations(found):
    """Each value that differs in one place, however deep: in type, form, order or presence."""
    if isinstance(found, dict):
        yield from [[found], list(found), json.dumps(found), found | {"added": None}]
        for key, inner in found.items():
            rest = {name: item for name, item in found.items() if name != key}
            yield rest
            if f"{key} " not in found:
                yield rest | {f"{key} ": inner}
            yield from (found | {key: changed} for changed in mutations(inner))
    elif isinstance(found, list):
        yield from [[*found, None], [found], {str(index): item for index, item in enumerate(found)}]
        if found != found[::-1] or [type(item) for item in found] != [type(item) for item in found[::-1]]:
            yield found[::-1]
        for index, inner in enumerate(found):
            yield found[:index] + found[index + 1 :]
            yield from ([*found[:index], changed, *found[index + 1 :]] for changed in mutations(inner))
    else:
        yield from other_scalars(found)


def text_of(found):
    """Exactly what a value is in JSON, with its keys in order."""
    return json.dumps(found, sort_keys=True)


def changed_calls(tool, arguments, revision):
    yield from ((name, arguments, revision) for name in (tool + " ", tool.upper(), tool[:-1]))
    yield from ((tool, arguments, other) for other in (revision + "1", f" {revision}"))
    for changed in mutations(arguments):
        if isinstance(changed, dict) and text_of(changed) == text_of(arguments):
            continue
        yield tool, changed, revision


def reordered(found, chance):
    """The same, with the keys of each object in another order."""
    if isinstance(found, dict):
        items = list(found.items())
        chance.shuffle(items)
        return {key: reordered(inner, chance) for key, inner in items}
    return [reordered(inner, chance) for inner in found] if isinstance(found, list) else found


def same_calls(tool, arguments, revision, chance):
    for indent in (None, 0, 4):
        yield tool, json.loads(json.dumps(reordered(arguments, chance), indent=indent)), revision
    yield tool, json.loads(json.dumps(arguments, separators=(" , ", " : "), ensure_ascii=False)), revision


def test_every_change_of_500_calls_changes_what_was_approved():
    chance = random.Random(SEED)
    refused = 0
    for tool, arguments, revision in (call(chance) for _ in range(CALLS)):
        approved = action_digest(tool, arguments, revision)
        for changed in changed_calls(tool, arguments, revision):
            assert action_digest(*changed) != approved, (changed, arguments)
            refused += 1
        assert {action_digest(*same) for same in same_calls(tool, arguments, revision, chance)} == {approved}
    assert refused > 20 * CALLS


@pytest.fixture
def plane(tmp_path):
    made = ManualPlane(tmp_path / "plane.db")
    yield made
    made.close()


def test_a_plane_refuses_every_change_and_no_other_form(plane):
    agent, ana = plane.connect("worker"), plane.connect(person="ana")
    chance = random.Random(SEED)
    for number in range(ON_A_PLANE):
        tool, arguments, revision = call(chance)
        asked = approved(agent, ana, tool, arguments, revision, number)
        changes = list(changed_calls(tool, arguments, revision))
        for other in chance.sample(changes, min(15, len(changes))):
            with pytest.raises(PermissionDenied, match="not the action that was approved"):
                agent.escalations.redeem(asked, other[0], other[1], revision=other[2])
        for again in same_calls(tool, arguments, revision, chance):
            agent.escalations.redeem(asked, again[0], again[1], revision=again[2])
        assert agent.escalations.get(asked).uses == 1000 - 4


def approved(agent, ana, tool, arguments, revision, number):
    decided = agent.guards.check(tool, arguments, revision=revision)
    action = {"tool": tool, "arguments": arguments, "revision": revision}
    asked = agent.escalations.create(
        severity="low", reason=f"Call {number}?", context="x", action=action, guard=decided.revision, wait=False
    )
    ana.inbox.answer(asked.id, "approve", scope="run", seen=decided.digest)
    return asked.id


def test_what_json_cannot_say_is_approved_by_nobody(plane):
    agent = plane.connect("worker")
    for wrong in (float("nan"), float("-inf"), {1: 2}, "\ud800", object()):
        with pytest.raises(Error):
            action_digest("deploy", {"x": wrong}, "")
        with pytest.raises(Error):
            agent.guard("deploy", {"x": wrong})
