"""Clients that do a little of everything at once, and write down when they called and what they were told.

python clients.py PLAN    a process with the clients of a plan (JSON), which begin at a line on its input
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent))

from history import (
    Asked,
    Change,
    Claim,
    Claimed,
    End,
    Ended,
    Form,
    Found,
    Hand,
    Handed,
    Heard,
    Op,
    Read,
    Refused,
    Said,
    Version,
    Watch,
    Write,
    Wrote,
)  # fmt: skip

import agentmemo
from agentmemo.errors import Conflict, Error, NotFound, Unavailable, VersionConflict
from agentmemo.model.state import Entry, WatchNamespace

REGISTERS = [f"r{number}" for number in range(3)]
LISTS = [f"l{number}" for number in range(6)]
WATCH_SECONDS = 0.2
# A client waits for a plane that is away, and asks again so often, for so long.
AWAY_SECONDS = 0.02
END_SECONDS = 60.0


class Plan(Form):
    """Who works on what. With `attended`, claims are given back when their process dies."""

    target: str
    namespace: str
    names: list[str]
    seed: str
    actions: int
    log: str
    key: str | None = None
    attended: bool = False

    def connect(self, name: str) -> agentmemo.Connection:
        if self.key:
            return agentmemo.connect(self.target, key=self.key)
        return agentmemo.connect(self.target, agent=name)


class Log:
    """A line for each call before it is made, and one for each answer: what was killed in between stays open."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, op: Op) -> None:
        os.write(self._file, msgspec.json.encode(op) + b"\n")

    def close(self) -> None:
        os.close(self._file)


def read_log(path: str) -> list[Op]:
    ops: dict[tuple[str, int], Op] = {}
    for line in Path(path).read_bytes().splitlines():
        with suppress(msgspec.DecodeError):  # its writer died in the middle of it
            op = msgspec.json.decode(line, type=Op)
            ops[op.client, op.called] = op
    # A read that nobody was told the answer of says nothing.
    kept = [op for op in ops.values() if not op.is_open or not isinstance(op.asked, Read | Watch)]
    begun = min(op.called for op in kept)
    return sorted((_since(op, begun) for op in kept), key=lambda op: op.called)


def _since(op: Op, begun: int) -> Op:
    called = replace(op, called=op.called - begun)
    return called if op.is_open else replace(called, returned=op.returned - begun)


