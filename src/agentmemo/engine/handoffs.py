"""Handoffs: claiming them, and what a holder, a sender or a person does with one."""

from __future__ import annotations

import hashlib

import msgspec

from agentmemo import ids
from agentmemo.crashpoints import reach
from agentmemo.engine import acceptance, audit, handoff_ends, handoff_moves, liveness, runs
from agentmemo.engine.call import Call
from agentmemo.engine.handoff_create import circle, insert, new_row
from agentmemo.engine.handoff_limits import Tokens
from agentmemo.engine.handoff_moves import (
    ESCALATE,
    check_concerned,
    existing,
    held,
    held_by_another,
    lost,
    next_due,
    record,
)
from agentmemo.engine.handoff_views import changed, view
from agentmemo.engine.workers import LEASE_SECONDS_MAX
from agentmemo.errors import InvalidInput, InvalidTransition, PermissionDenied, Unavailable
from agentmemo.model import handoffs as model
from agentmemo.model import runs as run_model
from agentmemo.model.values import encode, encode_sorted
from agentmemo.store import handoffs as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.blobs import NOTHING, Packed
from agentmemo.store.database import Transaction

PERCENT_MAX = 100
ANNOUNCED_SHOWN = 500
LINEAGE_MAX = 100_000
# Each is at most a row's inline value, 4 KiB.
CARRIED_MAX = 10_000


def claim(tx: Transaction, call: Call, request: model.ClaimHandoffs) -> model.ClaimedHandoffs:
    """What is offered to the caller, in order; or the one that is named, or who holds it (HandoffHeld)."""
    if not 1 <= request.limit <= model.CLAIM_MAX:
        raise InvalidInput(f"limit is 1 to {model.CLAIM_MAX}, not {request.limit}.", next_call="Claim fewer at once.")
    if request.lease_seconds is not None and not 0 < request.lease_seconds <= LEASE_SECONDS_MAX:
        raise InvalidInput(
            f"lease_seconds is above 0 and at most {LEASE_SECONDS_MAX:.0f}, not {request.lease_seconds}.",
            next_call="Leave it out for the plane's own.",
        )
    if request.handoff is not None:
        row = _claimable(tx, call, existing(tx, call, request.handoff), request.worker)
        if row.state == model.CLAIMED:
            return model.ClaimedHandoffs(handoffs=[view(tx, call, row)])
        taken, tokens = [row], Tokens(tx, call, rows.limits(tx, call.workspace, [row.address]))
        if not tokens.take(row.address):
            raise tokens.refusal(row)
    else:
        taken, tokens = _next(tx, call, request.limit)
    if not taken:
        return model.ClaimedHandoffs()
    packages = rows.packages(tx, [row.handle for row in taken])
    worker = request.worker or liveness.unattended(tx, call, request.lease_seconds)
    if request.worker:
        liveness.renew(tx, call, worker)
    tokens.write()
    held_now = [_take(tx, call, row, worker, limited=tokens.has(row.address)) for row in taken]
    for address in {row.address for row in taken}:
        turn = max(row.turn for row in taken if row.address == address)
        tx.write("handoff_clock_set", workspace=call.workspace, address=address, turn=turn)
    reach("handoff.after_claim")
    found = [(row, _carry(call, row, package)) for row, package in zip(held_now, packages, strict=True)]
    return model.ClaimedHandoffs(handoffs=[view(tx, call, row, package=package) for row, package in found])


def _next(tx: Transaction, call: Call, limit: int) -> tuple[list[rows.HandoffRow], Tokens]:
    """What the caller is to have next, and the tokens that are left.

    Where it takes work from is known from the last time, so that looking there and looking it up is one round trip.
    """
    known = call.engine.receiving.get(call.actor) or _own(call)
    while True:
        announced, *found = tx.fetch(
            ("handoff_addresses", {"workspace": call.workspace, "actor": call.actor}),
            *rows.limit_reads(call.workspace, known),
            *rows.offered_reads(tx, call.workspace, known, call.actor, limit),
        )
        addresses = _own(call) + [address for (address,) in announced]
        if addresses == known:
            break
        known = call.engine.receiving[call.actor] = addresses
    limits = [rows.LimitRow(*row) for read in found[: len(known)] for row in read]
    tokens = Tokens(tx, call, limits)
    open_to = [read for address, read in zip(known, found[len(known) :], strict=True) if tokens.may_take(address)]
    return [row for row in rows.in_order(open_to, limit) if tokens.take(row.address)], tokens


