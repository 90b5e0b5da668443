"""Many who come first at once are one worker: the heart beats for it, and what it holds stays held."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agentmemo.testing import ManualPlane

TOGETHER = 4


@pytest.fixture
def plane(tmp_path):
    made = ManualPlane(tmp_path / "plane.db")
    yield made
    made.close()


def check_one_worker_holds(plane, agent, runs):
    assert len({run.worker for run in runs}) == 1
    assert sorted(agent._plane.heart().holds()) == sorted((run.id, 1) for run in runs)
    assert [link.workers for link in plane._links] == [[runs[0].worker]]


def test_threads_that_come_first_at_once_are_one_worker(plane):
    agent, ready, opened = plane.connect("agent"), threading.Barrier(TOGETHER), []

    def open_one(number):
        ready.wait()
        opened.append(agent.run("job", key=str(number)).__enter__().record)

    threads = [threading.Thread(target=open_one, args=(number,)) for number in range(TOGETHER)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_one_worker_holds(plane, agent, opened)


def test_tasks_that_come_first_at_once_are_one_worker(plane):
    async def main():
        agent = await plane.connect_async("agent")
        opened = await asyncio.gather(*(agent.run("job", key=str(number)).__aenter__() for number in range(TOGETHER)))
        check_one_worker_holds(plane, agent, [run.record for run in opened])
        await agent.close()

    asyncio.run(main())
