"""Handoffs: order, fairness, limits, references, lists, and what is refused."""

from __future__ import annotations

import pytest

from agentmemo import (
    Grant,
    IdempotencyMismatch,
    InvalidInput,
    InvalidTransition,
    LimitExceeded,
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


@promise("handoff.order")
def test_priority_goes_first_then_age(sender, receiver):
    made = [sender.handoff.create(to_agent="receiver", priority=priority).id for priority in (0, 5, -5, 5)]
    assert [handoff.id for handoff in receiver.handoff.list_pending()] == [made[1], made[3], made[0], made[2]]
    assert [receiver.handoff.claim().id for _ in made] == [made[1], made[3], made[0], made[2]]


@promise("handoff.order")
def test_a_flood_of_one_sender_does_not_drown_another(surface, receiver):
    noisy, quiet = surface.connect("noisy"), surface.connect("quiet")
    for number in range(30):
        noisy.handoff.create(to_agent="receiver", context=number)
    for _ in range(10):
        receiver.handoff.claim()
    mine = quiet.handoff.create(to_agent="receiver")
    order = [receiver.handoff.claim().id for _ in range(3)]
    assert mine.id in order, "it waits for no more than one of the other sender's turns"
    for number in range(20):
        quiet.handoff.create(to_agent="receiver", context=number)
    senders = [receiver.handoff.claim().from_agent for _ in range(10)]
    assert senders.count("agent:quiet") == senders.count("agent:noisy") == 5


@promise("handoff.schedule")
def test_it_is_offered_from_its_time_on(surface, sender, receiver):
    at = surface.plane.clock.now_us() + 60 * SECOND
    task = sender.handoff.create(to_agent="receiver", not_before=at)
    assert (task.wake, task.due_at) == ("time", at)
    assert list(receiver.handoff.list_pending()) == []
    with pytest.raises(InvalidTransition, match="not offered now"):
        receiver.handoff.claim(task.id)
    surface.plane.advance(60)
    assert receiver.handoff.claim().id == task.id
    assert "offer" in events(sender, task.id)


@promise("handoff.list")
def test_handoffs_are_listed_and_found(surface, sender, receiver):
    made = [sender.handoff.create(to_agent="receiver", context=n).id for n in range(5)]
    other = surface.connect("other").handoff.create(to_queue="q").id
    receiver.handoff.complete(made[0], 1)

    def ids(**wanted):
        return [handoff.id for handoff in sender.handoff.list(**wanted)]

    assert ids() == [other, *made[::-1]]
    assert ids(limit=2) == ids()
    assert ids(state="completed") == [made[0]]
    assert ids(state="unfinished") == [other, *made[:0:-1]]
    assert ids(to="receiver") == ids(to="agent:receiver") == made[::-1]
    assert ids(to="queue:q") == ids(sender="other") == [other]
    assert ids(sender="nobody") == []
    assert [handoff.context for handoff in receiver.handoff.list_pending(limit=2)] == [1, 2, 3, 4]
    surface.plane.advance(1)
    late = sender.handoff.create(to_agent="late").id
    assert sender.handoff.get(late[:14]).id == late
    with pytest.raises(InvalidInput, match="Unknown state"):
        sender.handoff.list(state="lost")
    before = sender.status().revision
    list(receiver.handoff.list_pending())
    assert sender.status().revision == before


@promise("handoff.capability")
def test_work_for_a_capability_goes_to_whoever_announced_it(surface, sender, receiver):
    task = sender.handoff.create(to_capability="translate", goal="to French")
    assert receiver.handoff.claim() is None
    with pytest.raises(PermissionDenied, match="capability:translate"):
        receiver.handoff.claim(task.id)
    told = receiver.handoff.announce(capabilities=["translate"], queues=["slow"])
    assert told.addresses == ["agent:receiver", "capability:translate", "queue:slow"]
    assert receiver.handoff.claim().id == task.id
    receiver.handoff.announce(queues=["slow"])
    sender.handoff.create(to_capability="translate")
    slow = sender.handoff.create(to_queue="slow")
    assert [handoff.id for handoff in receiver.handoff.list_pending()] == [slow.id]


@promise("handoff.limit")
def test_a_receiver_holds_no_more_than_its_limit(surface, sender, receiver):
    surface.connect(person="dana").handoff.limit("receiver", concurrency=2)
    made = [sender.handoff.create(to_agent="receiver", context=n).id for n in range(4)]
    assert len(receiver.handoff.claim_many(10)) == 2
    assert receiver.handoff.claim() is None
    with pytest.raises(LimitExceeded, match="may take no more") as refused:
        receiver.handoff.claim(made[2])
    assert refused.value.retry_safe
    receiver.handoff.complete(made[0], 1)
    assert receiver.handoff.claim().id == made[2]
    receiver.handoff.release(made[1], "later", attempted=False)
    assert receiver.handoff.claim().id == made[1]
    (limit,) = surface.connect(person="dana").handoff.limits()
    assert (limit.to, limit.concurrency, limit.held) == ("agent:receiver", 2, 2)


@promise("handoff.limit")
def test_a_receiver_claims_no_faster_than_its_rate(surface, sender, receiver):
    surface.connect(person="dana").handoff.limit("receiver", rate=2, per_seconds=10)
    for number in range(6):
        sender.handoff.create(to_agent="receiver", context=number)
    assert len(receiver.handoff.claim_many(10)) == 2
    surface.plane.advance(5)
    assert len(receiver.handoff.claim_many(10)) == 1
    surface.plane.advance(60)
    assert len(receiver.handoff.claim_many(10)) == 2, "unused rate does not pile up"
    with pytest.raises(PermissionDenied):
        surface.connect("x", grants=[Grant(permissions=("handoffs:write",))]).handoff.limit("receiver", rate=100)


@promise("handoff.reference")
def test_a_claim_grants_exactly_the_reads_that_are_named(surface, sender):
    sender.state.set("secret", "plan", {"v": 1})
    sender.state.set("secret", "other", "not yours")
    task = sender.handoff.create(to_agent="reader", references=[("secret", "plan")])
    sender.state.set("secret", "plan", {"v": 2})
    reader = surface.connect("reader", grants=[Grant(permissions=("handoffs:read", "handoffs:write", "runs:write"))])
    with pytest.raises(PermissionDenied, match="does not hold"):
        reader.handoff.reference(task.id, "secret", "plan")
    claimed = reader.handoff.claim()
    (reference,) = claimed.references
    assert len(reference.digest) == 64
    found = reader.handoff.reference(task.id, "secret", "plan")
    assert (found.value, found.version) == ({"v": 1}, reference.version)
    with pytest.raises(NotFound):
        reader.handoff.reference(task.id, "secret", "other")
    with pytest.raises(PermissionDenied):
        reader.state.entry("secret", "plan")
    reader.handoff.complete(task.id)
    with pytest.raises(PermissionDenied, match="does not hold"):
        reader.handoff.reference(task.id, "secret", "plan")


@promise("handoff.reference")
def test_nobody_hands_on_what_it_may_not_read(surface, sender):
    sender.state.set("secret", "plan", 1)
    poor = surface.connect("poor", grants=[Grant(permissions=("handoffs:*",))])
    for reference in (("secret", "plan"), ("secret", "missing"), ("nowhere", "x")):
        with pytest.raises(NotFound):
            poor.handoff.create(to_agent="reader", references=[reference])
    with pytest.raises(InvalidInput, match="has the digest"):
        sender.handoff.create(to_agent="r", references=[{"namespace": "secret", "key": "plan", "digest": "0" * 64}])
    assert list(sender.handoff.list()) == []


@promise("handoff.tombstone")
def test_a_pruned_handoff_keeps_its_key(surface, sender, receiver):
    task = sender.handoff.create(to_agent="receiver", context={"n": 1}, key="k")
    receiver.handoff.complete(task.id, "done")
    surface.plane.advance((surface.plane.settings.finished_runs_days + 1) * 86_400)
    found = sender.handoff.get(task.id)
    assert (found.state, found.context, found.result) == ("completed", None, None)
    assert sender.handoff.create(to_agent="receiver", context={"n": 1}, key="k").id == task.id
    with pytest.raises(IdempotencyMismatch):
        sender.handoff.create(to_agent="receiver", context={"n": 2}, key="k")


@promise("input.refused")
def test_bad_input_is_refused_and_keeps_nothing(surface, sender):
    bad = (
        {},
        {"to_agent": "a", "to_queue": "b"},
        {"to_agent": " a"},
        {"to_agent": "x" * 129},
        {"to_agent": "a", "priority": 1001},
        {"to_agent": "a", "max_attempts": 0},
        {"to_agent": "a", "key": ""},
        {"to_agent": "a", "progress_seconds": -1.0},
        {"to_agent": "a", "context": {"n": float("nan")}},
        {"to_agent": "a", "ladder": [{"after_seconds": 1}]},
        {"to_agent": "a", "ladder": [{"after_seconds": -1, "escalate": True}]},
        {"to_agent": "a", "ladder": [{"after_seconds": 1, "escalate": True, "to_agent": "b"}]},
        {"to_agent": "a", "budget": {"stepps": 1}},
        {"to_agent": "a", "tried": [{"text": "x"}]},
        {"to_agent": "a", "constraints": ["x"] * 101},
        {"to_agent": "a", "ladder": [{"after_seconds": 1e300, "escalate": True}]},
        {"to_agent": "a", "retry": {"first_delay_seconds": -1.0}},
        {"to_agent": "a", "retry": {"max_delay_seconds": 1e300}},
        {"to_agent": "a", "retry": {"factor": 0.5}},
        {"to_agent": "a", "retry": {"delay": 3}},
    )
    for fields in bad:
        with pytest.raises(InvalidInput) as refused:
            sender.handoff.create(**fields)
        assert refused.value.next_call, fields
    with pytest.raises(LimitExceeded):
        sender.handoff.create(to_agent="a", context="x" * (surface.plane.settings.value_bytes_max + 1))
    assert list(sender.handoff.list()) == []


@promise("handoff.claim")
def test_a_person_of_an_agents_name_is_not_that_agent(surface, sender):
    task = sender.handoff.create(to_agent="sam")
    person = surface.connect(person="sam")
    assert person.handoff.claim() is None
    with pytest.raises(PermissionDenied, match="addressed to agent:sam"):
        person.handoff.claim(task.id)
    person.handoff.announce(queues=["people"])
    mine = sender.handoff.create(to_queue="people")
    assert person.handoff.claim().id == mine.id


@promise("handoff.unattended")
def test_a_lease_is_bounded(surface, sender, receiver):
    sender.handoff.create(to_agent="receiver")
    for seconds in (-5.0, 0.0, 1e9):
        with pytest.raises(InvalidInput, match="lease_seconds"):
            receiver.handoff.claim(lease_seconds=seconds, heartbeat=False)
    assert receiver.handoff.claim(lease_seconds=5.0, heartbeat=False).state == "claimed"