def would_claim(tx: Transaction, call: Call, request: model.ClaimHandoffs) -> bool:
    """Whether something is offered to the caller; its limit may still say no."""
    return request.handoff is not None or bool(rows.offered(tx, call.workspace, addresses_of(tx, call), call.actor, 1))


def complete(tx: Transaction, call: Call, request: model.CompleteHandoff) -> model.Handoff:
    """Check the result, keep it and end; the run that worked on it ends with it. Again with the same result: nothing.

    Raises InvalidInput for a result that is not what was asked for; the claim goes on.
    """
    row = existing(tx, call, request.handoff)
    _, package = call.engine.carried.pop(row.handle, (1, None))
    packed: Packed = request.result
    if _is_repeated(tx, call, row, request.epoch, packed):
        return view(tx, call, row)
    row = _claim_now(tx, call, row) if request.epoch is None else handoff_moves.is_held(tx, call, row, request.epoch)
    if row.checked:
        _check_result(call, row)
    reach("handoff.before_complete")
    if packed is NOTHING and row.epoch > 1:
        tx.write("handoff_remove_result", handoff=row.id)  # of an attempt that was rejected
    rows.set_value(tx, row.id, "result", packed)
    contents: dict[str, audit.Content] = {"result": packed} if packed.source else {}
    _complete_run(tx, call, row, packed)
    verifier = _verifier_of(tx, row)
    if verifier is None:
        row = handoff_ends.end(tx, call, row, "complete", percent=PERCENT_MAX, contents=contents)
    else:
        row = _submit(tx, call, row, verifier, packed, contents)
    reach("handoff.after_complete")
    known = msgspec.structs.replace(NOTHING, original=package) if package is not None else None
    return view(tx, call, row, package=known, result=packed)


def renew(tx: Transaction, call: Call, request: model.RenewHandoff) -> model.Handoff:
    row = held(tx, call, request.handoff, request.epoch)
    if row.worker is not None:
        liveness.renew(tx, call, row.worker)
    return view(tx, call, row)


def progress(tx: Transaction, call: Call, request: model.SetHandoffProgress) -> model.Handoff:
    row = held(tx, call, request.handoff, request.epoch)
    if request.percent is not None and not 0 <= request.percent <= PERCENT_MAX:
        raise InvalidInput(f"percent is 0 to 100, not {request.percent}.", next_call="Send a part of a hundred.")
    if row.worker is not None:
        liveness.renew(tx, call, row.worker)
    tx.write(
        "handoff_set_progress",
        expect=1,
        id=row.id,
        epoch=row.epoch,
        percent=request.percent,
        progress=request.text,
        due_at=next_due(msgspec.structs.replace(row, progress_at=tx.now)),
        now=tx.now,
    )
    record(tx, call, row, "progress", reason=request.text)
    return changed(tx, call, row)


def fail(tx: Transaction, call: Call, request: model.FailHandoff) -> model.Handoff:
    row = held(tx, call, request.handoff, request.epoch)
    handoff_ends.note_attempt(tx, row, "failed", request.reason)
    handoff_ends.end(tx, call, row, "fail", reason=request.reason)
    return changed(tx, call, row)


def release(tx: Transaction, call: Call, request: model.ReleaseHandoff) -> model.Handoff:
    row = held(tx, call, request.handoff, request.epoch)
    handoff_ends.give_back(tx, call, row, "released", request.reason, counts=request.attempted, pause=request.attempted)
    _free_run(tx, call, row, request.reason)
    return changed(tx, call, row)


