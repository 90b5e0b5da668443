"""A plane in this process: an engine with its upkeep, and the transport that calls it."""

from __future__ import annotations

import os
import threading
from typing import Any

from agentmemo.api.operation import Operation
from agentmemo.client._sync.connection import Connection
from agentmemo.client._sync.plane import Plane
from agentmemo.clock import Clock, SystemClock
from agentmemo.engine.dispatch import Engine
from agentmemo.engine.notification_messages import compose
from agentmemo.engine.prices import Prices
from agentmemo.engine.upkeep.loop import Upkeep
from agentmemo.errors import InvalidInput
from agentmemo.executor.configured import ConfiguredModels
from agentmemo.model.access import EVERYTHING, Caller, Claim, check_actor
from agentmemo.notify.people import PeopleSender
from agentmemo.notify.webhooks import WebhookSender
from agentmemo.settings import Settings, default_agent, from_environment
from agentmemo.store.open import database_path, is_postgres, open_database


def open_embedded(
    address: str | None, *, agent: str | None, person: str | None, workspace: str, door: str
) -> Connection:
    caller = local_caller(agent, person, workspace, door)
    return connection_for(shared_plane(address), caller, counted=True)


def connection_for(plane: LocalPlane, caller: Caller, *, counted: bool = False) -> Connection:
    """A connection of an already identified caller to a plane of this process, which stays open when it closes."""
    plane.users += not counted
    transport = EmbeddedTransport(plane, caller)
    return Connection(Plane(transport, plane.clock, plane.settings.lease_seconds, plane.models), caller.name)


class LocalPlane:
    """An engine with its upkeep in this process, shared by all connections to one store."""

    def __init__(
        self,
        target: str | None,
        clock: Clock,
        settings: Settings,
        *,
        upkeep: bool = True,
        prices: Prices | None = None,
    ) -> None:
        database = open_database(target, clock, settings)
        # A database that many machines share has a time of its own.
        self.clock = database.clock
        self.settings = settings
        beside = database.capabilities.beside
        try:
            self.models = ConfiguredModels(beside.parent if beside else None)
            self.engine = Engine(database, settings, prices or self.models)
        except BaseException:
            database.close()
            raise
        self.webhooks = WebhookSender(self.engine)
        self.people = PeopleSender(self.engine, compose)
        self.upkeep = Upkeep(self.engine, self._send_due)
        self.users = 0
        # A server keeps its plane until it stops, whoever comes and goes.
        self.kept = False
        if upkeep:
            self.upkeep.start()

    def close(self) -> None:
        self.upkeep.stop()
        self.webhooks.close()
        self.people.close()
        self.engine.close()

    def _send_due(self) -> None:
        """Begin to send what upkeep put into the outboxes."""
        self.webhooks.start_due()
        self.people.start_due()


_planes: dict[tuple[int, str], LocalPlane] = {}
_planes_lock = threading.Lock()


def shared_plane(target: str | None) -> LocalPlane:
    """The plane of a store in this process, opened on first use; a store in memory is never shared."""
    place = target if is_postgres(target) else str(database_path(target) or "")
    with _planes_lock:
        plane = _planes.get((os.getpid(), place)) if place else None
        if plane is None:
            plane = LocalPlane(target, SystemClock(), from_environment())
            if place:
                _planes[os.getpid(), place] = plane
        plane.users += 1
        return plane


def release_plane(plane: LocalPlane) -> None:
    """The last user closes it."""
    with _planes_lock:
        plane.users -= 1
        if plane.users > 0 or plane.kept:
            return
        for place, known in list(_planes.items()):
            if known is plane:
                del _planes[place]
    plane.close()


class EmbeddedTransport:
    """Calls the engine of this process; the only hop is to its writer thread."""

    def __init__(self, plane: LocalPlane, caller: Caller) -> None:
        self.plane = plane
        self._engine = plane.engine
        self._caller = caller
        self._closed = False

    def call(self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None) -> Any:
        return self._engine.call(operation, under(self._caller, claim, worker), request)

    def hold(self, worker: str) -> None:
        self._engine.presence.hold(worker)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            release_plane(self.plane)


def under(caller: Caller, claim: Claim | None, worker: str | None, request_id: str | None = None) -> Caller:
    """The caller with a call's claim and worker, and its request id where it has one of its own."""
    if claim is None and worker is None and request_id is None:
        return caller
    return Caller(
        workspace=caller.workspace,
        kind=caller.kind,
        name=caller.name,
        grants=caller.grants,
        key=caller.key,
        on_behalf_of=caller.on_behalf_of,
        door=caller.door,
        worker=worker,
        claim=claim,
        request_id=caller.request_id if request_id is None else request_id,
    )


def local_caller(agent: str | None, person: str | None, workspace: str, door: str = "python") -> Caller:
    """Who calls in an embedded plane: the operating system vouches for the file, so for everything in it."""
    if agent is not None and person is not None:
        raise InvalidInput("A connection is an agent's or a person's, not both.", next_call="Leave one out.")
    kind, name = ("person", person) if person is not None else ("agent", agent or default_agent())
    check_actor(name or "", kind)
    return Caller(workspace=workspace, kind=kind, name=name or "", grants=(EVERYTHING,), door=door)
