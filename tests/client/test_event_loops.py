"""A plane in this process, and event loops that end before it does."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

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