def decline(tx: Transaction, call: Call, request: model.DeclineHandoff) -> model.Handoff:
    """Others of the same receiver keep being asked, then the next of the ladder; with none left, the sender is told."""
    if request.epoch is None:
        row = existing(tx, call, request.handoff)
        if row.state == model.CLAIMED:
            raise held_by_another(tx, call, row)
        _check_addressed(tx, call, row)
        if row.state == model.PENDING and _has_refused(tx, call, row):
            return view(tx, call, row)
    else:
        row = held(tx, call, request.handoff, request.epoch)
        handoff_ends.note_attempt(tx, row, "declined", request.reason)
    reason = f"declined by {call.caller.actor}: {request.reason}"
    if _is_open_to_others(tx, call, row):
        _pass_on(tx, call, row, reason)
        return changed(tx, call, row)
    ladder = handoff_moves.ladder_of(row)
    for number, (_, address) in enumerate(ladder[row.rung :], row.rung):
        # Offered again it begins its ladder anew, and may stand at one of its receivers already.
        if address not in (ESCALATE, row.address):
            handoff_moves.offer(tx, call, row, "readdress", reason=reason, address=address, rung=number + 1)
            _free_run(tx, call, row, reason)
            return changed(tx, call, row)
    handoff_ends.end(tx, call, row, "decline", reason=reason)
    return changed(tx, call, row)


def _has_refused(tx: Transaction, call: Call, row: rows.HandoffRow) -> bool:
    return tx.one("handoff_refused", handoff=row.id, actor=call.actor, address=row.address) is not None


def _is_open_to_others(tx: Transaction, call: Call, row: rows.HandoffRow) -> bool:
    """Whether somebody else takes work from the same capability or queue and has not declined this."""
    if row.address.startswith("agent:"):
        return False
    tx.write("handoff_refusal_add", handoff=row.id, actor=call.actor, address=row.address)
    return tx.one("handoff_open_to", workspace=call.workspace, handoff=row.id, address=row.address) is not None


def _pass_on(tx: Transaction, call: Call, row: rows.HandoffRow, reason: str) -> None:
    """It stays where it is, for the others there."""
    if row.state == model.CLAIMED:
        handoff_moves.offer(tx, call, row, "pass", reason=reason)
        _free_run(tx, call, row, reason)
        return
    model.next_state(row.state, "pass", row.handle)
    handoff_moves.write_offer(tx, row, reason, turn=row.turn)
    record(tx, call, row, "pass", reason=reason, about={"to": row.address})


def cancel(tx: Transaction, call: Call, request: model.CancelHandoff) -> model.Handoff:
    """Its holder is told at the next call; its run and its verification end with it."""
    row = existing(tx, call, request.handoff)
    check_concerned(tx, call, row)
    handoff_ends.end(tx, call, row, "cancel", reason=request.reason, told=row.sender != call.actor)
    if row.state == model.SUBMITTED:
        for other in tx.all(
            "handoff_lineage", workspace=call.workspace, root=row.root, after=row.id, limit=LINEAGE_MAX
        ):
            judge = rows.HandoffRow(*other)
            if judge.verifies == row.handle and judge.state not in model.ENDED:
                handoff_ends.end(tx, call, judge, "cancel", reason=f"{row.handle} was cancelled", told=False)
    return changed(tx, call, row)


def requeue(tx: Transaction, call: Call, request: model.RequeueHandoff) -> model.Handoff:
    row = existing(tx, call, request.handoff)
    check_concerned(tx, call, row)
    if row.verifies:
        raise InvalidTransition(
            f"Handoff {row.handle} verified a result; that is not done again.",
            next_call=f"Offer what it verified again: agent.handoff.requeue('{row.verifies}').",
        )
    if row.pruned:
        raise InvalidTransition(
            f"Handoff {row.handle} was pruned; its package is gone.",
            next_call="Create another: agent.handoff.create(...).",
        )
    given = request.to_agent, request.to_capability, request.to_queue
    address = model.address_of(*given) if any(given) else row.address
    if refused := circle(call, msgspec.json.decode(row.path)[:-1], address):
        _check_may_override(call, row, refused)
    _go_on_with_run(tx, call, row)
    tx.write("handoff_remove_refusals", handoff=row.id)
    handoff_moves.offer(
        tx,
        call,
        row,
        "requeue",
        reason=request.reason,
        attempt=1,
        address=address,
        anew=True,
        complete_by=request.complete_by,
    )
    return changed(tx, call, row)


