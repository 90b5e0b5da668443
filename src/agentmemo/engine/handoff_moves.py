"""Finding a handoff, making sure that the caller holds it, and offering it: what every other move is made of."""

from __future__ import annotations

import msgspec

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.engine import audit
from agentmemo.engine.call import Call, not_found
from agentmemo.errors import HandoffHeld, InvalidTransition, LeaseLost, PermissionDenied
from agentmemo.model import handoffs as model
from agentmemo.model.runs import Retry
from agentmemo.model.values import decode, encode
from agentmemo.store import blobs
from agentmemo.store import handoffs as rows
from agentmemo.store.database import Transaction

# A rung as it is kept: after how many microseconds, and to which receiver; "" tells the sender and the people.
Ladder = list[tuple[int, str]]
ESCALATE = ""
_ladder_decoder = msgspec.json.Decoder(Ladder)
_package_decoder = msgspec.json.Decoder(model.Package)


def existing(tx: Transaction, call: Call, handle: str) -> rows.HandoffRow:
    """The handoff of a handle or of a prefix of one that is unique. Raises NotFound."""
    row = find(tx, call, handle)
    if row is None:
        raise not_found("handoff", handle)
    return row


def find(tx: Transaction, call: Call, handle: str) -> rows.HandoffRow | None:
    """As `existing`, or None."""
    row = rows.get(tx, call.workspace, handle)
    if row is None and len(handle.removeprefix("hof_")) >= ids.SHORTEST_PREFIX:
        low = handle if handle.startswith("hof_") else f"hof_{handle}"
        found = tx.all("handoff_handles", workspace=call.workspace, low=low, high=low + "~")
        if len(found) == 1:
            row = rows.get(tx, call.workspace, found[0][0])
    return row


def held(tx: Transaction, call: Call, handle: str, epoch: int) -> rows.HandoffRow:
    """The handoff, if the caller holds it at this epoch. Raises LeaseLost otherwise, saying who took over."""
    return is_held(tx, call, existing(tx, call, handle), epoch)


def is_held(tx: Transaction, call: Call, row: rows.HandoffRow, epoch: int) -> rows.HandoffRow:
    """The row, as `held` finds it."""
    if row.state != model.CLAIMED or row.epoch != epoch or row.holder != call.actor:
        raise lost(tx, call, row, epoch)
    return row


def lost(tx: Transaction, call: Call, row: rows.HandoffRow, epoch: int) -> LeaseLost:
    details = {"handoff": row.handle, "state": row.state, "epoch": epoch, "current": row.epoch}
    if row.state == model.CANCELLED:
        return LeaseLost(
            f"Handoff {row.handle} was cancelled: {row.reason}.",
            why="Somebody cancelled it while it was worked on.",
            next_call="Stop this work.",
            details=details,
        )
    if row.state in model.ENDED:
        return LeaseLost(
            f"The claim on handoff {row.handle} with epoch {epoch} is over: it is {row.state}.",
            why="What has ended takes no more results.",
            next_call=f"See what came of it: agent.handoff.result('{row.handle}').",
            details=details,
        )
    taken = f"{name_of(tx, call, row.holder)} holds it now" if row.state == model.CLAIMED else f"it is {row.state}"
    return LeaseLost(
        f"The claim on handoff {row.handle} with epoch {epoch} is not valid any more: {taken}.",
        why="Only the newest claim counts, and only while it lasts.",
        next_call="Stop this work; claim again if it is offered to you: agent.handoff.claim().",
        details=details,
    )


def held_by_another(tx: Transaction, call: Call, row: rows.HandoffRow) -> HandoffHeld:
    holder = name_of(tx, call, row.holder)
    return HandoffHeld(
        f"Handoff {row.handle} is held by {holder}, worker {row.worker or 'none'}, since epoch {row.epoch}.",
        why="One holds it at a time; this call carried no valid claim.",
        next_call="If it is yours, send the epoch that its claim was answered with; else claim what is offered: "
        "agent.handoff.claim().",
        details={"handoff": row.handle, "holder": holder, "worker": row.worker, "epoch": row.epoch, "run": row.run},
    )


