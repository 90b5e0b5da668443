"""A true store behind a transport that lies, as if the store had the fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clients import Client, Log, Plan, Recorder
from msgspec.structs import replace
from ways import Threads

import agentmemo
from agentmemo.errors import LeaseLost

Send = Callable[[Any], Any]
Lie = Callable[[Any, Send], Any]


class Liar:
    """A transport before another; `lie(request, send)` answers."""

    def __init__(self, inner: Any, lie: Lie) -> None:
        self._inner = inner
        self._lie = lie

    def call(self, operation: Any, request: Any, *, claim: Any = None, worker: Any = None) -> Any:
        if operation.name.partition(".")[0] not in {"state", "handoff", "transaction"}:
            return self._inner.call(operation, request, claim=claim, worker=worker)
        return self._lie(request, lambda sent: self._inner.call(operation, sent, claim=claim, worker=worker))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Lying(Threads):
    """Clients that call in turn, each over a transport that tells the same lie; the auditor is told the truth."""

    def __init__(self, folder: Path, lie: Callable[[], Lie] | None) -> None:
        super().__init__("lies", folder, str(folder / "lies.db"))
        self._lie = lie and lie()

    def connect(self, name: str) -> agentmemo.Connection:
        connection = super().connect(name)
        if self._lie and name != "auditor":
            connection._plane.transport = Liar(connection._plane.transport, self._lie)
        return connection

    def work(self, plan: Plan, _chance: Any) -> None:
        log = Log(plan.log)
        connections = {name: self.connect(name) for name in plan.names}
        clients = [
            Client(plan, name, Recorder(name, connection, plan.namespace, log))
            for name, connection in connections.items()
        ]
        for connection in connections.values():
            connection.handoff.announce(queues=[plan.namespace])
        for _ in range(plan.actions):
            for client in clients:
                client.act()
        for connection in connections.values():
            connection.close()
        log.close()


def ignores_conditions() -> Lie:
    """Every write is done, whatever version it expected."""

    def lie(request: Any, send: Send) -> Any:
        named = getattr(request, "if_version", None) is not None
        return send(replace(request, if_version=None) if named else request)

    return lie


def does_twice() -> Lie:
    """A write is sent again, and done again."""

    def lie(request: Any, send: Send) -> Any:
        answer = send(request)
        if type(request).__name__ == "SetEntry" and request.if_version is None:
            answer = send(request)
        return answer

    return lie


def splits_transactions() -> Lie:
    """Each change of a transaction is a commit of its own; what comes before a refused one stays."""

    def lie(request: Any, send: Send) -> Any:
        if type(request).__name__ != "RunTransaction":
            return send(request)
        answers = [send(replace(request, calls=[call])) for call in request.calls]
        return replace(answers[-1], results=[result for answer in answers for result in answer.results])

    return lie


def forgets_changes() -> Lie:
    """Every third change is missing in watches."""
    counted = iter(range(1_000_000))

    def lie(request: Any, send: Send) -> Any:
        answer = send(request)
        if type(request).__name__ == "WatchNamespace":
            return replace(answer, changes=[change for change in answer.changes if next(counted) % 3])
        return answer

    return lie


def accepts_what_is_stale() -> Lie:
    """A holder that lost its claim is told that it has ended the handoff."""

    def lie(request: Any, send: Send) -> Any:
        try:
            return send(request)
        except LeaseLost:
            return None

    return lie


_ALL = (ignores_conditions, does_twice, splits_transactions, forgets_changes, accepts_what_is_stale)
LIES = {lie.__name__: lie for lie in _ALL}
