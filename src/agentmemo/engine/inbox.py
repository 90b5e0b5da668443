"""The people's side of an escalation: who is on it, what they say, and when enough of them have said the same.

Every operation here is a person's: no other kind of credential can hold the permission.
"""

from __future__ import annotations

import msgspec

from agentmemo.clock import SECOND
from agentmemo.crashpoints import reach
from agentmemo.engine import (
    answer_links,
    audit,
    escalation_delivery,
    escalation_time,
    notifications,
    policies,
    precedents,
    run_answers,
)
from agentmemo.engine.call import Call
from agentmemo.engine.escalation_views import changed, existing, policy_of, question_of, view, votes_by_person
from agentmemo.engine.state import check_limit
from agentmemo.errors import InvalidInput, InvalidTransition, LimitExceeded, PermissionDenied
from agentmemo.model import escalation_rules as rules
from agentmemo.model import escalations as model
from agentmemo.model.access import check_actor
from agentmemo.model.notifications import is_guarded
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.store import escalations as rows
from agentmemo.store.database import Transaction

COMMENTS_MAX = 1000
SNOOZE_PERCENT = 80
# An approval for the whole run may be used as often as the same action comes again in it.
USES = {"once": 1, "run": 1000, "rule": 1}
NEWEST = 1 << 60
_START: dict[str, list[int]] = {"done": [NEWEST, NEWEST], "undelivered": [NEWEST]}
# Doors that know a person without a key: by a link of their own, or by their Slack account.
ASSURED_DOORS = frozenset({"link", "slack"})


def list_(tx: Transaction, call: Call, request: model.ListInbox) -> Page:
    """The most urgent first; what is done, the newest first."""
    limit = check_limit(request.limit)
    section = request.section or "open"
    asker = call.engine.names.find_actor(tx, call.workspace, request.asker) if request.asker else None
    if request.asker and asker is None:
        return Page(items=[])
    bound = [section, request.severity, request.kind, request.asker, request.run]
    start = _START.get(section, [0, 0, 0])
    at = read_cursor(request.cursor, "inbox.list", bound, start)
    wanted = {
        "workspace": call.workspace,
        "severity": request.severity,
        "kind": request.kind,
        "asker": asker,
        "run": request.run,
        "limit": limit + 1,
    }
    if section == "undelivered":
        found = tx.all(
            "escalation_list_undelivered",
            workspace=call.workspace,
            before=at[0],
            run=request.run,
            limit=limit + 1,
        )
    elif section == "done":
        found = tx.all("inbox_done", at=at[0], before=at[1], **wanted)
    else:
        rank, deadline, after = at
        person = call.actor if section == "mine" else None
        snoozed = tx.now if section == "snoozed" else None
        found = tx.all(
            "inbox_open", rank=rank, deadline=deadline, after=after, person=person, snoozed=snoozed, **wanted
        )
    items = [rows.EscalationRow(*row) for row in found]
    cursor = make_cursor("inbox.list", bound, _place(section, items[limit - 1])) if len(items) > limit else None
    return Page(items=[view(tx, call, row) for row in items[:limit]], cursor=cursor)


def _place(section: str, row: rows.EscalationRow) -> list[int]:
    if section == "undelivered":
        return [row.id]
    return [row.ended_at or 0, row.id] if section == "done" else [row.rank, row.deadline, row.id]


def acknowledge(tx: Transaction, call: Call, request: model.AcknowledgeEscalation) -> model.Escalation:
    """The caller is on it until the hold expires; whoever was before is not any more."""
    row = existing(tx, call, request.escalation)
    until = tx.now + round(policy_of(row).hold_seconds * SECOND)
    _hold(tx, call, row, until, "acknowledge")
    return changed(tx, call, row)


def snooze(tx: Transaction, call: Call, request: model.SnoozeEscalation) -> model.Escalation:
    """A hold until a time, which may not reach the last warning."""
    row = existing(tx, call, request.escalation)
    latest = rules.warning_at(row.created_at, row.deadline, SNOOZE_PERCENT)
    if not tx.now < request.until <= latest:
        raise InvalidInput(
            f"{row.handle} can be put off until {latest}, not {request.until}.",
            why=f"Times are UTC microseconds; the last {100 - SNOOZE_PERCENT} % before the deadline are for answering.",
            next_call=f"Snooze it until {latest} at most, or answer it.",
            details={"latest": latest},
        )
    _hold(tx, call, row, request.until, "snooze")
    return changed(tx, call, row)


def _hold(tx: Transaction, call: Call, row: rows.EscalationRow, until: int, act: str) -> None:
    _check_undecided(tx, call, row)
    state = model.next_state(row.state, "acknowledge", row.handle)
    audit.record(tx, call, f"inbox.{act}", {"kind": "escalation", "id": row.handle}, stream=row.handle)
    held = row._replace(
        state=state,
        holder=call.actor,
        held_at=tx.now,
        hold_until=until,
        extended=(row.extended & ~rules.OF_HOLD) | (rules.SNOOZED if act == "snooze" else 0),
        # Waiting for the climb is over: it goes on from here when the hold ends.
        climb_at=None,
    )
    escalation_time.change(tx, call, held)


