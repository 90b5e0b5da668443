"""The program of the chaos: many workers in one process, on a database or over HTTP, that go on whatever happens.

    python chaos.py work|finish TARGET SIDE SLOT WORKERS

TARGET is the address of a PostgreSQL database, or a file with the addresses of servers, one a line. Workers end when a
file SIDE.stop lies there. Notes are as in workload.py, with the time; they need no fsync, since only processes die.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import workload
from workload import DECISIONS, Side, Work, read_notes

import agentmemo
from agentmemo.errors import Conflict, Error, LeaseLost, NotFound, RunHeld, Unavailable, VersionConflict

SHARED_KEYS = 5
PAUSE_SECONDS = 0.02
# After this the whole cluster is expected to have come back many times over.
HOPELESS_SECONDS = 200.0


class Notes(Side):
    def __init__(self, path: str, slot: str) -> None:
        super().__init__(path)
        self._slot = slot

    def note(self, what: str, **fields: object) -> None:
        line = {"what": what, "pid": os.getpid(), "at": time.time(), "slot": self._slot, **fields}
        os.write(self._file, json.dumps(line).encode() + b"\n")


class Worker(Work):
    """One busy worker. Where a call fails it looks again, as an agent does: by key, by version, or not at all."""

    def __init__(self, target: str, side: str, slot: str, first: int) -> None:
        self.target = target
        self.slot = slot
        self.side = Notes(side, slot)
        self.stop = Path(f"{side}.stop")
        self.first = first
        self.agent = self.connected()

    def connected(self):
        end = time.monotonic() + HOPELESS_SECONDS
        while True:
            try:
                agent = agentmemo.connect(self._address(), agent=f"agent-{self.slot}")
                agent.status()
                break
            except Unavailable:
                assert time.monotonic() < end, "nobody is there"
                time.sleep(PAUSE_SECONDS)
        agent.task("leaf")(self.leaf)
        agent.task("errand")(self.errand)
        return agent

    def _address(self) -> str:
        if self.target.startswith("postgresql:"):
            return self.target
        addresses = Path(self.target).read_text(encoding="ascii").split()
        if not addresses:
            raise Unavailable("No server is there.")
        return random.choice(addresses)

    def loop(self) -> None:
        n = self.first
        while not self.stop.exists():
            self.cycle(n)
            self.side.note("cycle", n=n)
            n += 1

    def cycle(self, n: int) -> None:
        key = f"{self.slot}-{n}"
        self.until_it_works(self.sets, n)
        for _ in range(4):
            self.until_it_works(self.count, n)
        self.until_it_works(self.transaction, n)
        self.until_it_works(self.job, key)
        self.until_it_works(self.start_errand, key)
        self.until_it_works(lambda _: self.agent.work(concurrency=1, until_idle=True), n)
        self.open_once(self.shared, str(n))

    def sets(self, n: int) -> None:
        """Unconditional, and each with a token of its own: none may be there twice."""
        for part in range(2):
            self.set("facts", f"{self.slot}-{part}", {"n": n, "token": os.urandom(8).hex()})
        self.set("facts", "contended", {"by": self.slot, "token": os.urandom(8).hex()})

    def count(self, n: int) -> None:
        """Count one of the shared counters up once, whoever else does: the version of the key is its value."""
        key = f"counter-{n % SHARED_KEYS}"
        counted = False
        while not counted and not self.stop.exists():
            with suppress(VersionConflict):
                known = self.version_of("counted", key)
                self.set("counted", key, {"n": known + 1, "token": os.urandom(8).hex()}, if_version=known)
                counted = True

    def version_of(self, namespace: str, key: str) -> int:
        try:
            return self.agent.state.entry(namespace, key).version
        except NotFound:
            return 0

    def until_it_works(self, work, argument: object) -> None:
        end = time.monotonic() + HOPELESS_SECONDS
        while True:
            try:
                return work(argument)
            except (Unavailable, RunHeld, LeaseLost) as error:
                if time.monotonic() > end:
                    raise
                self.side.note("refused", code=error.code)
                self.look_elsewhere()

    def open_once(self, body, key: str) -> None:
        try:
            body(key)
        except (Unavailable, RunHeld, LeaseLost):
            time.sleep(PAUSE_SECONDS)

    def look_elsewhere(self) -> None:
        """Over HTTP to whatever server is there; a database's client finds its server by itself."""
        time.sleep(PAUSE_SECONDS)
        if not self.target.startswith("postgresql:"):
            with suppress(Error):
                self.agent.close()
            self.agent = self.connected()


def answer_for_ever(target: str) -> None:
    """A person who answers whatever a run asks, as soon as there is a database."""
    person = None
    while True:
        time.sleep(0.1)
        try:
            person = person or agentmemo.connect(target, person="olga")
            for run in person.runs.list(state="waiting"):
                if run.wake == "person":
                    person.runs.resolve(run.id, DECISIONS[run.waiting_for], asked=run)
        except (Conflict, Unavailable):
            continue  # another process's person was faster, or nobody is there
        except Error as error:
            print(f"the person gave up: {error}", file=sys.stderr, flush=True)  # noqa: T201 - shown by a failing test
            return


def finish(target: str, side: str) -> None:
    """Carry everything unfinished to its end, as agents do that are not killed any more."""
    worker = Worker(target, side, "finisher", 0)
    bodies = {"job": worker.job, "shared": worker.shared, "sub": None}
    end = time.monotonic() + float(os.environ["CHAOS_FINISH_SECONDS"])
    while unfinished := list(worker.agent.runs.list(state="unfinished")):
        assert time.monotonic() < end, [worker.agent.runs.explain(run.id) for run in unfinished]
        for run in unfinished:
            if body := bodies.get(run.name):
                worker.open_once(body, run.key)
            elif run.name == "errand":
                worker.tell_to_go(run.id, run.key)
        worker.agent.work(concurrency=2, until_idle=True)
        time.sleep(PAUSE_SECONDS)
    worker.agent.close()


def main() -> None:
    mode, target, side, slot, workers = sys.argv[1:]
    faulthandler.register(signal.SIGUSR1)  # a failing test shows where everybody was
    workload.BIG_BYTES = workload.SMALLER_BYTES
    if target.startswith("postgresql:"):
        threading.Thread(target=answer_for_ever, args=(target,), daemon=True).start()
    if mode == "finish":
        finish(target, side)
        return
    done = {}
    for note in read_notes(side):
        if note["what"] == "cycle":
            done[note["slot"]] = note["n"]
    slots = [f"{slot}.{number}" for number in range(int(workers))]
    threads = [
        threading.Thread(target=lambda name=name: Worker(target, side, name, done.get(name, -1) + 1).loop())
        for name in slots
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
