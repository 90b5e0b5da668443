"""A handoff and the run that works on it: neither goes on where the other is over, and no stranger ends either."""

from __future__ import annotations

import pytest

from agentmemo import InvalidTransition, PermissionDenied, ids
from agentmemo.api.operations import BY_NAME
from agentmemo.clock import SECOND
from agentmemo.model.access import AGENT_DEFAULT, EVERYTHING, Caller, Claim
from agentmemo.model.runs import StartRun

promise = pytest.mark.promise


@pytest.fixture
def sender(surface):
    return surface.connect("sender")


@pytest.fixture
def receiver(surface):
    return surface.connect("receiver")


def step_and_wait(_task, run):
    run.step("look", lambda: "seen")
    return run.wait("answer")


def step_and_fail(_task, run):
    run.step("look", lambda: "seen")
    raise ValueError("no")


def unfinished(agent):
    return [(run.name, run.state) for run in agent.runs.list(state="unfinished")]


def parked(sender, receiver, **fields):
    """A handoff whose run waits."""
    task = sender.handoff.create(to_agent="receiver", **fields)
    receiver.handoff.work(step_and_wait, until_idle=True)
    return sender.handoff.get(task.id)


@promise("handoff.run")
def test_a_completion_ends_a_run_that_waits(sender, receiver):
    task = parked(sender, receiver)
    done = receiver.handoff.complete(task.id, "by hand", epoch=task.epoch)
    assert done.state == "completed"
    run = sender.runs.get(task.run)
    assert (run.state, run.reason) == ("cancelled", f"its handoff {task.id} is completed")
    assert sender.audit.events(run=task.run, newest_first=True).items[0].operation == "run.cancel"