def receive(tx: Transaction, call: Call, request: model.ReceiveResult) -> model.Handoff:
    """Only its sender's look marks it as received."""
    row = existing(tx, call, request.handoff)
    if row.sender == call.actor and row.notice_at is not None and row.received_at is None:
        tx.write("handoff_receive", id=row.id, now=tx.now)
        record(tx, call, row, "receive")
        return changed(tx, call, row)
    found = view(tx, call, row)
    # What was received before is no news: whoever waits goes on waiting.
    return msgspec.structs.replace(found, notice_at=None) if row.received_at is not None else found


def would_receive(tx: Transaction, call: Call, request: model.ReceiveResult) -> bool:
    """Whether there is news of it: it has ended, or its sender has not received yet what it was told."""
    row = existing(tx, call, request.handoff)
    return row.state in model.ENDED or (row.notice_at is not None and row.received_at is None)


def announce(tx: Transaction, call: Call, request: model.AnnounceReceiver) -> model.Receiver:
    wanted = {f"capability:{model.check_receiver(name)}" for name in request.capabilities}
    wanted |= {f"queue:{model.check_receiver(name)}" for name in request.queues}
    if len(wanted) > model.LIST_MAX:
        raise InvalidInput(f"More than {model.LIST_MAX} receivers.", next_call="Announce fewer.")
    known = set(rows.addresses(tx, call.workspace, call.actor))
    for address in sorted(wanted - known):
        tx.write("handoff_receiver_add", workspace=call.workspace, address=address, actor=call.actor)
    for address in sorted(known - wanted):
        tx.write("handoff_receiver_remove", workspace=call.workspace, address=address, actor=call.actor)
    if wanted != known:
        _record_announced(tx, call, sorted(wanted))
    return model.Receiver(agent=call.caller.actor, addresses=_own(call) + sorted(wanted))


def _record_announced(tx: Transaction, call: Call, addresses: list[str]) -> None:
    """An event is small, so it shows the first of many; to all of them it is committed."""
    shown = ", ".join(addresses)
    if len(shown) > ANNOUNCED_SHOWN:
        shown = shown[:ANNOUNCED_SHOWN] + "..."
    subject = {"kind": "receiver", "to": shown, "count": str(len(addresses))}
    audit.record(tx, call, "handoff.announce", subject, contents={"receivers": encode(addresses)})


def addresses_of(tx: Transaction, call: Call) -> list[str]:
    """Where the caller is offered work: by its name, and what it announced."""
    return _own(call) + rows.addresses(tx, call.workspace, call.actor)


def _own(call: Call) -> list[str]:
    """A person who is called as an agent is called is not that agent."""
    return [f"agent:{call.caller.name}"] if call.caller.kind == "agent" else []


def _take(tx: Transaction, call: Call, row: rows.HandoffRow, worker: str, *, limited: bool) -> rows.HandoffRow:
    """Raise the epoch: from here on only this holder's calls are accepted."""
    taken = msgspec.structs.replace(
        row,
        state=model.next_state(row.state, "claim", row.handle),
        wake="lease",
        offered=0,
        epoch=row.epoch + 1,
        holder=call.actor,
        worker=worker,
        limited=int(limited),
        progress_at=tx.now,
        claimed_at=tx.now,
        escalated_at=None,
        updated_at=tx.now,
    )
    taken = msgspec.structs.replace(taken, due_at=next_due(taken))
    tx.write(
        "handoff_claim",
        expect=1,
        id=row.id,
        epoch=row.epoch,
        holder=call.actor,
        worker=worker,
        limited=int(limited),
        due_at=taken.due_at,
        now=tx.now,
    )
    record(tx, call, taken, "claim", about={"worker": worker})
    return taken


