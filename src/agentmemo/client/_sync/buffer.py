# Generated from client/_async by scripts/generate_sync.py; edit there.
"""Calls that are collected and sent once: in a transaction, or with the step that made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from agentmemo import ids
from agentmemo.api.lookup import operation_of
from agentmemo.api.operation import Operation
from agentmemo.client._sync.ledger import recorded, used
from agentmemo.client._sync.plane import Plane
from agentmemo.client.given import as_struct
from agentmemo.errors import InvalidInput
from agentmemo.model.handoffs import (
    Acceptance,
    CompleteHandoff,
    CreateHandoff,
    FailHandoff,
    ReleaseHandoff,
    SetHandoffProgress,
)
from agentmemo.model.kinds import described
from agentmemo.model.ledger import HANDLE_PREFIX, SettleUsage
from agentmemo.model.prices import Usage
from agentmemo.model.runs import AddNote, BufferedCall, SendSignal
from agentmemo.model.state import DeleteEntry, SetEntry
from agentmemo.model.system import RunTransaction
from agentmemo.model.values import check, encode
from agentmemo.model.wire import Request

# What a buffered read finds for a key that the buffer deletes.
GONE = object()
# Values are sent as they were given; everything else of a request as plain data.
CARRIED = frozenset({"value", "context", "artifacts", "result"})


class Buffer:
    """The collected calls, and what they make of each key meanwhile."""

    def __init__(self) -> None:
        self.calls: list[BufferedCall] = []
        self.operations: list[Operation] = []
        self.overlay: dict[tuple[str, str], Any] = {}
        # The claims on handoffs that are over once this commits.
        self.ended: list[tuple[str, int]] = []

    def add(self, request: Request) -> None:
        given = {name: getattr(request, name) for name in request.__struct_fields__}
        fields = {name: value if name in CARRIED else msgspec.to_builtins(value) for name, value in given.items()}
        check({name: value for name, value in fields.items() if name != "result"})
        operation = operation_of(type(request))
        self.operations.append(operation)
        self.calls.append(BufferedCall(operation=operation.name, request=fields))
        if isinstance(request, CompleteHandoff | FailHandoff | ReleaseHandoff) and request.epoch is not None:
            self.ended.append((request.handoff, request.epoch))

    def committed(self, plane: Plane) -> None:
        """What was ended in it is held no more, and needs no heartbeat."""
        for handle, epoch in self.ended:
            plane.let_go(handle, epoch)


class BufferedState:
    """State writes that commit together, with everything else in the same buffer."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

    def set(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        if_version: int | None = None,
        ttl_seconds: float | None = None,
        origin: str = "agent",
    ) -> None:
        """As `state.set`; the entry exists once the whole commits. Bad values are refused here already."""
        encode(value)
        self._buffer.add(
            SetEntry(
                namespace=namespace, key=key, value=value, if_version=if_version, ttl_seconds=ttl_seconds, origin=origin
            )
        )
        self._buffer.overlay[namespace, key] = value

    def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> None:
        self._buffer.add(DeleteEntry(namespace=namespace, key=key, if_version=if_version))
        self._buffer.overlay[namespace, key] = GONE


