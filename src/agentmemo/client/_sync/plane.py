# Generated from client/_async by scripts/generate_sync.py; edit there.
"""One caller's way to a plane: sends operations with the ambient claim and keeps the worker alive."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from agentmemo.api.lookup import operation_of
from agentmemo.client._sync.pages import Page
from agentmemo.client.flow import Flow
from agentmemo.client.heart import Heart
from agentmemo.client.transport import Transport, at_once, is_away
from agentmemo.clock import Clock
from agentmemo.crashpoints import reach
from agentmemo.errors import NotFound, Unavailable
from agentmemo.model.access import Claim
from agentmemo.model.kinds import described
from agentmemo.model.runs import RegisterWorker, StopWorker
from agentmemo.model.wire import Request, fitting

if TYPE_CHECKING:
    from agentmemo.client.driving import Equipment

_log = logging.getLogger("agentmemo.client")


class Holding:
    """A run this process holds: its handle and current epoch. The ambient one fences every write made meanwhile."""

    __slots__ = ("asks", "calls", "epoch", "live", "outer", "plane", "run", "steps")

    def __init__(self, plane: Plane, run: str, epoch: int, *, live: bool = True) -> None:
        self.plane = plane
        self.run = run
        self.epoch = epoch
        self.live = live
        self.outer: Holding | None = None
        # How a question is asked at this place of the run.
        self.asks: Callable[[Any], Any] | None = None
        # How something is done once in the run, and how often each call was guarded in it.
        self.steps: Callable[..., Any] | None = None
        self.calls: dict[str, int] = {}

    def claim(self, step: str | None = None) -> Claim:
        return Claim(run=self.run, epoch=self.epoch, step=step)


ambient: ContextVar[Holding | None] = ContextVar("agentmemo_run", default=None)


class Plane:
    """Shared by all facades of one connection."""

    def __init__(
        self, transport: Transport, clock: Clock, lease_seconds: float, equipment: Equipment | None = None
    ) -> None:
        self.transport = transport
        self.equipment = equipment
        self.clock = clock
        self.lease_seconds = lease_seconds
        self.flow = Flow(clock)
        self._worker: str | None = None
        self._heart: Heart | None = None
        # The handoffs this connection holds, and the epochs of their claims.
        self.handoffs: dict[str, int] = {}

    def call(self, request: Request, *, claim: Claim | None = None, as_worker: str | None = None) -> Any:
        """Perform the operation of a request. Without a claim of its own, a write goes under the ambient run's."""
        request = fitting(request)
        operation = operation_of(type(request))
        if claim is None and operation.mutating:
            holding = self.holding()
            if holding is not None and holding.live:
                claim, as_worker = holding.claim(), self._worker
        return self.transport.call(operation, request, claim=claim, worker=as_worker)

    def holding(self) -> Holding | None:
        """What is held where this is called. A block of another connection does not take this one's away."""
        holding = ambient.get()
        while holding is not None and holding.plane is not self:
            holding = holding.outer
        return holding

    def page(self, request: Request) -> Page[Any]:
        """A page of the operation's items, as their type."""
        kind = operation_of(type(request)).items
        page = self.call(request)
        items = [
            item if kind is None or isinstance(item, kind) else msgspec.convert(item, described(kind))
            for item in page.items
        ]

        def following(cursor: str) -> Page[Any]:
            return self.page(msgspec.structs.replace(request, cursor=cursor))

        return Page(items, page.cursor, following)

    def worker(self) -> str:
        """This connection's worker incarnation, registered on first use, whoever come first at once."""
        if self._worker is None:
            with self.flow.first_use:
                if self._worker is None:
                    self._worker = self._register()
        return self._worker

    def _register(self) -> str:
        answer = self.call(
            RegisterWorker(lease_seconds=self.lease_seconds, host=socket.gethostname(), process=os.getpid())
        )
        reach("worker.before_hold")
        self.transport.hold(answer.id)
        # It beats for this worker: one of another would hear that nothing here is held.
        self._heart = Heart(self.transport, answer.id, self.lease_seconds)
        return str(answer.id)

    def heart(self) -> Heart:
        assert self._heart is not None  # noqa: S101 - a run is held only by a registered worker
        return self._heart

    def let_go(self, handle: str, epoch: int) -> None:
        """A claim is over; one without a heartbeat never had one. A newer claim of the same handle stays."""
        if self.handoffs.get(handle) == epoch:
            del self.handoffs[handle]
        if self._heart is not None:
            self._heart.let_go(handle, epoch)

    def abandon(self) -> None:
        """Give everything back at once, from any thread, whatever the others are doing with it."""
        self.flow.stop()
        if self._worker is not None:
            with contextlib.suppress(NotFound), at_once():
                self.transport.call(operation_of(StopWorker), StopWorker(worker=self._worker))

    def close(self) -> None:
        self.flow.stop()
        if self._heart:
            self._heart.stop()
        worker, self._worker = self._worker, None
        try:
            if worker:
                self._take_leave(worker)
        finally:
            self.transport.close()

    def _take_leave(self, worker: str) -> None:
        """Give back what is held now. A courtesy: when the lease ends it is given back without it."""
        try:
            # Who slept for days was taken for dead and is forgotten: there is nothing left to give back.
            with contextlib.suppress(NotFound), at_once():
                self.transport.call(operation_of(StopWorker), StopWorker(worker=worker))
        except Unavailable as error:
            if not is_away(error):
                raise
            _log.warning("others take over what %s held when its lease ends: %s", worker, error.message)
