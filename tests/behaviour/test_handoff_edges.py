"""Handoffs where two things meet: limits and parking, verifiers and requeue, runs and those who do not hold them."""

from __future__ import annotations

import msgspec
import pytest

from agentmemo import InvalidInput, InvalidTransition, LeaseLost, NotFound, PermissionDenied, ids
from agentmemo.api.operations import BY_NAME
from agentmemo.clock import SECOND
from agentmemo.engine.audit import _filter
from agentmemo.errors import Conflict, RevisionGone
from agentmemo.model.access import EVERYTHING, Caller
from agentmemo.model.audit import ListEvents
from agentmemo.model.handoffs import CreateHandoff
from agentmemo.model.pages import make_cursor
from agentmemo.model.runs import ResumeRun

promise = pytest.mark.promise


@pytest.fixture
def sender(surface):
    return surface.connect("sender")


@pytest.fixture
def receiver(surface):
    return surface.connect("receiver")


@promise("handoff.limit")
def test_a_parked_handoff_frees_its_token_once(surface, sender, receiver):
    person = surface.connect(person="dana")
    person.handoff.limit("receiver", concurrency=2)
    parked = sender.handoff.create(to_agent="receiver", progress_seconds=5)
    receiver.handoff.work(lambda _task, run: run.wait("go"), until_idle=True)
    for number in range(3):
        sender.handoff.create(to_agent="receiver", context=number)
    assert len(receiver.handoff.claim_many(10)) == 2
    surface.plane.advance(6)
    assert list(sender.handoff.notices()) == [], "it waits with its run; nobody is silent"
    sender.handoff.cancel(parked.id, "no")
    assert next(iter(person.handoff.limits())).held == 2
    assert receiver.handoff.claim() is None


