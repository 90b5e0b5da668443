"""Handoffs: what is large, what is repeated, what grows, and who may lift a bound."""

from __future__ import annotations

import pytest

from agentmemo import PermissionDenied
from agentmemo.api.operations import BY_NAME
from agentmemo.clock import SECOND
from agentmemo.engine import handlers
from agentmemo.engine.waiting import Lines, place_of
from agentmemo.model.access import AGENT_DEFAULT, Caller
from agentmemo.model.handoffs import ClaimHandoffs, ReceiveResult

promise = pytest.mark.promise
DAY = 86_400


@pytest.fixture
def sender(surface):
    return surface.connect("sender", grants=[AGENT_DEFAULT])


@pytest.fixture
def receiver(surface):
    return surface.connect("receiver", grants=[AGENT_DEFAULT])


@promise("handoff.key")
def test_the_order_of_fields_makes_no_other_package(sender):
    large = ["x" * 100] * 100
    for number, extra in enumerate(([], large)):
        one = {"a": 1, "b": {"c": 2, "d": 3}, "extra": extra}
        other = {"extra": extra, "b": {"d": 3, "c": 2}, "a": 1}
        first = sender.handoff.create(to_agent="receiver", context=one, key=f"k{number}")
        again = sender.handoff.create(to_agent="receiver", context=other, key=f"k{number}")
        assert again.id == first.id
        assert list(again.context) == list(one), "it is kept as it was first written"


@promise("handoff.list")
def test_the_status_counts_what_is_kept(surface, sender, receiver):
    states = ("pending", "claimed", "completed", "failed")
    for state in states:
        task = sender.handoff.create(to_agent="receiver")
        if state != "pending":
            claimed = receiver.handoff.claim(task.id)
        if state == "completed":
            receiver.handoff.complete(task.id, 1, epoch=claimed.epoch)
        if state == "failed":
            receiver.handoff.fail(task.id, "no", epoch=claimed.epoch)
    at = surface.plane.clock.now_us() + 365 * DAY * SECOND
    sender.handoff.create(to_agent="receiver", not_before=at)
    checked = sender.handoff.create(to_agent="receiver", acceptance={"verifier": "judge"})
    receiver.handoff.complete(checked.id, 1)
    assert sender.status().handoffs == {"pending": 3, "claimed": 1, "completed": 1, "failed": 1, "submitted": 1}
    surface.plane.advance((surface.plane.settings.finished_runs_days + 1) * DAY)
    counted = sender.status().handoffs
    assert "completed" not in counted
    assert "failed" not in counted


@promise("handoff.list")
def test_what_somebody_should_look_at_is_listed_until_it_is_pruned(surface, sender, receiver):
    made = [sender.handoff.create(to_agent=name, max_attempts=1) for name in ("receiver", "nobody")]
    receiver.handoff.claim(made[0].id)
    receiver.handoff.release(made[0].id, "cannot")
    surface.plane.advance(surface.plane.settings.pickup_seconds + 1)
    assert [found.id for found in sender.handoff.list(state="escalated")] == [made[1].id, made[0].id]
    assert [found.id for found in sender.handoff.list(state="escalated", to="nobody")] == [made[1].id]
    surface.plane.advance((surface.plane.settings.finished_runs_days + 1) * DAY)
    assert [found.id for found in sender.handoff.list(state="escalated")] == [made[1].id]


@promise("handoff.limit")
def test_a_limit_counts_what_is_held_already(surface, sender, receiver):
    made = [sender.handoff.create(to_agent="receiver", context=n).id for n in range(4)]
    held = receiver.handoff.claim_many(2)
    person = surface.connect(person="dana")
    assert person.handoff.limit("receiver", concurrency=2).held == 2
    assert receiver.handoff.claim() is None
    receiver.handoff.complete(held[0].id, 1)
    assert receiver.handoff.claim().id == made[2]
    assert receiver.handoff.claim() is None
    assert person.handoff.limit("receiver", concurrency=3).held == 2
    for task in (held[1].id, made[2]):
        receiver.handoff.complete(task, 1)
    assert next(iter(person.handoff.limits())).held == 0


