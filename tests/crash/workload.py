"""The program that gets killed: one process doing everything an agent does, noting beside the store what it was told.

    python workload.py loop|finish|backup|open|hold|remote|serve STORE SIDE SLOT

Every note is on disk (fsync) before the program goes on, so the notes are a floor: what they say was acknowledged
must be in the store. `begin` is written by a step's function while it runs, `end` once `run.step` has returned.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import threading
import time
from pathlib import Path

import agentmemo
from agentmemo import current_step
from agentmemo.errors import (
    Conflict,
    Error,
    IdempotencyMismatch,
    InvalidInput,
    InvalidTransition,
    LeaseLost,
    RunHeld,
    Unavailable,
)
from agentmemo.model.escalations import RUN_QUESTION

ATTEMPTS = 1000
# One that the shipped table has a price of.
MODEL = "claude-3-5-haiku"
CAP_NANOUSD = 10**12
# Longer than anybody waits for what it does.
LOOP_SECONDS = 300.0
FINISH_SECONDS = 150.0
BIG_BYTES = 400_000
# Of them where much else is to be done.
SMALLER_BYTES = 20_000
SIDES = ("left", "right")
UNANSWERED = "Nobody answers"
LAPSE_US = 300_000
DECISIONS = {"in_doubt": "retry", "takeovers": "continue", "mismatch": "reuse"}


class Side:
    """Lines appended by all processes of one store; each is durable when `note` returns."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: str, **fields: object) -> None:
        os.write(self._file, json.dumps({"what": what, "pid": os.getpid(), **fields}).encode() + b"\n")
        os.fsync(self._file)


