"""Handoffs: handing over, claiming, ending, and what is kept of it."""

from __future__ import annotations

import threading

import pytest

from agentmemo import (
    Grant,
    HandoffHeld,
    IdempotencyMismatch,
    InvalidInput,
    InvalidTransition,
    LeaseLost,
    NotFound,
    PermissionDenied,
)
from agentmemo.clock import SECOND

promise = pytest.mark.promise


@pytest.fixture
def sender(surface):
    return surface.connect("sender")


@pytest.fixture
def receiver(surface):
    return surface.connect("receiver")


def events(agent, handle):
    return [event.operation.removeprefix("handoff.") for event in agent.audit.events(run=handle)]


def execute_workflow(task):
    return {"workflow": task.workflow, "repo": task.context["repo"]}


@promise("article.handoff")
def test_the_article_runs_as_written(surface):
    agent = surface.connect("lead")
    agent.handoff.create(
        to_agent="security-agent", workflow="vulnerability-scan", context={"repo": "acme/api", "priority": "high"}
    )
    agent = surface.connect("security-agent")
    pending = agent.handoff.list_pending()
    for task in pending:
        result = execute_workflow(task)
        agent.handoff.complete(task.id, result)
    (done,) = surface.connect("lead").handoff.notices()
    assert (done.state, done.result) == ("completed", {"workflow": "vulnerability-scan", "repo": "acme/api"})


@promise("article.handoff")
@promise("handoff.claim")
def test_of_two_instances_one_holds_and_the_other_is_told(surface, sender):
    task = sender.handoff.create(to_agent="security-agent", context={"repo": "acme/api"})
    one, two = surface.connect("security-agent"), surface.connect("security-agent")
    seen = [next(iter(instance.handoff.list_pending())).id for instance in (one, two)]
    assert seen == [task.id, task.id]
    held = one.handoff.claim(task.id)
    assert (held.state, held.holder, held.epoch, held.wake) == ("claimed", "agent:security-agent", 1, "lease")
    for attempt in (lambda: two.handoff.complete(task.id, {}), lambda: two.handoff.claim(task.id)):
        with pytest.raises(HandoffHeld, match="held by agent:security-agent") as refused:
            attempt()
        assert refused.value.details["worker"] == held.worker
        assert "epoch" in refused.value.next_call
    assert two.handoff.claim() is None
    assert one.handoff.complete(task.id, {"found": 0}).state == "completed"


