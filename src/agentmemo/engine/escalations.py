"""Asking people: the asker's side of an escalation."""

from __future__ import annotations

import msgspec

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.crashpoints import reach
from agentmemo.engine import audit, escalation_delivery, escalation_time, guards, waits
from agentmemo.engine.call import Call
from agentmemo.engine.claims import held
from agentmemo.engine.escalation_views import changed, existing, view
from agentmemo.engine.state import check_limit
from agentmemo.errors import IdempotencyMismatch, InvalidInput, InvalidTransition, PermissionDenied
from agentmemo.model import escalation_rules as rules
from agentmemo.model import escalations as model
from agentmemo.model.kinds import described
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.runs import COMPLETED, NAME_MAX, RUN_KEY_MAX
from agentmemo.model.state import check_name
from agentmemo.store import blobs
from agentmemo.store import escalations as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.blobs import PLAIN, Packed
from agentmemo.store.database import Transaction

NEWEST = 1 << 60


def create(tx: Transaction, call: Call, request: model.CreateEscalation) -> model.Escalation:
    """Ask, or find what the same call asked before; in a run that waits, park it in the same commit."""
    key = _replay_key(call, request)
    waiter = rows.waiter(tx, call.workspace, key)
    if waiter is not None:
        return _again(tx, call, request, key, waiter)
    if request.run is not None and (known := _inherited(tx, call, request, held(tx, call, request.run))):
        return known
    old = _superseded(tx, call, request)
    collapse = rules.collapse_key(request, _question(request), call.caller.actor)
    same = rows.same(tx, call.workspace, collapse)
    if same is not None and old is not None and same.id == old.id:
        same = None  # what is replaced takes nobody in
    handle = same.handle if same else ids.mint("esc", tx.now)
    if old is not None:
        escalation_delivery.end(tx, call, old, model.SUPERSEDED, superseded_by=handle, reason=f"replaced by {handle}")
        request = msgspec.structs.replace(request, supersedes=old.handle)
    row = _join(tx, call, request, same) if same else _add(tx, call, request, collapse, handle)
    _wait(tx, call, request, row, key)
    if request.guard is not None:
        guards.asked(tx, call, request.guard, row.handle)
    reach("escalation.after_create")
    return changed(tx, call, row)


def raise_for(
    tx: Transaction, call: Call, request: model.CreateEscalation, question: model.Question
) -> rows.EscalationRow:
    """Ask in the plane's own name what it noticed; nobody waits for it. While it is open, the same is one question."""
    content = msgspec.json.encode(question)
    asked = msgspec.structs.replace(request, context=Packed(len(content), PLAIN, content, None, content, question))
    collapse = rules.collapse_key(asked, question, "service:agentmemo")
    same = rows.same(tx, call.workspace, collapse)
    return _join(tx, call, asked, same) if same else _add(tx, call, asked, collapse, ids.mint("esc", tx.now))


def _inherited(
    tx: Transaction, call: Call, request: model.CreateEscalation, run: run_rows.RunRow
) -> model.Escalation | None:
    """A fork has the answers that were given before it began: they are steps, and were copied with them."""
    step = run_rows.get_step(tx, run.id, request.name or "", request.key or "")
    if not request.wait or step is None or (step.state, step.effect) != (COMPLETED, waits.WAIT_EFFECT):
        return None
    content = blobs.unpack(tx, call.workspace, step.codec, step.value, step.blob)
    answer = msgspec.json.decode(content, type=described(model.Answer)) if content else None
    row = rows.get(tx, call.workspace, answer.escalation) if answer else None
    return None if row is None else msgspec.structs.replace(view(tx, call, row), answer=answer)


def _question(request: model.CreateEscalation) -> model.Question:
    """Packed together on the caller's thread, as what the person gets to see."""
    question: model.Question = request.context.original
    return question


def _replay_key(call: Call, request: model.CreateEscalation) -> str:
    """In a run its step and occurrence; outside, the asker's key, or what was said."""
    if request.run is not None:
        if not ids.is_handle(request.run, "run"):
            raise InvalidInput(
                "A run is named by its handle.", next_call="Send the handle, such as run_01j9x2k7m3q8w4ez."
            )
        check_name(request.name or "", "name", NAME_MAX)
        check_name(request.key or "", "key", RUN_KEY_MAX)
        return f"{request.run}/{request.name}/{request.key}"
    if request.key is not None:
        return f"key:{call.actor}:{check_name(request.key, 'key', model.KEY_MAX)}"
    return rules.implicit_key(request, _question(request), call.caller.actor)


