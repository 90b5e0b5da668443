"""Leases and epochs: who holds a run is never in doubt, whoever sleeps, dies, comes back or sets a clock."""

from __future__ import annotations

import contextlib
import contextvars
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from machines.machine import DAY, PICK, Machine

from agentmemo import Connection, LeaseLost, RunHeld, Unavailable
from agentmemo.api.lookup import operation_of
from agentmemo.client._sync.run import Run
from agentmemo.clock import SECOND
from agentmemo.model.runs import Heartbeat, StartRun

# Two of one name: whoever comes back under the same name is somebody else all the same.
NAMES = ("ann", "ann", "bob")
KEYS = ("r1", "r2", "r3")
MANY = 1000


@dataclass(eq=False)
class Worker:
    name: str
    connection: Connection
    link: object  # what the plane knows of the connection
    sign: int  # of life, the last one, by the boot clock
    killed: bool = False
    retired: bool = False  # it was thought dead once


@dataclass(eq=False)
class Work:
    key: str
    id: str = ""
    state: str = "absent"
    epoch: int = 0
    worker: Worker | None = None
    claimed: int = 0  # by the boot clock
    answered: bool = True  # the worker knows of its claim
    unnamed: int | None = None  # since which heartbeat the worker does not name it

    def is_held(self, hold):
        return self.state == "running" and (self.epoch, self.worker) == (hold.epoch, hold.worker)


