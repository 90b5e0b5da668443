"""Schemas and expressions of others: whatever they and the results are, the plane answers, and nobody else waits."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agentmemo import InvalidInput
from agentmemo.engine import judge_process
from agentmemo.engine.judge import Judge
from agentmemo.model.handoffs import Acceptance


@pytest.fixture
def judge():
    made = Judge()
    yield made
    made.close()


def doubling(depth):
    """A schema that takes twice the time for each level."""
    levels = {
        f"l{level}": {"anyOf": [{"$ref": f"#/$defs/l{level + 1}"}, {"$ref": f"#/$defs/l{level + 1}"}]}
        for level in range(depth)
    }
    return {"$ref": "#/$defs/l0", "$defs": {**levels, f"l{depth}": {"type": "string"}}}


@pytest.mark.parametrize(
    ("acceptance", "result"),
    [
        (Acceptance(schema=doubling(40)), 1),
        (Acceptance(checks=["size(result.map(x, result)) > 0"]), ["a"] * 20_000),
        (Acceptance(checks=["size(" + "+".join(["result"] * 140) + ") > 0"]), "a" * 30_000_000),
    ],
)
def test_what_takes_too_much_is_not_accepted_and_the_next_one_is_judged(judge, acceptance, result):
    (problem,) = judge.problems(acceptance, result, None)
    assert "takes more than" in problem or "MemoryError" in problem
    assert judge.problems(Acceptance(checks=["result > 1"]), 2, None) == []


def test_results_and_definitions_are_judged_as_they_are(judge):
    wanted = Acceptance(schema={"type": "object", "required": ["n"]}, checks=["result.n >= context.least"])
    judge.check_definition(wanted)
    assert judge.problems(wanted, {"n": 2}, {"least": 2}) == []
    assert len(judge.problems(wanted, {"m": 2}, {"least": 2})) == 2
    for bad in (Acceptance(schema={"type": "nonsense"}), Acceptance(checks=["result >="])):
        with pytest.raises(InvalidInput) as refused:
            judge.check_definition(bad)
        assert refused.value.next_call


def test_a_schema_that_goes_round_and_a_result_that_is_deep(judge):
    deep = 1
    for _ in range(190):
        deep = {"a": deep}
    assert judge.problems(Acceptance(schema={"$ref": "#"}), deep, None) == []
    assert judge.problems(Acceptance(schema={"properties": {"a": {"$ref": "#"}}}), deep, None) == []


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jsonschema_rs", None)
    judge_process.acceptance._validator.cache_clear()
    answer = judge_process.judge(judge_process.Question(b'{"schema":{}}', b"1", b"null", defines=True))
    assert answer.error["code"] == "unavailable"
    assert "pip install" in answer.error["next_call"]


def test_the_plane_goes_on_while_a_result_is_judged(plane):
    """Also for what is sent together, from an event loop: other coroutines have their turn."""
    task = plane.connect("lead").handoff.create(to_agent="receiver", acceptance={"checks": ["result > 1"]})
    begun, go_on = threading.Event(), threading.Event()

    def problems(*_):
        begun.set()
        assert go_on.wait(60)
        return []

    plane.engine.judge.problems = problems

    async def main():
        receiver = await plane.connect_async("receiver")

        async def together():
            async with receiver.transaction() as buffer:
                buffer.handoff.complete(task.id, 2)

        working = asyncio.ensure_future(together())
        assert await asyncio.to_thread(begun.wait, 60)
        assert (await receiver.state.set("n", "k", 1)).version == 1
        go_on.set()
        await working
        await receiver.close()

    asyncio.run(main())
    assert plane.connect("lead").handoff.get(task.id).state == "completed"


def test_nothing_is_judged_inside_the_transaction(plane, monkeypatch):
    """Not for a shortened handle, and not for what is created and completed together."""
    lead, receiver = plane.connect("lead"), plane.connect("receiver")
    task = lead.handoff.create(to_agent="receiver", acceptance={"checks": ["result > 1"]})
    writer = []
    apply = plane.engine._apply

    def applied(*given):
        writer.append(threading.get_ident())
        return apply(*given)

    judged = []
    problems = plane.engine.judge.problems
    plane.engine.judge.problems = lambda *given: judged.append(threading.get_ident()) or problems(*given)
    monkeypatch.setattr(plane.engine, "_apply", applied)
    with pytest.raises(InvalidInput, match="not what was asked for"):
        receiver.handoff.complete(task.id[:16], 1)
    assert receiver.handoff.complete(task.id[:16], 2).state == "completed"
    with pytest.raises(InvalidInput, match="not what was asked for"), lead.transaction() as together:
        together.handoff.complete(together.handoff.create(to_agent="lead", acceptance={"checks": ["result > 1"]}), 1)
    assert len(judged) == 3
    assert not set(judged) & set(writer)