@promise("handoff.circle")
def test_no_agent_lifts_what_keeps_it_from_going_in_circles(surface, sender):
    agents = {name: surface.connect(name, grants=[AGENT_DEFAULT]) for name in "ab"}
    made = [sender.handoff.create(to_agent="a")]

    def pass_on(me, other):
        agents[me].handoff.work(lambda _task: made.append(agents[me].handoff.create(to_agent=other)), until_idle=True)

    for me, other in ("ab", "ba", "ab", "ba"):
        pass_on(me, other)
    dead = made[-1]
    assert dead.state == "dead"
    for agent in (agents["b"], sender):
        with pytest.raises(PermissionDenied, match="in a circle") as refused:
            agent.handoff.requeue(dead.id)
        assert "to_agent" in refused.value.next_call
    assert agents["b"].handoff.requeue(dead.id, to_agent="c").state == "pending"
    surface.connect("c").handoff.decline(dead.id, "no")
    assert surface.connect(person="dana").handoff.requeue(dead.id, to_agent="a").state == "pending"


@promise("handoff.verifier")
def test_a_large_verification_lies_in_blobs(surface, sender, receiver):
    context, result = ["c" * 50] * 200, ["r" * 50] * 200
    task = sender.handoff.create(to_agent="receiver", context=context, acceptance={"verifier": "judge"})
    claimed = receiver.handoff.claim(task.id)
    receiver.handoff.complete(claimed.id, result)
    judge = surface.connect("judge")
    asked = judge.handoff.claim()
    assert (asked.context["context"], asked.context["result"]) == (context, result)
    found = surface.plane.engine.database.read(lambda tx: tx.one("handoff_package", handle=asked.id))
    assert found[2] is None
    assert found[3] is not None
    judge.handoff.complete(asked.id, {"accepted": True})
    assert sender.handoff.result(task.id).result == result


@promise("handoff.transaction")
def test_what_is_created_and_completed_at_once_is_verified_too(surface, sender, receiver):
    large = ["x" * 50] * 200
    with receiver.transaction() as tx:
        made = tx.handoff.create(to_agent="receiver", context=large, acceptance={"verifier": "judge"})
        tx.handoff.complete(made, large)
    assert sender.handoff.get(made).state == "submitted"
    asked = surface.connect("judge").handoff.claim()
    assert (asked.context["context"], asked.context["result"]) == (large, large)


@promise("handoff.capability")
def test_as_much_can_be_announced_as_is_allowed(receiver):
    names = ["\u00e4" * 124 + f"{number:04}" for number in range(100)]
    announced = receiver.handoff.announce(capabilities=names)
    assert len(announced.addresses) == 101
    event = receiver.audit.events(type="handoff.announce").items[-1]
    assert event.subject["count"] == "100"
    assert event.subject["to"].startswith("capability:\u00e4")


@promise("handoff.notice")
def test_whoever_waits_for_a_result_leaves_the_writer_alone(surface, sender, receiver):
    """After each commit of anybody's it is looked whether to ask again, by reading."""
    task = sender.handoff.create(to_agent="receiver", pickup_by=surface.plane.clock.now_us() + SECOND)
    engine, operation = surface.plane.engine, BY_NAME["handoff.result"]
    caller = Caller(name="sender", grants=(AGENT_DEFAULT,))

    def is_worth_asking():
        return engine.is_worth_asking(operation, caller, ReceiveResult(handoff=task.id))

    assert not is_worth_asking()
    surface.plane.advance(2)
    assert is_worth_asking()
    assert sender.handoff.result(task.id, wait_seconds=5).notice_at is not None
    assert not is_worth_asking()
    receiver.handoff.complete(task.id, "done")
    assert is_worth_asking()
    assert sender.handoff.result(task.id, wait_seconds=5).result == "done"


@promise("handoff.notice")
def test_a_wait_that_is_over_tells_what_is_true_then(surface, sender, receiver, monkeypatch):
    task = sender.handoff.create(to_agent="receiver")
    receiver.handoff.announce(queues=["any"])  # who is known by then needs no write of their own
    engine, receive = surface.plane.engine, handlers.HANDLERS["handoff.result"]
    caller, claimed = Caller(name="receiver", grants=(AGENT_DEFAULT,)), []

    def receive_and_let_claim(tx, call, request):
        """As soon as it was looked at, somebody takes it: no news to wait for."""
        if not claimed:
            claimed.append(engine.submit(BY_NAME["handoff.claim"], caller, ClaimHandoffs(handoff=task.id), _ignored))
        return receive(tx, call, request)

    monkeypatch.setitem(handlers.HANDLERS, "handoff.result", receive_and_let_claim)
    found = sender.handoff.result(task.id, wait_seconds=0.2)
    assert (found.state, found.epoch) == ("claimed", 1)


def _ignored(_result, _error):
    return None