def _again(
    tx: Transaction, call: Call, request: model.CreateEscalation, key: str, waiter: rows.WaiterRow
) -> model.Escalation:
    row = rows.of_key(tx, call.workspace, key)
    assert row is not None  # noqa: S101 - a waiter is never without its escalation
    if (
        request.run is None
        and request.key is not None
        and row.digest != rules.question_digest(request, _question(request))
    ):
        raise IdempotencyMismatch(
            f"The key {request.key!r} was used before for another question.",
            why="A key stands for one question.",
            next_call=f"Ask with a new key; what was asked is agent.escalations.get('{row.handle}').",
            details={"escalation": row.handle},
        )
    if request.wait:
        waiter = escalation_delivery.waits_now(tx, call, row, waiter)
    if row.state in model.UNDECIDED:
        if request.run is not None and request.wait:
            run = held(tx, call, request.run)
            waits.wait_for(tx, call, run, (request.name or "", request.key or ""), "person", row.handle)
        return view(tx, call, row)
    made = view(tx, call, row)
    if request.wait and request.run is not None:
        held(tx, call, request.run)
        escalation_delivery.apply(tx, call, row, waiter)
    if made.answer is None:
        made = msgspec.structs.replace(made, answer=escalation_delivery.no_answer(row))
    return made


def _add(
    tx: Transaction, call: Call, request: model.CreateEscalation, collapse: str, handle: str
) -> rows.EscalationRow:
    policy, usual = escalation_time.policy_for(tx, call, request.severity, request.route)
    deadline = request.deadline or usual
    rules.check_deadline(deadline, tx.now)
    fallback = request.default or policy.fallback
    action = request.action
    packed: Packed = request.context
    digest = rules.action_digest(action.tool, action.arguments, action.revision) if action else None
    subject = {"kind": "escalation", "id": handle, "of": request.kind, "severity": request.severity}
    position = audit.record(
        tx,
        call,
        "escalation.create",
        subject | ({"run": request.run} if request.run else {}),
        stream=handle,
        from_version=0,
        to_version=1,
        contents={"question": packed},
        reason=request.reason,
        begins=True,
    )
    climb_at = tx.now + round(policy.batch_seconds * SECOND)
    tx.write(
        "escalation_add",
        id=position,
        handle=handle,
        workspace=call.workspace,
        collapse_key=collapse,
        digest=rules.question_digest(request, _question(request)),
        action_digest=digest,
        kind=request.kind,
        severity=request.severity,
        rank=model.SEVERITIES.index(request.severity),
        reason=request.reason,
        asker=call.actor,
        run=request.run,
        step=f"{request.name}/{request.key}" if request.run else None,
        irreversible=int(rules.is_irreversible(request)),
        policy=msgspec.json.encode(policy).decode(),
        fallback=fallback,
        deadline=deadline,
        climb_at=climb_at,
        due_at=min(climb_at, rules.warning_at(tx.now, deadline, rules.WARNINGS[0])),
        supersedes=request.supersedes,
        now=tx.now,
    )
    tx.write("escalation_value_set", escalation=position, field="question", **packed.columns())
    row = existing(tx, call, handle)
    if policy.batch_seconds == 0:
        escalation_time.climb(tx, call, row)
    return row


def _join(tx: Transaction, call: Call, request: model.CreateEscalation, row: rows.EscalationRow) -> rows.EscalationRow:
    """One question, one more who waits for it. People hear of it again where it got worse, or often."""
    occurrences = row.occurrences + 1
    rank = min(row.rank, model.SEVERITIES.index(request.severity))
    audit.record(
        tx,
        call,
        "escalation.join",
        {"kind": "escalation", "id": row.handle} | ({"run": request.run} if request.run else {}),
        stream=row.handle,
        count=occurrences,
    )
    worse = rank < row.rank
    row = escalation_time.change(
        tx, call, row._replace(occurrences=occurrences, last_at=tx.now, rank=rank, severity=model.SEVERITIES[rank])
    )
    if worse or occurrences in rules.OCCURRENCES_TOLD:
        escalation_time.tell(tx, call, row, f"asked {occurrences} times", max(0, row.climb - 1))
    return row


def _wait(tx: Transaction, call: Call, request: model.CreateEscalation, row: rows.EscalationRow, key: str) -> None:
    tx.write(
        "waiter_add",
        workspace=call.workspace,
        escalation=row.id,
        key=key,
        implicit=int(request.run is None and request.key is None),
        waits=int(request.wait),
        actor=call.actor,
        run=request.run,
        step=f"{request.name}/{request.key}" if request.run else None,
        state=model.WAITING,
        now=tx.now,
    )
    if request.run is not None and request.wait:
        run = held(tx, call, request.run)
        waits.wait_for(tx, call, run, (request.name or "", request.key or ""), "person", row.handle)


def _superseded(tx: Transaction, call: Call, request: model.CreateEscalation) -> rows.EscalationRow | None:
    if request.supersedes is None:
        return None
    old = existing(tx, call, request.supersedes)
    _check_asker(call, old)
    model.next_state(old.state, "supersede", old.handle)
    return old


