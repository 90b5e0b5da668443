"""The ledger: what model calls cost, and the caps that people put on it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentmemo import ids
from agentmemo.client._async.pages import AsyncPage
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client.given import as_struct, microseconds
from agentmemo.model.ledger import (
    HANDLE_PREFIX,
    Cap,
    Caps,
    GetSavings,
    GetTotals,
    GetUsage,
    LedgerRow,
    ListCaps,
    ListUsage,
    RecordUsage,
    ReserveUsage,
    SetCap,
    SettleUsage,
    Totals,
    VoidUsage,
)
from agentmemo.model.prices import Usage
from agentmemo.model.wire import as_request

if TYPE_CHECKING:
    from agentmemo.model.savings import Savings


class AsyncLedger:
    """Rows are written once and stay. Prices are looked up by the plane; what it does not know stays unknown."""

    def __init__(self, plane: AsyncPlane) -> None:
        self._plane = plane

    async def record(
        self,
        usage: Usage | Mapping[str, int] | None = None,
        *,
        model: str | None = None,
        model_served: str | None = None,
        role: str = "execute",
        workflow: str | None = None,
        version: str | None = None,
        run: str | None = None,
        step: str | None = None,
        attempt: int = 1,
        rung: int | None = None,
        request_id: str | None = None,
        provider_nanousd: int | None = None,
        estimated: bool = False,
        otel: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> LedgerRow:
        """Write down a model call that you made, with the tokens that the provider counted.

        `usage` is input_tokens (which includes those of a cache), output_tokens, cached_input_tokens and
        cache_write_tokens; without it the call ends unknown. `otel` takes the GenAI attributes of the call's span
        instead. `model` is what was asked for, `model_served` what answered; `provider_nanousd` what was billed. In a
        run it belongs to the run and is charged to its budget. `id`, a handle of your own, makes it happen once.
        """
        return await self._plane.call(
            recorded(
                id or ids.mint(HANDLE_PREFIX, self._plane.clock.now_us()),
                usage,
                model=model,
                model_served=model_served,
                role=role,
                workflow=workflow,
                version=version,
                run=run,
                step=step,
                attempt=attempt,
                rung=rung,
                request_id=request_id,
                provider_nanousd=provider_nanousd,
                estimated=estimated,
                otel=otel,
            )
        )

    async def reserve(
        self,
        model: str,
        *,
        input_tokens: int,
        max_output_tokens: int,
        role: str = "execute",
        workflow: str | None = None,
        version: str | None = None,
        run: str | None = None,
        step: str | None = None,
        attempt: int = 1,
        rung: int | None = None,
        caps: Caps | dict[str, int] | None = None,
        id: str | None = None,
    ) -> LedgerRow:
        """Set aside the most that a call can cost, before you make it. Raises LimitExceeded where it could pass a cap.

        Settle it afterwards, or void it where the call was not made. What nobody settles counts at the worst case.
        """
        fields = {
            "id": id or ids.mint(HANDLE_PREFIX, self._plane.clock.now_us()),
            "model": model,
            "input_tokens": input_tokens,
            "max_output_tokens": max_output_tokens,
            "role": role,
            "workflow": workflow,
            "version": version,
            "run": run,
            "step": step,
            "attempt": attempt,
            "rung": rung,
            "caps": as_struct(Caps, caps) if caps is not None else None,
        }
        return await self._plane.call(as_request(fields, ReserveUsage))

    async def settle(
        self,
        id: str,
        usage: Usage | Mapping[str, int] | None = None,
        *,
        model_served: str | None = None,
        request_id: str | None = None,
        provider_nanousd: int | None = None,
        estimated: bool = False,
    ) -> LedgerRow:
        """Say what a reserved call used; without `usage` it ends unknown, at the worst case. Again it does nothing.

        Raises InvalidTransition where something else was said before.
        """
        return await self._plane.call(
            SettleUsage(
                id=id,
                usage=used(usage),
                model_served=model_served,
                request_id=request_id,
                provider_nanousd=provider_nanousd,
                estimated=estimated,
            )
        )

    async def void(self, id: str, reason: str = "") -> LedgerRow:
        """The reserved call was never made: nothing of it counts."""
        return await self._plane.call(VoidUsage(id=id, reason=reason))

    async def get(self, id: str) -> LedgerRow:
        """One call. Raises NotFound."""
        return await self._plane.call(GetUsage(id=id))

    async def list(
        self,
        *,
        workflow: str | None = None,
        run: str | None = None,
        agent: str | None = None,
        model: str | None = None,
        role: str | None = None,
        state: str | None = None,
        since: datetime.datetime | int | None = None,
        until: datetime.datetime | int | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> AsyncPage[LedgerRow]:
        """Calls, newest first; `model` is as asked for or as served."""
        fields = {
            "workflow": workflow,
            "run": run,
            "agent": agent,
            "model": model,
            "role": role,
            "state": state,
            "since": microseconds(since),
            "until": microseconds(until),
            "cursor": cursor,
            "limit": limit,
        }
        return await self._plane.page(as_request(fields, ListUsage))

    async def totals(
        self,
        by: str = "model",
        *,
        workflow: str | None = None,
        run: str | None = None,
        agent: str | None = None,
        since: datetime.datetime | int | None = None,
        until: datetime.datetime | int | None = None,
    ) -> Totals:
        """What was spent, by model, workflow, agent, role or day. Known and worst case stand apart."""
        fields = {
            "by": by,
            "workflow": workflow,
            "run": run,
            "agent": agent,
            "since": microseconds(since),
            "until": microseconds(until),
        }
        return await self._plane.call(as_request(fields, GetTotals))

    async def savings(
        self,
        workflow: str,
        *,
        version: str | None = None,
        smart_model: str | None = None,
        design_nanousd: int | None = None,
        since: datetime.datetime | int | None = None,
        until: datetime.datetime | int | None = None,
    ) -> Savings:
        """What a workflow saves against `smart_model` (by default its designer), with everything that it costs.

        Two lines that are never mixed: an estimate at list prices, and what was measured on audited runs, with its
        interval. `.explain()` says it in words. Raises InvalidInput where nothing was run yet.
        """
        return await self._plane.call(
            GetSavings(
                workflow=workflow,
                version=version,
                smart_model=smart_model,
                design_nanousd=design_nanousd,
                since=microseconds(since),
                until=microseconds(until),
            )
        )

    async def cap(self, scope: str, nanousd: int | None, per: str = "total") -> Cap:
        """Bound what may be spent: in the `workspace`, by `agent:NAME`, `workflow:NAME` or `run:ID`. Only a person can.

        `per` is day, month (both UTC) or total; None lifts it. What was spent before counts.
        """
        return await self._plane.call(as_request({"scope": scope, "nanousd": nanousd, "per": per}, SetCap))

    async def caps(self, *, cursor: str | None = None, limit: int = 100) -> AsyncPage[Cap]:
        """The caps, and what counts against them now."""
        return await self._plane.page(ListCaps(cursor=cursor, limit=limit))


def used(usage: Usage | Mapping[str, int] | None) -> Usage | None:
    return None if usage is None else as_struct(Usage, dict(usage) if isinstance(usage, Mapping) else usage)


def recorded(
    id: str,
    usage: Usage | Mapping[str, int] | None,
    *,
    model: str | None,
    model_served: str | None,
    role: str,
    workflow: str | None,
    version: str | None,
    run: str | None,
    step: str | None,
    attempt: int,
    rung: int | None,
    request_id: str | None,
    provider_nanousd: int | None,
    estimated: bool,
    otel: Mapping[str, Any] | None,
) -> RecordUsage:
    """The request of a call that was made. Raises InvalidInput for what does not fit."""
    fields = {
        "id": id,
        "usage": used(usage),
        "model": model,
        "model_served": model_served,
        "role": role,
        "workflow": workflow,
        "version": version,
        "run": run,
        "step": step,
        "attempt": attempt,
        "rung": rung,
        "request_id": request_id,
        "provider_nanousd": provider_nanousd,
        "estimated": estimated,
        "otel": dict(otel) if otel is not None else None,
    }
    return as_request(fields, RecordUsage)
