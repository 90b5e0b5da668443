"""Handoffs: offered, claimed, given back and ended, with holders that die and come back under the same name."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from machines.machine import PICK, Machine

from agentmemo import HandoffHeld, InvalidTransition, LeaseLost, PermissionDenied
from agentmemo.model.handoffs import ENDED, KEPT, TRANSITIONS
from agentmemo.settings import Settings

ADDRESSES = st.sampled_from(["agent:a", "agent:b", "queue:q"])
HOLDERS = st.sampled_from(["a1", "a2", "b1"])
MAX_ATTEMPTS = 2


class Known:
    """What the model knows of one handoff."""

    def __init__(self, address, priority):
        self.address = address
        self.priority = priority
        self.state = "pending"
        self.epoch = 0
        self.attempt = 1
        self.holder = None
        self.told = False
        self.refused = set()

    def may(self, name):
        """Whether it is addressed to a connection, which is called after its agent."""
        return self.address in (f"agent:{name[0]}", "queue:q")

    def is_offered_to(self, name):
        return self.state == "pending" and self.may(name) and name[0] not in self.refused

    def declined_by(self, name):
        """Of the queue's two agents, the other one is still asked."""
        self.refused |= {name[0]} if self.address == "queue:q" else {"a", "b"}
        return self.refused == {"a", "b"}


def some(*states):
    """Only while there is a handoff in one of these states: a step that does nothing shows nothing."""
    return precondition(lambda self: any(known.state in states for known in self.known.values()))


