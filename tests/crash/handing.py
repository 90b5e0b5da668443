"""The program of the handoff chaos: agents that hand work over and agents that do it, on one store.

    python handing.py send|receive|finish TARGET SIDE SLOT

Senders create under keys of their own, some twice, and receive what came of it. A receiver's effect is a state write
that commits with the completion, so a handoff that was executed twice has two versions there. Notes are as in
workload.py.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
import traceback
from pathlib import Path

from workload import read_notes

import agentmemo
from agentmemo.clock import SECOND
from agentmemo.errors import Error, HandoffHeld, InvalidInput, LeaseLost, NotFound, Unavailable

PAUSE_SECONDS = 0.01
# So many are under way at once: the store fills with work done, not with work that waits.
AHEAD = 100
CLAIMED_AT_ONCE = 10
ATTEMPTS = 1000
HOPELESS_SECONDS = 200.0
PICKUP_SECONDS = 1.0


class Side:
    """Notes that need no fsync, since only processes die."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: str, **fields: object) -> None:
        os.write(self._file, json.dumps({"what": what, "pid": os.getpid(), **fields}).encode() + b"\n")


def until_it_works(call):
    """The database may be away for a while."""
    end = time.monotonic() + HOPELESS_SECONDS
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > end:
                raise
            time.sleep(PAUSE_SECONDS)


class Sender:
    """Hands over, and hears of it all. After its own death it goes on with what it had handed over."""

    def __init__(self, target: str, side: str, slot: str) -> None:
        self.agent = until_it_works(lambda: agentmemo.connect(target, agent=f"sender-{slot}"))
        self.side = Side(side)
        self.slot = slot
        self.stop = Path(f"{side}.stop")
        made = [note["n"] for note in read_notes(side) if note["what"] == "created" and note["slot"] == slot]
        self.next = max(made, default=-1) + 1
        self.waiting: set[str] = set()

    def loop(self) -> None:
        while not self.stop.exists():
            for _ in range(CLAIMED_AT_ONCE):
                self.create(self.next)
                if self.next % 5 == 0:
                    self.create(self.next)  # its answer may have been lost
                self.next += 1
            self.hear()
            while len(self.waiting) > AHEAD and not self.stop.exists():
                time.sleep(PAUSE_SECONDS)
                self.hear()

    def create(self, n: int) -> None:
        key = f"{self.slot}-{n}"
        nobody = n % 50 == 49
        pickup_by = round((time.time() + PICKUP_SECONDS) * SECOND) if nobody else None

        def create():
            return self.agent.handoff.create(
                to_queue="nobody" if nobody else "steps" if n % 7 == 0 else "work",
                context={"key": key, "padding": "x" * (n % 3000)},
                key=key,
                priority=n % 3,
                max_attempts=ATTEMPTS,
                pickup_by=pickup_by,
                retry={"first_delay_seconds": 0.01, "max_delay_seconds": 0.05},
            )

        made = until_it_works(create)
        if not nobody:
            self.waiting.add(made.id)
        self.side.note("created", slot=self.slot, n=n, id=made.id, key=key, nobody=nobody)

    def hear(self) -> None:
        for told in until_it_works(lambda: list(self.agent.handoff.notices())):
            got = until_it_works(lambda told=told: self.agent.handoff.result(told.id))
            if got.state == "completed":
                assert got.result["key"] == got.context["key"], got
                self.waiting.discard(got.id)
            self.side.note("received", id=got.id, state=got.state, key=got.context["key"])


class Receiver:
    def __init__(self, target: str, side: str, slot: str) -> None:
        self.agent = until_it_works(lambda: agentmemo.connect(target, agent=f"receiver-{slot.partition('.')[0]}"))
        self.side = Side(side)
        self.stop = Path(f"{side}.stop")
        self.chance = random.Random()
        until_it_works(lambda: self.agent.handoff.announce(queues=["work", "steps"]))

    def loop(self) -> None:
        while not self.stop.exists():
            try:
                for task in self.agent.handoff.claim_many(CLAIMED_AT_ONCE, wait_seconds=0.2):
                    self.perform(task)
            except Unavailable:
                time.sleep(PAUSE_SECONDS)

    def perform(self, task) -> None:
        self.side.note("claimed", id=task.id, epoch=task.epoch)
        try:
            if task.to_queue == "steps":
                self.perform_in_steps(task)
            elif self.chance.random() < 0.1:
                self.agent.handoff.release(task.id, "not now", attempted=self.chance.random() < 0.5)
            else:
                self.complete(task)
        except (LeaseLost, HandoffHeld, InvalidInput) as error:
            self.side.note("refused", id=task.id, epoch=task.epoch, code=error.code)
        except Unavailable:
            self.side.note("away", id=task.id, epoch=task.epoch)

    def complete(self, task) -> None:
        """The effect and the completion are one commit. Asked again, nothing more happens."""
        result = {"key": task.context["key"], "epoch": task.epoch}
        with self.agent.transaction() as tx:
            tx.state.set("done", task.id, result)
            tx.handoff.complete(task.id, result, epoch=task.epoch)
        self.side.note("completed", id=task.id, epoch=task.epoch)
        if self.chance.random() < 0.2:
            self.agent.handoff.complete(task.id, result, epoch=task.epoch)

    def perform_in_steps(self, task) -> None:
        """The same by a run whose steps are kept."""

        def effect() -> str:
            here = agentmemo.current_step()
            here.state.set("done", task.id, {"epoch": here.epoch})
            return task.context["key"]

        def handler(task, run):
            run.step("before", lambda: self.side.note("step", id=task.id))
            return {"key": run.step("effect", effect), "epoch": task.epoch}

        self.agent.handoff._perform(task, handler, with_run=True)


def finish(target: str, side: str) -> None:
    """Everything that is still under way comes to its end, and everybody hears of it."""
    receiver = Receiver(target, side, "finisher")
    slots = {note["slot"] for note in read_notes(side) if note["what"] == "created"}
    senders = [Sender(target, side, slot) for slot in sorted(slots)]
    end = time.monotonic() + HOPELESS_SECONDS
    while True:
        for task in receiver.agent.handoff.claim_many(100):
            receiver.perform(task)
        for sender in senders:
            sender.hear()
        unfinished = receiver.agent.handoff.list(state="unfinished")
        left = [each for each in unfinished if each.to_queue != "nobody" or each.escalated_at is None]
        unheard = [each for sender in senders for each in sender.agent.handoff.notices()]
        if not left and not unheard:
            return
        assert time.monotonic() < end, [*left, *unheard]
        time.sleep(PAUSE_SECONDS)


def main() -> None:
    mode, target, side, slot = sys.argv[1:]
    if mode == "finish":
        finish(target, side)
        return
    kind = {"send": Sender, "receive": Receiver}[mode]
    failed = []

    def run(number: int) -> None:
        try:
            made = kind(target, side, f"{slot}.{number}")
            made.side.note("ready", number=number)
            made.loop()
        except BaseException:
            traceback.print_exc()
            failed.append(number)
            raise

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(len(failed))


if __name__ == "__main__":
    try:
        main()
    except (Error, NotFound) as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201 - shown by a failing test
        raise
