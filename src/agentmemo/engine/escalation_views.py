"""Escalations as their readers see them."""

from __future__ import annotations

import msgspec

from agentmemo import ids
from agentmemo.engine import notifications
from agentmemo.engine.call import Call, not_found
from agentmemo.model import escalations as model
from agentmemo.model.escalation_rules import DEADLINE_EXTENDED, SNOOZED, Policy, needs_of
from agentmemo.store import blobs
from agentmemo.store import escalations as rows
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction

_question_decoder = msgspec.json.Decoder(model.Question)
_answer_decoder = msgspec.json.Decoder(model.Answer)
_ballot_decoder = msgspec.json.Decoder(model.Vote)
_policy_decoder = msgspec.json.Decoder(Policy)


def existing(tx: Transaction, call: Call, handle: str) -> rows.EscalationRow:
    """The escalation of a handle or of a prefix of one that is unique. Raises NotFound."""
    row = rows.get(tx, call.workspace, handle)
    if row is None and len(handle.removeprefix("esc_")) >= ids.SHORTEST_PREFIX:
        low = handle if handle.startswith("esc_") else f"esc_{handle}"
        found = tx.all("escalation_handles", workspace=call.workspace, low=low, high=low + "~")
        if len(found) == 1:
            row = rows.get(tx, call.workspace, found[0][0])
    if row is None:
        raise not_found("escalation", handle)
    return row


def question_of(tx: Transaction, row: rows.EscalationRow, packed: Packed | None = None) -> model.Question:
    """What the person is shown; empty once retention took it."""
    packed = packed or rows.question(tx, row.id)
    if packed is None:
        return model.Question()
    content = blobs.unpack(tx, row.workspace, packed.codec, packed.value, packed.blob)
    return _question_decoder.decode(content)


def answer_of(row: rows.EscalationRow) -> model.Answer | None:
    return _answer_decoder.decode(row.answer) if row.answer else None


def policy_of(row: rows.EscalationRow) -> Policy:
    """The timers as they were stamped when it was asked."""
    return _policy_decoder.decode(row.policy)


def votes_by_person(tx: Transaction, row: rows.EscalationRow) -> list[tuple[int, model.Vote]]:
    """Of each person the newest, in the order they were cast."""
    return [(person, _ballot_decoder.decode(ballot)) for person, _, ballot, _ in tx.all("vote_list", escalation=row.id)]


def changed(tx: Transaction, call: Call, row: rows.EscalationRow) -> model.Escalation:
    """The escalation as this transaction has left it."""
    return view(tx, call, existing(tx, call, row.handle), whole=True)


def view(
    tx: Transaction,
    call: Call,
    row: rows.EscalationRow,
    *,
    whole: bool = False,
    question: Packed | None = None,
) -> model.Escalation:
    """As its readers see it; `whole` fills in votes, comments, waiters and messages."""
    asked = question_of(tx, row, question)
    counts: dict[str, int] = dict(tx.all("waiter_counts", escalation=row.id))
    policy = policy_of(row)
    made = model.Escalation(
        id=row.handle,
        state=row.state,
        kind=row.kind,
        severity=row.severity,
        reason=row.reason,
        asker=_name(tx, call, row.asker) or "",
        revision=row.revision,
        run=row.run,
        step=row.step,
        context=asked.context,
        suggested_actions=asked.suggested_actions,
        response_schema=asked.response_schema,
        action=asked.action,
        digest=row.action_digest or row.digest,
        irreversible=bool(row.irreversible),
        on_behalf_of=asked.on_behalf_of,
        needs=needs_of(asked, policy),
        sensitivity=asked.sensitivity,
        detail=asked.detail,
        collapse_key=row.collapse_key,
        default=row.fallback,
        deadline=row.deadline,
        warned=row.warned,
        lapsed_at=row.lapsed_at,
        route=policy.route,
        step_number=row.climb,
        next_told_at=row.climb_at,
        holder=_name(tx, call, row.holder),
        hold_until=row.hold_until,
        snoozed=bool(row.extended & SNOOZED),
        extended=bool(row.extended & DEADLINE_EXTENDED),
        assignee=_name(tx, call, row.assignee),
        occurrences=row.occurrences,
        last_at=row.last_at,
        waiting=counts.get(model.WAITING, 0),
        undelivered=sum(counts.get(state, 0) for state in model.UNDELIVERED),
        answer=answer_of(row),
        uses=row.uses,
        supersedes=row.supersedes,
        superseded_by=row.superseded_by,
        inhibited_by=row.inhibited_by,
        inhibited_rule=row.inhibited_rule,
        ended_reason=row.ended_reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
    )
    return _whole(tx, call, row, made) if whole else made


def _whole(tx: Transaction, call: Call, row: rows.EscalationRow, made: model.Escalation) -> model.Escalation:
    return msgspec.structs.replace(
        made,
        votes=[vote for _, vote in votes_by_person(tx, row)],
        comments=[
            model.Comment(person=_name(tx, call, person) or "", text=text, at=at)
            for person, text, at in tx.all("comment_list", escalation=row.id)
        ],
        waiters=[
            model.Waiter(
                asker=_name(tx, call, waiter.actor) or "",
                run=waiter.run,
                step=waiter.step,
                state=waiter.state,
                attempts=waiter.attempts,
                error=waiter.error,
                since=waiter.created_at,
                updated_at=waiter.updated_at,
            )
            for waiter in rows.waiters(tx, row.id)
        ],
        told=[
            model.Told(**dict(zip(model.Told.__struct_fields__, told, strict=True)))
            for told in notifications.told(tx, row.id)
        ],
    )


def _name(tx: Transaction, call: Call, actor: int | None) -> str | None:
    return None if actor is None else call.engine.names.actor_name(tx, call.workspace, actor)