def release(tx: Transaction, call: Call, request: model.ReleaseEscalation) -> model.Escalation:
    row = existing(tx, call, request.escalation)
    _check_undecided(tx, call, row)
    if row.holder != call.actor:
        raise PermissionDenied(
            f"{call.caller.actor} is not on {row.handle}.",
            why="A hold is given back by who has it.",
            next_call=f"agent.inbox.acknowledge('{row.handle}') takes it over.",
        )
    escalation_time.release(tx, call, row, request.comment or f"{call.caller.actor} gave it back")
    return changed(tx, call, row)


def delegate(tx: Transaction, call: Call, request: model.DelegateEscalation) -> model.Escalation:
    """Hand it to a person by name: it is theirs in the inbox, and they are told."""
    row = existing(tx, call, request.escalation)
    _check_undecided(tx, call, row)
    name = request.to.removeprefix("person:")
    check_actor(name, "person")
    person = call.engine.names.find_actor(tx, call.workspace, f"person:{name}")
    if person is None:
        raise InvalidInput(
            f"Nobody is known as person:{name}.",
            next_call="Create a key for that person first: agentmemo keys create --kind person NAME.",
        )
    audit.record(
        tx,
        call,
        "inbox.delegate",
        {"kind": "escalation", "id": row.handle, "to": f"person:{name}"},
        stream=row.handle,
        reason=request.comment,
    )
    handed = row._replace(assignee=person)
    if row.holder == call.actor:
        state = model.next_state(row.state, "release", row.handle)
        extended = row.extended & ~rules.OF_HOLD
        handed = handed._replace(
            state=state, holder=None, held_at=None, hold_until=None, extended=extended, climb_at=tx.now
        )
    handed = escalation_time.change(tx, call, handed)
    told = policies.reach(tx, call, name, row.severity)
    notifications.enqueue(tx, call, row.id, f"delegated {handed.revision}", told)
    return changed(tx, call, row)


def extend(tx: Transaction, call: Call, request: model.ExtendEscalation) -> model.Escalation:
    """Move the deadline once, by as much as it had at the start."""
    row = existing(tx, call, request.escalation)
    _check_undecided(tx, call, row)
    if row.extended & rules.DEADLINE_EXTENDED:
        raise InvalidTransition(
            f"The deadline of {row.handle} was moved before.",
            why="It can be moved once.",
            next_call="Answer it, or ask again with a later deadline.",
        )
    deadline = max(row.deadline, tx.now) + row.deadline - row.created_at
    audit.record(
        tx,
        call,
        "inbox.extend",
        {"kind": "escalation", "id": row.handle},
        stream=row.handle,
        reason=request.comment,
    )
    moved = row._replace(deadline=deadline, extended=row.extended | rules.DEADLINE_EXTENDED, lapsed_at=None, warned=0)
    escalation_time.change(tx, call, moved)
    return changed(tx, call, row)


def comment(tx: Transaction, call: Call, request: model.CommentEscalation) -> model.Escalation:
    """Say something without deciding; also after the decision."""
    row = existing(tx, call, request.escalation)
    if not request.text.strip():
        raise InvalidInput("A comment says something.", next_call="Send text.")
    if (tx.one("comment_count", escalation=row.id) or (0,))[0] >= COMMENTS_MAX:
        raise LimitExceeded(f"{row.handle} has {COMMENTS_MAX} comments.", next_call="Answer it.")
    tx.write("comment_add", escalation=row.id, person=call.actor, text=request.text, now=tx.now)
    audit.record(
        tx,
        call,
        "inbox.comment",
        {"kind": "escalation", "id": row.handle},
        stream=row.handle,
        contents={"text": request.text.encode()},
    )
    _prolong(tx, call, row)
    return changed(tx, call, row)


def answer(tx: Transaction, call: Call, request: model.AnswerEscalation) -> model.Escalation:
    """Vote, and decide when that is enough. Of several at once one decides; the others are told who did."""
    row = existing(tx, call, request.escalation)
    _check_undecided(tx, call, row)
    question = question_of(tx, row)
    _check_person(call, row, question)
    if request.seen is not None and request.seen != (row.action_digest or row.digest):
        raise InvalidTransition(
            f"{row.handle} is not what was shown.",
            why="The answer was for something else; it was not saved.",
            next_call=f"See agent.escalations.get('{row.handle}'), then answer again.",
            details={"seen": request.seen, "current": row.action_digest or row.digest},
        )
    rules.check_answer(request, question)
    own = own_question(row, question)
    if own is not None:
        run_answers.check(request, own)
    guarded = is_guarded(row.severity, irreversible=bool(row.irreversible))
    answer_links.use(tx, call, escalation=row.id, guarded=guarded)
    vote = model.Vote(
        person=call.caller.actor,
        decision=request.decision,
        choice=request.choice,
        values=request.values,
        comment=request.comment,
        at=tx.now,
        via=_via(call),
        scope=request.scope,
    )
    _cast(tx, call, row, vote)
    decided = rules.tally([vote for _, vote in votes_by_person(tx, row)], rules.needs_of(question, policy_of(row)))
    if decided is None:
        _prolong(tx, call, row)
    else:
        _decide(tx, call, row, question, decided)
    reach("inbox.after_answer")
    return changed(tx, call, row)