@dataclass(eq=False)
class Hold:
    """What a worker believes to hold, in a context of its own as in a task or thread of its own."""

    worker: Worker
    work: Work
    run: Run
    epoch: int
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class LeaseMachine(Machine):
    """From two thirds of a lease after a sign of life to its end, either may be: not each renewal is written."""

    def begin(self):
        self.lease = round(self.settings.lease_seconds * SECOND)
        self.number = 0
        self.works = {key: Work(key) for key in KEYS}
        self.restarted()
        for work, worker in zip(self.works.values(), self.workers, strict=True):
            self.open(work, worker)

    def restarted(self):
        self.holds = []
        for worker in getattr(self, "workers", ()):
            worker.killed = True
        self.workers = [self.arrive(name) for name in NAMES]
        self.upkeep_came()

    def arrive(self, name):
        connection = self.surface.connect(name)
        return Worker(name, connection, self.plane._link_of(connection), self.clock.boot_us())

    def is_alive(self, worker):
        """None where the promise leaves it open."""
        silent = self.clock.boot_us() - worker.sign
        if silent >= self.lease or (worker.killed and self.surface.kind == "sync" and not worker.retired):
            return False
        return None if (worker.killed and worker.retired) or silent >= self.lease * 2 // 3 else True

    def pass_time(self, seconds, *, upkeep=True):
        for worker in self.workers:
            if worker.link.beats:
                worker.sign = self.clock.boot_us() + round(seconds * SECOND)
        super().pass_time(seconds, upkeep=upkeep)

    def upkeep_came(self):
        for work in self.works.values():
            alive = self.is_alive(work.worker) if work.state == "running" else True
            if alive is None:
                alive = self.witness.runs.get(work.id).state == "running"
            if not alive:
                work.state = "pending"
        for worker in self.workers:
            worker.retired = worker.retired or not self.is_alive(worker)

    def taken(self, work, worker, *, answered=True):
        work.state, work.epoch, work.worker = "running", work.epoch + 1, worker
        work.answered, work.unnamed = answered, None
        work.claimed = worker.sign = self.clock.boot_us()

    def fresh(self):
        self.number += 1
        return str(self.number)

    # What workers do.

    @rule(key=st.sampled_from(KEYS), pick=PICK)
    def claim(self, key, pick):
        self.open(self.works[key], self.workers[pick % len(self.workers)])

    def open(self, work, worker):
        """By its key: at once where the holder is dead, not at all while it is alive."""
        alive = self.is_alive(work.worker) if work.state == "running" else False
        hold = Hold(worker, work, worker.connection.run("job", work.key, max_attempts=MANY), work.epoch + 1)
        try:
            hold.context.run(hold.run.__enter__)
        except RunHeld:
            assert alive is not False
            return
        assert not alive
        self.taken(work, worker)
        work.id = hold.run.id
        assert hold.run.epoch == work.epoch
        self.holds.append(hold)
        self.write_under(hold)  # so that nobody is asked about takeovers

    @rule(key=st.sampled_from(KEYS), pick=PICK)
    def claim_without_an_answer(self, key, pick):
        """The worker is given a run and never hears of it."""
        work, worker = self.works[key], self.workers[pick % len(self.workers)]
        if work.state == "pending":
            self.as_of(
                worker, StartRun(name="job", key=work.key, worker=worker.connection._plane.worker(), max_attempts=MANY)
            )
            self.taken(work, worker, answered=False)

    def as_of(self, worker, request):
        """A call of a worker that the test's transport would keep back."""
        return self.plane.engine.call(operation_of(type(request)), worker.link.caller, request)

    @precondition(lambda self: self.holds)
    @rule()
    def write(self):
        """Everybody who believes to hold something."""
        for hold in self.holds:
            self.write_under(hold)

    @rule(key=st.sampled_from(KEYS), first=PICK, second=PICK, days=st.sampled_from([-400, 0, 10]))
    def oversleep(self, key, first, second, days):
        """Its lease ends, another one takes over, and it wakes up in the middle of its work."""
        sleeper, heir = (self.workers[pick % len(self.workers)] for pick in (first, second))
        self.open(self.works[key], sleeper)
        self.clock.step(days * DAY)
        sleeper.link.beats = False
        self.pass_time(11)
        self.open(self.works[key], heir)
        self.write()

    def write_under(self, hold):
        """A step, and something beside it, under the claim; nothing of it is accepted of whoever lost it."""
        place, state = self.fresh(), hold.worker.connection.state
        acts = (
            lambda: hold.run.step("write", lambda: hold.epoch, key=place),
            lambda: state.set("held", hold.work.key, hold.epoch),
        )
        for act in acts:
            if hold.worker.killed:
                with pytest.raises(Unavailable):
                    hold.context.run(act)
            elif hold.work.is_held(hold):
                hold.context.run(act)
                hold.worker.sign = self.clock.boot_us()
            else:
                with pytest.raises(LeaseLost):
                    hold.context.run(act)

    @precondition(lambda self: self.holds)
    @rule(pick=PICK, error=st.sampled_from([None, ValueError("broken"), KeyboardInterrupt()]))
    def leave(self, pick, error):
        """The end of the block: whoever lost the run changes nothing by it."""
        hold = self.holds.pop(pick % len(self.holds))
        work = hold.work
        refused = hold.worker.killed or not work.is_held(hold)
        lost = Unavailable if hold.worker.killed else LeaseLost
        # An error of the block itself is the news there: that the run could not be given back is not.
        with pytest.raises(lost) if refused and error is None else contextlib.nullcontext():
            hold.context.run(hold.run.__exit__, type(error), error, None)
        if not refused:
            hold.worker.sign = self.clock.boot_us()
            self.ended(work) if error is None else setattr(work, "state", "pending")

    def ended(self, work):
        """Its key stays taken; the next one of its name is another."""
        self.works[work.key.partition("~")[0]] = Work(work.key.partition("~")[0] + f"~{self.fresh()}")

    @precondition(lambda self: any(work.state != "absent" for work in self.works.values()))
    @rule(key=st.sampled_from(KEYS))
    def cancel(self, key):
        work = self.works[key]
        if work.state != "absent":
            self.witness.runs.cancel(work.id, "no longer wanted")
            work.state = "cancelled"
            self.ended(work)

    @rule(pick=PICK)
    def beat(self, pick):
        """As the library's heart does: it says what it holds, and is told what it lost."""
        worker = self.workers[pick % len(self.workers)]
        if not worker.link.workers:
            return
        believed = [hold for hold in self.holds if hold.worker is worker]
        names = [hold.run.id for hold in believed]
        beat = Heartbeat(worker=worker.link.workers[0], steps=dict.fromkeys(names, ""), holds=names)
        told = self.as_of(worker, beat)
        worker.sign = self.clock.boot_us()
        assert {*told.lost, *told.cancelled} == {
            hold.run.id for hold in believed if not (hold.work.state == "running" and hold.work.worker is worker)
        }
        for work in self.works.values():
            if work.worker is worker and work.state == "running" and work.id not in names:
                self.beat_without(work)

    def beat_without(self, work):
        """Its answer may be on the way for a lease; after that, it is given back."""
        now = self.clock.boot_us()
        held = self.witness.runs.get(work.id).state == "running"
        work.unnamed = now if work.unnamed is None else work.unnamed
        assert held or now - work.claimed > self.lease
        assert not held or now - work.unnamed <= self.lease
        work.state = "running" if held else "pending"

    @rule(pick=PICK)
    def fall_silent(self, pick):
        """Its machine sleeps, or the network is away: it lives, and does not know that it is thought dead."""
        self.workers[pick % len(self.workers)].link.beats = False

    @rule(pick=PICK)
    def wake_up(self, pick):
        self.workers[pick % len(self.workers)].link.beats = True

    @rule(pick=PICK)
    def die(self, pick):
        """And another one of the same name comes."""
        worker = self.workers.pop(pick % len(self.workers))
        self.plane.kill(worker.connection)
        worker.killed = True
        self.workers.append(self.arrive(worker.name))

    @rule(pick=PICK)
    def close(self, pick):
        """A clean end gives everything back at once."""
        worker = self.workers.pop(pick % len(self.workers))
        worker.connection.close()
        self.holds = [hold for hold in self.holds if hold.worker is not worker]
        for work in self.works.values():
            if work.worker is worker and work.state == "running":
                work.state = "pending"
        self.workers.append(self.arrive(worker.name))

    @invariant()
    def one_holds(self):
        for work in self.works.values():
            if work.state == "absent":
                continue
            run = self.witness.runs.get(work.id)
            assert (run.state, run.epoch) == (work.state, work.epoch)
            holders = [hold for hold in self.holds if hold.work is work and work.is_held(hold)]
            assert len(holders) <= 1