@promise("handoff.notice")
def test_a_line_is_there_as_long_as_somebody_stands_in_it():
    lines = Lines()
    operation, caller = BY_NAME["handoff.result"], Caller(name="sender")
    places = [place_of(operation, caller, ReceiveResult(handoff=f"hof_{number}")) for number in range(3)]
    held = lines.of_threads(places[0])
    assert lines.of_threads(places[0]) is held
    for place in places[1:]:
        assert lines.of_threads(place) is not held
    assert len(lines._threads) == 1


@promise("handoff.decline")
def test_a_decline_keeps_it_open_for_the_others(surface, sender, receiver):
    other = surface.connect("other", grants=[AGENT_DEFAULT])
    for agent in (receiver, other):
        agent.handoff.announce(capabilities=["fix"])
    task = sender.handoff.create(to_capability="fix", ladder=[{"after_seconds": 60, "to_agent": "last"}])
    declined = receiver.handoff.decline(task.id, "not mine")
    assert (declined.state, declined.to, declined.due_at) == ("pending", "capability:fix", task.due_at)
    assert "declined by agent:receiver: not mine" in declined.reason
    assert list(receiver.handoff.list_pending()) == []
    assert receiver.handoff.claim() is None
    assert receiver.briefing().data["handoffs"] == []
    assert receiver.handoff.decline(task.id, "again").updated_at == declined.updated_at
    assert [offered.id for offered in other.handoff.list_pending()] == [task.id]
    assert other.handoff.claim().id == task.id
    moved = other.handoff.decline(task.id, "nor mine")
    assert (moved.state, moved.to) == ("pending", "agent:last")
    assert surface.connect("last").handoff.decline(task.id, "no").state == "declined"
    acts = [event.operation for event in sender.audit.events(run=task.id)]
    assert acts == [f"handoff.{act}" for act in ("create", "pass", "claim", "readdress", "decline")]


@promise("handoff.decline")
def test_a_claim_that_is_declined_goes_to_the_others(surface, sender, receiver):
    other = surface.connect("other", grants=[AGENT_DEFAULT])
    for agent in (receiver, other):
        agent.handoff.announce(queues=["q"])
    task = sender.handoff.create(to_queue="q")
    receiver.handoff.decline(receiver.handoff.claim().id, "cannot")
    assert receiver.handoff.claim() is None
    (attempt,) = sender.handoff.get(task.id).attempts
    assert attempt.outcome == "declined"
    assert other.handoff.decline(task.id, "nor I").state == "declined"
    assert [told.id for told in sender.handoff.notices()] == [task.id]
    sender.handoff.requeue(task.id)
    assert receiver.handoff.claim().id == task.id


@promise("handoff.decline")
def test_whoever_is_disabled_is_not_waited_for(surface, sender, receiver):
    other = surface.connect("other", grants=[AGENT_DEFAULT])
    for agent in (receiver, other):
        agent.handoff.announce(capabilities=["fix"])
    task = sender.handoff.create(to_capability="fix")
    surface.connect(person="dana").keys.disable("other")
    assert receiver.handoff.decline(task.id, "no").state == "declined"


@promise("handoff.order")
def test_turns_that_are_over_are_forgotten(surface, sender, receiver):
    engine = surface.plane.engine

    def left():
        """How many of the turns retention would still remove."""
        kept = {"workspace": engine.names.workspace("default")[0], "limit": 1000}
        queries = ("handoff_turn_remove_passed", "handoff_turn_remove_idle")
        return engine.database.write(lambda tx: sum(tx.run(query, **kept) for query in queries), lane=1)

    def work_of_many():
        for number in range(5):
            surface.connect(f"sender-{number}").handoff.create(to_agent="receiver")
        for _ in range(5):
            receiver.handoff.complete(receiver.handoff.claim().id, 1)

    work_of_many()
    assert left() == 6
    work_of_many()
    surface.plane.advance(DAY)
    assert left() == 0
    noisy = [sender.handoff.create(to_agent="receiver", context=number).id for number in range(10)]
    for _ in range(5):
        receiver.handoff.claim()
    surface.plane.advance(DAY)
    quiet = surface.connect("quiet").handoff.create(to_agent="receiver")
    assert {receiver.handoff.claim().id for _ in range(2)} == {noisy[5], quiet.id}


@promise("handoff.order")
def test_what_is_offered_again_is_behind_nobody_for_ever(surface, sender, receiver):
    for number in range(5):
        dead = sender.handoff.create(to_agent="receiver", context=number, max_attempts=1)
        receiver.handoff.release(receiver.handoff.claim().id, "no")
    surface.plane.advance(DAY)
    sender.handoff.requeue(dead.id)
    for number in range(3):
        surface.connect("other").handoff.create(to_agent="receiver", context=number)
    assert dead.id in {receiver.handoff.claim().id for _ in range(2)}
