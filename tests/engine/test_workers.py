"""Worker handles are also names of lock files, and belong to whoever registered them."""

from __future__ import annotations

import pytest

from agentmemo.api.lookup import operation_of
from agentmemo.embedded import local_caller
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.model.handoffs import ClaimHandoffs
from agentmemo.model.runs import Heartbeat, RegisterWorker, StartRun, StopWorker


def call(plane, agent, request):
    caller = local_caller(agent, None, "default")
    return plane.engine.call(operation_of(type(request)), caller, request)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../../precious", "wrk_", "run_06h0e0asq759m7yp", "wrk_06h0e0asq759m7yp\n"]
)
def test_only_a_handle_is_taken_for_a_worker(plane, name):
    precious = plane.path.parent / "precious"
    precious.write_text("kept")
    for request in (StopWorker(worker=name), Heartbeat(worker=name), StartRun(name="job", worker=name)):
        with pytest.raises(InvalidInput, match="not a worker's handle"):
            call(plane, "a", request)
    assert precious.read_text() == "kept"


def test_another_actors_worker_looks_like_a_missing_one(plane):
    worker = call(plane, "a", RegisterWorker()).id
    for request in (StopWorker(worker=worker), Heartbeat(worker=worker), StartRun(name="job", worker=worker)):
        with pytest.raises(NotFound):
            call(plane, "b", request)


def test_a_worker_that_was_given_up_lives_again_when_it_calls(plane):
    agent = plane.connect("a")
    with agent.run("first", key="1") as run:
        run.complete()
    plane.pause(agent)
    plane.advance(60)  # its lease is over, and upkeep retired it
    with agent.run("second", key="2") as run:
        assert plane.connect("b").runs.explain(run.id).held_by.startswith("agent:a")
        run.complete()


def test_a_claim_whose_answer_was_lost_is_given_back_while_its_worker_lives(plane):
    agent = plane.connect("a")
    worker = call(plane, "a", RegisterWorker(lease_seconds=10)).id
    lost = call(plane, "a", StartRun(name="job", key="1", worker=worker)).run.id
    known = call(plane, "a", StartRun(name="job", key="2", worker=worker)).run.id
    plane.advance(5)
    call(plane, "a", Heartbeat(worker=worker, steps={known: ""}, holds=[known]))
    assert agent.runs.get(lost).state == "running", "its answer may still be on the way"
    plane.advance(6)
    call(plane, "a", Heartbeat(worker=worker, steps={known: ""}))
    assert agent.runs.get(lost).state == "running", "a worker that does not say what it holds loses nothing"
    plane.advance(5)
    call(plane, "a", Heartbeat(worker=worker, steps={known: ""}, holds=[known]))
    assert agent.runs.get(lost).state == "pending"
    assert "never reached its worker" in agent.runs.get(lost).reason
    assert agent.runs.get(known).state == "running"


@pytest.mark.parametrize("jump", [86_400, -86_400], ids=["ahead", "back"])
def test_what_is_claimed_without_an_answer_is_kept_for_a_lease_whatever_the_wall_clock_says(plane, jump):
    agent = plane.connect("a")
    worker = call(plane, "a", RegisterWorker(lease_seconds=10)).id
    run = call(plane, "a", StartRun(name="job", key="1", worker=worker)).run.id
    handoff = agent.handoff.create(to_agent="a", context=1).id
    call(plane, "a", ClaimHandoffs(worker=worker))
    plane.clock.step(jump)
    states = []
    for _ in range(4):
        call(plane, "a", Heartbeat(worker=worker, holds=[]))
        states.append((agent.runs.get(run).state, agent.handoff.get(handoff).state))
        plane.advance(5)
    assert states == [("running", "claimed")] * 3 + [("pending", "pending")]


def test_who_was_given_up_and_forgotten_still_ends_in_good_order(plane):
    agent = plane.connect("a")
    with agent.run("job", key="1") as run:
        run.complete()
    plane.pause(agent)
    plane.advance(60)
    plane.advance(2 * 86_400)
    agent.close()