@promise("handoff.decline")
def test_the_next_receiver_goes_on_with_the_run(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", ladder=[{"after_seconds": 60, "to_agent": "second"}])
    ran = []

    def decline(task, run):
        run.step("look", lambda: ran.append("look"))
        receiver.handoff.decline(task.id, "not mine")

    receiver.handoff.work(decline, until_idle=True)

    def finish(_task, run):
        run.step("look", lambda: ran.append("again"))
        return "done"

    surface.connect("second").handoff.work(finish, until_idle=True)
    done = sender.handoff.result(task.id)
    assert (done.state, done.result, done.attempt) == ("completed", "done", 1)
    assert ran == ["look"]


@promise("handoff.decline")
def test_declining_what_is_not_offered_yet_offers_it_no_earlier(surface, sender, receiver):
    at = surface.plane.clock.now_us() + 60 * SECOND
    task = sender.handoff.create(
        to_agent="receiver", not_before=at, ladder=[{"after_seconds": 60, "to_agent": "second"}]
    )
    moved = receiver.handoff.decline(task.id, "not mine")
    assert (moved.to, moved.wake, moved.available_at) == ("agent:second", "time", at)


@promise("handoff.verifier")
def test_a_rejected_result_is_not_delivered_as_the_final_one(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", acceptance={"verifier": "judge"})
    judge = surface.connect("judge")
    receiver.handoff.complete(task.id, {"x": 1})
    judge.handoff.complete(judge.handoff.claim().id, {"accepted": False, "reason": "no"})
    receiver.handoff.complete(task.id, None)
    judge.handoff.complete(judge.handoff.claim().id, {"accepted": True})
    assert sender.handoff.result(task.id).result is None


@promise("handoff.verifier")
def test_a_verification_is_the_senders_affair(surface, sender, receiver):
    """Whoever is judged has no say in it, and its sender is told when nobody judges."""
    task = sender.handoff.create(to_agent="receiver", acceptance={"verifier": "judge"})
    receiver.handoff.complete(task.id, {"x": 1})
    surface.plane.advance(surface.plane.settings.pickup_seconds)
    (told,) = sender.handoff.notices()
    assert told.verifies == task.id
    assert list(receiver.handoff.notices()) == []
    judge = surface.connect("judge")
    judge.handoff.fail(judge.handoff.claim().id, "cannot")
    assert sender.handoff.get(task.id).state == "dead"
    with pytest.raises(InvalidTransition, match="is not done again"):
        sender.handoff.requeue(told.id)


@promise("handoff.run")
def test_only_its_holder_opens_the_run_of_a_handoff(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    stranger = surface.connect("stranger")
    with pytest.raises(PermissionDenied, match="under its claim only"), stranger.run("handoff", key=task.id):
        pass
    receiver.handoff.work(lambda _task, run: run.wait("go"), until_idle=True)
    with pytest.raises(PermissionDenied, match="under its claim only"), stranger.run("handoff", key=task.id):
        pass
    assert sender.handoff.get(task.id).wake == "run"


@promise("handoff.run")
def test_nobody_but_its_holder_resumes_the_run_of_a_handoff(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    receiver.handoff.work(lambda _task, run: run.wait("go"), until_idle=True)
    run = sender.runs.get(sender.handoff.get(task.id).run)
    sender.runs.signal(run.id, "go", "done")
    stranger = Caller(kind="agent", name="stranger", grants=(EVERYTHING,))
    request = ResumeRun(run=run.id, epoch=run.epoch, worker=ids.mint("wrk", surface.plane.clock.now_us()))
    with pytest.raises(PermissionDenied, match="under its claim only"):
        surface.plane.engine.call(BY_NAME["run.resume"], stranger, request)
    receiver.handoff.work(lambda _task, run: run.wait("go"), until_idle=True)
    assert sender.handoff.result(task.id).result == "done"


@promise("handoff.sender_run")
def test_several_runs_wait_for_one_handoff(sender, receiver):
    sender.task("waits")(lambda run, handle: run.wait(handle))
    task = sender.handoff.create(to_agent="receiver")
    waiting = [sender.start("waits", {"handle": task.id}) for _ in range(2)]
    sender.work(concurrency=1, until_idle=True)
    receiver.handoff.complete(task.id, "done")
    sender.work(concurrency=1, until_idle=True)
    assert [sender.runs.get(run.id).result["result"] for run in waiting] == ["done", "done"]


@promise("handoff.run")
def test_a_step_that_ends_its_handoff_is_kept_where_there_is_a_budget(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", budget={"steps": 5})

    def work(handoff, run):
        run.step("end", lambda: surface.current_step().handoff.complete(handoff.id, "in the step"))

    receiver.handoff.work(work, until_idle=True)
    done = sender.handoff.result(task.id)
    assert (done.state, done.result) == ("completed", "in the step")
    assert [step.state for step in sender.runs.steps(done.run)] == ["completed"]


@promise("handoff.pickup")
def test_who_declines_after_releasing_is_not_asked_again(surface, sender, receiver):
    ladder = [{"after_seconds": 10, "to_agent": "receiver"}, {"after_seconds": 20, "to_agent": "third"}]
    task = sender.handoff.create(to_agent="nobody", ladder=ladder)
    surface.plane.advance(10)
    receiver.handoff.claim(task.id)
    receiver.handoff.release(task.id, "later", attempted=False)
    assert receiver.handoff.decline(task.id, "not mine").to_agent == "third"


@promise("handoff.sender_run")
def test_whoever_waits_for_a_handoff_is_told_of_its_end(surface, sender, receiver):
    """Not only the run that created it, and also when it had ended before."""
    with sender.run("first", key="1") as run:
        task = sender.handoff.create(to_agent="receiver", key="k")
        run.complete()
    receiver.handoff.work(lambda _task: "done", until_idle=True)
    got = []

    @sender.task("second")
    def second(run):
        got.append(run.wait(sender.handoff.create(to_agent="receiver", key="k").id)["result"])
        late = sender.handoff.create(to_agent="receiver", key="late")
        got.append(run.wait(late.id)["result"])

    early = sender.handoff.create(to_agent="receiver", key="late")
    sender.start("second", key="1")
    sender.work(concurrency=1, until_idle=True)
    receiver.handoff.complete(early.id, "late")
    sender.work(concurrency=1, until_idle=True)
    assert got[-1] == "late"
    assert "done" in got
    assert sender.handoff.get(task.id).state == "completed"


@promise("handoff.notice")
def test_what_was_received_is_no_news(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", pickup_by=surface.plane.clock.now_us() + SECOND)
    surface.plane.advance(1)
    assert sender.handoff.result(task.id).notice_at is not None
    assert sender.handoff.result(task.id).notice_at is None
    receiver.handoff.claim()
    receiver.handoff.fail(task.id, "no")
    sender.handoff.requeue(task.id)
    assert list(sender.handoff.notices()) == []


@promise("handoff.lease")
def test_what_a_stopped_worker_was_given_comes_back(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    claimed = receiver.handoff.claim()
    stopped = surface.plane.clock.now_us()
    surface.plane.engine.database.write(lambda tx: tx.write("worker_stop", id=claimed.worker, now=stopped), lane=1)
    surface.plane.upkeep()
    assert sender.handoff.get(task.id).state == "pending"


@promise("input.refused")
def test_more_bad_input_is_refused(surface, sender):
    sender.state.set("n", "k", 1)
    bad = (
        {"constraints": ["\ud800"]},
        {"tried": [("\ud800", "x")]},
        {"references": [("n", "k"), ("n", "k")]},
        {"references": [{"namespace": "n", "key": "k", "version": 2**60}]},
        {"references": [("n", "k\0")]},
        {"acceptance": {"checks": ["result.all(a, result.all(b, a == b))"]}},
    )
    for fields in bad:
        with pytest.raises((InvalidInput, NotFound)) as refused:
            sender.handoff.create(to_agent="a", **fields)
        assert refused.value.next_call, fields
    assert list(sender.handoff.list()) == []


@promise("handoff.lineage")
def test_handing_over_under_a_claim_that_was_made_by_hand(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", goal="all", budget={"tokens": 100})
    claimed = receiver.handoff.claim()
    part = receiver.handoff.create(to_agent="other", under=claimed)
    assert (part.parent, part.root, part.budget.tokens) == (task.id, task.id, 100)
    assert part.on_behalf_of == ["agent:sender", "agent:receiver"]
    receiver.handoff.release(task.id, "later", attempted=False)
    with pytest.raises(LeaseLost):
        receiver.handoff.create(to_agent="other", under=claimed)


@promise("handoff.list")
def test_a_brief_list_reads_no_packages(surface, sender, receiver):
    sender.handoff.create(to_agent="receiver", goal="look", workflow="scan", context={"a": 1}, constraints=["none"])
    task = receiver.handoff.claim()
    receiver.handoff.complete(task.id, "done")
    (full,), (brief,) = sender.handoff.list(), sender.handoff.list(brief=True)
    assert (full.context, full.constraints, full.result) == ({"a": 1}, ["none"], "done")
    assert (brief.context, brief.constraints, brief.result) == (None, [], None)
    told = ("id", "state", "to_agent", "from_agent", "goal", "workflow", "updated_at", "ended_at", "holder")
    assert [getattr(brief, name) for name in told] == [getattr(full, name) for name in told]


@promise("input.refused")
def test_a_cursor_that_was_made_up_is_refused(sender):
    sender.handoff.create(to_agent="sender")
    for operation, ask in (("pending", sender.handoff.list_pending), ("notices", sender.handoff.notices)):
        for position in (-500, "x", None, {}, [-1, 2], [1, "x"], 2**80):
            with pytest.raises(InvalidInput, match="not one of ours"):
                ask(cursor=make_cursor(f"handoff.{operation}", None, position))
    for position in (-1, "x", [1]):
        with pytest.raises(InvalidInput, match="not one of ours"):
            sender.handoff.list(cursor=make_cursor("handoff.list", [None] * 4 + [False], position))


@promise("trail.private")
def test_a_made_up_cursor_of_the_trail_leads_into_no_other_workspace(surface, sender):
    other = surface.connect("other", workspace="elsewhere")
    other.state.set("n", "k", 1)
    sender.state.set("n", "k", 1)
    fields = ListEvents(limit=1000)

    def page(position, *, newest_first):
        bound = _filter(msgspec.structs.replace(fields, newest_first=newest_first))
        cursor = make_cursor("audit.events", bound, position)
        return other.audit.events(cursor=cursor, newest_first=newest_first, limit=1000)

    for position, newest_first in ((1, False), (1, True), (1 << 61, True)):
        assert "agent:sender" not in {event.actor for event in page(position, newest_first=newest_first).items}
    with pytest.raises(RevisionGone, match="has not happened"):
        page(1 << 61, newest_first=False)


@promise("handoff.key")
def test_the_handle_of_another_workspace_is_taken(surface, sender):
    """Whatever lies there, nothing of it is told."""
    task = sender.handoff.create(to_agent="receiver", goal="a secret")
    other = surface.connect("other", workspace="elsewhere")
    caller = Caller(name="other", workspace="elsewhere", grants=(EVERYTHING,))
    request = CreateHandoff(id=task.id, to_agent="receiver", goal="a secret")
    with pytest.raises(Conflict, match="is taken") as refused:
        surface.plane.engine.call(BY_NAME["handoff.create"], caller, request)
    assert "secret" not in str(refused.value.to_dict())
    assert refused.value.next_call
    assert list(other.handoff.list()) == []