class Recorder:
    """Makes the calls of one client, and notes each with its times."""

    def __init__(self, name: str, connection: agentmemo.Connection, namespace: str, log: Log) -> None:
        self.name = name
        self.agent = connection
        self.namespace = namespace
        self._log = log

    def get(self, key: str) -> Said | None:
        return self._made(Read(key), lambda: Found([self._version(self.agent.state.entry(self.namespace, key))]))

    def list(self) -> Said | None:
        def call() -> Said:
            return Found([self._version(entry) for entry in self.agent.state.list(self.namespace)])

        return self._made(Read(), call)

    def write(self, change: Change) -> Said | None:
        return self._made(Write([change]), lambda: Wrote([self._version(self._change(self.agent.state, change))]))

    def transaction(self, changes: list[Change]) -> Said | None:
        def call() -> Said:
            with self.agent.transaction() as tx:
                for change in changes:
                    self._change(tx.state, change)
            return Wrote([self._version(entry) for entry in tx.results])

        return self._made(Write(changes), call)

    def watch(self, after: int, limit: int) -> Said | None:
        request = WatchNamespace(namespace=self.namespace, after=after, limit=limit, wait_seconds=WATCH_SECONDS)

        def call() -> Said:
            answer = self.agent._plane.call(request)
            return Heard([self._version(change.entry) for change in answer.changes], answer.next)

        return self._made(Watch(after, limit), call)

    def hand(self, priority: int) -> Said | None:
        def call() -> Said:
            return Handed(self.agent.handoff.create(to_queue=self.namespace, priority=priority, max_attempts=100).id)

        return self._made(Hand(priority), call)

    def claim(self, *, attended: bool) -> Said | None:
        def call() -> Said:
            found = self.agent.handoff.claim(heartbeat=attended)
            return Claimed(found.id, found.epoch) if found else Claimed()

        return self._made(Claim(), call)

    def end(self, how: str, handoff: str, epoch: int) -> Said | None:
        def call() -> Said:
            if how == "complete":
                self.agent.handoff.complete(handoff, self.name, epoch=epoch)
            else:
                self.agent.handoff.release(handoff, "not now", attempted=False, epoch=epoch)
            return Ended()

        return self._made(End(how, handoff, epoch), call)

    def _change(self, state: Any, change: Change) -> Entry:
        if change.value is None:
            return state.delete(self.namespace, change.key, if_version=change.expect)
        return state.set(self.namespace, change.key, change.value, if_version=change.expect)

    def _version(self, entry: Entry) -> Version:
        return Version(entry.key, entry.version, entry.revision, entry.value)

    def _made(self, asked: Asked, call: Callable[[], Said]) -> Said | None:
        """What it was answered; None where nobody knows whether it happened."""
        op = Op(self.name, time.monotonic_ns(), asked)
        self._log.note(op)
        try:
            said = call()
        except Unavailable:
            self._wait_until_it_is_back()
            return None
        except VersionConflict as error:
            said = Refused(error.code, error.details["current"])
        except Conflict as error:
            said = Refused(error.code)
        except NotFound as error:
            said = Found() if isinstance(asked, Read) else Refused(error.code)
        self._log.note(replace(op, said=said, returned=time.monotonic_ns()))
        return said

    def _wait_until_it_is_back(self) -> None:
        for _ in range(round(END_SECONDS / AWAY_SECONDS)):
            with suppress(Unavailable):
                self.agent.state.list(self.namespace, limit=1)
                return
            time.sleep(AWAY_SECONDS)


class Client:
    """One of many: so many actions, chosen by chance."""

    def __init__(self, plan: Plan, name: str, recorder: Recorder) -> None:
        self._chance = random.Random(f"{plan.seed}/{name}")
        self._plan = plan
        self._name = name
        self._recorder = recorder
        self._tokens = 0
        self._seen: dict[str, Version] = {}
        self._claims: list[Claimed] = []

    def work(self) -> None:
        for _ in range(self._plan.actions):
            self.act()

    def act(self) -> None:
        actions = [self.look, self.replace, self.overwrite, self.delete, self.append, self.hand, self.claim, self.end]
        self._chance.choices(actions, (4, 5, 2, 1, 6, 3, 3, 4))[0]()

    def look(self) -> None:
        if self._chance.random() < 0.3:
            self._saw(self._recorder.list())
        else:
            self._saw(self._recorder.get(self._chance.choice(REGISTERS)))

    def replace(self) -> None:
        """Over the version that was seen last, which is old now and then."""
        key = self._chance.choice(REGISTERS)
        self._look_again(key, 0.7)
        self._saw(self._recorder.write(Change(key, self._token(), self._version(key))))

    def overwrite(self) -> None:
        self._saw(self._recorder.write(Change(self._chance.choice(REGISTERS), self._token())))

    def delete(self) -> None:
        key = self._chance.choice(REGISTERS)
        expect = self._version(key) if self._chance.random() < 0.5 else None
        self._recorder.write(Change(key, None, expect))
        self._seen.pop(key, None)

    def append(self) -> None:
        """To one list or two, and at times with a register, in one commit, if nobody was faster."""
        keys = self._chance.sample(LISTS, self._chance.choice((1, 2)))
        if self._chance.random() < 0.3:
            self._saw(self._recorder.list())
        else:
            for key in keys:
                self._look_again(key, 0.85)
        changes = [self._appended(key) for key in keys]
        if self._chance.random() < 0.3:
            changes.append(Change(self._chance.choice(REGISTERS), self._token()))
        self._recorder.transaction(changes)

    def hand(self) -> None:
        self._recorder.hand(self._chance.choice((0, 0, 1)))

    def claim(self) -> None:
        said = self._recorder.claim(attended=self._plan.attended)
        if isinstance(said, Claimed) and said.handoff:
            self._claims.append(said)

    def end(self) -> None:
        """A claim, which may be over: what was given back is ended again under the epoch of then."""
        if not self._claims:
            return self.claim()
        claimed = self._chance.choice(self._claims)
        if self._chance.random() < 0.5:
            self._recorder.end("release", claimed.handoff, claimed.epoch)
        else:
            self._claims.remove(claimed)
            self._recorder.end("complete", claimed.handoff, claimed.epoch)
        return None

    def _look_again(self, key: str, share: float) -> None:
        """In that share of the cases, and where nothing is known of it."""
        if key not in self._seen or self._chance.random() < share:
            self._seen.pop(key, None)
            self._saw(self._recorder.get(key))

    def _saw(self, said: Said | None) -> None:
        for version in getattr(said, "versions", ()):
            self._seen[version.key] = version

    def _version(self, key: str) -> int:
        return self._seen[key].version if key in self._seen else 0

    def _appended(self, key: str) -> Change:
        seen = self._seen.get(key)
        return Change(key, [*(seen.value if seen else ()), self._token()], self._version(key))

    def _token(self) -> str:
        self._tokens += 1
        return f"{self._name}.{self._tokens}"