@promise("handoff.run")
def test_a_completion_without_a_claim_ends_a_run_that_nobody_holds(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", retry={"first_delay_seconds": 0.5})
    receiver.handoff.work(step_and_fail, until_idle=True)
    assert unfinished(sender) == [("handoff", "pending")]
    surface.plane.advance(1)
    receiver.handoff.complete(task.id, "by hand")
    assert unfinished(sender) == []


@promise("handoff.run")
def test_what_expires_ends_its_run(surface, sender, receiver):
    at = surface.plane.clock.now_us() + 60 * SECOND
    task = sender.handoff.create(to_agent="receiver", complete_by=at, retry={"first_delay_seconds": 100.0})
    receiver.handoff.work(step_and_fail, until_idle=True)
    surface.plane.advance(61)
    assert sender.handoff.get(task.id).state == "expired"
    assert unfinished(sender) == []
    assert "is expired" in sender.runs.get(sender.handoff.get(task.id).run).reason


@promise("handoff.run")
def test_what_is_buried_ends_its_run_and_keeps_its_steps(sender, receiver):
    task = sender.handoff.create(to_agent="receiver", max_attempts=1)
    receiver.handoff.work(step_and_fail, until_idle=True)
    dead = sender.handoff.get(task.id)
    assert (dead.state, unfinished(sender)) == ("dead", [])
    sender.handoff.requeue(task.id)
    forked = sender.runs.get(sender.handoff.get(task.id).run)
    assert (forked.state, forked.agent, forked.steps) == ("pending", "agent:receiver", 1)
    ran = []

    def finish(_task, run):
        run.step("look", lambda: ran.append("again"))
        return "done"

    receiver.handoff.work(finish, until_idle=True)
    done = sender.handoff.result(task.id)
    assert (done.state, ran) == ("completed", [])
    run = sender.runs.get(done.run)
    assert (run.state, run.forked_from, run.result) == ("completed", dead.run, "done")


@promise("handoff.run")
def test_requeued_twice_without_a_claim_it_still_goes_on(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", max_attempts=1)
    receiver.handoff.work(step_and_fail, until_idle=True)
    for _ in range(2):
        at = surface.plane.clock.now_us() + SECOND
        sender.handoff.requeue(task.id, complete_by=at)
        surface.plane.advance(2)
        assert sender.handoff.get(task.id).state == "expired"
        assert unfinished(sender) == []


@promise("handoff.cancel")
def test_a_cancelled_handoff_ends_its_run_and_what_that_began(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")

    def handler(_task, run):
        return run.join(run.start_child("part"))

    receiver.handoff.work(handler, until_idle=True)
    assert len(unfinished(sender)) == 2
    sender.handoff.cancel(task.id, "no need")
    assert unfinished(sender) == []


@promise("handoff.cancel")
def test_a_cancelled_handoff_ends_the_run_of_its_verifier(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", acceptance={"verifier": "judge"})
    receiver.handoff.complete(task.id, {"x": 1})
    surface.connect("judge").handoff.work(step_and_wait, until_idle=True)
    assert unfinished(sender) == [("handoff", "waiting")]
    sender.handoff.cancel(task.id, "no need")
    assert unfinished(sender) == []


@promise("handoff.run")
def test_a_stranger_cancels_no_run_of_a_handoff(surface, sender, receiver):
    task = parked(sender, receiver)
    stranger = surface.connect("stranger", grants=[AGENT_DEFAULT])
    with pytest.raises(PermissionDenied, match="did not hand") as refused:
        stranger.runs.cancel(task.run, "mine")
    assert "agent:sender" in refused.value.next_call
    assert sender.handoff.get(task.id).wake == "run"
    surface.connect("receiver", grants=[AGENT_DEFAULT]).runs.cancel(task.run, "the holder may")
    other = parked(sender, receiver, context="another")
    surface.connect(person="dana").runs.cancel(other.run, "a person may")
    assert unfinished(sender) == []


@promise("handoff.run")
def test_no_task_and_no_fork_takes_the_place_of_its_run(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    stranger = surface.connect("stranger")
    with pytest.raises(PermissionDenied, match="under its claim only"):
        stranger.start("handoff", key=task.id)
    with stranger.run("handoff", key="mine") as run:
        run.complete()
    with pytest.raises(PermissionDenied, match="under its claim only"):
        stranger.runs.fork(run.id, key=task.id)
    receiver.handoff.work(step_and_wait, until_idle=True)
    forked = stranger.runs.fork(sender.handoff.get(task.id).run)
    assert forked.state == "pending"
    with pytest.raises(InvalidTransition):
        stranger.runs.fork(forked.id, key=forked.key)


@promise("handoff.run", "run.cancel")
def test_a_run_that_waits_for_its_child_is_cancelled_and_not_woken(surface, sender, receiver):
    """Its children end with it: that is no news to it, and the attempt counts."""
    task = sender.handoff.create(to_agent="receiver")
    receiver.handoff.work(lambda _task, run: run.join(run.start_child("nobody")), until_idle=True)
    run = sender.handoff.get(task.id).run
    sender.runs.cancel(run, "not so")
    back = sender.handoff.get(task.id)
    assert (back.state, back.attempt, back.attempts[0].outcome) == ("pending", 2, "released")
    assert [event.operation for event in sender.audit.events(run=run)][-2:] == ["run.park", "run.cancel"]
    assert len(sender.runs.list(state="unfinished")) == 0


@promise("handoff.run")
def test_a_parked_handoff_is_not_worked_on_by_who_held_it(surface, sender, receiver):
    """Its run would go on, and nothing would offer the handoff again if its worker died."""
    task = parked(sender, receiver)
    claim = Claim(run=task.id, epoch=task.epoch)
    caller = Caller(kind="agent", name="receiver", grants=(EVERYTHING,), claim=claim)
    for key in (task.id, f"{task.id}/again"):
        request = StartRun(name="handoff", key=key, worker=ids.mint("wrk", 0))
        with pytest.raises(InvalidTransition, match="waits with its run"):
            surface.plane.engine.call(BY_NAME["run.start"], caller, request)
    sender.runs.signal(task.run, "answer", "done")
    receiver.handoff.work(step_and_wait, until_idle=True)
    assert sender.handoff.result(task.id).result == "done"


@promise("handoff.run")
def test_a_handoff_waits_with_a_run_that_asks_a_person_whoever_claims_it(surface, sender, receiver):
    def work(_task, run):
        return [run.step(str(number), lambda: "done") for number in range(2)]

    task = sender.handoff.create(to_agent="receiver", budget={"steps": 1})
    receiver.handoff.work(work, until_idle=True)
    assert sender.handoff.get(task.id).wake == "run"
    receiver.handoff.release(task.id, "by hand", attempted=False, epoch=1)
    receiver.handoff.work(work, until_idle=True)
    again = sender.handoff.get(task.id)
    assert (again.state, again.wake, again.worker, again.epoch) == ("claimed", "run", None, 2)
    surface.connect(person="dana").runs.resolve(again.run, "continue", budget={"steps": 9})
    receiver.handoff.work(work, until_idle=True)
    assert sender.handoff.result(task.id).result == ["done", "done"]
