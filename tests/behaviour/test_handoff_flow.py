"""Handoffs in time and in company: pickup, notices, lineage, transactions, workers and their runs."""

from __future__ import annotations

import dataclasses

import pytest

from agentmemo import LeaseLost, VersionConflict
from agentmemo.clock import SECOND
from agentmemo.testing import Crashed

promise = pytest.mark.promise


@pytest.fixture
def sender(surface):
    return surface.connect("sender")


@pytest.fixture
def receiver(surface):
    return surface.connect("receiver")


def events(agent, handle):
    return [event.operation.removeprefix("handoff.") for event in agent.audit.events(run=handle)]


@promise("handoff.pickup")
def test_the_ladder_is_climbed_in_time(surface, sender):
    task = sender.handoff.create(
        to_agent="absent",
        ladder=[
            {"after_seconds": 10, "to_capability": "anyone"},
            {"after_seconds": 20, "to_agent": "last"},
            {"after_seconds": 30, "escalate": True},
        ],
    )
    for seconds, to in ((10, "capability:anyone"), (10, "agent:last")):
        surface.plane.advance(seconds)
        assert sender.handoff.get(task.id).to == to
    assert list(sender.handoff.notices()) == []
    surface.plane.advance(10)
    (told,) = sender.handoff.notices()
    assert (told.state, told.wake) == ("pending", "claim")
    assert "nobody at agent:last claimed it within 30 s" in told.reason
    assert task.id in " ".join(sender.status().overdue)
    assert events(sender, task.id) == ["create", "readdress", "readdress", "escalate"]
    assert surface.connect("last").handoff.complete(task.id, "late, but done").state == "completed"
    assert task.id not in " ".join(sender.status().overdue)


@promise("handoff.pickup")
def test_without_a_ladder_somebody_is_told_after_the_planes_time(surface, sender):
    task = sender.handoff.create(to_agent="absent")
    surface.plane.advance(surface.plane.settings.pickup_seconds - 1)
    assert sender.handoff.get(task.id).escalated_at is None
    surface.plane.advance(1)
    told = sender.handoff.get(task.id)
    assert (told.escalated_at, told.due_at) == (surface.plane.clock.now_us(), None), told.created_at
    soon = sender.handoff.create(to_agent="absent", pickup_by=surface.plane.clock.now_us() + 5 * SECOND)
    surface.plane.advance(5)
    assert [told.id for told in sender.handoff.notices()] == [task.id, soon.id]