def own_question(row: rows.EscalationRow, question: model.Question) -> str | None:
    """Which of its own questions a run asks by it; None for all others."""
    return (question.detail or {}).get(model.RUN_QUESTION) if model.is_of_run(row.collapse_key) else None


def _cast(tx: Transaction, call: Call, row: rows.EscalationRow, vote: model.Vote) -> None:
    ballot = msgspec.json.encode(vote)
    tx.write(
        "vote_put",
        escalation=row.id,
        person=call.actor,
        decision=vote.decision,
        ballot=ballot.decode(),
        now=tx.now,
    )
    if vote.decision == "edit":
        # What the others agreed to is not what would be done now.
        for person, other in votes_by_person(tx, row):
            if rules.choice_key(other) != rules.choice_key(vote):
                tx.write("vote_remove", escalation=row.id, person=person)
    audit.record(
        tx,
        call,
        "inbox.answer",
        {"kind": "escalation", "id": row.handle, "decision": vote.decision, "via": vote.via},
        stream=row.handle,
        contents={"ballot": ballot},
        reason=vote.comment,
    )


def _decide(
    tx: Transaction,
    call: Call,
    row: rows.EscalationRow,
    question: model.Question,
    vote: model.Vote,
) -> None:
    digest, execute_by, uses = None, None, 0
    if question.action is not None and vote.decision in ("approve", "edit"):
        action = question.action
        arguments = action.arguments if vote.decision == "approve" else vote.values
        digest = rules.action_digest(action.tool, arguments, action.revision)
        execute_by = tx.now + round(policy_of(row).execute_seconds * SECOND)
        uses = USES[vote.scope]
    given = model.Answer(
        decision=vote.decision,
        choice=vote.choice,
        values=vote.values,
        comment=vote.comment,
        by=vote.person,
        at=tx.now,
        via=vote.via,
        scope=vote.scope,
        digest=digest,
        execute_by=execute_by,
        escalation=row.handle,
    )
    escalation_delivery.end(tx, call, row, model.DECIDED, given, uses=uses)
    own = own_question(row, question)
    if own is not None and row.run is not None:
        run_answers.settle(tx, call, row.run, own, vote)
    precedents.contradicted(tx, call, row, question, vote.decision)


def _prolong(tx: Transaction, call: Call, row: rows.EscalationRow) -> None:
    """Doing something prolongs one's hold, once; in any case the question has changed for who looks at it."""
    holds = row.state == model.ACKNOWLEDGED and row.holder == call.actor and not row.extended & rules.HOLD_EXTENDED
    if not holds:
        tx.write("escalation_touch", id=row.id, now=tx.now)
        return
    until = max(row.hold_until or 0, tx.now + round(policy_of(row).hold_seconds * SECOND))
    escalation_time.change(tx, call, row._replace(hold_until=until, extended=row.extended | rules.HOLD_EXTENDED))


def _check_undecided(tx: Transaction, call: Call, row: rows.EscalationRow) -> None:
    """The loser learns who won, when, and with what."""
    if row.state in model.UNDECIDED:
        return
    made = view(tx, call, row)
    won = made.answer
    who = f" by {won.by}: {won.choice or won.decision}" if won else ""
    raise InvalidTransition(
        f"Escalation {row.handle} is {row.state}{who}.",
        why="A decision is final; this one was not saved.",
        next_call=f"See agent.escalations.get('{row.handle}'). A correction is a new escalation.",
        details={"escalation": row.handle, "state": row.state}
        | ({"by": won.by, "at": won.at, "decision": won.decision, "choice": won.choice} if won else {}),
    )


def _check_person(call: Call, row: rows.EscalationRow, question: model.Question) -> None:
    """Four eyes: nobody approves what they asked for, or what their agent did, where the question says so."""
    if rules.is_excluded(call.caller.actor, question.needs, question.on_behalf_of):
        raise PermissionDenied(
            f"{call.caller.actor} may not answer {row.handle}.",
            why="It needs the eyes of somebody else.",
            next_call=f"Hand it on: agent.inbox.delegate('{row.handle}', to=...).",
            details={"escalation": row.handle},
        )


def _via(call: Call) -> str:
    """How the person was known: by a key, a session of the console, or only by the operating system."""
    return call.caller.door if call.caller.key or call.caller.door in ASSURED_DOORS else "os-user"