def read_notes(path: str | Path) -> list[dict]:
    """The whole lines of a side file; a line cut short by a kill was never acknowledged to anybody."""
    try:
        lines = Path(path).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    notes = []
    for line in lines:
        try:
            notes.append(json.loads(line))
        except ValueError:
            continue
    return notes


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def big_text(seed: object) -> str:
    """Text that does not compress much, the same for one seed in every process."""
    return random.Random(str(seed)).randbytes(BIG_BYTES // 2).hex()


class Work:
    def __init__(self, store: str, side: Side, slot: str, *, first: int = 0, agent: str | None = None) -> None:
        self.slot = slot
        self.side = side
        self.first = first
        self.agent = agentmemo.connect(store, agent=agent or f"agent-{slot}")
        self.person = agentmemo.connect(store, person="olga")
        self.person.ledger.cap("workspace", CAP_NANOUSD)
        self.agent.task("leaf")(self.leaf)
        self.agent.task("errand")(self.errand)
        self.agent.task("inquiry")(self.inquiry)
        threading.Thread(target=answer_for_ever, args=(self.person, self.side), daemon=True).start()

    def loop(self) -> None:
        end = time.monotonic() + LOOP_SECONDS
        n = self.first
        while time.monotonic() < end:
            self.cycle(n)
            self.side.note("cycle", slot=self.slot, n=n)
            n += 1

    def cycle(self, n: int) -> None:
        self.sets(n)
        self.transaction(n)
        self.open_quietly(self.job, f"{self.slot}-{n}")
        self.start_errand(f"{self.slot}-{n}")
        self.ask(f"{self.slot}-{n}")
        self.open_quietly(self.shared, str(n))
        self.open_quietly(self.paid, f"{self.slot}-{n}")
        self.agent.work(concurrency=2, until_idle=True)
        self.hand_over(n)
        self.perform()

    def finish(self) -> None:
        """Carry everything unfinished to its end, as an agent does that is started again and not killed."""
        bodies = {"job": self.job, "shared": self.shared, "paid": self.paid}
        end = time.monotonic() + FINISH_SECONDS
        while unfinished := list(self.agent.runs.list(state="unfinished")):
            assert time.monotonic() < end, [self.agent.runs.explain(run.id) for run in unfinished]
            for run in unfinished:
                if run.name in bodies:
                    self.open_quietly(bodies[run.name], run.key)
                elif run.name == "errand":
                    self.tell_to_go(run.id, run.key)
            self.agent.work(concurrency=2, until_idle=True)
            time.sleep(0.02)
        while list(self.agent.handoff.list(state="unfinished")):
            assert time.monotonic() < end, [*self.agent.handoff.list(state="unfinished")]
            self.perform()
            time.sleep(0.02)
        self.agent.close()
        self.person.close()

    def hand_over(self, n: int) -> None:
        made = self.agent.handoff.create(
            to_queue="anybody", context={"n": n}, key=f"{self.slot}-{n}", max_attempts=ATTEMPTS
        )
        self.side.note("handed", id=made.id)

    def perform(self) -> None:
        """What is done commits with the completion, so it is done once whoever dies."""
        self.agent.handoff.announce(queues=["anybody"])
        while task := self.agent.handoff.claim():
            try:
                with self.agent.transaction() as tx:
                    tx.state.set("done", task.id, task.context)
                    tx.handoff.complete(task.id, task.context)
            except LeaseLost as error:
                self.side.note("refused", code=error.code, key=task.id)
                continue
            self.side.note("performed", id=task.id, epoch=task.epoch)

    def open_quietly(self, body, key: str) -> None:
        """Another process may hold the run, or take it while this one slept; then it is theirs."""
        try:
            body(key)
        except (RunHeld, LeaseLost) as error:
            self.side.note("refused", code=error.code, key=key)

    def set(self, namespace: str, key: str, value: object, **options: object) -> None:
        entry = self.agent.state.set(namespace, key, value, **options)
        self.side.note("set", namespace=namespace, key=key, version=entry.version, digest=digest(value))

    def sets(self, n: int) -> None:
        for part in range(3):
            self.set("facts", f"{self.slot}-{part}", {"n": n, "part": part, "pid": os.getpid()})
        self.set("facts", "contended", {"n": n, "by": self.slot, "pid": os.getpid()})
        self.large(n)

    def large(self, n: int) -> None:
        """Values that are kept in pieces, that expire, and that are removed."""
        # The same few large values from every process: two may write one blob at once, or finish a dead one's.
        self.set("large", f"{self.slot}-{n % 2}", {"text": big_text(n % 7)})
        self.agent.state.set("brief", f"{self.slot}-{n}", n, ttl_seconds=0.01)
        if n % 3 == 2:
            mine = f"{self.slot}-{os.getpid()}"  # a namesake that still lives would remove it first
            self.agent.state.set("gone", mine, n)
            deleted = self.agent.state.delete("gone", mine)
            self.side.note("deleted", namespace="gone", key=mine, version=deleted.version)

    def transaction(self, n: int) -> None:
        with self.agent.transaction() as tx:
            tx.state.set("pairs", f"left-{self.slot}", {"n": n, "pid": os.getpid()})
            tx.state.set("pairs", f"right-{self.slot}", {"n": n, "pid": os.getpid()})
        self.side.note("pair", slot=self.slot, version=tx.results[0].version, revision=tx.revision)

    def job(self, key: str) -> None:
        with self.agent.run("job", key, inputs={"key": key}, max_attempts=ATTEMPTS) as run:
            self.step(run, "plan", effect="none")
            self.step(run, "look", effect="read", big=True)
            self.step(run, "send", effect="write")
            run.decide("go on", because="the plan says so")
            if not run.completed:
                self.set("direct", run.id, {"epoch": run.epoch})
            self.step(run, "probe", effect="write", probing=True)
            run.sleep(0.01)
            told = self.step(run, "tell", effect="none", tell=True)
            self.side.note("waited", run=run.id, told=told, got=run.wait("told"))
            with run.child("sub", f"{key}-sub", max_attempts=ATTEMPTS) as sub:
                self.step(sub, "sub", effect="write")
            self.side.note("finished", run=sub.id)
            run.tried("the other way", why_failed="it is slower")
            run.complete({"key": key})
        self.side.note("finished", run=run.id)

    def shared(self, key: str) -> None:
        """A key that all processes want; one holds it at a time."""
        with self.agent.run("shared", key, max_attempts=ATTEMPTS) as run:
            for number in range(3):
                self.step(run, f"part-{number}", effect="write" if number == 1 else "none")
        self.side.note("finished", run=run.id)

    def paid(self, key: str) -> None:
        """A model call: set aside before it, and settled with what came of it."""
        with self.agent.run("paid", key, max_attempts=ATTEMPTS) as run:

            def call() -> str:
                held = self.agent.ledger.reserve(MODEL, input_tokens=1000, max_output_tokens=100, run=run.id)
                self.side.note("reserved", id=held.id)
                current_step().ledger.settle(held.id, {"input_tokens": 900, "output_tokens": 50}, model_served=MODEL)
                return held.id

            self.side.note("settled", id=run.step("call", call))
        self.side.note("finished", run=run.id)

    def start_errand(self, key: str) -> None:
        run = self.agent.start("errand", {"key": key}, key=key, max_attempts=ATTEMPTS)
        self.side.note("started", run=run.id, key=key)
        if run.state not in ("completed", "failed"):
            self.tell_to_go(run.id, key)

    def tell_to_go(self, run: str, key: str) -> None:
        """Where it was told before a kill or a lost answer, another may have ended it just now."""
        try:
            self.agent.runs.signal(run, "go", key)
        except InvalidTransition:
            assert self.agent.runs.get(run).state == "completed"

    def errand(self, run, key: str) -> dict:
        self.step(run, "begin", effect="write")
        child = run.start_child("leaf", {"key": key})
        run.sleep(0.005)
        self.side.note("waited", run=run.id, told=key, got=run.wait("go"))
        self.step(run, "end", effect="none")
        return run.join(child)

    def ask(self, key: str) -> None:
        """One question inside a run, and one that nobody answers in time."""
        run = self.agent.start("inquiry", {"key": key}, key=key, max_attempts=ATTEMPTS)
        self.side.note("started", run=run.id, key=key)
        soon = time.time_ns() // 1000 + LAPSE_US
        try:
            unanswered = self.agent.escalate(
                severity="low", reason=f"{UNANSWERED} {key}", key=key, deadline=soon, default="skip", wait=False
            )
        except (InvalidInput, IdempotencyMismatch):
            return  # on a busy machine the deadline passed before it was asked, or it was asked before the kill
        self.side.note("asked", id=unanswered.id)

    def inquiry(self, run, key: str) -> str:
        self.step(run, "before", effect="none")
        answer = self.agent.escalate(severity="high", reason=f"Which way, {key}?", suggested_actions=SIDES)
        self.side.note("told", run=run.id, id=answer.escalation, choice=answer.choice)
        self.step(run, "after", effect="none")
        # Nobody ruled on it, so a person is asked; what does it honours the step's key.
        assert self.agent.guard("transfer", {"to": key}, annotations={"reversible": False})
        self.step(run, "transfer", effect="write")
        return answer.choice

    def leaf(self, run, key: str) -> dict:
        return {"token": self.step(run, "leaf", effect="read"), "key": key}

    def step(self, run, name: str, *, effect: str, big: bool = False, tell: bool = False, probing=False) -> str:
        """One step whose every execution is on record, and whose state, note and signal commit with it."""

        def function() -> dict:
            here = current_step()
            token = os.urandom(8).hex()
            key = here.idempotency_key
            self.side.note("begin", run=run.id, step=name, effect=effect, epoch=here.epoch, token=token, key=key)
            here.state.set("steps", f"{run.id}/{name}", token)
            here.finding(f"{name} is done")
            if tell:
                here.signal(run.id, "told", token)
            return {"token": token, "text": big_text(token) if big else ""}

        def probe(key: str) -> None:
            self.side.note("probed", run=run.id, step=name, key=key)

        value = run.step(name, function, effect=effect, in_doubt=probe if probing else "ask")
        if big:
            assert value["text"] == big_text(value["token"]), "a step's large result came back changed"
        self.side.note("end", run=run.id, step=name, token=value["token"])
        return value["token"]


def answer_for_ever(person: agentmemo.Connection, side: Side) -> None:
    """A person who answers whatever a run asks, for as long as the connection is there."""
    while True:
        time.sleep(0.03)
        try:
            answer_all(person, side)
        except Conflict:
            continue  # another process's person was faster
        except Error:
            return


def answer_all(person: agentmemo.Connection, side: Side) -> None:
    """Whatever is asked now. Raises Conflict where another process's person was faster."""
    for asked in person.inbox.list():
        if asked.action is not None:
            person.inbox.answer(asked.id, "approve", seen=asked.digest)
            side.note("approved", id=asked.id)
        elif RUN_QUESTION not in (asked.detail or {}) and not asked.reason.startswith(UNANSWERED):
            choice = SIDES[sum(map(ord, asked.reason)) % 2]
            decided = person.inbox.answer(asked.id, "choose", choice=choice)
            side.note("answered", id=asked.id, choice=decided.answer.choice)
    for run in person.runs.list(state="waiting"):
        if run.wake == "person" and run.waiting_for in DECISIONS:
            person.runs.resolve(run.id, DECISIONS[run.waiting_for], asked=run)


def backup(store: str, side: str, slot: str) -> None:
    """Backups of a store under load, for ever."""
    notes = Side(side)
    agent = agentmemo.connect(store, agent=f"agent-{slot}")
    number = len([note for note in read_notes(side) if note["what"] == "backup"])
    while True:
        entry = agent.state.set("facts", f"backup-{slot}", {"number": number})
        path = f"{store}.copy-{slot}-{number}"
        if not Path(path).exists():
            agent.backup(path)
            notes.note("backup", path=path, version=entry.version, key=entry.key)
        number += 1


def open_only(store: str, side: str, slot: str) -> None:
    with agentmemo.connect(store, agent=f"agent-{slot}") as agent:
        entry = agent.state.set("first", slot, {"pid": os.getpid()})
        Side(side).note("set", namespace="first", key=slot, version=entry.version, digest=digest({"pid": os.getpid()}))


def hold(store: str, side: str, slot: str) -> None:
    """Hold a run inside a step until told to go on, then try every kind of write; note what each was answered."""
    notes = Side(side)
    agent = agentmemo.connect(store, agent=f"agent-{slot}")
    refused: dict[str, str] = {}

    def attempt(what: str, call) -> None:
        try:
            call()
            refused[what] = "accepted"
        except Error as error:
            refused[what] = error.code

    def wait_here() -> str:
        current_step().state.set("zombie", "buffered", "stale")
        notes.note("holding", epoch=current_step().epoch)
        sys.stdin.readline()
        return "stale"

    try:
        with agent.run("held", "1", max_attempts=ATTEMPTS) as run:
            run.step("before", lambda: notes.note("begin", run=run.id, step="before"))
            attempt("step.complete", lambda: run.step("wait", wait_here))
            attempt("state.set", lambda: agent.state.set("zombie", "direct", "stale"))
            attempt("state.delete", lambda: agent.state.delete("zombie", "mine"))
            attempt("step.start", lambda: run.step("late", lambda: "stale", effect="write"))
            attempt("step", lambda: run.step("later", lambda: "stale"))
            attempt("note", lambda: run.finding("stale"))
            attempt("progress", lambda: run.progress(50, "stale"))
            attempt("signal", lambda: agent.runs.signal(run.id, "stale", 1))
            attempt("child", lambda: run.child("stale", "1").__enter__())
            attempt("start", lambda: agent.start("stale", key="1"))
            attempt("park", lambda: run.sleep(1))
            attempt("transaction", lambda: _stale_transaction(agent))
            attempt("fail", lambda: run.fail("stale"))
            attempt("complete", lambda: run.complete("stale"))
    except Error as error:
        refused["leave"] = error.code
    notes.note("answers", refused=refused)


class Remote(Work):
    """The same steps over HTTP, by a client that tries again whenever the server is away. STORE is an address."""

    def __init__(self, address: str, side: str, slot: str) -> None:
        self.slot = slot
        self.side = Side(side)
        self.agent = agentmemo.connect(address)
        self.first = 0

    def cycle(self, n: int) -> None:
        self.until_it_works(self.sets, n)
        self.until_it_works(self.transaction, n)
        self.until_it_works(self.short, f"{self.slot}-{n}")

    def short(self, key: str) -> None:
        with self.agent.run("short", key, max_attempts=ATTEMPTS) as run:
            self.step(run, "plan", effect="none")
            self.step(run, "send", effect="write", probing=True)
            run.decide("go on")
            self.step(run, "look", effect="read", big=True)
        self.side.note("finished", run=run.id)

    def until_it_works(self, work, argument: object) -> None:
        while True:
            try:
                return work(argument)
            except (Unavailable, RunHeld, LeaseLost):
                time.sleep(0.02)


def serve(store: str, _side: str, port: str) -> None:
    from agentmemo.server.serve import serve as serve_http

    serve_http(data=store, port=int(port), announce=lambda _: print("ready", flush=True))  # noqa: T201 - as below


def _stale_transaction(agent) -> None:
    with agent.transaction() as tx:
        tx.state.set("zombie", "transaction", "stale")


def main() -> None:
    mode, store, side, slot = sys.argv[1:]
    if mode == "serve":
        serve(store, side, slot)
        return
    print("ready", flush=True)  # noqa: T201 - the parent waits for it
    if mode in ("backup", "open", "hold"):
        {"backup": backup, "open": open_only, "hold": hold}[mode](store, side, slot)
        return
    if mode == "remote":
        Remote(store, side, slot).loop()
        return
    done = [note["n"] for note in read_notes(side) if note["what"] == "cycle" and note["slot"] == slot]
    work = Work(store, Side(side), slot, first=max(done, default=-1) + 1)
    getattr(work, mode)()


if __name__ == "__main__":
    main()
