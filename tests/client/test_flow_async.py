"""What a step's function may be on an event loop, and what its failure means under a timeout."""

from __future__ import annotations

import asyncio

import pytest

from agentmemo.testing import ManualPlane

LONG = 60


@pytest.fixture
def plane(tmp_path):
    made = ManualPlane(tmp_path / "plane.db")
    yield made
    made.close()


def in_a_run(plane, work):
    async def main():
        agent = await plane.connect_async("agent")
        async with agent.run("job", key="1") as run:
            await work(run)
        found = [(step.name, step.state) for step in await agent.runs.steps(run.id)]
        await agent.close()
        return found

    return asyncio.run(main())


def test_a_function_that_returns_an_awaitable_may_have_a_timeout(plane):
    async def fetch(number):
        return number

    async def work(run):
        assert await run.step("fetch", lambda: fetch(5), timeout_seconds=LONG) == 5

    assert in_a_run(plane, work) == [("fetch", "completed")]


def test_a_timeout_of_the_functions_own_is_its_failure_and_no_doubt(plane):
    def late():
        raise TimeoutError("the socket's")

    async def late_too():
        raise TimeoutError("the socket's")

    async def work(run):
        for name, function in (("thread", late), ("loop", late_too)):
            with pytest.raises(TimeoutError, match="the socket's"):
                await run.step(name, function, effect="write", timeout_seconds=LONG)

    assert in_a_run(plane, work) == [("thread", "failed"), ("loop", "failed")]
