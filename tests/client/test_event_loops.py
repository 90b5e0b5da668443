"""A plane in this process, and event loops that end before it does."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from types import SimpleNamespace

import pytest

from agentmemo import embedded_async
from agentmemo.api.operations import BY_NAME
from agentmemo.embedded import LocalPlane, local_caller
from agentmemo.embedded_async import connection_for_async
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


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("what", ["a commit", "its turn"])
def test_who_is_cancelled_just_as_what_it_waits_for_comes_is_cancelled(what, turns):
    async def for_a_commit(wake, end):
        await embedded_async._until_worth_asking(None, BY_NAME["state.watch"], None, None, wake, end)

    async def for_its_turn(line, end):
        engine = SimpleNamespace(lines=SimpleNamespace(of_loop=lambda _: line))
        async with embedded_async.in_line(engine, BY_NAME["task.claim"], local_caller("a", None, "w", "d"), None, end):
            pass

    async def scenario():
        line, wake = asyncio.Lock(), asyncio.Event()
        await line.acquire()
        end = asyncio.get_running_loop().time() + WAIT
        waiting = asyncio.ensure_future(for_a_commit(wake, end) if what == "a commit" else for_its_turn(line, end))
        for _ in range(4):
            await asyncio.sleep(0)
        wake.set()
        line.release()
        for _ in range(turns):
            await asyncio.sleep(0)
        if waiting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            waiting.result()
        assert not line.locked()

    asyncio.run(scenario())