def check_concerned(tx: Transaction, call: Call, row: rows.HandoffRow) -> None:
    """Who may call work back or have it done again: those it is done for, people, and administrators."""
    behalf: list[str] = msgspec.json.decode(row.behalf)
    if call.caller.kind == "person" or call.caller.actor in behalf or call.may("handoffs:admin"):
        return
    raise PermissionDenied(
        f"{call.caller.actor} did not hand {row.handle} over.",
        why="Only those it is done for, a person or an administrator may cancel it or offer it again.",
        next_call=f"Ask {name_of(tx, call, row.sender)}; "
        f"as its receiver, decline it instead: agent.handoff.decline('{row.handle}', reason).",
        details={"handoff": row.handle, "on_behalf_of": behalf},
    )


def name_of(tx: Transaction, call: Call, actor: int | None) -> str:
    return call.engine.names.actor_name(tx, call.workspace, actor) if actor is not None else "nobody"


def record(
    tx: Transaction,
    call: Call,
    row: rows.HandoffRow,
    act: str,
    *,
    reason: str = "",
    epoch: int | None = None,
    contents: dict[str, audit.Content] | None = None,
    about: dict[str, str] | None = None,
) -> None:
    """An event of a handoff, in its own stream; `about` says more of what it is about."""
    audit.record(
        tx,
        call,
        f"handoff.{act}",
        {"kind": "handoff", "id": row.handle, **(about or {})},
        stream=row.handle,
        epoch=row.epoch if epoch is None else epoch,
        contents=contents,
        reason=reason,
    )


def package_of(tx: Transaction, row: rows.HandoffRow, packed: blobs.Packed | None = None) -> model.Package:
    """What it carries; nothing where retention removed it. `packed` is what was read of it already."""
    packed = packed or rows.package(tx, row.handle)
    if packed is None:
        return model.Package()
    if packed.original is not None:
        return packed.original  # type: ignore[no-any-return]
    if packed.blob is None:
        return package_of_packed(packed)
    return _package_decoder.decode(blobs.unpack(tx, row.workspace, packed.codec, packed.value, packed.blob))


def result_of(tx: Transaction, row: rows.HandoffRow) -> object:
    packed = rows.result(tx, row.id)
    content = blobs.unpack(tx, row.workspace, packed.codec, packed.value, packed.blob) if packed else b""
    return decode(content) if content else None


def outcome_of(tx: Transaction, row: rows.HandoffRow, state: str, reason: str) -> blobs.Packed:
    """What a run that handed it over receives of its end."""
    result = result_of(tx, row) if state == model.COMPLETED else None
    value = {"handoff": row.handle, "state": state, "result": result, "reason": reason}
    content = encode(value)
    return blobs.Packed(len(content), blobs.PLAIN, content, None, content, value)


def await_end(tx: Transaction, call: Call, handle: str, run: str) -> blobs.Packed | None:
    """The outcome of a handoff that has ended; else its end is told to this run too from now on."""
    row = rows.get(tx, call.workspace, handle)
    if row is None:
        return None
    if row.state in model.ENDED:
        return outcome_of(tx, row, row.state, row.reason)
    told = (row.sender_run or "").split()
    if run not in told:
        tx.write("handoff_set_sender_run", id=row.id, run=" ".join([*told, run]))
    return None


def package_of_packed(packed: blobs.Packed) -> model.Package:
    """A package that lies in its row."""
    return _package_decoder.decode(blobs.inline(packed.codec, packed.value))


def next_due(row: rows.HandoffRow) -> int | None:
    """When time has something to do with the handoff as the row describes it."""
    ladder = _ladder_decoder.decode(row.ladder) if row.offered and row.offered_at is not None else []
    climbing = row.rung < len(ladder)
    silent = row.progress_at + row.progress_us if row.progress_us and row.progress_at else None
    return model.due_at(
        row.state,
        offered=bool(row.offered),
        available_at=row.available_at,
        rung_at=(row.offered_at or 0) + ladder[row.rung][0] if climbing else None,
        complete_by=row.complete_by,
        late=bool(row.late),
        silent_at=silent,
    )


def ladder_of(row: rows.HandoffRow) -> Ladder:
    return _ladder_decoder.decode(row.ladder)


