"""A reference workload on a disk that fails: deterministic, so that "the n-th write" is always the same one."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import checker
import workload
from disk import Disk, Fault

from agentmemo.clock import ManualClock, SystemClock
from agentmemo.errors import Error, Unavailable
from agentmemo.testing import ManualPlane

STORE = "plane/store.db"


class Notes:
    """What the workload was told. What is refused is not noted."""

    def __init__(self) -> None:
        self.told: list[dict] = []

    def note(self, what: str, **fields: object) -> None:
        self.told.append({"what": what, "pid": 0, **fields})


class FaultyWork(workload.Work):
    """The work of the processes that are killed, by one thread under a clock that stands still."""

    def __init__(self, plane: ManualPlane, notes: Notes) -> None:
        self.plane = plane
        self.slot = "0"
        self.side = notes
        self.agent = plane.connect("worker")
        self.person = plane.connect(person="olga")
        self.task = None

    def give_back(self) -> None:
        """What the next heartbeat does with runs that could not be given back."""
        heart = self.agent._plane._heart
        if heart is not None:
            heart._give_back()

    def parts(self) -> list[Callable[[], None]]:
        """Each may be refused by itself. Done again, all of them end what was begun."""
        return [
            lambda: self.sets(2),
            lambda: self.transaction(0),
            lambda: self.shared("0"),
            self.pay,
            lambda: self.hand_over(0),
            self.perform,
            self.question,
            self.look,
            lambda: self.plane.advance(1),
        ]

    def pay(self) -> None:
        """Sums run from the first reservation under a cap; without one there is nothing to check."""
        self.person.ledger.cap("workspace", workload.CAP_NANOUSD)
        self.paid("0")

    def shared(self, key: str) -> None:
        with self.agent.run("shared", key, max_attempts=workload.ATTEMPTS) as run:
            self.step(run, "part-0", effect="none")
            self.step(run, "part-1", effect="write", probing=True)
            self.step(run, "part-2", effect="read", big=True)
        self.side.note("finished", run=run.id)

    def perform(self) -> None:
        """What was claimed and not completed is this worker's still, and is done with the same claim."""
        self.agent.handoff.announce(queues=["anybody"])
        self.task = self.task or self.agent.handoff.claim()
        if self.task is None:
            return
        with self.agent.transaction() as tx:
            tx.state.set("done", self.task.id, self.task.context)
            tx.handoff.complete(self.task.id, self.task.context)
        self.side.note("performed", id=self.task.id, epoch=self.task.epoch)
        self.task = None

    def question(self) -> None:
        asked = self.agent.escalate(
            severity="low", reason="Which way?", suggested_actions=workload.SIDES, key="which", wait=False
        )
        self.side.note("asked", id=asked.id)
        if asked.answer is None:
            decided = self.person.inbox.answer(asked.id, "choose", choice="left")
            self.side.note("answered", id=asked.id, choice=decided.answer.choice)

    def look(self) -> None:
        """What only reads."""
        for entry in self.agent.state.list("facts"):
            self.agent.state.get("facts", entry.key)
        self.agent.state.search("contended")
        assert self.agent.audit.verify().intact


@contextlib.contextmanager
def new_disk(root: Path) -> Iterator[Disk]:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    disk = Disk(root)
    with disk.plugged_in():
        yield disk


def calls_of(root: Path) -> dict[str, int]:
    """How many calls of each kind making a store and working on it takes, where nothing fails."""
    with new_disk(root) as disk:
        plane = ManualPlane(root / STORE)
        assert not _attempt(FaultyWork(plane, Notes()))
        calls = dict(disk.calls)
        plane.close()
    return calls


def run_with_failing_syncs(disk: Disk, notes: Notes) -> int:
    """Of each part the first sync fails, and the part is done again. Returns how many parts were refused."""
    plane = ManualPlane(disk.root / STORE, clock=ManualClock(SystemClock().now_us()))
    work, refused = FaultyWork(plane, notes), 0
    for number in range(len(work.parts())):
        disk.fail(Fault("sync", 1))
        refused += len(_attempt(work, only=number))
        disk.heal()
        work.give_back()
        again = _attempt(work, only=number)
        assert not again, again
    plane.close()
    return refused


def run(disk: Disk, fault: Fault) -> list[str]:
    """The workload with a fault, and again once it is gone; then everything acknowledged must be there.

    Returns what was refused. Raises AssertionError where it was otherwise than with Unavailable, or for ever.
    """
    store, notes, refused = disk.root / STORE, Notes(), []
    clock = ManualClock()
    disk.fail(fault)
    try:
        plane = ManualPlane(store, clock=clock)
    except Unavailable as error:
        refused.append(f"open: {error}")
        disk.heal()
        plane = ManualPlane(store, clock=clock)
    try:
        work = FaultyWork(plane, notes)
        refused += _attempt(work)
        disk.heal()
        work.give_back()
        again = _attempt(work)
        assert not again, f"the disk works again, and the store does not: {again}"
    finally:
        disk.heal()
        plane.close()
    plane = ManualPlane(store, clock=clock)
    checker.check_told(plane.connect("checker"), notes.told)
    plane.close()
    checker.check_left(store, notes.told, finished=True)
    return refused


def _attempt(work: FaultyWork, only: int | None = None) -> list[str]:
    refused = []
    for part in work.parts() if only is None else [work.parts()[only]]:
        try:
            part()
        except Unavailable as error:
            refused.append(str(error))
        except (Error, apsw.Error) as error:
            raise AssertionError(f"{type(error).__name__} in place of Unavailable: {error}") from error
    return refused