class BufferedRuns:
    """Signals and notes that commit together with the rest of the buffer."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

    def signal(self, id: str, name: str, value: Any = None) -> None:
        self._buffer.add(SendSignal(run=id, name=name, value=value))

    def note(self, id: str, kind: str, text: str, *, because: str = "") -> None:
        """`kind` is decision, finding or tried."""
        self._buffer.add(AddNote(run=id, kind=kind, text=text, because=because))


class BufferedHandoffs:
    """Moves of handoffs that commit together with the rest of the buffer. A claim made here brings its epoch along."""

    def __init__(self, plane: Plane, buffer: Buffer) -> None:
        self._plane = plane
        self._buffer = buffer

    def create(
        self,
        *,
        to_agent: str | None = None,
        to_capability: str | None = None,
        to_queue: str | None = None,
        workflow: str | None = None,
        context: Any = None,
        goal: str = "",
        acceptance: Acceptance | dict[str, Any] | None = None,
        key: str | None = None,
        priority: int = 0,
    ) -> str:
        """As `handoff.create`, of which these are the usual options; it exists once the whole commits.

        Returns its handle. Where the key stands for a handoff already, that one's counts: `handoff.find(key)`.
        """
        handle = ids.mint("hof", self._plane.clock.now_us())
        self._buffer.add(
            CreateHandoff(
                id=handle,
                to_agent=to_agent,
                to_capability=to_capability,
                to_queue=to_queue,
                workflow=workflow,
                context=context,
                goal=goal,
                acceptance=as_struct(Acceptance, acceptance) if acceptance is not None else None,
                key=key,
                priority=priority,
            )
        )
        return handle

    def complete(self, id: str, result: Any = None, *, epoch: int | None = None) -> None:
        self._buffer.add(CompleteHandoff(handoff=id, result=result, epoch=self._epoch(id, epoch)))

    def fail(self, id: str, reason: str, *, epoch: int | None = None) -> None:
        self._buffer.add(FailHandoff(handoff=id, reason=reason, epoch=self._held(id, epoch)))

    def release(self, id: str, reason: str, *, epoch: int | None = None) -> None:
        self._buffer.add(ReleaseHandoff(handoff=id, reason=reason, epoch=self._held(id, epoch)))

    def progress(self, id: str, percent: float | None = None, text: str = "", *, epoch: int | None = None) -> None:
        self._buffer.add(SetHandoffProgress(handoff=id, percent=percent, text=text, epoch=self._held(id, epoch)))

    def _epoch(self, id: str, epoch: int | None) -> int | None:
        return self._plane.handoffs.get(id) if epoch is None else epoch

    def _held(self, id: str, epoch: int | None) -> int:
        return held_epoch(self._plane.handoffs, id, epoch)


def held_epoch(held: dict[str, int], id: str, epoch: int | None) -> int:
    """The epoch given, or that of the claim this connection made. Raises InvalidInput where there is neither."""
    found = held.get(id) if epoch is None else epoch
    if found is None:
        raise InvalidInput(
            f"This connection does not hold handoff {id}.",
            why="Only its holder may do that, and proves it with the epoch of its claim.",
            next_call="Claim it first (handoff.claim), or send the epoch that its claim was answered with.",
        )
    return found


class BufferedLedger:
    """Model calls written down together with the rest of the buffer, and charged to the run's budget there."""

    def __init__(self, plane: Plane, buffer: Buffer, step: str | None = None) -> None:
        self._plane = plane
        self._buffer = buffer
        self._step = step

    def record(
        self,
        usage: Usage | Mapping[str, int] | None = None,
        *,
        model: str | None = None,
        model_served: str | None = None,
        role: str = "execute",
        workflow: str | None = None,
        version: str | None = None,
        step: str | None = None,
        attempt: int = 1,
        rung: int | None = None,
        request_id: str | None = None,
        provider_nanousd: int | None = None,
        estimated: bool = False,
        otel: Mapping[str, Any] | None = None,
    ) -> str:
        """As `ledger.record`; it is there once the whole commits. Returns its handle.

        A step that fails takes what it buffered with it: `agent.ledger.record` writes down at once.
        """
        handle = ids.mint(HANDLE_PREFIX, self._plane.clock.now_us())
        self._buffer.add(
            recorded(
                handle,
                usage,
                model=model,
                model_served=model_served,
                role=role,
                workflow=workflow,
                version=version,
                run=None,
                step=step or self._step,
                attempt=attempt,
                rung=rung,
                request_id=request_id,
                provider_nanousd=provider_nanousd,
                estimated=estimated,
                otel=otel,
            )
        )
        return handle

    def settle(
        self,
        id: str,
        usage: Usage | Mapping[str, int] | None = None,
        *,
        model_served: str | None = None,
        request_id: str | None = None,
        provider_nanousd: int | None = None,
        estimated: bool = False,
    ) -> None:
        """As `ledger.settle`, of a call that was reserved before: its cost commits with what came of it."""
        self._buffer.add(
            SettleUsage(
                id=id,
                usage=used(usage),
                model_served=model_served,
                request_id=request_id,
                provider_nanousd=provider_nanousd,
                estimated=estimated,
            )
        )


class Transaction:
    """Operations collected in a block and sent once: one commit or none. `results` is filled after the block."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._buffer = Buffer()
        self._results: list[Any] | None = None
        self.revision: int | None = None
        self.state = BufferedState(self._buffer)
        self.runs = BufferedRuns(self._buffer)
        self.handoff = BufferedHandoffs(plane, self._buffer)
        self.ledger = BufferedLedger(plane, self._buffer)

    @property
    def results(self) -> list[Any]:
        """One result per operation, in order. Raises InvalidInput inside the block: there are no reads inside."""
        if self._results is None:
            raise InvalidInput(
                "The transaction has no results yet.",
                why="It is sent once, when its block ends.",
                next_call="Read results after the `with` block.",
            )
        return self._results

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            return
        if not self._buffer.calls:
            self._results = []
            return
        answer = self._plane.call(RunTransaction(calls=self._buffer.calls))
        self._buffer.committed(self._plane)
        self._results = [
            _typed(operation, result) for operation, result in zip(self._buffer.operations, answer.results, strict=True)
        ]
        self.revision = answer.revision


def _typed(operation: Operation, result: Any) -> Any:
    """A result as its operation's response; over a wire it comes as plain data."""
    response = operation.response
    return msgspec.convert(result, described(response)) if response is not None and isinstance(result, dict) else result
