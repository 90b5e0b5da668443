"""Creating a handoff: checked, placed in its queue, pinned, and kept from going in circles."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.crashpoints import reach
from agentmemo.engine import audit, handoff_moves
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.handoff_moves import ESCALATE, next_due
from agentmemo.engine.handoff_views import view
from agentmemo.errors import Conflict, IdempotencyMismatch, InvalidInput
from agentmemo.model import handoffs as model
from agentmemo.model import runs as run_model
from agentmemo.model.kinds import described
from agentmemo.model.state import KEY_MAX, NAMESPACE_MAX, check_name
from agentmemo.model.values import encode_sorted
from agentmemo.store import blobs
from agentmemo.store import handoffs as rows
from agentmemo.store import runs as run_rows
from agentmemo.store import state as state_rows
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction

ATTEMPTS_MAX = 1000
SECONDS_MAX = 10 * 365 * 86400.0
FACTOR_MAX = 1000.0
VERSION_MAX = 2**53


def create(tx: Transaction, call: Call, request: model.CreateHandoff) -> model.Handoff:
    """Idempotent by key. What went in a circle, or through too many hands, is kept as dead and offered to nobody."""
    address = model.address_of(request.to_agent, request.to_capability, request.to_queue)
    packed: Packed = request.context
    digest = hashlib.sha256(f"{address}\n".encode() + packed.source).hexdigest()
    if found := _existing(tx, call, request):
        _check_same(found, digest, address)
        return view(tx, call, found, known=is_known(tx, call, found.address))
    row = new_row(tx, call, request, address, digest)
    return insert(tx, call, row, packed, request.references)


def _existing(tx: Transaction, call: Call, request: model.CreateHandoff) -> rows.HandoffRow | None:
    """The handoff that this key or this handle stands for already."""
    if request.id is not None:
        if not ids.is_handle(request.id, "hof"):
            raise InvalidInput(f"{request.id[:64]!r} is no handle of a handoff.", next_call="Leave `id` out.")
        if tx.one("handoff_taken", handle=request.id) is not None:
            return _of_this_workspace(tx, call, request.id)
    return rows.find(tx, call.workspace, request.key) if request.key is not None else None


def _of_this_workspace(tx: Transaction, call: Call, handle: str) -> rows.HandoffRow:
    found = rows.get(tx, call.workspace, handle)
    if found is None:
        raise Conflict(
            f"The id {handle} is taken.",
            why="Handles are unique on the whole plane, and this one stands for something else already.",
            next_call="Leave `id` out, or mint another one.",
        )
    return found


def new_row(tx: Transaction, call: Call, request: model.CreateHandoff, address: str, digest: str) -> rows.HandoffRow:
    """Everything of a new handoff but its number."""
    _check_request(request)
    sender_run, parent = _origin(tx, call)
    path = msgspec.json.decode(parent.path) if parent else []
    refused = circle(call, path, address)
    at = max(request.not_before or 0, tx.now)
    handle = request.id or ids.mint("hof", tx.now)
    offered = at <= tx.now and not refused
    budget = request.budget or (
        msgspec.json.decode(parent.budget, type=described(run_model.Budget)) if parent and parent.budget else None
    )
    acceptance_ = request.acceptance
    progress_seconds = request.progress_seconds or call.engine.settings.progress_seconds
    return rows.HandoffRow(
        id=0,
        handle=handle,
        workspace=call.workspace,
        key=request.key,
        digest=digest,
        state=model.DEAD if refused else model.PENDING,
        wake=None if refused else "claim" if offered else "time",
        sender=call.actor,
        address=address,
        priority=request.priority,
        turn=0,
        offered=int(offered),
        available_at=at,
        offered_at=tx.now if offered else None,
        epoch=0,
        attempt=1,
        max_attempts=request.max_attempts,
        holder=None,
        worker=None,
        run=None,
        limited=0,
        ladder=_text(_ladder(call, request, at)),
        rung=0,
        due_at=None,
        complete_by=request.complete_by,
        progress_us=round(progress_seconds * SECOND) or None,
        progress_at=None,
        late=0,
        percent=None,
        progress="",
        reason=refused,
        goal=request.goal[: model.SHOWN_GOAL],
        workflow=request.workflow,
        checked=int(acceptance_ is not None and (acceptance_.schema is not None or bool(acceptance_.checks)))
        + 2 * int(acceptance_ is not None and acceptance_.verifier is not None),
        parent=parent.handle if parent else None,
        root=parent.root if parent else handle,
        path=_text([*path, address]),
        behalf=_text(_behalf(call, parent)),
        budget=msgspec.json.encode(budget).decode() if budget else None,
        verifies=None,
        sender_run=sender_run,
        claimed_at=None,
        escalated_at=tx.now if refused else None,
        notice_at=tx.now if refused else None,
        received_at=None,
        ended_at=tx.now if refused else None,
        pruned=0,
        created_at=tx.now,
        updated_at=tx.now,
    )


def insert(
    tx: Transaction, call: Call, row: rows.HandoffRow, packed: Packed, references: list[model.Reference]
) -> model.Handoff:
    subject = {"kind": "handoff", "id": row.handle, "to": row.address}
    if row.key is not None:
        subject["key"] = row.key
    position = audit.record(
        tx,
        call,
        "handoff.create",
        subject,
        stream=row.handle,
        from_version=0,
        to_version=0,
        epoch=0,
        contents={"package": packed},
        reason=row.reason,
        begins=True,
    )
    row = msgspec.structs.replace(row, id=position, due_at=next_due(row))
    columns = msgspec.structs.asdict(row) | {"now": tx.now}
    for later in _LATER:
        del columns[later]
    handoff_moves.take_turn(tx, call, row.address, row.sender)
    tx.write("handoff_add", **columns)
    rows.set_value(tx, position, "package", packed)
    for reference in references:
        _pin(tx, call, row, reference)
    reach("handoff.after_create")
    return view(tx, call, row, package=packed, known=is_known(tx, call, row.address))


# What a new handoff has no value for yet, and the turn, which the statement takes along.
_LATER = (
    "turn", "epoch", "attempt", "holder", "worker", "run", "limited", "rung", "progress_at", "late", "percent",
    "progress", "claimed_at", "received_at", "pruned", "created_at", "updated_at",
)  # fmt: skip


def _pin(tx: Transaction, call: Call, row: rows.HandoffRow, reference: model.Reference) -> None:
    """Pin a reference to a version and its digest. What the sender may not read, it cannot hand on."""
    found = None
    namespace = call.namespace(tx, reference.namespace) if call.may("state:read", reference.namespace) else None
    if namespace is not None and reference.version is not None:
        found = state_rows.get_version(tx, namespace, reference.key, reference.version)
    elif namespace is not None:
        found = state_rows.get(tx, namespace, reference.key)
    if found is None or found.kind != "set":
        raise not_found("entry", f"{reference.namespace}/{reference.key}", f"agent.state.list({reference.namespace!r})")
    content = blobs.unpack(tx, call.workspace, found.codec, found.value, found.blob)
    digest = hashlib.sha256(encode_sorted(msgspec.json.decode(content))).hexdigest()
    if reference.digest is not None and reference.digest != digest:
        raise InvalidInput(
            f"{reference.namespace}/{reference.key} at version {found.version} has the digest {digest}.",
            why="Another was given, so the sender means another value.",
            next_call="Read the entry again, or leave the digest out.",
        )
    tx.write(
        "handoff_reference_add",
        handoff=row.id,
        namespace=namespace,
        key=reference.key,
        version=found.version,
        digest=digest,
    )


def _check_same(found: rows.HandoffRow, digest: str, address: str) -> None:
    if found.digest == digest:
        return
    raise IdempotencyMismatch(
        f"Handoff {found.handle} (key {found.key!r}) carries something else.",
        why="A key stands for one piece of work; another receiver or package is other work.",
        next_call="Send the first package again, or choose another key.",
        details={"handoff": found.handle, "first": found.address, "now": address},
    )


def _check_request(request: model.CreateHandoff) -> None:
    if request.key is not None:
        check_name(request.key, "handoff key", model.KEY_MAX)
    if abs(request.priority) > model.PRIORITY_MAX:
        raise InvalidInput(
            f"priority is -{model.PRIORITY_MAX} to {model.PRIORITY_MAX}, not {request.priority}.",
            next_call="Leave it out for 0.",
        )
    if not 1 <= request.max_attempts <= ATTEMPTS_MAX:
        raise InvalidInput(
            f"max_attempts is 1 to {ATTEMPTS_MAX}, not {request.max_attempts}.", next_call="Leave it out for 3."
        )
    _check_seconds(request)
    _check_references(request.references)
    for name in ("references", "artifacts", "constraints", "tried", "unverified", "ladder"):
        if len(getattr(request, name)) > model.LIST_MAX:
            raise InvalidInput(
                f"{name} has more than {model.LIST_MAX} items.", next_call="Keep the rest in state and refer to it."
            )


def _check_references(references: list[model.Reference]) -> None:
    """Each entry once, and names and versions that there can be."""
    places = {(each.namespace, each.key) for each in references}
    for each in references:
        check_name(each.namespace, "namespace", NAMESPACE_MAX)
        check_name(each.key, "key", KEY_MAX)
        if "\0" in each.namespace + each.key or not 1 <= (each.version or 1) <= VERSION_MAX:
            raise InvalidInput(
                f"{each.namespace}/{each.key} at version {each.version} is no entry.",
                next_call="Leave the version out.",
            )
    if len(places) != len(references):
        raise InvalidInput("An entry is referred to twice.", next_call="Name each entry once.")


def _check_seconds(request: model.CreateHandoff) -> None:
    """Every span of time is bounded: one that is too long to count with would keep a duty from all the others."""
    seconds = {f"ladder[{number}].after_seconds": rung.after_seconds for number, rung in enumerate(request.ladder)}
    if request.progress_seconds is not None:
        seconds["progress_seconds"] = request.progress_seconds
        if request.progress_seconds == 0:
            raise InvalidInput("progress_seconds is above 0.", next_call="Leave it out for the plane's own.")
    if request.retry is not None:
        seconds["retry.first_delay_seconds"] = request.retry.first_delay_seconds
        seconds["retry.max_delay_seconds"] = request.retry.max_delay_seconds
        if not 1 <= request.retry.factor <= FACTOR_MAX:
            raise InvalidInput(f"retry.factor is 1 to {FACTOR_MAX:.0f}.", next_call="Leave it out for 2.")
    for name, value in seconds.items():
        if not 0 <= value <= SECONDS_MAX:
            raise InvalidInput(f"{name} is 0 to {SECONDS_MAX:.0f} seconds, not {value}.", next_call="Use less.")


def _ladder(call: Call, request: model.CreateHandoff, at: int) -> handoff_moves.Ladder:
    """The rungs in order of time; the last one always tells somebody."""
    pickup_us = round(call.engine.settings.pickup_seconds * SECOND)
    if request.pickup_by is not None:
        pickup_us = max(0, request.pickup_by - at)
    found: handoff_moves.Ladder = []
    for rung in request.ladder:
        if rung.escalate == any((rung.to_agent, rung.to_capability, rung.to_queue)):
            raise InvalidInput(
                "A rung has either escalate or one receiver.",
                next_call='Send ladder=[{"after_seconds": 60, "to_agent": "other"}].',
            )
        address = ESCALATE if rung.escalate else model.address_of(rung.to_agent, rung.to_capability, rung.to_queue)
        found.append((round(rung.after_seconds * SECOND), address))
    if not any(address == ESCALATE for _, address in found):
        found.append((pickup_us, ESCALATE))
    return sorted(found, key=lambda rung: (rung[0], rung[1] == ESCALATE))


def _origin(tx: Transaction, call: Call) -> tuple[str | None, rows.HandoffRow | None]:
    """(the run that hands over, the handoff it works on), told by the claim of the call."""
    claim_ = call.caller.claim
    if claim_ is None:
        return None, None
    if ids.is_handle(claim_.run, "hof"):
        return None, rows.get(tx, call.workspace, claim_.run)
    run = run_rows.get(tx, call.workspace, claim_.run)
    if run is not None and (handoff := model.handoff_of_run(run.name, run.key)):
        return run.handle, rows.get(tx, call.workspace, handoff)
    return claim_.run, None


def circle(call: Call, path: list[str], address: str) -> str:
    """Why a handoff leads nowhere; "" when it does."""
    way = " -> ".join([*path, address])
    if len(path) > call.engine.settings.handoff_hops_max:
        return f"it went through too many hands ({call.engine.settings.handoff_hops_max} hops are allowed): {way}"
    if model.visits(path, address) >= model.VISITS_MAX:
        return f"it goes in a circle: {way}"
    return ""


def _behalf(call: Call, parent: rows.HandoffRow | None) -> list[str]:
    """For whom this is done: the chain of those who handed it on, and the caller's own."""
    chain = msgspec.json.decode(parent.behalf) if parent else []
    return list(dict.fromkeys([*chain, *call.caller.on_behalf_of, call.caller.actor]))


def _text(value: Any) -> str:
    """JSON of what we made ourselves."""
    return msgspec.json.encode(value).decode()


def is_known(tx: Transaction, call: Call, address: str) -> bool:
    """Whether somebody has called as this receiver so far. Who was met once is not asked for again."""
    met, place = call.engine.met, (call.workspace, address)
    if place in met:
        return True
    if address.startswith("agent:"):
        found = call.engine.names.find_actor(tx, call.workspace, address) is not None
    else:
        found = tx.one("handoff_receiver_known", workspace=call.workspace, address=address) is not None
    if found:
        met.add(place)
    return found