class HandoffMachine(Machine):
    # A clock that jumps by days would have the sender told of silence.
    settings = Settings(finished_runs_days=100_000, progress_seconds=0)

    def begin(self):
        self.known = {}
        self.keys = {}
        self.connect()
        for number, address in enumerate(("agent:a", "agent:b", "queue:q", "queue:q", "agent:a")):
            self.create_one(address, number % 2, None)

    def connect(self):
        self.sender = self.surface.connect("sender")
        self.holders = {}
        for name in ("a1", "a2", "b1"):
            self.arrive(name)

    def arrive(self, name):
        self.holders[name] = self.surface.connect(name[0])
        self.holders[name].handoff.announce(queues=["q"])

    def restarted(self):
        for name in ("a1", "a2", "b1"):
            self.lost(name)
        self.connect()

    def teardown(self):
        try:
            self.check_trail()
        finally:
            super().teardown()

    def check_trail(self):
        """Each stream is a walk through the table: no move happened that the table does not have."""
        for handle, known in self.known.items():
            acts = [event.operation.partition(".")[2] for event in self.sender.audit.events(run=handle, limit=1000)]
            assert acts[0] == "create"
            state = "pending"
            for act in acts[1:]:
                if act not in ("receive", "work", "progress", "escalate", "stall", "overdue", "offer"):
                    state = TRANSITIONS[state, act]
            assert state == known.state, acts

    def chosen(self, pick, *states):
        fitting = [handle for handle, known in self.known.items() if known.state in states]
        return fitting[pick % len(fitting)]

    @rule(address=ADDRESSES, priority=st.integers(min_value=-1, max_value=1), key=st.sampled_from([None, "k1", "k2"]))
    def create(self, address, priority, key):
        self.create_one(address, priority, key)

    def create_one(self, address, priority, key):
        kind, _, name = address.partition(":")
        key = f"{key}-{address}" if key else None
        made = self.sender.handoff.create(
            **{f"to_{kind}": name}, priority=priority, key=key, max_attempts=MAX_ATTEMPTS, context=address,
            retry={"first_delay_seconds": 0.0}, pickup_by=1 << 52,
        )  # fmt: skip
        if key in self.keys:
            assert made.id == self.keys[key]
            return
        if key:
            self.keys[key] = made.id
        self.known[made.id] = Known(address, priority)

    @some("pending")
    @rule(name=HOLDERS)
    def claim(self, name):
        self.claim_next(name)

    def claim_next(self, name):
        """The first by priority of what it may have; which one of a priority is the queue's affair."""
        fitting = [known for known in self.known.values() if known.is_offered_to(name)]
        got = self.holders[name].handoff.claim()
        assert (got is None) == (not fitting)
        if got:
            known = self.known[got.id]
            assert known in fitting
            assert known.priority == max(each.priority for each in fitting)
            self.taken(known, name)
            assert (got.epoch, got.attempt) == (known.epoch, known.attempt)

    @some("pending")
    @rule(name=HOLDERS)
    def claim_one_more(self, name):
        self.claim_next(name)

    def taken(self, known, name):
        known.state, known.holder = "claimed", name
        known.epoch += 1

    @some("pending", "claimed", *ENDED)
    @rule(name=HOLDERS, pick=PICK)
    def claim_by_handle(self, name, pick):
        handle = self.chosen(pick, "pending", "claimed", *ENDED)
        known = self.known[handle]
        expected = (
            PermissionDenied
            if not known.may(name)
            else InvalidTransition
            if known.state in ENDED
            else HandoffHeld
            if known.state == "claimed" and known.holder != name
            else None
        )
        if expected:
            with pytest.raises(expected):
                self.holders[name].handoff.claim(handle)
            return
        got = self.holders[name].handoff.claim(handle)
        if known.state == "pending":
            self.taken(known, name)
        assert got.epoch == known.epoch

    @some("claimed")
    @rule(pick=PICK, act=st.sampled_from(["complete", "fail", "release", "decline", "progress"]))
    def holder_acts(self, pick, act):
        handle = self.chosen(pick, "claimed")
        known = self.known[handle]
        handoff = self.holders[known.holder].handoff
        arguments = {"complete": ("result",), "progress": (50.0,)}.get(act, ("reason",))
        getattr(handoff, act)(handle, *arguments, epoch=known.epoch)
        if act == "release":
            self.gave_back(known)
        elif act == "decline" and not known.declined_by(known.holder):
            known.state, known.holder = "pending", None
        elif act != "progress":
            self.ended(known, {"complete": "completed", "fail": "failed", "decline": "declined"}[act])

    def ended(self, known, state):
        known.state, known.told = state, True
        if state != "completed":
            known.holder = None

    def gave_back(self, known):
        """An attempt is over."""
        if known.attempt == MAX_ATTEMPTS:
            self.ended(known, "dead")
        else:
            known.state, known.holder = "pending", None
            known.attempt += 1

    @some("claimed")
    @rule(pick=PICK, name=HOLDERS, act=st.sampled_from(["complete", "fail", "release", "progress", "renew"]))
    def somebody_else_acts(self, pick, name, act):
        """With the right epoch and the wrong agent, or the right agent and an old epoch: nothing is accepted."""
        handle = self.chosen(pick, "claimed")
        known = self.known[handle]
        same_agent = known.holder[0] == name[0]
        epoch = known.epoch - 1 if same_agent else known.epoch
        handoff = self.holders[name].handoff
        arguments = {"complete": ("stale",), "progress": (50.0,), "renew": ()}.get(act, ("reason",))
        with pytest.raises((LeaseLost, HandoffHeld)):
            getattr(handoff, act)(handle, *arguments, epoch=epoch)

    @some("completed")
    @rule(pick=PICK)
    def completes_again(self, pick):
        handle = self.chosen(pick, "completed")
        known = self.known[handle]
        assert self.holders[known.holder].handoff.complete(handle, "result", epoch=known.epoch).state == "completed"
        with pytest.raises(LeaseLost):
            self.holders[known.holder].handoff.complete(handle, "another", epoch=known.epoch)

    @some("pending", "claimed")
    @rule(pick=PICK)
    def cancel(self, pick):
        handle = self.chosen(pick, "pending", "claimed")
        self.sender.handoff.cancel(handle, "no")
        self.known[handle].state, self.known[handle].holder = "cancelled", None
        self.known[handle].told = False

    @some(*KEPT)
    @rule(pick=PICK)
    def requeue(self, pick):
        handle = self.chosen(pick, *KEPT)
        self.sender.handoff.requeue(handle)
        known = self.known[handle]
        known.state, known.attempt, known.holder, known.told = "pending", 1, None, False
        known.refused = set()

    @some(*ENDED)
    @rule(pick=PICK)
    def receive(self, pick):
        handle = self.chosen(pick, *ENDED)
        self.sender.handoff.result(handle)
        self.known[handle].told = False

    @rule(name=HOLDERS)
    def die(self, name):
        self.kill(self.holders[name])
        self.pass_time(0)
        self.lost(name)
        self.arrive(name)

    def lost(self, name):
        for known in self.known.values():
            if known.state == "claimed" and known.holder == name:
                self.gave_back(known)

    @rule(name=HOLDERS)
    def close(self, name):
        """A clean end counts as no attempt."""
        self.holders[name].close()
        for known in self.known.values():
            if known.state == "claimed" and known.holder == name:
                known.state, known.holder = "pending", None
        self.arrive(name)

    @invariant()
    def both_say_the_same(self):
        told = {handoff.id for handoff in self.sender.handoff.notices()}
        assert told == {handle for handle, known in self.known.items() if known.told}
        for handle, known in self.known.items():
            found = self.witness.handoff.get(handle)
            assert (found.state, found.epoch, found.attempt) == (known.state, known.epoch, known.attempt)
            assert (found.wake is None) == (found.state in ENDED)
            if found.state == "claimed":
                assert found.holder == f"agent:{known.holder[0]}"
        for name, connection in self.holders.items():
            offered = {handoff.id for handoff in connection.handoff.list_pending()}
            assert offered == {handle for handle, known in self.known.items() if known.is_offered_to(name)}
