"""A reference workload on a disk that fails: deterministic, so that "the n-th write" is always the same one."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import apsw
import checker
import workload
from disk import OWN, Disk, Fault

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


def make(disk: Disk, fault: Fault) -> list[str]:
    """A store is made with a fault. Returns what was refused.

    Raises AssertionError where that was otherwise than with Unavailable, or for ever, or where something of it is left.
    """
    clock, notes = ManualClock(), Notes()
    disk.fail(fault)
    plane, refused = _open(disk, clock)
    _do_all(disk, FaultyWork(plane, notes))
    _check(disk, clock, notes)
    return refused


def use(disk: Disk, fault: Fault) -> list[str]:
    """The same of one that is worked on with a fault, and again once it is gone."""
    clock, notes = ManualClock(), Notes()
    _lay_out(disk)
    plane = ManualPlane(disk.root / STORE, clock=clock)
    work = FaultyWork(plane, notes)
    disk.fail(fault)
    refused = _attempt(work)
    _do_all(disk, work)
    _check(disk, clock, notes)
    return refused


def close(disk: Disk, fault: Fault) -> list[str]:
    """The same of one that is closed with a fault, and opened again."""
    clock, notes = ManualClock(), Notes()
    _lay_out(disk)
    plane = ManualPlane(disk.root / STORE, clock=clock)
    assert not _attempt(FaultyWork(plane, notes))
    disk.fail(fault)
    refused = refusal(plane.close)
    plane, again = _open(disk, clock)
    _do_all(disk, FaultyWork(plane, notes))
    _check(disk, clock, notes)
    return refused + again


def back_up(disk: Disk, fault: Fault) -> list[str]:
    """The same of one that is copied with a fault, and again if that was refused. The copy is held to as much."""
    clock, notes, copy = ManualClock(), Notes(), (disk.root / STORE).with_name("copy.db")
    _lay_out(disk)
    plane = ManualPlane(disk.root / STORE, clock=clock)
    work = FaultyWork(plane, notes)
    assert not _attempt(work, only=0)
    disk.fail(fault)
    refused = refusal(lambda: work.agent.backup(str(copy)))
    disk.heal()
    if refused:
        if fault.kind == OWN and fault.lasting:  # where nothing can be removed either
            copy.unlink(missing_ok=True)
        work.agent.backup(str(copy))
    checker.check_left(copy, notes.told, finished=True)
    _do_all(disk, work)
    _check(disk, clock, notes)
    return refused


Scene = Callable[[Disk, Fault], list[str]]
SCENES: dict[str, Scene] = {scene.__name__: scene for scene in (make, use, close, back_up)}


class Case(NamedTuple):
    """A fault of the calls that a scene makes, as text: `use/write/17/full/lasting`."""

    scene: str
    fault: Fault

    def __str__(self) -> str:
        fault = self.fault
        words = [self.scene, fault.kind, str(fault.number), "full" * fault.full, "lasting" * fault.lasting]
        return "/".join(filter(None, words))


def case_of(text: str) -> Case:
    scene, kind, number, *how = text.split("/")
    return Case(scene, Fault(kind, int(number), full="full" in how, lasting="lasting" in how))


def cases_of(scene: str, root: Path) -> list[Case]:
    """Each call fails, once and from then on; what is written meets a full disk too."""
    with new_disk(root) as disk:
        assert not SCENES[scene](disk, Fault())
        calls = dict(disk.calls)
    return [
        Case(scene, Fault(kind, number, full, lasting))
        for kind, count in calls.items()
        for full in ([False, True] if kind == "write" else [False])
        for number in range(1, count + 1)
        for lasting in (False, True)
    ]


def run(case: Case, root: Path) -> list[str]:
    """What was refused. Raises AssertionError where a promise was broken."""
    with new_disk(root) as disk:
        refused = SCENES[case.scene](disk, case.fault)
        assert disk.failed, "no such call was made"
    return refused


def _open(disk: Disk, clock: ManualClock) -> tuple[ManualPlane, list[str]]:
    """The plane and, where the fault was in its way, the refusal before."""
    planes: list[ManualPlane] = []
    refused = refusal(lambda: planes.append(ManualPlane(disk.root / STORE, clock=clock)))
    if refused:
        disk.heal()
        planes.append(ManualPlane(disk.root / STORE, clock=clock))
    return planes[0], refused


def _lay_out(disk: Disk) -> None:
    """A store that was made elsewhere: making it takes a third of a case."""
    (disk.root / STORE).parent.mkdir()
    (disk.root / STORE).write_bytes(_made())


@functools.cache
def _made() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        ManualPlane(Path(place) / STORE).close()
        return (Path(place) / STORE).read_bytes()


def _do_all(disk: Disk, work: FaultyWork) -> None:
    """All of the work, done already or not; from now on the disk works."""
    disk.heal()
    try:
        work.give_back()
        again = _attempt(work)
        assert not again, f"the disk works again, and the store does not: {again}"
    finally:
        work.plane.close()


def _check(disk: Disk, clock: ManualClock, notes: Notes) -> None:
    """What was acknowledged is there, and of what was refused no thread and no open file is left."""
    # Those of before may end meanwhile.
    threads, files = set(threading.enumerate()) - disk.threads, open_files(disk)
    assert not threads, f"still running: {threads}"
    assert not files, f"still open: {files}"
    plane = ManualPlane(disk.root / STORE, clock=clock)
    checker.check_told(plane.connect("checker"), notes.told)
    plane.close()
    checker.check_left(disk.root / STORE, notes.told, finished=True)


def open_files(disk: Disk) -> list[str]:
    with os.scandir("/proc/self/fd") as descriptors:
        files = [str(Path(each.path).readlink()) for each in descriptors if each.is_symlink()]
    return [file for file in files if file.startswith(f"{disk.root}{os.sep}")]


def _attempt(work: FaultyWork, only: int | None = None) -> list[str]:
    parts = work.parts() if only is None else [work.parts()[only]]
    return [refused for part in parts for refused in refusal(part)]


def refusal(call: Callable[[], object]) -> list[str]:
    """The one refusal of a call, or none."""
    try:
        call()
    except Unavailable as error:
        if error.retry_safe:
            return [str(error)]
        raise AssertionError(f"not safe to repeat: {error}") from error
    except (Error, apsw.Error, OSError) as error:
        raise AssertionError(f"{type(error).__name__} in place of Unavailable: {error}") from error
    return []