@promise("handoff.pickup")
def test_work_that_was_lost_climbs_anew(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", ladder=[{"after_seconds": 60, "to_agent": "second"}])
    surface.plane.advance(50)
    receiver.handoff.claim()
    surface.kill(receiver)
    surface.plane.upkeep()
    surface.plane.advance(45)
    assert sender.handoff.get(task.id).to == "agent:receiver"
    surface.plane.advance(15)
    assert sender.handoff.get(task.id).to == "agent:second"


@promise("handoff.clocks")
def test_a_holder_without_progress_is_told_of(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", progress_seconds=30)
    receiver.handoff.claim()
    surface.plane.advance(20)
    receiver.handoff.progress(task.id, 40, "reading")
    surface.plane.advance(20)
    assert list(sender.handoff.notices()) == []
    surface.plane.advance(10)
    (told,) = sender.handoff.notices()
    assert (told.state, told.percent, told.progress) == ("claimed", 40, "reading")
    assert "no progress for 30 s" in told.reason
    surface.plane.advance(100)
    assert events(sender, task.id).count("stall") == 1
    receiver.handoff.progress(task.id, 50)
    surface.plane.advance(30)
    assert events(sender, task.id).count("stall") == 2
    assert receiver.handoff.complete(task.id, 1).state == "completed"


@promise("handoff.clocks")
def test_a_missed_deadline_is_told_and_the_work_goes_on(surface, sender, receiver):
    at = surface.plane.clock.now_us() + 60 * SECOND
    task = sender.handoff.create(to_agent="receiver", complete_by=at)
    receiver.handoff.claim()
    surface.plane.advance(60)
    (told,) = sender.handoff.notices()
    assert "should be completed by now" in told.reason
    surface.plane.advance(60)
    assert events(sender, task.id).count("overdue") == 1
    receiver.handoff.complete(task.id, "late")
    assert sender.handoff.result(task.id).result == "late"


@promise("handoff.clocks")
def test_nobody_claims_what_has_expired(surface, sender, receiver):
    at = surface.plane.clock.now_us() + 60 * SECOND
    task = sender.handoff.create(to_agent="receiver", complete_by=at)
    surface.plane.clock.advance(60)  # upkeep has not come yet
    assert receiver.handoff.claim() is None
    surface.plane.upkeep()
    (told,) = sender.handoff.notices()
    assert (told.id, told.state) == (task.id, "expired")


@promise("handoff.notice")
def test_a_notice_stays_until_its_sender_received_it(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    assert sender.handoff.result(task.id).received_at is None, "there is nothing to receive yet"
    receiver.handoff.complete(task.id, {"n": 1})
    assert receiver.handoff.result(task.id).received_at is None, "only its sender receives it"
    surface.plane.restart()
    sender = surface.connect("sender")
    assert [told.result for told in sender.handoff.notices()] == [{"n": 1}]
    assert [told.result for told in sender.handoff.notices()] == [{"n": 1}], "reading receives nothing"
    received = sender.handoff.result(task.id)
    assert (received.result, received.received_at) == ({"n": 1}, surface.plane.clock.now_us())
    assert list(sender.handoff.notices()) == []
    assert events(sender, task.id)[-1] == "receive"


@promise("handoff.notice")
def test_an_end_is_told_after_an_escalation_was_received(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", pickup_by=surface.plane.clock.now_us() + SECOND)
    surface.plane.advance(1)
    sender.handoff.result(task.id)
    assert list(sender.handoff.notices()) == []
    receiver.handoff.complete(task.id, 1)
    assert [told.state for told in sender.handoff.notices()] == ["completed"]


@promise("handoff.notice")
def test_notices_come_in_pages(sender, receiver):
    made = [sender.handoff.create(to_agent="receiver", context=n).id for n in range(5)]
    for handle in made:
        receiver.handoff.complete(handle)
    assert [told.id for told in sender.handoff.notices(limit=2)] == made


@promise("handoff.lineage")
def test_work_handed_on_keeps_its_lineage(surface, sender, receiver):
    first = sender.handoff.create(to_agent="receiver", goal="mend it", budget={"steps": 7})
    made = []

    def handler(task):
        made.append(receiver.handoff.create(to_agent="third", goal="a part of it"))
        return "handed on"

    receiver.handoff.work(handler, until_idle=True)
    (part,) = made
    assert (part.parent, part.root, part.hops) == (first.id, first.id, 1)
    assert part.on_behalf_of == ["agent:sender", "agent:receiver"]
    assert part.budget.steps == 7
    third = surface.connect("third")
    third.handoff.work(lambda _task: third.handoff.create(to_agent="fourth").hops, until_idle=True)
    found = list(sender.handoff.lineage(part.id))
    assert [handoff.hops for handoff in found] == [0, 1, 2]
    assert [handoff.id for handoff in sender.handoff.list(root=first.id)] == [each.id for each in found[::-1]]


@promise("handoff.circle")
def test_a_circle_ends_and_is_told(surface, sender):
    names = {"a": surface.connect("a"), "b": surface.connect("b")}
    sender.handoff.create(to_agent="a", goal="somebody do it")

    def pass_on(me, other):
        names[me].handoff.work(lambda _task: names[me].handoff.create(to_agent=other).state, until_idle=True)

    for _ in range(4):
        pass_on("a", "b")
        pass_on("b", "a")
    found = list(sender.handoff.lineage(sender.handoff.list(sender="sender")[0].id))
    assert [handoff.to_agent for handoff in found] == ["a", "b", "a", "b", "a"]
    assert [handoff.state for handoff in found] == ["completed"] * 4 + ["dead"]
    assert "in a circle: agent:a -> agent:b -> agent:a -> agent:b -> agent:a" in found[-1].reason
    assert found[-1].id in {told.id for told in names["b"].handoff.notices()}


@promise("handoff.circle")
def test_too_many_hands_end_and_are_told(surface, sender):
    most = surface.plane.settings.handoff_hops_max
    sender.handoff.create(to_agent="hand-0")
    for number in range(most + 1):
        hand = surface.connect(f"hand-{number}")
        hand.handoff.work(
            lambda _task, hand=hand, number=number: hand.handoff.create(to_agent=f"hand-{number + 1}").id,
            until_idle=True,
        )
    last = sender.handoff.list()[0]
    assert (last.state, last.hops) == ("dead", most + 1)
    assert f"{most} hops are allowed" in last.reason


@promise("handoff.transaction")
def test_completing_and_writing_commit_together(sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    receiver.handoff.claim()
    receiver.state.set("n", "other", 1)
    with pytest.raises(VersionConflict), receiver.transaction() as tx:
        tx.handoff.complete(task.id, "done")
        tx.state.set("n", "other", 2, if_version=7)
    assert sender.handoff.get(task.id).state == "claimed"
    with receiver.transaction() as tx:
        tx.state.set("n", "k", "with it")
        tx.handoff.progress(task.id, 90, "nearly")
        tx.handoff.complete(task.id, "done")
        tx.handoff.create(to_agent="next", context="goes on")
    assert [getattr(result, "state", None) for result in tx.results] == [None, "claimed", "completed", "pending"]
    assert sender.state.get("n", "k") == "with it"
    assert tx.results[3].to == "agent:next"


@promise("handoff.transaction")
def test_a_step_hands_over_with_its_result_or_not_at_all(surface, sender):
    def fails():
        surface.current_step().handoff.create(to_agent="receiver", context="no")
        raise ValueError("no")

    def works():
        surface.current_step().handoff.create(to_agent="receiver", context="yes", key="once")
        return "handed over"

    with pytest.raises(ValueError, match="no"), sender.run("r", key="1") as run:
        run.step("fails", fails)
    assert list(sender.handoff.list()) == []
    for _ in range(2):
        with sender.run("r", key="2") as run:
            assert run.step("works", works) == "handed over"
    assert [handoff.context for handoff in sender.handoff.list()] == ["yes"]


@promise("handoff.work")
def test_workers_perform_what_is_offered(surface, sender, receiver):
    made = [sender.handoff.create(to_capability="double", context={"n": n}) for n in range(5)]
    receiver.handoff.work(lambda task: task.context["n"] * 2, capabilities=["double"], until_idle=True, concurrency=2)
    assert [sender.handoff.result(task.id).result for task in made] == [0, 2, 4, 6, 8]


@promise("handoff.work")
def test_an_error_gives_the_work_back_with_its_story(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", retry={"first_delay_seconds": 5.0})
    tries = []

    def handler(task):
        tries.append(task.attempt)
        if task.attempt == 1:
            raise ValueError("the first time it fails")
        return [attempt.reason for attempt in task.attempts]

    receiver.handoff.work(handler, until_idle=True)
    assert tries == [1]
    surface.plane.advance(5)
    receiver.handoff.work(handler, until_idle=True)
    (reason,) = sender.handoff.result(task.id).result
    assert "ValueError: the first time it fails" in reason


@promise("handoff.work")
def test_a_result_that_is_refused_is_a_failed_attempt(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", acceptance={"checks": ["result > 5"]}, max_attempts=1)
    receiver.handoff.work(lambda _task: 3, until_idle=True)
    dead = sender.handoff.get(task.id)
    assert dead.state == "dead"
    assert "result > 5" in dead.reason


@promise("handoff.epoch")
def test_writes_of_a_handler_are_fenced(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    seen = []

    def handler(_task):
        receiver.state.set("n", "k", 1)
        sender.handoff.cancel(task.id, "stop")
        try:
            receiver.state.set("n", "k", 2)
        except LeaseLost as lost:
            seen.append(lost.message)
            raise

    receiver.handoff.work(handler, until_idle=True)
    assert "was cancelled: stop" in seen[0]
    entry = sender.state.entry("n", "k")
    assert (entry.value, entry.run) == (1, task.id)


@promise("handoff.run")
def test_whoever_takes_over_goes_on_from_the_checkpoints(surface, sender):
    task = sender.handoff.create(to_agent="receiver", context={"n": 3})
    ran = []

    def handler(task, run):
        first = run.step("first", lambda: ran.append("first") or task.context["n"])
        run.tried("the short way", why_failed="it was blocked")
        if "crashed" not in ran:
            ran.append("crashed")
            surface.plane.restart()
            raise Crashed
        return run.step("second", lambda: ran.append("second") or first * 2)

    with pytest.raises(Crashed):
        surface.connect("receiver").handoff.work(handler, until_idle=True)
    surface.plane.upkeep()
    surface.connect("receiver").handoff.work(handler, until_idle=True)
    done = surface.connect("sender").handoff.result(task.id)
    assert (done.state, done.result) == ("completed", 6)
    assert ran == ["first", "crashed", "second"]
    run = surface.connect("sender").runs.get(done.run)
    assert (run.state, run.result, run.name, run.key) == ("completed", 6, "handoff", task.id)
    (tried,) = surface.connect("sender").runs.notes(done.run, kind="tried")
    assert tried.text == "the short way"


@promise("handoff.run")
def test_a_claim_parks_with_its_run(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    ran = []

    def handler(_task, run):
        run.step("before", lambda: ran.append("before"))
        answer = run.wait("answer")
        return {"answer": answer}

    receiver.handoff.work(handler, until_idle=True)
    parked = sender.handoff.get(task.id)
    assert (parked.state, parked.wake, parked.worker) == ("claimed", "run", None)
    surface.plane.advance(3600)
    assert sender.handoff.get(task.id).wake == "run"
    sender.runs.signal(parked.run, "answer", 42)
    offered = sender.handoff.get(task.id)
    assert (offered.state, offered.attempt) == ("pending", 1)
    receiver.handoff.work(handler, until_idle=True)
    assert sender.handoff.result(task.id).result == {"answer": 42}
    assert ran == ["before"]


@promise("handoff.run")
def test_a_run_that_was_cancelled_gives_its_handoff_back(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", max_attempts=2)

    def handler(_task, run):
        sender.runs.cancel(run.id, "wrong way")
        run.step("never", lambda: 1)

    receiver.handoff.work(handler, until_idle=True)
    found = sender.handoff.get(task.id)
    assert (found.state, found.attempt) == ("pending", 2)
    assert "wrong way" in found.reason


@promise("handoff.sender_run")
def test_a_run_waits_for_what_came_of_its_handoff(surface, sender, receiver):
    got = []

    @sender.task("lead")
    def lead(run):
        handle = run.step("ask", lambda: sender.handoff.create(to_agent="receiver", context=2, key=run.id).id)
        got.append(run.wait(handle))
        return got[-1]["result"]

    started = sender.start("lead", key="1")
    sender.work(concurrency=1, until_idle=True)
    assert sender.runs.get(started.id).wake == "signal"
    receiver.handoff.work(lambda task: task.context + 1, until_idle=True)
    sender.work(concurrency=1, until_idle=True)
    assert sender.runs.get(started.id).result == 3
    assert (got[-1]["state"], got[-1]["reason"]) == ("completed", "")


@promise("handoff.briefing")
def test_the_briefing_tells_of_handoffs(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", goal='Mend "it"\nnow')
    text = receiver.briefing().text
    assert f"Handed to you ({task.id}) <agent:sender, trust: agent>: \"Mend 'it' now\"" in text
    assert f"handoff.claim('{task.id}')" in text
    receiver.handoff.complete(task.id, {"mended": True})
    told = sender.briefing()
    assert told.data["notices"][0]["result"] == {"mended": True}
    assert f"What you handed to agent:receiver ({task.id}) is completed" in told.text
    assert receiver.briefing().data["handoffs"] == []
    sender.handoff.result(task.id)
    assert sender.briefing().data["notices"] == []


@promise("handoff.run")
def test_a_run_that_failed_for_good_fails_its_handoff(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver")
    receiver.handoff.work(lambda _task, run: run.fail("there is no such thing"), until_idle=True)
    found = sender.handoff.get(task.id)
    assert (found.state, found.reason) == ("failed", "there is no such thing")


@promise("handoff.run")
def test_after_its_run_was_cancelled_the_next_attempt_begins_anew(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", retry={"first_delay_seconds": 0.0})
    runs = []

    def handler(_task, run):
        runs.append(run.id)
        if len(runs) == 1:
            sender.runs.cancel(run.id, "wrong way")
        return run.step("go", lambda: "there")

    receiver.handoff.work(handler, until_idle=True)
    assert sender.handoff.result(task.id).result == "there"
    assert len(set(runs)) == 2


@promise("handoff.work")
def test_a_handler_may_end_its_handoff_in_its_own_way(surface, sender, receiver):
    for act, state, run_state in (
        ("fail", "failed", "failed"),
        ("decline", "declined", "cancelled"),
        ("complete", "completed", "completed"),
    ):
        task = sender.handoff.create(to_agent="receiver")
        runs = []

        def handler(task, run, act=act, runs=runs):
            runs.append(run.id)
            getattr(receiver.handoff, act)(task.id, "so it is")
            return "not this"

        receiver.handoff.work(handler, until_idle=True)
        assert sender.handoff.get(task.id).state == state
        assert sender.runs.get(runs[0]).state == run_state


@promise("handoff.work")
def test_a_handler_that_gives_back_keeps_its_checkpoints(surface, sender, receiver):
    sender.handoff.create(to_agent="receiver")
    ran = []

    def handler(task, run):
        run.step("look", lambda: ran.append("look"))
        if "later" not in ran:
            ran.append("later")
            receiver.handoff.release(task.id, "not now", attempted=False)
        return "done"

    receiver.handoff.work(handler, until_idle=True)
    assert ran == ["look", "later"]


@dataclasses.dataclass
class Found:
    ok: bool


@promise("handoff.accepted")
def test_what_a_handler_returns_may_be_a_model(surface, sender, receiver):
    task = sender.handoff.create(
        to_agent="receiver", acceptance={"schema": {"type": "object"}, "checks": ["result.ok"]}
    )
    receiver.handoff.work(lambda _task: Found(ok=True), until_idle=True)
    assert sender.handoff.result(task.id).result == {"ok": True}


@promise("handoff.transaction")
def test_a_buffered_handoff_has_its_handle_at_once(surface, sender, receiver):
    def hand_over():
        return surface.current_step().handoff.create(
            to_agent="receiver", acceptance={"schema": {"type": "string"}}, context={"n": 1}
        )

    with sender.run("r", key="1") as run:
        handle = run.step("hand over", hand_over)
    assert receiver.handoff.claim().id == handle
    with sender.transaction() as tx:
        made = tx.handoff.create(to_agent="receiver", key="k")
    assert tx.results[0].id == made == sender.handoff.find("k").id
    assert sender.handoff.find("another") is None


@promise("handoff.clocks")
def test_one_handoff_that_cannot_be_dealt_with_keeps_no_other(surface, sender, monkeypatch, caplog):
    from agentmemo.engine import handoff_time

    bad = sender.handoff.create(to_agent="absent", pickup_by=surface.plane.clock.now_us() + SECOND)
    good = sender.handoff.create(to_agent="absent", pickup_by=surface.plane.clock.now_us() + SECOND)
    whole = handoff_time.time_came

    def fails_once(tx, call, handle):
        if handle == bad.id:
            raise OverflowError("too big to count with")
        whole(tx, call, handle)

    monkeypatch.setattr(handoff_time, "time_came", fails_once)
    surface.plane.advance(1)
    assert sender.handoff.get(good.id).escalated_at is not None
    assert bad.id in caplog.text


@promise("handoff.clocks")
def test_the_progress_clock_has_a_default_and_hears_the_steps_of_a_run(surface, sender, receiver):
    seconds = surface.plane.settings.progress_seconds
    task = sender.handoff.create(to_agent="receiver")
    stepped = []

    def work(handoff, run):
        for number in range(3):
            surface.plane.advance(seconds * 0.7)
            run.step("scan", lambda: 1, key=str(number))
        stepped.extend(events(sender, task.id))
        surface.plane.advance(seconds * 0.7)
        surface.plane.advance(seconds * 0.7)

    receiver.handoff.work(work, until_idle=True)
    assert "stall" not in stepped
    assert events(sender, task.id).count("stall") == 1