class Crowd:
    """The clients of a plan, each in a thread with a connection of its own; all begin at once."""

    def __init__(self, plan: Plan, connect: Callable[[str], agentmemo.Connection] | None = None) -> None:
        self._log = Log(plan.log)
        self._plan = plan
        self._connect = connect or plan.connect
        self._gate = threading.Barrier(len(plan.names) + 1)
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._one, args=(name,)) for name in plan.names]
        for thread in self._threads:
            thread.start()

    def begin(self) -> None:
        with suppress(threading.BrokenBarrierError):
            self._gate.wait()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join()
        self._log.close()
        if self._failed:
            raise self._failed[0]

    def _one(self, name: str) -> None:
        try:
            with suppress(Unavailable), self._connect(name) as connection:
                connection.handoff.announce(queues=[self._plan.namespace])
                self._gate.wait()
                Client(self._plan, name, Recorder(name, connection, self._plan.namespace, self._log)).work()
        except BaseException as error:  # noqa: BLE001 - told by whoever waits
            self._failed.append(error)
            self._gate.abort()


class Watcher:
    """Follows all changes, over connections that it now and then makes anew, until it is told that nothing comes."""

    def __init__(self, plan: Plan, name: str, begun: int, connect: Callable[[str], agentmemo.Connection]) -> None:
        self._chance = random.Random(f"{plan.seed}/{name}")
        self._plan, self._name, self._begun, self._connect = plan, name, begun, connect
        self._over = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        if self._failed:
            raise self._failed[0]

    def _watch(self) -> None:
        log = Log(self._plan.log)
        after, last = self._begun, False
        try:
            while not last:
                with self._connect(self._name) as connection:
                    recorder = Recorder(self._name, connection, self._plan.namespace, log)
                    while not last and self._chance.random() < 0.8:
                        over, limit = self._over.is_set(), self._chance.choice((3, 1000))
                        said = recorder.watch(after, limit)
                        if isinstance(said, Heard):
                            after, last = said.next, over and len(said.versions) < limit
        except BaseException as error:  # noqa: BLE001 - told by whoever waits
            self._failed.append(error)
        finally:
            log.close()


def main() -> None:
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    crowd = Crowd(plan)
    sys.stdin.readline()
    crowd.begin()
    crowd.wait()


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(str(error))
