"""A plane in a temporary file whose clock moves by hand, and which can be restarted, paused and killed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from agentmemo.api.operation import Operation
from agentmemo.api.operations import BY_NAME
from agentmemo.client._async.connection import AsyncConnection
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client._sync.connection import Connection
from agentmemo.client._sync.plane import Plane
from agentmemo.client.transport import AsyncTransport, Transport
from agentmemo.clock import SECOND, ManualClock
from agentmemo.embedded import EmbeddedTransport, LocalPlane, local_caller
from agentmemo.embedded_async import AsyncEmbeddedTransport
from agentmemo.engine.dispatch import Engine
from agentmemo.engine.prices import Prices
from agentmemo.errors import Error, InvalidInput, Unavailable
from agentmemo.model.access import Caller, Claim, Grant
from agentmemo.model.runs import Heartbeat, Run
from agentmemo.settings import Settings
from agentmemo.testing.person import ScriptedPerson


class Crashed(BaseException):
    """Raised by `plane.crash()`: it leaves every `with` of the dead process, which can write nothing any more."""


class ManualPlane:
    """A ready plane. Nothing happens by itself: `advance` moves the clock, renews the living and runs upkeep once."""

    def __init__(
        self,
        path: Path | str,
        *,
        clock: ManualClock | None = None,
        settings: Settings | None = None,
        prices: Prices | None = None,
    ) -> None:
        """`path` names a file, or is the address of an empty PostgreSQL database. `prices` are those of models."""
        self.path = path
        self.clock = clock or ManualClock()
        self.settings = settings or Settings()
        self.prices = prices
        self._people: list[ScriptedPerson] = []
        self._connections: list[Connection] = []
        self._links: list[_Link] = []
        self._local = self._open()

    @property
    def local(self) -> LocalPlane:
        """The embedded plane itself, as `agentmemo up` holds one."""
        return self._local

    @property
    def engine(self) -> Engine:
        return self._local.engine

    def connect(
        self,
        agent: str | None = None,
        *,
        person: str | None = None,
        workspace: str = "default",
        grants: Sequence[Grant] | None = None,
    ) -> Connection:
        """A connection of an agent (default name `agent`) or a person, optionally with no more than `grants`."""
        link = self._link(agent, person, workspace, grants)
        transport = ManualTransport(link, EmbeddedTransport(self._local, link.caller))
        connection = Connection(Plane(transport, self.clock, self.settings.lease_seconds), link.caller.name)
        link.connection = connection
        self._connections.append(connection)
        return connection

    async def connect_async(
        self,
        agent: str | None = None,
        *,
        person: str | None = None,
        workspace: str = "default",
        grants: Sequence[Grant] | None = None,
    ) -> AsyncConnection:
        """The same for asyncio; close it in its own event loop."""
        link = self._link(agent, person, workspace, grants)
        transport = AsyncManualTransport(link, AsyncEmbeddedTransport(self._local, link.caller))
        connection = AsyncConnection(AsyncPlane(transport, self.clock, self.settings.lease_seconds), link.caller.name)
        link.connection = connection
        return connection

    def person(self, name: str = "person", *, workspace: str = "default") -> ScriptedPerson:
        """A person who decides what runs ask, as scripted by `will`."""
        person = ScriptedPerson(self.connect(person=name, workspace=workspace))
        self._people.append(person)
        return person

    def advance(self, seconds: float) -> int:
        """Move the clock, let every living connection beat, and do what became due. Returns how much was done."""
        self.clock.advance(seconds)
        self.beat()
        return self.upkeep()

    def beat(self) -> None:
        """Let the heart of every living connection beat once, as it does all the while in a real process."""
        for link in self._links:
            if link.beats:
                link.beat()

    def upkeep(self) -> int:
        """Do everything that is due now, and let the scripted people decide."""
        return self._local.upkeep.run_once() + self.let_people_decide()

    def let_people_decide(self) -> int:
        """The scripted people answer what they find. Returns how many answers were given."""
        return sum(person.decide() for person in self._people)

    def settle(self, run: Run) -> bool:
        """Bring about what a waiting run waits for, where that is time or a scripted person. False otherwise."""
        if run.wake == "timer" and run.wake_at is not None:
            self.advance(max(0.0, (run.wake_at - self.clock.now_us()) / SECOND))
            return True
        return run.wake == "person" and self.let_people_decide() > 0

    def pause(self, connection: Connection | AsyncConnection) -> None:
        """Its heart stops beating while its process lives on: the lease ends with time, and it may wake up later."""
        self._link_of(connection).beats = False

    def kill(self, connection: Connection | AsyncConnection) -> None:
        """Its process dies: it can call nothing any more, and what it held may be taken over at once."""
        link = self._link_of(connection)
        link.beats, link.dead = False, True
        for worker in link.workers:
            self.engine.presence.abandon(worker)

    def restart(self) -> None:
        """The whole process dies and starts again. Connections of before answer Unavailable; connect again."""
        engine = self.engine
        for link in self._links:
            link.beats, link.dead = False, True
            for worker in link.workers:
                engine.presence.abandon(worker)
        engine.presence.abandon(engine.incarnation)
        engine.judge.close()
        engine.database.close()
        self._links.clear()
        people = [person.connection for person in self._people]
        self._local = self._open()
        for person, old in zip(self._people, people, strict=True):
            person.connection = self.connect(person=old.actor)

    def crash(self) -> NoReturn:
        """Restart, and unwind the dead process: use it inside `with pytest.raises(Crashed)`."""
        self.restart()
        raise Crashed

    def close(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(Error):
                connection.close()
        self._local.close()

    def _open(self) -> LocalPlane:
        local = LocalPlane(str(self.path), self.clock, self.settings, upkeep=False, prices=self.prices)
        local.kept = True
        return local

    def _link(self, agent: str | None, person: str | None, workspace: str, grants: Sequence[Grant] | None) -> _Link:
        caller = local_caller(agent or (None if person else "agent"), person, workspace)
        if grants is not None:
            caller = msgspec.structs.replace(caller, grants=tuple(grants))
        link = _Link(self, caller)
        self._links.append(link)
        return link

    def _link_of(self, connection: Connection | AsyncConnection) -> _Link:
        for link in self._links:
            if link.connection is connection:
                return link
        raise InvalidInput("This plane did not make that connection, or was restarted since.")


class _Link:
    """What the plane knows of one connection: who it is, its workers, and whether it lives."""

    def __init__(self, plane: ManualPlane, caller: Caller) -> None:
        self.plane = plane
        self.caller = caller
        self.workers: list[str] = []
        self.connection: Connection | AsyncConnection | None = None
        self.beats = True
        self.dead = False

    def admit(self, operation: Operation) -> None:
        """Raise Unavailable for the dead, and for heartbeats: here only `advance` makes hearts beat."""
        if self.dead or operation.name == "worker.heartbeat":
            raise Unavailable("This process is dead, as far as the test is concerned.", retry_safe=False)

    def beat(self) -> None:
        for worker in self.workers:
            self.plane.engine.call(BY_NAME["worker.heartbeat"], self.caller, Heartbeat(worker=worker))


class ManualTransport:
    """A transport under a test's rule: waits that only need time or a scripted person end at once."""

    def __init__(self, link: _Link, inner: Transport) -> None:
        self._link = link
        self._inner = inner

    def call(self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None) -> Any:
        self._link.admit(operation)
        if operation.name == "run.resume" and request.wait_seconds > 0:
            once = msgspec.structs.replace(request, wait_seconds=0.0)
            while True:
                answer = self._inner.call(operation, once, claim=claim, worker=worker)
                if answer.outcome != "waiting":
                    return answer
                if not self._link.plane.settle(answer.run):
                    break
        if operation.name == "escalation.get" and request.wait_seconds > 0:
            self._link.plane.let_people_decide()
        return self._inner.call(operation, request, claim=claim, worker=worker)

    def hold(self, worker: str) -> None:
        self._link.workers.append(worker)
        self._inner.hold(worker)

    def close(self) -> None:
        self._link.beats = False
        self._inner.close()


class AsyncManualTransport:
    """The same for asyncio."""

    def __init__(self, link: _Link, inner: AsyncTransport) -> None:
        self._link = link
        self._inner = inner

    async def call(
        self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None
    ) -> Any:
        self._link.admit(operation)
        if operation.name == "run.resume" and request.wait_seconds > 0:
            once = msgspec.structs.replace(request, wait_seconds=0.0)
            while True:
                answer = await self._inner.call(operation, once, claim=claim, worker=worker)
                if answer.outcome != "waiting":
                    return answer
                if not await asyncio.to_thread(self._link.plane.settle, answer.run):
                    break
        if operation.name == "escalation.get" and request.wait_seconds > 0:
            await asyncio.to_thread(self._link.plane.let_people_decide)
        return await self._inner.call(operation, request, claim=claim, worker=worker)

    def hold(self, worker: str) -> None:
        self._link.workers.append(worker)
        self._inner.hold(worker)

    def blocking(self) -> Transport:
        return ManualTransport(self._link, self._inner.blocking())

    async def close(self) -> None:
        self._link.beats = False
        await self._inner.close()