def _carry(call: Call, row: rows.HandoffRow, packed: Packed | None) -> Packed | None:
    """The package of a claimed handoff, kept until its completion answers with it."""
    known = call.engine.carried
    if len(known) >= CARRIED_MAX:
        known.clear()
    package = None
    if packed is not None and packed.blob is None:
        package = handoff_moves.package_of_packed(packed)
        packed = msgspec.structs.replace(packed, original=package)
    known[row.handle] = (row.checked, package)
    return packed


def _claimable(tx: Transaction, call: Call, row: rows.HandoffRow, worker: str | None) -> rows.HandoffRow:
    """A named handoff that is offered to the caller, or that this very worker holds. Raises what is in the way."""
    _check_addressed(tx, call, row)
    if row.state == model.CLAIMED and row.wake != "run":
        if worker is None or row.worker != worker or row.holder != call.actor:
            raise held_by_another(tx, call, row)
        return row
    if not row.offered or (row.complete_by is not None and row.complete_by <= tx.now):
        raise InvalidTransition(
            f"Handoff {row.handle} is {row.state} and not offered now.",
            why=row.reason or f"It waits for {row.wake}.",
            next_call=f"See agent.handoff.get('{row.handle}').",
            details={"handoff": row.handle, "state": row.state, "available_at": row.available_at},
        )
    return row


def _claim_now(tx: Transaction, call: Call, row: rows.HandoffRow) -> rows.HandoffRow:
    """Completing without a claim claims in the same commit."""
    row = _claimable(tx, call, row, None)
    tokens = Tokens(tx, call, rows.limits(tx, call.workspace, [row.address]))
    if not tokens.take(row.address):
        raise tokens.refusal(row)
    tokens.write()
    worker = call.caller.worker or liveness.unattended(tx, call, None)
    return _take(tx, call, row, worker, limited=tokens.has(row.address))


def _is_repeated(tx: Transaction, call: Call, row: rows.HandoffRow, epoch: int | None, packed: Packed) -> bool:
    """Whether this very completion is already kept: its answer may have been lost."""
    if row.state not in (model.COMPLETED, model.SUBMITTED) or row.holder != call.actor:
        return False
    if epoch is not None and epoch != row.epoch:
        return False
    if encode_sorted(handoff_moves.result_of(tx, row)) == encode_sorted(packed.original):
        return True
    raise lost(tx, call, row, row.epoch if epoch is None else epoch)


def _check_addressed(tx: Transaction, call: Call, row: rows.HandoffRow) -> None:
    if row.address in addresses_of(tx, call):
        return
    raise PermissionDenied(
        f"Handoff {row.handle} is addressed to {row.address}, not to {call.caller.actor}.",
        why="Only its receiver may claim, complete or decline it.",
        next_call="Announce it first, agent.handoff.announce(capabilities=..., queues=...), "
        "or call as the agent it is for.",
        details={"handoff": row.handle, "to": row.address},
    )


def _check_result(call: Call, row: rows.HandoffRow) -> None:
    """The result was looked at before the transaction: others wait for this one."""
    found = call.problems.get(row.handle)
    if found is None:
        raise Unavailable(
            f"The result of {row.handle} was not checked: the handoff came into being meanwhile.",
            next_call="Complete it again.",
            retry_safe=True,
        )
    if found:
        raise InvalidInput(
            f"The result of {row.handle} is not what was asked for: {'; '.join(found)}",
            why="The handoff says what a result must be; nothing was kept and the claim goes on.",
            next_call="Correct the result and complete again, or give it back: agent.handoff.release(id, reason).",
            details={"handoff": row.handle, "problems": found},
        )


