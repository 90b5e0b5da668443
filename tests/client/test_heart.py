"""What a connection's heart beats for: claims, each from when it is made until it is over."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from agentmemo import current_step
from agentmemo.api.operations import BY_NAME
from agentmemo.client.heart import Heart
from agentmemo.errors import LeaseLost
from agentmemo.model.runs import HeartbeatAnswer
from agentmemo.testing import ManualPlane


@pytest.fixture
def plane(tmp_path):
    made = ManualPlane(tmp_path / "plane.db")
    yield made
    made.close()


def held(agent):
    return agent._plane.heart().holds()


def test_an_old_claim_on_a_handoff_that_ends_leaves_the_new_one_alive(plane):
    agent, elsewhere = plane.connect("agent"), plane.connect("agent")
    task = plane.connect("sender").handoff.create(to_agent="agent")
    agent.handoff.claim()
    elsewhere.handoff.release(task.id, "by hand", epoch=1, attempted=False)
    agent.handoff.claim()
    with pytest.raises(LeaseLost):
        agent.handoff.complete(task.id, 1, epoch=1)
    assert held(agent) == [(task.id, 2)]
    assert agent.handoff.complete(task.id, 2).state == "completed"
    assert held(agent) == []


def test_an_old_claim_on_a_run_that_ends_leaves_the_new_one_alive(plane):
    agent, beside = plane.connect("agent"), contextvars.copy_context()
    first = agent.run("job", key="1").__enter__()
    plane.pause(agent)
    plane.advance(plane.settings.lease_seconds + 1)
    second = beside.run(agent.run("job", key="1").__enter__)
    with pytest.raises(LeaseLost):
        first.__exit__(None, None, None)
    assert held(agent) == [(second.id, 2)]
    beside.run(second.__exit__, None, None, None)
    assert held(agent) == []


@pytest.mark.parametrize("way", ["complete", "fail", "release"])
def test_what_ended_in_a_transaction_is_let_go_once_it_has_committed(plane, way):
    agent = plane.connect("agent")
    task = plane.connect("sender").handoff.create(to_agent="agent")
    agent.handoff.claim()
    with agent.transaction() as together:
        getattr(together.handoff, way)(task.id, "done")
        assert held(agent) == [(task.id, 1)]
    assert held(agent) == []
    assert agent._plane.handoffs == {}


def test_what_a_step_ended_is_let_go_and_not_completed_again(plane):
    agent, sender = plane.connect("agent"), plane.connect("sender")
    task = sender.handoff.create(to_agent="agent")
    kept = []

    def work(handoff, run):
        run.step("end", lambda: current_step().handoff.complete(handoff.id, "in the step"))
        kept.extend(held(agent))
        return "by the handler"

    agent.handoff.work(work, until_idle=True)
    assert sender.handoff.result(task.id).result == "in the step"
    assert [handle for handle, _ in kept if handle == task.id] == []
    assert held(agent) == []


class _Told:
    """Answers a heartbeat that everything named is lost; a claim is made while it is under way."""

    def __init__(self):
        self.heart = None

    def call(self, operation, request, **_):
        assert operation is BY_NAME["worker.heartbeat"]
        self.heart.hold("hof_1", 2)
        return HeartbeatAnswer(lost=request.holds)


def test_what_a_beat_was_told_is_lost_is_named_no_more_unless_it_was_claimed_since():
    told = _Told()
    told.heart = heart = Heart(told, "wrk_1", lease_seconds=3600.0)
    for handle in ("hof_1", "run_1"):
        heart.hold(handle, 1)
    heart._beat_for(dict.fromkeys(heart.holds(), ""))
    assert heart.holds() == [("hof_1", 2)]
    heart.stop()


def test_a_heart_goes_on_after_a_beat_that_failed_in_an_unknown_way():
    beaten, again = [], threading.Event()

    class Transport:
        def call(self, *_, **__):
            beaten.append(1)
            if len(beaten) == 1:
                raise RuntimeError("as no plane answers")
            again.set()
            return HeartbeatAnswer()

    heart = Heart(Transport(), "wrk_0000000000000000", 0.003)
    heart.hold("run_0000000000000000", 1)
    assert again.wait(60)
    heart.stop()


def test_a_handoff_whose_worker_is_cancelled_comes_back_and_counts_no_attempt(plane):
    async def main():
        agent = await plane.connect_async("agent")
        task = await agent.handoff.create(to_agent="agent")
        begun = asyncio.Event()

        async def work(_task):
            begun.set()
            await asyncio.Event().wait()

        working = asyncio.create_task(agent.handoff.work(work, until_idle=True))
        await begun.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        back = await agent.handoff.get(task.id)
        assert (back.state, back.attempt, agent._plane.heart().holds()) == ("pending", 1, [])
        await agent.close()

    asyncio.run(main())