@promise("handoff.claim")
def test_many_claim_at_once_and_each_gets_another(surface, sender):
    made = {sender.handoff.create(to_queue="work", context=n).id for n in range(12)}
    claimed, lock = [], threading.Lock()

    def take(name):
        worker = surface.connect(name)
        worker.handoff.announce(queues=["work"])
        while found := worker.handoff.claim():
            with lock:
                claimed.append(found.id)

    threads = [threading.Thread(target=take, args=(f"worker-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(made)


@promise("handoff.claim")
def test_several_are_claimed_in_one_commit(sender, receiver):
    made = [sender.handoff.create(to_agent="receiver", context=n) for n in range(5)]
    found = receiver.handoff.claim_many(3)
    assert [handoff.id for handoff in found] == [handoff.id for handoff in made[:3]]
    assert [handoff.context for handoff in receiver.handoff.claim_many(100)] == [3, 4]
    with pytest.raises(InvalidInput, match="limit is 1 to 100"):
        receiver.handoff.claim_many(101)


@promise("handoff.package")
def test_the_whole_package_arrives(sender, receiver):
    sender.state.set("notes", "plan", {"step": 1})
    made = sender.handoff.create(
        to_agent="receiver",
        goal="Mend what was found",
        workflow="fix",
        workflow_version="abc",
        context={"found": [1, 2.5, None, "ä"]},
        references=[("notes", "plan")],
        artifacts=["report.md", {"url": "https://example.org/x"}],
        constraints=["do not deploy"],
        acceptance={"checks": ["result.fixed"]},
        tried=[("restart", "it came back")],
        unverified=["the log is whole"],
        priority=5,
        budget={"steps": 10},
        max_attempts=2,
    )
    assert (made.state, made.wake, made.from_agent, made.to) == ("pending", "claim", "agent:sender", "agent:receiver")
    found = receiver.handoff.claim()
    for field in ("goal", "workflow", "workflow_version", "context", "references", "artifacts", "constraints"):
        assert getattr(found, field) == getattr(made, field), field
    assert found.context == {"found": [1, 2.5, None, "ä"]}
    assert found.references[0].version == 1
    assert found.acceptance.checks == ["result.fixed"]
    assert (found.tried[0].text, found.tried[0].why_failed) == ("restart", "it came back")
    assert (found.unverified, found.constraints) == (["the log is whole"], ["do not deploy"])
    assert (found.priority, found.max_attempts, found.budget.steps) == (5, 2, 10)


@promise("handoff.package")
def test_an_unknown_receiver_is_allowed_and_announced(surface, sender):
    assert not sender.handoff.create(to_agent="nobody").known
    assert not sender.handoff.create(to_capability="translate").known
    surface.connect("somebody").handoff.announce(capabilities=["translate"])
    assert sender.handoff.create(to_agent="somebody").known
    assert sender.handoff.create(to_capability="translate").known


@promise("handoff.package")
def test_a_large_context_arrives(surface, sender, receiver):
    text = "x" * 300_000
    made = sender.handoff.create(to_agent="receiver", context={"text": text})
    assert made.context == {"text": text}
    assert receiver.handoff.claim().context == {"text": text}
    receiver.handoff.complete(made.id, {"text": text})
    surface.plane.advance(25 * 3600)  # what nothing refers to is swept by now
    assert sender.handoff.result(made.id).result == {"text": text}


@promise("handoff.key")
def test_create_is_idempotent_by_key(sender, receiver):
    first = sender.handoff.create(to_agent="receiver", context={"n": 1}, key="k")
    again = sender.handoff.create(to_agent="receiver", context={"n": 1}, key="k")
    assert (again.id, again.state) == (first.id, "pending")
    receiver.handoff.complete(first.id, "done")
    assert sender.handoff.create(to_agent="receiver", context={"n": 1}, key="k").state == "completed"
    for other in ({"to_agent": "receiver", "context": {"n": 2}}, {"to_agent": "else", "context": {"n": 1}}):
        with pytest.raises(IdempotencyMismatch, match=first.id):
            sender.handoff.create(key="k", **other)
    assert len(list(sender.handoff.list())) == 1


@promise("handoff.epoch")
def test_a_stale_epoch_is_refused_and_names_who_took_over(surface, sender, receiver):
    task = sender.handoff.create(to_queue="q")
    receiver.handoff.announce(queues=["q"])
    other = surface.connect("other")
    other.handoff.announce(queues=["q"])
    assert receiver.handoff.claim().epoch == 1
    surface.pause(receiver)
    surface.plane.advance(surface.plane.settings.lease_seconds + 1)
    assert other.handoff.claim().epoch == 2
    stale = {
        "progress": lambda: receiver.handoff.progress(task.id, 50),
        "renew": lambda: receiver.handoff.renew(task.id),
        "complete": lambda: receiver.handoff.complete(task.id, "stale"),
        "fail": lambda: receiver.handoff.fail(task.id, "stale", epoch=1),
        "release": lambda: receiver.handoff.release(task.id, "stale", epoch=1),
        "decline": lambda: receiver.handoff.decline(task.id, "stale", epoch=1),
    }
    for name, call in stale.items():
        with pytest.raises(LeaseLost, match="agent:other holds it now"):
            call()
        assert sender.handoff.get(task.id).epoch == 2, name
    assert other.handoff.complete(task.id, "fresh").result == "fresh"
    with pytest.raises(LeaseLost, match="it is completed"):
        receiver.handoff.complete(task.id, "stale", epoch=1)


@promise("handoff.epoch")
def test_the_epoch_of_anothers_claim_is_no_claim(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    receiver.handoff.claim()
    thief = surface.connect("thief")
    with pytest.raises(LeaseLost):
        thief.handoff.complete(task.id, "stolen", epoch=1)
    with pytest.raises(InvalidInput, match="does not hold"):
        thief.handoff.fail(task.id, "stolen")


@promise("handoff.lease")
def test_what_a_dead_worker_held_is_offered_again(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", max_attempts=2)
    receiver.handoff.claim()
    surface.kill(receiver)
    surface.plane.upkeep()
    found = surface.connect("receiver").handoff.claim()
    assert (found.id, found.epoch, found.attempt) == (task.id, 2, 2)
    assert [(attempt.outcome, attempt.holder) for attempt in found.attempts] == [("lost", "agent:receiver")]
    assert "is gone" in found.attempts[0].reason


@promise("handoff.lease")
def test_a_beating_heart_keeps_a_claim(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    receiver.handoff.claim()
    for _ in range(10):
        surface.plane.advance(surface.plane.settings.lease_seconds * 0.9)
    assert receiver.handoff.complete(task.id, 1).epoch == 1


@promise("handoff.lease")
def test_a_clean_end_gives_back_without_counting(surface, sender):
    task = sender.handoff.create(to_agent="receiver", max_attempts=1)
    ending = surface.connect("receiver")
    ending.handoff.claim()
    ending.close()
    found = sender.handoff.get(task.id)
    assert (found.state, found.attempt) == ("pending", 1)


@promise("handoff.unattended")
def test_a_caller_without_heartbeats_holds_its_claim_while_it_calls(surface, sender):
    from agentmemo.api.operations import BY_NAME
    from agentmemo.embedded import local_caller
    from agentmemo.model.handoffs import ClaimHandoffs, CompleteHandoff, ListHandoffs

    task = sender.handoff.create(to_agent="model")
    caller = local_caller("model", None, "default")
    call = surface.plane.engine.call
    (claimed,) = call(BY_NAME["handoff.claim"], caller, ClaimHandoffs()).handoffs
    seconds = surface.plane.settings.unattended_lease_seconds
    for _ in range(3):
        surface.plane.advance(seconds * 0.8)
        call(BY_NAME["handoff.list"], caller, ListHandoffs())  # any call at all
        sender.state.set("n", "k", 1)  # behind the renewal, which nobody waits for
    assert sender.handoff.get(task.id).state == "claimed"
    surface.plane.advance(seconds + 1)
    assert sender.handoff.get(task.id).state == "pending"
    with pytest.raises(LeaseLost):
        call(BY_NAME["handoff.complete"], caller, CompleteHandoff(handoff=task.id, epoch=claimed.epoch))


@promise("handoff.complete")
def test_complete_without_a_claim_claims_in_the_same_commit(sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    done = receiver.handoff.complete(task.id, {"ok": True})
    assert (done.state, done.epoch, done.holder, done.wake) == ("completed", 1, "agent:receiver", None)
    assert events(sender, task.id) == ["create", "claim", "complete"]


@promise("handoff.complete")
def test_completing_again_does_nothing(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    claimed = receiver.handoff.claim()
    first = receiver.handoff.complete(task.id, {"ok": True})
    assert receiver.handoff.complete(task.id, {"ok": True}, epoch=claimed.epoch).ended_at == first.ended_at
    assert receiver.handoff.complete(task.id, {"ok": True}).ended_at == first.ended_at
    assert events(sender, task.id) == ["create", "claim", "complete"]
    with pytest.raises(LeaseLost):
        receiver.handoff.complete(task.id, {"ok": False})
    with pytest.raises(InvalidTransition, match="completed"):
        surface.connect("receiver").handoff.claim(task.id)


@promise("handoff.complete")
def test_a_stranger_completes_nothing(surface, sender):
    task = sender.handoff.create(to_agent="receiver")
    stranger = surface.connect("stranger")
    for call in (
        lambda: stranger.handoff.complete(task.id, 1),
        lambda: stranger.handoff.claim(task.id),
        lambda: stranger.handoff.decline(task.id, "no"),
    ):
        with pytest.raises(PermissionDenied, match="addressed to agent:receiver"):
            call()
    with pytest.raises(NotFound):
        stranger.handoff.get("hof_0000000000000000")
    assert sender.handoff.get(task.id).state == "pending"


@promise("handoff.accepted")
def test_a_result_is_checked_before_it_counts(sender, receiver):
    task = sender.handoff.create(
        to_agent="receiver",
        context={"least": 2},
        acceptance={
            "schema": {"type": "object", "required": ["notes"], "properties": {"notes": {"type": "array"}}},
            "checks": ["size(result.notes) >= context.least"],
        },
    )
    receiver.handoff.claim()
    for result, problem in (("text", "not of type"), ({"notes": 5}, "not of type"), ({"notes": [1]}, "size(result")):
        with pytest.raises(InvalidInput, match="not what was asked for") as refused:
            receiver.handoff.complete(task.id, result)
        assert any(problem in found for found in refused.value.details["problems"])
    assert sender.handoff.get(task.id).state == "claimed"
    assert receiver.handoff.complete(task.id, {"notes": [1, 2]}).state == "completed"


@promise("handoff.accepted")
def test_what_cannot_check_is_refused_when_handing_over(sender):
    bad = (
        {"schema": {"type": "nonsense"}},
        {"schema": {"$ref": "https://example.org/elsewhere"}},
        {"checks": ["result.score >="]},
        {"checks": ["x" * 1001]},
        {"shema": {}},
    )
    for acceptance in bad:
        with pytest.raises(InvalidInput) as refused:
            sender.handoff.create(to_agent="receiver", acceptance=acceptance)
        assert refused.value.next_call
    assert list(sender.handoff.list()) == []


@promise("handoff.verifier")
def test_a_verifier_accepts(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", goal="write it", acceptance={"verifier": "judge"})
    submitted = receiver.handoff.complete(task.id, {"text": "it"})
    assert (submitted.state, submitted.wake) == ("submitted", "verifier")
    assert list(sender.handoff.notices()) == []
    judge = surface.connect("judge")
    work = judge.handoff.claim()
    assert (work.verifies, work.context["result"], work.context["goal"]) == (task.id, {"text": "it"}, "write it")
    with pytest.raises(InvalidInput, match="not what was asked for"):
        judge.handoff.complete(work.id, "fine")
    judge.handoff.complete(work.id, {"accepted": True})
    (told,) = sender.handoff.notices()
    assert (told.state, told.result) == ("completed", {"text": "it"})


@promise("handoff.verifier")
def test_what_a_verifier_rejects_is_offered_again(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", acceptance={"verifier": "judge"}, max_attempts=2)
    judge = surface.connect("judge")
    receiver.handoff.complete(task.id, "first")
    judge.handoff.complete(judge.handoff.claim().id, {"accepted": False, "reason": "too short"})
    again = receiver.handoff.claim()
    assert (again.id, again.attempt) == (task.id, 2)
    assert "too short" in again.attempts[0].reason
    receiver.handoff.complete(again.id, "second")
    judge.handoff.complete(judge.handoff.claim().id, {"accepted": False, "reason": "still"})
    dead = sender.handoff.result(task.id)
    assert (dead.state, dead.result) == ("dead", "second")
    assert "still" in dead.reason


@promise("handoff.verifier")
def test_a_verifier_that_never_speaks_leaves_the_work_to_people(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", acceptance={"verifier": "judge"})
    receiver.handoff.complete(task.id, "kept")
    judge = surface.connect("judge")
    judge.handoff.fail(judge.handoff.claim().id, "cannot judge")
    found = sender.handoff.get(task.id)
    assert (found.state, found.result) == ("dead", "kept")
    assert found.escalated_at is not None


@promise("handoff.attempts")
def test_attempts_pause_and_end(surface, sender, receiver):
    task = sender.handoff.create(
        to_agent="receiver", max_attempts=3, retry={"first_delay_seconds": 10.0, "factor": 2.0}
    )
    for attempt, pause in ((1, 10), (2, 20)):
        assert receiver.handoff.claim().attempt == attempt
        waiting = receiver.handoff.release(task.id, f"failed {attempt}")
        assert (waiting.state, waiting.wake) == ("pending", "time")
        surface.plane.advance(pause - 1)
        assert receiver.handoff.claim() is None
        surface.plane.advance(1)
    last = receiver.handoff.claim()
    assert [found.reason for found in last.attempts] == ["failed 1", "failed 2"]
    dead = receiver.handoff.release(task.id, "failed 3")
    assert (dead.state, dead.wake) == ("dead", None)
    assert "3 attempts failed; the last: failed 3" in dead.reason
    assert task.id in " ".join(sender.status().overdue)


@promise("handoff.attempts")
def test_failing_is_for_good_and_told(sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    receiver.handoff.claim()
    assert receiver.handoff.fail(task.id, "there is no such repository").state == "failed"
    (told,) = sender.handoff.notices()
    assert (told.id, told.reason) == (task.id, "there is no such repository")


@promise("handoff.decline")
def test_declined_work_goes_to_the_next_receiver_and_then_back(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", ladder=[{"after_seconds": 60, "to_agent": "second"}])
    moved = receiver.handoff.decline(task.id, "not my field")
    assert (moved.state, moved.to) == ("pending", "agent:second")
    second = surface.connect("second")
    second.handoff.claim()
    ended = second.handoff.decline(task.id, "nor mine")
    assert ended.state == "declined"
    (told,) = sender.handoff.notices()
    assert "nor mine" in told.reason
    assert told.attempts[-1].outcome == "declined"


@promise("handoff.cancel")
def test_a_cancelled_handoff_is_told_its_holder(sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    receiver.handoff.claim()
    assert sender.handoff.cancel(task.id, "not needed any more").state == "cancelled"
    with pytest.raises(LeaseLost, match="cancelled: not needed any more"):
        receiver.handoff.progress(task.id, 10)
    with pytest.raises(LeaseLost, match="cancelled"):
        receiver.handoff.complete(task.id, 1)
    with pytest.raises(InvalidTransition, match="is cancelled"):
        sender.handoff.cancel(task.id, "again")


@promise("handoff.cancel")
def test_cancelling_ends_the_run_and_the_verification(surface, sender, receiver):
    verified = sender.handoff.create(to_agent="receiver", acceptance={"verifier": "judge"})
    receiver.handoff.complete(verified.id, 1)
    sender.handoff.cancel(verified.id, "no")
    assert list(surface.connect("judge").handoff.list_pending()) == []
    worked = sender.handoff.create(to_agent="receiver")
    seen = []

    def handler(task, run):
        sender.handoff.cancel(task.id, "no")
        seen.append(run.id)
        run.step("never", lambda: seen.append("ran"), effect="write")

    receiver.handoff.work(handler, until_idle=True)
    assert len(seen) == 1
    assert sender.runs.get(seen[0]).state == "cancelled"
    assert sender.handoff.get(worked.id).state == "cancelled"


@promise("handoff.requeue")
def test_what_ended_without_a_result_is_offered_again(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", context={"n": 1}, max_attempts=1)
    receiver.handoff.claim()
    receiver.handoff.release(task.id, "no luck")
    again = sender.handoff.requeue(task.id, reason="the server is back", to_agent="second")
    assert (again.state, again.attempt, again.to) == ("pending", 1, "agent:second")
    found = surface.connect("second").handoff.claim()
    assert (found.context, found.epoch) == ({"n": 1}, 2)
    with pytest.raises(InvalidTransition, match="cannot requeue"):
        sender.handoff.requeue(task.id)


@promise("handoff.requeue")
def test_a_deadline_that_has_passed_is_lifted(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", complete_by=surface.plane.clock.now_us() + 10 * SECOND)
    surface.plane.advance(10)
    assert sender.handoff.get(task.id).state == "expired"
    assert sender.handoff.requeue(task.id).complete_by is None
    assert receiver.handoff.complete(task.id, "at last").state == "completed"


@promise("handoff.requeue")
def test_only_those_it_concerns_call_it_back_or_offer_it_again(surface, sender):
    task = sender.handoff.create(to_agent="receiver", max_attempts=1)
    stranger = surface.connect("stranger", grants=[Grant(permissions=("handoffs:read", "handoffs:write"))])
    with pytest.raises(PermissionDenied, match="did not hand"):
        stranger.handoff.cancel(task.id, "because")
    receiver = surface.connect("receiver", grants=[Grant(permissions=("handoffs:*", "runs:write"))])
    receiver.handoff.claim()
    receiver.handoff.release(task.id, "no")
    with pytest.raises(PermissionDenied, match="did not hand"):
        stranger.handoff.requeue(task.id)
    dead = sender.handoff.list(state="escalated")
    assert [handoff.id for handoff in dead] == [task.id]
    assert surface.connect(person="dana").handoff.cancel(task.id, "seen").state == "cancelled"
    assert list(sender.handoff.list(state="escalated")) == []


@promise("handoff.pickup")
def test_who_claims_what_was_escalated_takes_it_off_the_list(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    surface.plane.advance(surface.plane.settings.pickup_seconds)
    assert task.id in " ".join(sender.status().overdue)
    receiver.handoff.claim()
    assert sender.status().overdue == []


@promise("handoff.unattended")
def test_every_claim_without_heartbeats_lasts_while_its_holder_calls(surface, sender):
    """Claims with leases of their own stand for several workers of one agent, and a heartbeat is no call of theirs."""
    tasks = [sender.handoff.create(to_agent="model") for _ in range(2)]
    model = surface.connect("model")
    for seconds in (60, 90):
        model.handoff.claim(lease_seconds=seconds)
    for _ in range(4):
        surface.plane.advance(45)
        model.handoff.list()
        sender.state.set("n", "k", 1)  # behind the renewal, which nobody waits for
    assert {sender.handoff.get(task.id).state for task in tasks} == {"claimed"}
    model.run("job", key="1").__enter__()  # from now on this connection has a heart
    surface.plane.advance(55)
    surface.plane.advance(60)
    assert {sender.handoff.get(task.id).state for task in tasks} == {"pending"}