def get(tx: Transaction, call: Call, request: model.GetEscalation) -> model.Escalation:
    return view(tx, call, existing(tx, call, request.escalation), whole=True)


def list_(tx: Transaction, call: Call, request: model.ListEscalations) -> Page:
    limit = check_limit(request.limit)
    bound = [request.state, request.run]
    before = read_cursor(request.cursor, "escalation.list", bound, NEWEST)
    if request.state == "undelivered":
        wanted = {"workspace": call.workspace, "before": before, "run": request.run, "limit": limit + 1}
        items = [rows.EscalationRow(*row) for row in tx.all("escalation_list_undelivered", **wanted)]
    else:
        items = rows.listed(tx, call.workspace, before, limit + 1, state=request.state, run=request.run)
    cursor = make_cursor("escalation.list", bound, items[limit - 1].id) if len(items) > limit else None
    return Page(items=[view(tx, call, row) for row in items[:limit]], cursor=cursor)


def withdraw(tx: Transaction, call: Call, request: model.WithdrawEscalation) -> model.Escalation:
    """The asker, or a person, takes a question back; whoever waits for it goes on with a refusal."""
    row = existing(tx, call, request.escalation)
    _check_asker(call, row)
    if model.is_of_run(row.collapse_key):
        raise InvalidTransition(
            f"{row.handle} is what run {row.run} asks about itself.",
            why="The run would go on waiting, and nobody would see it.",
            next_call=f"Answer it, or cancel the run: agent.runs.cancel('{row.run}', reason).",
            details={"run": row.run},
        )
    escalation_delivery.end(tx, call, row, model.WITHDRAWN, reason=request.reason)
    return changed(tx, call, row)


def receive(tx: Transaction, call: Call, request: model.ReceiveAnswer) -> model.Escalation:
    """Outside a run: the asker's process has the answer. Idempotent."""
    row = existing(tx, call, request.escalation)
    if row.state in model.ENDED:
        for waiter in rows.waiters(tx, row.id):
            if waiter.actor == call.actor and waiter.run is None and waiter.state in model.UNDELIVERED:
                escalation_delivery.apply(tx, call, row, waiter)
    return changed(tx, call, row)


def redeem(tx: Transaction, call: Call, request: model.RedeemApproval) -> model.Escalation:
    """Use an approval for exactly the action that was approved; a repeat from the same step is the same use."""
    row = existing(tx, call, request.escalation)
    claim = call.caller.claim
    # The claim has been looked at: whoever holds the run that asked goes on in its place.
    if row.asker != call.actor and not (claim and row.run == claim.run):
        raise PermissionDenied(
            f"{call.caller.actor} did not ask for {row.handle}.",
            why="An approval belongs to whoever asked for it.",
            next_call="Ask for an approval of your own.",
            details={"escalation": row.handle},
        )
    made = changed(tx, call, row)
    answer = made.answer
    if answer is None or not answer.approved or answer.digest is None:
        raise _refused(row, f"{row.handle} is {row.state} and approves no action.", "Nobody approved it.")
    digest = rules.action_digest(request.tool, request.arguments, request.revision)
    if digest != answer.digest:
        raise _refused(
            row,
            "This is not the action that was approved.",
            "An approval is bound to the tool, its arguments and the target's revision, as the person saw them.",
            {"approved": answer.digest, "given": digest},
        )
    user = f"{claim.run}/{claim.step or ''}" if claim else None
    if user is not None and row.redeemed == user:
        return made
    if answer.execute_by is not None and answer.execute_by <= tx.now:
        why = "It had to be executed soon after the decision."
        raise _refused(row, f"The approval {row.handle} has expired.", why, {"spent": "expired"})
    if row.uses <= 0:
        why = "It was given for a number of uses."
        raise _refused(row, f"The approval {row.handle} is used up.", why, {"spent": "used"})
    tx.write("escalation_use", expect=1, id=row.id, redeemed=user, now=tx.now)
    audit.record(tx, call, "escalation.redeem", {"kind": "escalation", "id": row.handle}, stream=row.handle)
    return changed(tx, call, row)


def _refused(
    row: rows.EscalationRow, message: str, why: str, details: dict[str, str] | None = None
) -> PermissionDenied:
    return PermissionDenied(
        message,
        why=why,
        next_call="Ask again with the action as it is now: escalate(kind='approval', action=...).",
        details={"escalation": row.handle} | (details or {}),
    )


def _check_asker(call: Call, row: rows.EscalationRow) -> None:
    if row.asker != call.actor and call.caller.kind == "agent":
        raise PermissionDenied(
            f"{call.caller.actor} did not ask {row.handle}.",
            why="A question is taken back by who asked it, or by a person.",
            next_call="Ask a person to withdraw it.",
            details={"escalation": row.handle},
        )
