"""A plane in this process, and event loops that end before it does."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from agentmemo.api.operations import BY_NAME
from agentmemo.embedded import LocalPlane, local_caller
from agentmemo.embedded_async import _Answers, _until_worth_asking, connection_for_async, in_line
from agentmemo.engine.waiting import place_of
from agentmemo.model.handoffs import ClaimHandoffs
from agentmemo.model.state import WatchNamespace
from agentmemo.server.waiting import Hub
from agentmemo.settings import Settings
from agentmemo.testing import ManualClock

WAIT = 60


def test_a_loop_that_was_closed_before_its_answer_came_is_let_go(tmp_path):
    plane = LocalPlane(str(tmp_path / "plane.db"), ManualClock(), Settings(), upkeep=False)
    begun, go = threading.Event(), threading.Event()

    def hold(_tx):
        begun.set()
        assert go.wait(WAIT)

    async def leave():
        agent = connection_for_async(plane, local_caller("ana", None, "default", "python"))
        await agent.state.set("ns", "k", 1)
        holder.start()
        assert begun.wait(WAIT)
        asking = asyncio.ensure_future(agent.state.set("ns", "k", 2))
        await asyncio.sleep(0)
        asking.cancel()
        return weakref.ref(asyncio.get_running_loop())

    holder = threading.Thread(target=plane.engine.database.write, args=[hold])
    loop = asyncio.run(leave())
    go.set()
    holder.join(WAIT)
    for _ in range(2):  # the writer keeps its last batch until it has another
        plane.engine.database.write(lambda _tx: None)
    gc.collect()
    assert loop() is None
    plane.close()


def test_an_answer_that_cannot_be_brought_does_not_delay_the_others():
    async def scenario():
        loop, failures = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _loop, context: failures.append(type(context["exception"])))
        answers = _Answers(loop)
        odd, ended, plain = loop.create_future(), loop.create_future(), loop.create_future()
        odd.set_result("somebody else's")
        for future, error in ((odd, None), (ended, StopIteration()), (plain, None)):
            answers.to(future)(1, error)
        async with asyncio.timeout(WAIT):
            with pytest.raises(RuntimeError, match="StopIteration"):
                await ended
            assert await plain == 1
        assert failures == [asyncio.InvalidStateError]

    asyncio.run(scenario())


def test_who_is_cancelled_while_news_come_is_cancelled(plane):
    async def scenario():
        caller, request = local_caller("ana", None, "default", "python"), WatchNamespace(namespace="ns")
        given = plane.engine, BY_NAME["state.watch"], caller, request
        wake, end = asyncio.Event(), asyncio.get_running_loop().time() + WAIT
        task = asyncio.ensure_future(_until_worth_asking(*given, wake, end))
        await asyncio.sleep(0)
        wake.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_who_is_cancelled_while_its_turn_comes_leaves_it_to_the_next(plane):
    async def scenario():
        caller, request = local_caller("ana", None, "default", "python"), ClaimHandoffs()
        line = plane.engine.lines.of_loop(place_of(BY_NAME["handoff.claim"], caller, request))

        async def stand():
            end = asyncio.get_running_loop().time() + WAIT
            async with in_line(plane.engine, BY_NAME["handoff.claim"], caller, request, end):
                pass

        async with line:
            cancelled, following = asyncio.ensure_future(stand()), asyncio.ensure_future(stand())
            await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await following

    asyncio.run(scenario())


def test_a_stream_that_is_given_up_while_news_come_ends(plane):
    """It would go on for nobody, and keep its place among those who may wait."""

    async def scenario():
        hub = Hub(plane.engine.database)
        with hub.topic() as topic:
            task = asyncio.ensure_future(topic.changed_since(topic.generation, WAIT))
            await asyncio.sleep(0)
            topic.tell()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(scenario())
