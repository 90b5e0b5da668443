"""The ledger: a call's worst case is set aside before it, and what came of it is written once.

`reserve`, `settle`, `void` and `record` run in whatever transaction they are called in. A call that belongs to a run
is charged to it there, so nobody else charges it.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from agentmemo.crashpoints import reach
from agentmemo.engine import audit, ledger_caps
from agentmemo.engine.call import Call
from agentmemo.engine.claims import existing
from agentmemo.engine.ledger_caps import Counted
from agentmemo.engine.ledger_reads import existing_usage, usage_of, view
from agentmemo.errors import IdempotencyMismatch, PermissionDenied
from agentmemo.model import ledger as model
from agentmemo.model.kinds import described
from agentmemo.model.ledger_otel import read_span
from agentmemo.model.model_names import fits
from agentmemo.model.prices import Price, Usage, cost_nanousd, is_consistent, worst_case_nanousd
from agentmemo.model.values import encode_sorted
from agentmemo.store import ledger as rows
from agentmemo.store.database import Transaction

MISMATCH = "ledger.model_mismatch"


class _Outcome(NamedTuple):
    """What came of a call: what it used and cost, and who says so. `counted` is None where there is no price."""

    act: str
    usage: Usage | None = None
    served: str | None = None
    served_price: Price | None = None
    nanousd: int | None = None
    counted: int | None = None
    source: str | None = None
    request_id: str | None = None


def reserve(tx: Transaction, call: Call, request: model.ReserveUsage) -> model.LedgerRow:
    """Set aside the worst case of a call; commit it before the call is made.

    Raises LimitExceeded where it could pass a cap, and for a model without a price where there is a cap on money.
    """
    model.check_id(request.id)
    place = _place(call, request)
    name = model.check_call(request.model, place)
    digest = _digest(request, place)
    if (found := _repeated(tx, call, request.id, digest)) is not None:
        return view(tx, call, found)
    price = call.engine.prices.lookup(name, tx.now)
    worst = worst_case_nanousd(price, request.input_tokens, request.max_output_tokens) if price else None
    counted = Counted(call.caller.actor, place.workflow, place.run, tx.now)
    run = existing(tx, call, place.run) if place.run else None
    sums = ledger_caps.standing(tx, call, counted)
    tokens = request.input_tokens + request.max_output_tokens
    bounds = ledger_caps.bounds(tx, call, sums, run, place.step, request.caps or model.Caps())
    ledger_caps.check(bounds, name, worst, tokens)
    state = model.next_state("absent", "reserve", request.id)
    row = _new(tx, call, request, place, digest=digest, state=state)._replace(
        input_max=request.input_tokens,
        output_max=request.max_output_tokens,
        price=_encoded(price),
        worst_nanousd=worst,
        counted_nanousd=worst,
    )
    row = _add(tx, call, row, "ledger.reserve")
    ledger_caps.change(tx, call, counted, worst or 0, tokens)
    reach("ledger.after_reserve")
    return view(tx, call, row)


def settle(tx: Transaction, call: Call, request: model.SettleUsage) -> model.LedgerRow:
    """Write what came of a reserved call. Again with the same content it does nothing.

    Without usage it ends unknown, at the worst case. Another model than asked for is priced as what it is, and told.
    Raises InvalidTransition where something else came of it before.
    """
    row = _own(tx, call, request.id)
    outcome = hashlib.sha256(encode_sorted(msgspec.to_builtins(request))).hexdigest()
    if row.state != model.RESERVED and row.outcome == outcome:
        return view(tx, call, row)
    price = _decoded(row.price)
    came = _outcome(call, request, row.model, price, row.worst_nanousd, row.at)
    ended = _end(tx, call, row, came, "ledger.settle", outcome=outcome)
    reach("ledger.after_settle")
    return view(tx, call, ended)


def void(tx: Transaction, call: Call, request: model.VoidUsage) -> model.LedgerRow:
    """The call was never made: nothing of it counts. Again it does nothing."""
    row = _own(tx, call, request.id)
    if row.state != model.VOID:
        row = _end(tx, call, row, _Outcome("void", counted=0), "ledger.void", reason=request.reason)
    return view(tx, call, row)


def record(tx: Transaction, call: Call, request: model.RecordUsage) -> model.LedgerRow:
    """Write down a call that was made: never refused for a cap, and counted from now on."""
    model.check_id(request.id)
    request = _with_span(request)
    place = _place(call, request)
    name = model.check_call(request.model, place)
    digest = _digest(request, place)
    if (found := _repeated(tx, call, request.id, digest)) is not None:
        return view(tx, call, found)
    if place.run is not None:
        existing(tx, call, place.run)
    price = call.engine.prices.lookup(name, tx.now)
    came = _outcome(call, request, name, price, None, tx.now)
    counted = Counted(call.caller.actor, place.workflow, place.run, tx.now)
    ledger_caps.standing(tx, call, counted)
    act = "record" if came.act == "settle" else "record_unknown"
    row = _new(tx, call, request, place, digest=digest, state=model.next_state("absent", act, request.id))
    row = _add(tx, call, _ended(tx, row._replace(price=_encoded(price)), came, row.state), "ledger.record")
    ledger_caps.change(tx, call, counted, came.counted or 0, model.tokens_of(came.usage))
    _charge(tx, call, row, came)
    _tell_mismatch(tx, call, row)
    return view(tx, call, row)


def abandon_of_run(tx: Transaction, call: Call, run: str, epoch: int) -> int:
    """What earlier holders of a run set aside and never settled counts at the worst case. Returns how many."""
    found = tx.all("usage_reserved_of_run", workspace=call.workspace, run=run, epoch=epoch)
    for (handle,) in found:
        lose(tx, call, handle, "its holder is gone")
    return len(found)


def lose(tx: Transaction, call: Call, handle: str, why: str) -> None:
    """Nobody will say any more what a call used."""
    row = existing_usage(tx, call, handle)
    if row.state == model.RESERVED:
        _end(tx, call, row, _unknown(row.worst_nanousd), "ledger.lose", reason=why)


def _outcome(
    call: Call,
    said: model.SettleUsage | model.RecordUsage,
    requested: str,
    price: Price | None,
    worst: int | None,
    at: int,
) -> _Outcome:
    """What a call cost by what was said of it: the provider's bill, else the tokens at the served model's price."""
    served = said.model_served
    other = served is not None and not fits(requested, served)
    ruling = call.engine.prices.lookup(served, at) if served is not None and other else price
    whole = said.usage is not None and is_consistent(said.usage)
    came = _unknown(worst)._replace(
        usage=said.usage,
        served=served,
        served_price=ruling if other else None,
        request_id=said.request_id,
    )
    if said.provider_nanousd is not None:
        billed = said.provider_nanousd
        return came._replace(act="settle", nanousd=billed, counted=billed, source=model.PROVIDER)
    if said.usage is None or not whole:
        return came
    if ruling is None:
        return came._replace(act="settle")
    cost = cost_nanousd(ruling, said.usage)
    source = model.ESTIMATED if said.estimated else model.LOCAL
    return came._replace(act="settle", nanousd=cost, counted=cost, source=source)


def _unknown(worst: int | None) -> _Outcome:
    return _Outcome("lose", counted=worst, source=model.UNKNOWN)


def _end(
    tx: Transaction,
    call: Call,
    row: rows.UsageRow,
    came: _Outcome,
    operation: str,
    *,
    outcome: str | None = None,
    reason: str = "",
) -> rows.UsageRow:
    """The second and last time that a row is written."""
    ended = _ended(tx, row, came, model.next_state(row.state, came.act, row.handle))._replace(outcome=outcome)
    names = (
        "id", "state", "model_served", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens",
        "served_price", "nanousd", "counted_nanousd", "source", "request_id", "outcome", "ended_at",
    )  # fmt: skip
    tx.write("usage_end", expect=1, **{name: getattr(ended, name) for name in names})
    _record(tx, call, ended, operation, reason)
    used = _counted_tokens(ended) - _counted_tokens(row)
    counted = Counted(call.engine.names.actor_name(tx, call.workspace, row.agent), row.workflow, row.run, row.at)
    ledger_caps.change(tx, call, counted, (came.counted or 0) - (row.counted_nanousd or 0), used)
    _charge(tx, call, ended, came)
    _tell_mismatch(tx, call, ended)
    return ended


def _ended(tx: Transaction, row: rows.UsageRow, came: _Outcome, state: str) -> rows.UsageRow:
    usage = came.usage
    return row._replace(
        state=state,
        model_served=came.served,
        input_tokens=usage.input_tokens if usage else None,
        cached_input_tokens=usage.cached_input_tokens if usage else None,
        cache_write_tokens=usage.cache_write_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        served_price=_encoded(came.served_price),
        nanousd=came.nanousd,
        counted_nanousd=came.counted,
        source=came.source,
        request_id=came.request_id,
        ended_at=tx.now,
    )


def _counted_tokens(row: rows.UsageRow) -> int:
    """What is known was used; else what was set aside."""
    if row.state == model.VOID:
        return 0
    usage = usage_of(row)
    return model.tokens_of(usage) if usage else (row.input_max or 0) + (row.output_max or 0)


def _charge(tx: Transaction, call: Call, row: rows.UsageRow, came: _Outcome) -> None:
    """The run pays for what has ended, by the same figures."""
    tokens = _counted_tokens(row)
    if row.run is not None and (came.counted or tokens):
        tx.write("run_charge", handle=row.run, workspace=call.workspace, tokens=tokens, nanousd=came.counted or 0)


def _tell_mismatch(tx: Transaction, call: Call, row: rows.UsageRow) -> None:
    """An alias that moved, or a provider that serves something else, is seen in the trail."""
    if row.model_served is not None and not fits(row.model, row.model_served):
        subject = {"kind": "usage", "id": row.handle, "requested": row.model, "served": row.model_served}
        audit.record(tx, call, MISMATCH, subject, stream=row.run)


def _new(
    tx: Transaction,
    call: Call,
    request: model.ReserveUsage | model.RecordUsage,
    place: model.Place,
    *,
    digest: str,
    state: str,
) -> rows.UsageRow:
    """A row with nothing but what is known of every call. Its id comes with its event."""
    claim = call.caller.claim
    empty = dict.fromkeys(rows.UsageRow._fields)
    return rows.UsageRow(**empty)._replace(  # type: ignore[arg-type]
        id=0,
        handle=request.id,
        digest=digest,
        state=state,
        role=request.role,
        agent=call.actor,
        workflow=place.workflow,
        version=place.version,
        run=place.run,
        step=place.step,
        attempt=place.attempt,
        rung=place.rung,
        epoch=claim.epoch if claim is not None and claim.run == place.run else None,
        model=request.model or "",
        at=tx.now,
    )


def _add(tx: Transaction, call: Call, row: rows.UsageRow, operation: str) -> rows.UsageRow:
    made = row._replace(id=_record(tx, call, row, operation, ""))
    tx.write("usage_add", workspace=call.workspace, **made._asdict())
    return made


def _record(tx: Transaction, call: Call, row: rows.UsageRow, operation: str, reason: str) -> int:
    said = {name: value for name, value in row._asdict().items() if name not in ("id", "agent", "digest", "outcome")}
    return audit.record(
        tx,
        call,
        operation,
        {"kind": "usage", "id": row.handle, "model": row.model, "state": row.state},
        stream=row.run,
        contents={"usage": encode_sorted(said)},
        reason=reason,
    )


def _own(tx: Transaction, call: Call, handle: str) -> rows.UsageRow:
    """A row that the caller may end: it reserved it, or holds the run that it was reserved for."""
    row = existing_usage(tx, call, handle)
    claim = call.caller.claim
    if row.agent != call.actor and not (claim is not None and claim.run == row.run):
        raise PermissionDenied(
            f"The usage {handle} was reserved by another.",
            why="Who made the call, or holds its run, says what it used.",
            next_call="Leave it: what nobody settles is counted at the worst case after a day.",
        )
    return row


def _place(call: Call, request: model.ReserveUsage | model.RecordUsage) -> model.Place:
    """What the call was made for; the run of the claim, where none is named."""
    claim = call.caller.claim
    held = claim.run if claim is not None and claim.run.startswith("run_") else None
    return model.Place(
        workflow=request.workflow,
        version=request.version,
        run=request.run or held,
        step=request.step or (claim.step if claim is not None and request.run in (None, claim.run) else None),
        attempt=request.attempt,
        rung=request.rung,
    )


def _with_span(request: model.RecordUsage) -> model.RecordUsage:
    """What a span says, where the request does not say it itself."""
    if request.otel is None:
        return request
    span = read_span(request.otel)
    said = {name: value for name, value in span._asdict().items() if getattr(request, name) is None}
    return msgspec.structs.replace(request, otel=None, **said)


def _digest(request: model.ReserveUsage | model.RecordUsage, place: model.Place) -> str:
    said = msgspec.to_builtins(request) | msgspec.to_builtins(place)
    return hashlib.sha256(encode_sorted(said)).hexdigest()


def _repeated(tx: Transaction, call: Call, handle: str, digest: str) -> rows.UsageRow | None:
    row = rows.get(tx, call.workspace, handle)
    if row is not None and row.digest != digest:
        raise IdempotencyMismatch(
            f"The usage {handle} stands for another call.",
            why="A handle stands for one call of a model.",
            next_call="Mint a new one.",
        )
    return row


def _encoded(price: Price | None) -> str | None:
    return msgspec.json.encode(price).decode() if price is not None else None


def _decoded(price: str | None) -> Price | None:
    return msgspec.json.decode(price, type=described(Price)) if price is not None else None
