"""A run that goes on reads what it did before by the page, in whatever order its code comes to it again."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from agentmemo.testing import ManualPlane

MANY = 450


@pytest.fixture
def plane(tmp_path):
    plane = ManualPlane(tmp_path / "s.db")
    yield plane
    plane.close()


def begun(plane, keys, *, sized=0, pause=False):
    """A run with these steps, given back."""
    agent = plane.connect(agent="a")
    with pytest.raises(ValueError, match="enough"), agent.run("r", key="1") as run:
        for key in keys:
            run.step("s", lambda key=key: f"{key}{'x' * sized}", key=str(key))
            if pause:
                run.sleep(1)
        raise ValueError("enough")
    return agent


def passed(plane, keys):
    """Which operations it took to come through these steps again; none of their functions runs."""
    agent = plane.connect(agent="a")
    asked = Counter()
    call = agent._plane.transport.call

    def counted(operation, request, **given):
        asked[operation.name] += 1
        return call(operation, request, **given)

    agent._plane.transport.call = counted
    with agent.run("r", key="1") as run:
        for key in keys:
            assert run.step("s", pytest.fail, key=str(key), on_mismatch="reuse").startswith(f"{key}")
        assert run.step("s", lambda: "new", key="new") == "new"
    return asked


def test_it_reads_page_by_page(plane):
    begun(plane, range(MANY))
    asked = passed(plane, range(MANY))
    assert asked["step.list"] == 3
    assert asked["step.find"] == 0


@pytest.mark.parametrize("order", [lambda keys: keys[::-1], lambda keys: keys[1::2] + keys[::2]], ids=["back", "odd"])
def test_another_order_finds_all_the_same(plane, order):
    begun(plane, range(MANY))
    asked = passed(plane, order([*range(MANY)]))
    assert asked["step.list"] <= 3
    assert asked["step.find"] < MANY


def test_large_results_make_shorter_pages(plane):
    agent = begun(plane, range(5), sized=400_000)
    (run,) = agent.runs.list()
    page = agent.runs.steps(run.id, state="completed")
    assert [len(step.result) for step in page.items] == [400_001, 400_001]
    assert page.cursor
    assert passed(plane, range(5))["step.list"] == 3


def test_one_result_larger_than_a_page_is_a_page(plane):
    begun(plane, range(2), sized=1_500_000)
    assert passed(plane, range(2))["step.list"] == 2


def test_waits_do_not_stop_it(plane):
    begun(plane, range(3), pause=True)
    assert passed(plane, range(3))["step.find"] == 1, "the new step, as the waits leave room for one"


@pytest.mark.parametrize("first", ["step.list", "step.find"])
def test_steps_beside_each_other_do_not_stop_it(plane, first):
    """One of them reads the page, the others ask for their own; what the page tells of these is never asked for."""
    begun(plane, range(MANY))

    async def through():
        agent = await plane.connect_async(agent="a")
        asked, answered, call = Counter(), asyncio.Event(), agent._plane.transport.call

        async def counted(operation, request, **given):
            asked[operation.name] += 1
            answer = await call(operation, request, **given)
            if operation.name == first:
                answered.set()
            elif operation.name in ("step.list", "step.find"):
                await answered.wait()
            return answer

        agent._plane.transport.call = counted
        async with agent.run("r", key="1") as run:
            await asyncio.gather(*(run.step("s", pytest.fail, key=str(key), on_mismatch="reuse") for key in range(20)))
            for key in range(20, MANY):
                await run.step("s", pytest.fail, key=str(key), on_mismatch="reuse")
        await agent.close()
        return asked

    asked = asyncio.run(through())
    assert (asked["step.list"], asked["step.find"]) == (3, 19)