def offer(
    tx: Transaction,
    call: Call,
    row: rows.HandoffRow,
    act: str,
    *,
    reason: str,
    attempt: int | None = None,
    pause_seconds: float = 0.0,
    address: str | None = None,
    rung: int = 0,
    anew: bool = False,
    complete_by: int | None = None,
) -> None:
    """Put it back in the queue, now or after a pause, and record why. It keeps its place in the order.

    `anew` forgets what was told of it before, a deadline that has passed, and its place.
    """
    model.next_state(row.state, act, row.handle)
    free_token(tx, call, row)
    # What is not offered yet, by its sender's wish or for a pause, is not so earlier because somebody declined it.
    soonest = row.available_at if row.state == model.PENDING else tx.now
    at = max(tx.now + round(pause_seconds * SECOND), soonest)
    back = msgspec.structs.replace(
        row,
        state=model.PENDING,
        wake="time" if at > tx.now else "claim",
        offered=int(at <= tx.now),
        available_at=at,
        offered_at=tx.now if at <= tx.now else None,
        attempt=attempt or row.attempt,
        rung=rung,
        address=address or row.address,
    )
    if anew:
        passed = row.complete_by is not None and row.complete_by <= tx.now
        kept = None if passed else row.complete_by
        back = msgspec.structs.replace(back, late=0, escalated_at=None, notice_at=None, complete_by=complete_by or kept)
    if anew or back.address != row.address:
        take_turn(tx, call, back.address, row.sender)
        write_offer(tx, back, reason, turn=None)
    else:
        write_offer(tx, back, reason, turn=row.turn)
    record(tx, call, row, act, reason=reason, about={"to": back.address})


def write_offer(tx: Transaction, row: rows.HandoffRow, reason: str, *, turn: int | None) -> None:
    """Without a `turn`, the one that its sender took in this queue."""
    tx.write(
        "handoff_offer",
        expect=1,
        id=row.id,
        epoch=row.epoch,
        wake=row.wake,
        offered=row.offered,
        available_at=row.available_at,
        offered_at=row.offered_at,
        address=row.address,
        turn=turn,
        rung=row.rung,
        attempt=row.attempt,
        reason=reason,
        late=row.late,
        complete_by=row.complete_by,
        escalated_at=row.escalated_at,
        notice_at=row.notice_at,
        due_at=next_due(row),
        now=tx.now,
    )


def take_turn(tx: Transaction, call: Call, address: str, sender: int) -> None:
    """The next place of a sender in a queue, by start-time fair queueing (Goyal, Vin, Cheng 1996).

    A sender's handoffs follow one another; one that was silent begins at the queue's clock, not in its own past. The
    statement that puts the handoff there takes the place along, so that nobody has to read it.
    """
    tx.write("handoff_turn_next", workspace=call.workspace, address=address, sender=sender)


def free_token(tx: Transaction, call: Call, row: rows.HandoffRow) -> None:
    if row.limited and row.state == model.CLAIMED:
        tx.write("handoff_limit_free", workspace=call.workspace, address=row.address)


def pause_seconds(package: model.Package, attempt: int) -> float:
    """The pause after a failed attempt, by the sender's retry or the default one."""
    return (package.retry or Retry(first_delay_seconds=1.0, max_delay_seconds=300.0)).delay_seconds(attempt)


def park(tx: Transaction, call: Call, handle: str, run: str, reason: str) -> None:
    """Its run waits, holding nothing, and so does the handoff."""
    row = rows.get(tx, call.workspace, handle)
    if row is None or row.run != run or row.state != model.CLAIMED or row.wake == "run":
        return
    model.next_state(row.state, "park", row.handle)
    free_token(tx, call, row)
    parked = msgspec.structs.replace(row, progress_at=None, limited=0)
    tx.write("handoff_park", expect=1, id=row.id, epoch=row.epoch, reason=reason, due_at=next_due(parked), now=tx.now)
    record(tx, call, row, "park", reason=reason)


def wake(tx: Transaction, call: Call, handle: str, run: str, reason: str) -> None:
    """Its run may go on: whoever claims the handoff next continues it."""
    row = rows.get(tx, call.workspace, handle)
    if row is not None and row.run == run and row.state == model.CLAIMED and row.wake == "run":
        offer(tx, call, row, "wake", reason=reason)


def bind_run(tx: Transaction, call: Call, handle: str, run: str) -> None:
    """A run opened under the claim of a handoff works on it from now on."""
    row = rows.get(tx, call.workspace, handle)
    if row is not None and row.wake == "run":
        raise InvalidTransition(
            f"Handoff {handle} waits with its run {row.run}, and is not worked on meanwhile.",
            why="While its run waits nobody holds it; this claim is good for ending it, or giving it back.",
            next_call="It is offered again when the run may go on: agent.handoff.claim(); "
            f"see agent.runs.explain('{row.run}').",
            details={"handoff": handle, "run": row.run},
        )
    if row is not None and row.run != run:
        tx.write("handoff_set_run", expect=1, id=row.id, run=run, now=tx.now)
        record(tx, call, row, "work", about={"run": run})