def _free_run(tx: Transaction, call: Call, row: rows.HandoffRow, reason: str) -> None:
    """The run that worked on it is free for whoever has the handoff next."""
    run = run_rows.get(tx, call.workspace, row.run) if row.run else None
    if run is not None and run.state == run_model.RUNNING:
        runs.give_back(tx, call, run, reason=reason)


def _complete_run(tx: Transaction, call: Call, row: rows.HandoffRow, packed: Packed) -> None:
    """The run that its holder works in has the result too; one that nobody holds did not come to it."""
    run = run_rows.get(tx, call.workspace, row.run) if row.run else None
    if run is not None and run.state == run_model.RUNNING:
        run_rows.set_value(tx, run.id, "result", packed)
        contents: dict[str, audit.Content] | None = {"result": packed} if packed.source else None
        handoff_ends.end_run(tx, call, run, run_model.COMPLETED, percent=PERCENT_MAX, contents=contents)


def _check_may_override(call: Call, row: rows.HandoffRow, refused: str) -> None:
    """Agents do not undo what keeps them from going in circles."""
    if call.caller.kind == "person" or call.may("handoffs:admin"):
        return
    raise PermissionDenied(
        f"Handoff {row.handle} was stopped, and {call.caller.actor} may not offer it again: {refused}",
        why="Offered again it would go round as before; only a person or an administrator may say otherwise.",
        next_call=f"Do the work, or offer it to somebody who is not on the way: agent.handoff.requeue('{row.handle}', "
        "to_agent=...); else ask a person.",
        details={"handoff": row.handle},
    )


def _go_on_with_run(tx: Transaction, call: Call, row: rows.HandoffRow) -> None:
    """The run that was ended with it did some of the work: whoever has it next goes on behind that."""
    ended = run_rows.get(tx, call.workspace, row.run) if row.run else None
    if ended is None or ended.state != run_model.CANCELLED or ended.pruned or ended.steps == 0:
        return
    key = model.run_key(row.handle, f"{row.epoch}~{ids.mint('run', tx.now)[4:]}")
    made = runs.fork_of(tx, call, ended, key, agent=ended.agent, reason=f"{row.handle} is offered again")
    handoff_moves.bind_run(tx, call, row.handle, made.handle)


def _verifier_of(tx: Transaction, row: rows.HandoffRow) -> str | None:
    package = handoff_moves.package_of(tx, row) if row.checked & 2 else None
    return package.acceptance.verifier if package and package.acceptance else None


def _submit(
    tx: Transaction,
    call: Call,
    row: rows.HandoffRow,
    verifier: str,
    packed: Packed,
    contents: dict[str, audit.Content],
) -> rows.HandoffRow:
    """Hand the result to its verifier, as a handoff whose own result is the verdict."""
    model.next_state(row.state, "submit", row.handle)
    handoff_moves.free_token(tx, call, row)
    due = next_due(msgspec.structs.replace(row, state=model.SUBMITTED))
    tx.write("handoff_submit", expect=1, id=row.id, epoch=row.epoch, due_at=due, now=tx.now)
    record(tx, call, row, "submit", contents=contents, about={"verifier": verifier})
    request = acceptance.verification(row.handle, verifier, handoff_moves.package_of(tx, row), packed.original)
    asked = call.verifications[row.handle]
    digest = hashlib.sha256(asked.source).hexdigest()
    verification = new_row(tx, call, request, f"agent:{verifier}", digest)
    path = encode([*msgspec.json.decode(row.path), verification.address]).decode()
    verification = msgspec.structs.replace(
        verification,
        state=model.PENDING, wake="claim", offered=1, offered_at=tx.now, reason="", escalated_at=None, notice_at=None,
        ended_at=None, parent=row.handle, root=row.root, path=path, verifies=row.handle,
        # It is asked for by whoever wanted the work, not by who did it.
        sender=row.sender, priority=row.priority,
        behalf=row.behalf, sender_run=None,
    )  # fmt: skip
    insert(tx, call, verification, asked, [])
    return existing(tx, call, row.handle)
