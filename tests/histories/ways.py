"""The ways in which many clients reach one store, and how a history of each is recorded."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "shared"))

from clients import Crowd, Plan, Watcher, read_log
from forked import Forked
from history import History, Move, Record, Version

import agentmemo
from agentmemo.model.state import WatchNamespace
from agentmemo.testing.ports import ReservedPort

CLIENTS = Path(__file__).with_name("clients.py")
WATCHERS = 2
END_SECONDS = 120.0
LEASE_SECONDS = 1.0
# Whoever is frozen so long has lost what it held when it wakes up.
FROZEN_SECONDS = 1.5 * LEASE_SECONDS
Connect = Callable[[str], agentmemo.Connection]


class Way:
    """One way to a store that many histories are recorded on, one after the other, each in a namespace of its own."""

    def __init__(self, name: str, folder: Path, target: str, **environment: str) -> None:
        self.name = name
        self.folder = folder
        self.target = target
        self.key: str | None = None
        self.errors = folder / f"{name}.errors"
        kept = {each: value for each, value in os.environ.items() if not each.startswith("AGENTMEMO_")}
        quick = {"AGENTMEMO_UPKEEP_INTERVAL_SECONDS": "0.1", "AGENTMEMO_LEASE_SECONDS": str(LEASE_SECONDS)}
        self.environment = kept | quick | environment
        # What may be done to it in the middle of a history.
        self.harms: list[Callable[[random.Random], None]] = []
        self.count = 0

    def record(self, seed: str, clients: int, actions: int, *, harm: bool) -> History:
        self.count += 1
        plan = Plan(
            target=self.target, namespace=f"{self.name}-{self.count}", names=[f"c{n}" for n in range(clients)],
            seed=seed, actions=actions, log=str(self.folder / f"{self.name}.log"), key=self.key,
        )  # fmt: skip
        chance = random.Random(f"{seed}/{self.name}") if harm and self.harms else None
        Path(plan.log).touch()
        with self.connect("auditor") as auditor:
            begun = auditor.state.set("histories", self.name, self.count).revision
        watchers = [Watcher(plan, f"w{number}", begun, self.connect) for number in range(WATCHERS)]
        try:
            self.work(plan, chance)
        finally:
            for watcher in watchers:
                watcher.stop()
        with self.connect("auditor") as auditor:
            record = recorded(auditor, plan.namespace, begun)
        ops = read_log(plan.log)
        Path(plan.log).unlink()
        return History(f"{self.name}, {clients} clients{', harmed' if chance else ''}, seed {seed}", ops, record)

    def connect(self, name: str) -> agentmemo.Connection:
        return agentmemo.connect(self.target, agent=name)

    def work(self, plan: Plan, chance: random.Random | None) -> None:
        """Let the clients do their work; with `chance`, kill something meanwhile."""
        raise NotImplementedError

    def close(self) -> None:
        """End what was started."""

    def harm(self, plan: Plan, chance: random.Random) -> None:
        """When a part of the calls has been made."""
        lines = int(len(plan.names) * plan.actions * chance.uniform(0.5, 2.0))
        end_at = time.monotonic() + END_SECONDS
        while Path(plan.log).read_bytes().count(b"\n") < lines and time.monotonic() < end_at:
            time.sleep(0.005)
        chance.choice(self.harms)(chance)

    def start(self, *words: object) -> Forked:
        with self.errors.open("ab") as errors:
            return Forked(words, self.environment, errors)

    def said(self) -> str:
        """What went wrong in the processes."""
        return self.errors.read_text(errors="replace")[-4000:]


class Threads(Way):
    """Many threads of this process."""

    def work(self, plan: Plan, chance: random.Random | None) -> None:
        crowd = Crowd(plan, self.connect)
        crowd.begin()
        if chance:
            self.harm(plan, chance)
        crowd.wait()


class Planes(Threads):
    """Threads of this process on several planes, as if they were servers of one database."""

    def __init__(self, name: str, folder: Path, connects: list[Connect]) -> None:
        super().__init__(name, folder, "")
        self._connects = connects

    def connect(self, name: str) -> agentmemo.Connection:
        return self._connects[sum(name.encode()) % len(self._connects)](name)


class Processes(Way):
    """Several processes with the store open, of which one may be killed or frozen; this one watches."""

    def __init__(self, name: str, folder: Path, target: str, processes: int = 4, **environment: str) -> None:
        super().__init__(name, folder, target, **environment)
        self._processes = processes
        self._children: list[Forked] = []
        self._killed: Forked | None = None
        self.harms += [self.kill, self.freeze]

    def work(self, plan: Plan, chance: random.Random | None) -> None:
        self._killed = None
        self._children = [self.start(CLIENTS, self._share(plan, number, chance)) for number in range(self._processes)]
        try:
            for child in self._children:
                child.stdin.write(b"go\n")
                child.stdin.flush()
            if chance:
                self.harm(plan, chance)
            for child in self._children:
                assert child is self._killed or child.wait(END_SECONDS) == 0, self.said()
        finally:
            for child in self._children:
                end(child)

    def kill(self, chance: random.Random) -> None:
        self._killed = chance.choice(self._children)
        self._killed.kill()

    def freeze(self, chance: random.Random) -> None:
        freeze(chance.choice(self._children))

    def _share(self, plan: Plan, number: int, chance: random.Random | None) -> str:
        names = plan.names[number :: self._processes]
        share = replace(plan, names=names, attended=chance is not None)
        return msgspec.json.encode(share).decode()


class Http(Threads):
    """Clients of one server or of several on one store, of which one may be frozen, or killed and started again."""

    def __init__(self, name: str, folder: Path, target: str, servers: int = 1, **environment: str) -> None:
        super().__init__(name, folder, target, AGENTMEMO_DATA=str(folder / f"{name}.served"), **environment)
        self._ports = [ReservedPort() for _ in range(servers)]
        self._servers = [self._serve(port.number) for port in self._ports]
        self.harms += [self.kill, self.freeze]

    def connect(self, name: str) -> agentmemo.Connection:
        port = self._ports[sum(name.encode()) % len(self._ports)].number
        return agentmemo.connect(f"http://127.0.0.1:{port}", key=self.key)

    def kill(self, chance: random.Random) -> None:
        number = chance.randrange(len(self._servers))
        end(self._servers[number])
        self._servers[number] = self._serve(self._ports[number].number)

    def freeze(self, chance: random.Random) -> None:
        freeze(chance.choice(self._servers))

    def close(self) -> None:
        for server in self._servers:
            end(server)
        for port in self._ports:
            port.close()

    def _serve(self, port: int) -> Forked:
        place = "--database" if "://" in self.target else "--data"
        server = self.start("-m", "agentmemo", "up", "--port", str(port), "--json", place, self.target)
        line = server.stdout.readline()
        assert line, self.said()
        self.key = self.key or Path(msgspec.json.decode(line)["agent_key_file"]).read_text(encoding="ascii").strip()
        return server


def freeze(process: Forked) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    process.send_signal(signal.SIGCONT)


def end(process: Forked) -> None:
    process.kill()
    process.wait()
    process.close()


def recorded(agent: agentmemo.Connection, namespace: str, begun: int) -> Record:
    """What the store says of everything after a revision."""
    watched = list(_watched(agent, namespace, begun))
    kept = [
        _version(entry) for key in {version.key for version in watched} for entry in agent.state.history(namespace, key)
    ]
    events = agent.audit.events(type="state.*", namespace=namespace, after=begun, limit=1000)
    moves = list(_moves(agent, namespace, begun))
    return Record(begun, watched, kept, [event.revision for event in events], moves)


def _watched(agent: agentmemo.Connection, namespace: str, after: int) -> Iterator[Version]:
    while True:
        answer = agent._plane.call(WatchNamespace(namespace=namespace, after=after, limit=50))
        yield from (_version(change.entry) for change in answer.changes)
        if not answer.changes:
            return
        after = answer.next


def _moves(agent: agentmemo.Connection, queue: str, begun: int) -> Iterator[Move]:
    """Those of the handoffs that were made for this history."""
    ours = set()
    for event in agent.audit.events(type="handoff.*", after=begun, limit=1000):
        act, handoff = event.operation.removeprefix("handoff."), event.subject.get("id", "")
        if act == "create" and event.subject.get("to") == f"queue:{queue}":
            ours.add(handoff)
        if handoff in ours:
            yield Move(event.revision, act, handoff, event.epoch or 0, event.actor)


def _version(entry) -> Version:
    return Version(entry.key, entry.version, entry.revision, entry.value)
