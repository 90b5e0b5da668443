"""The program of the kills: a worker, or the person whom they ask, on one store or at its server.

    python labour.py work|answer TARGET SIDE SLOT FIRST

A worker does everything an agent does, in an order of its own, from its cycle FIRST on; whatever others left it goes on
with. When a file SIDE.stop lies there it begins nothing more. SIGTERM ends it in good order. Notes are as in chaos.py.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import planted
import workload
from chaos import Notes, Worker
from execute import DOCUMENT

import agentmemo
from agentmemo.errors import Conflict, HandoffHeld, InvalidTransition, LeaseLost, RunHeld, Unavailable
from agentmemo.testing.models import ScriptedModels

PAUSE_SECONDS = 0.02
ADOPTED_AT_ONCE = 5
WORKFLOW = "review"
# What may be answered to anybody at any time, and is tried again: others hold the work, or were faster with it.
PASSING = (Unavailable, RunHeld, LeaseLost, HandoffHeld, InvalidTransition)
ending = threading.Event()


class Labour(Worker):
    def __init__(self, target: str, side: str, slot: str, first: int) -> None:
        super().__init__(target, side, slot, first)
        self.agent.task("inquiry")(self.inquiry)
        self.agent.workflows.register(lambda number: f"diff {number}", "fetch", "read")
        self.agent.workflows.register(self.post, "post", "write")
        self.agent.workflows.use(ScriptedModels({workload.MODEL: lambda step: step.instruction}))

    def _address(self) -> str:
        return self.target

    def loop(self) -> None:
        n = self.first
        self.perform_all([self.adopt], n)
        while not (ending.is_set() or self.stop.exists()):
            self.cycle(n)
            n += 1
        while not ending.is_set():
            self.perform_all([self.adopt, self.work, self.perform, self.hear], n)
            ending.wait(PAUSE_SECONDS)
        with suppress(Unavailable):
            self.agent.close()

    def cycle(self, n: int) -> None:
        """Whoever dies in it does it again, and finds done what was done."""
        left = [
            self.sets, self.count, self.large, self.transaction, self.jobs, self.errands, self.inquiries, self.shares,
            self.payments, self.executions, self.hand_over, self.perform, self.hear, self.work, self.adopt,
        ]  # fmt: skip
        while left and not (ending.is_set() or self.stop.exists()):
            left = self.perform_all(random.sample(left, len(left)), n)
        if not left:
            self.side.note("cycle", n=n)

    def perform_all(self, parts: list[Callable[[int], None]], n: int) -> list[Callable[[int], None]]:
        """Returns what could not be done now."""
        left = []
        for part in parts:
            if ending.is_set():
                return parts
            try:
                part(n)
            except PASSING as error:
                if isinstance(error, LeaseLost):
                    self.side.note("refused", code=error.code)
                left.append(part)
                ending.wait(PAUSE_SECONDS)
        return left

    def jobs(self, n: int) -> None:
        self.job(f"{self.slot}-{n}")

    def errands(self, n: int) -> None:
        self.start_errand(f"{self.slot}-{n}")

    def inquiries(self, n: int) -> None:
        self.ask(f"{self.slot}-{n}")

    def shares(self, n: int) -> None:
        self.shared(str(n))

    def payments(self, n: int) -> None:
        self.paid(f"{self.slot}-{n}")

    def executions(self, n: int) -> None:
        self.drive(self.agent.workflows.open(WORKFLOW, {"number": n}, key=f"{self.slot}-{n}"))

    def drive(self, execution) -> None:
        self.agent.workflows.drive(execution)
        self.side.note("finished", run=execution.id)

    def post(self, text: str, idempotency_key: str) -> str:
        self.side.note("posted", key=idempotency_key)
        return f"posted {text}"

    def hand_over(self, n: int) -> None:
        super().hand_over(n)
        if n % 3 == 0:
            super().hand_over(n)  # its answer may have been lost

    def perform(self, _n: int) -> None:
        super().perform()

    def hear(self, _n: int) -> None:
        """What came of what was handed over."""
        for told in list(self.agent.handoff.notices()):
            got = self.agent.handoff.result(told.id)
            assert got.state != "completed" or got.result == got.context, got

    def work(self, _n: int) -> None:
        self.agent.work(concurrency=2, until_idle=True)

    def adopt(self, _n: int) -> None:
        """Go on with what somebody left, if nobody is at it."""
        bodies = {"job": self.job, "shared": self.shared, "paid": self.paid}
        unfinished = list(self.agent.runs.list(state="unfinished"))
        for run in random.sample(unfinished, min(ADOPTED_AT_ONCE, len(unfinished))):
            if body := bodies.get(run.name):
                self.open_quietly(body, run.key)
            elif run.name == "errand":
                self.tell_to_go(run.id, run.key)
            elif run.name.startswith("workflow:"):
                self.open_quietly(lambda execution: self.drive(self.agent.workflows.resume(execution)), run.id)


def prepare(store: str) -> None:
    """What a person sets up before anybody works."""
    with agentmemo.connect(store, person="olga") as person:
        person.ledger.cap("workspace", workload.CAP_NANOUSD)
        person.workflows.create(name=WORKFLOW, designed_by=workload.MODEL, **DOCUMENT)


def answer(store: str, side: str, slot: str) -> None:
    person, notes = agentmemo.connect(store, person="olga"), Notes(side, slot)
    while not ending.wait(PAUSE_SECONDS):
        try:
            workload.answer_all(person, notes)
        except (Conflict, Unavailable):
            continue  # who died may have answered it, and what was asked may be answered by time
    person.close()


def main() -> None:
    mode, target, side, slot, first = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    workload.BIG_BYTES = workload.SMALLER_BYTES
    planted.plant(os.environ.get(planted.VARIABLE, ""), setattr)
    if mode == "answer":
        answer(target, side, slot)
    else:
        Labour(target, side, slot, int(first)).loop()


if __name__ == "__main__":
    main()
