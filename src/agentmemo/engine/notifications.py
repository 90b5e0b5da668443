"""Notifications: who is to be told, which message is due, and what came of it. Sending is `notify`'s."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.engine import audit, policies
from agentmemo.engine.call import Call
from agentmemo.model import notifications as model
from agentmemo.model import policies as policy_model
from agentmemo.model.audit import DONE, NOT_SENT
from agentmemo.store.database import Row, Transaction

# A process that dies while it sends leaves the message to others after this.
TAKEN_SECONDS = 60.0
# More than one channel's senders work through while it hangs, so that the others are seen too.
BATCH = 500
# So many questions stand in one message at most.
TOGETHER_MAX = 100


class Addressed(Protocol):
    """A person, one way to reach them, and the most that may be said there: public, internal or secret."""

    @property
    def person(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def sensitivity(self) -> str: ...


class Recipient(NamedTuple):
    person: str
    channel: str
    address: str
    sensitivity: str = "internal"


class Due(NamedTuple):
    """A message that is to be sent now, or, where it was sent already, to be brought up to date."""

    workspace: int
    id: str
    escalation: int
    handle: str
    occasion: str
    person: str
    channel: str
    address: str
    carries: str
    state: str
    attempts: int
    provider: str | None
    ended_at: int | None
    grouping: str | None
    lead: str | None


def enqueue(
    tx: Transaction,
    call: Call,
    escalation: int,
    occasion: str,
    recipients: Iterable[Addressed],
    group: policy_model.Group | None = None,
) -> int:
    """Have people told, in the transaction in which the occasion comes about; as one of a group, when that is told.

    What was enqueued before is nothing, and so is what is over: of the end, those hear who were told of the question.
    """
    return sum(
        tx.run(
            "notification_add",
            id=ids.mint("ntf", tx.now),
            workspace=call.workspace,
            escalation=escalation,
            occasion=occasion,
            person=recipient.person,
            channel=recipient.channel,
            address=recipient.address,
            carries=recipient.sensitivity,
            grouping=group.key if group else None,
            next_at=_turn_of(tx, call, group, recipient) if group else tx.now,
            now=tx.now,
        )
        for recipient in recipients
    )


def _turn_of(tx: Transaction, call: Call, group: policy_model.Group, recipient: Addressed) -> int:
    """When a person is told of the next questions of a group; those that wait already come along if it is sooner."""
    place: dict[str, Any] = {
        "workspace": call.workspace,
        "grouping": group.key,
        "person": recipient.person,
        "channel": recipient.channel,
        "address": recipient.address,
    }
    waits_until, told_at = tx.one("notification_group", **place) or (None, None)
    after_last = 0 if told_at is None else told_at + group.interval_us
    planned = waits_until or (after_last if after_last > tx.now else tx.now + group.wait_us)
    at = max(tx.now, min(planned, group.latest))
    if waits_until is not None and at < waits_until:
        tx.write("notification_group_by", at=at, **place)
    return at


def due(tx: Transaction) -> list[Due]:
    """What is to be sent now, the longest due first."""
    return [Due(*row) for row in tx.all("notification_due", now=tx.now, limit=BATCH)]


def get(tx: Transaction, notification: str) -> Due | None:
    row = tx.one("notification_get", id=notification)
    return Due(*row) if row else None


def take(tx: Transaction, found: Due) -> Due | None:
    """The message as it stands now, for this process alone to send; None when another has it, or nobody needs it."""
    next_at = tx.now + round(TAKEN_SECONDS * SECOND)
    if not tx.run(
        "notification_take", id=found.id, state=found.state, attempts=found.attempts, next_at=next_at, now=tx.now
    ):
        return None
    taken = get(tx, found.id)
    if taken is None or taken.state != model.QUEUED or taken.ended_at is None:
        return taken
    # It was decided before this person heard of it.
    _end(tx, taken, "expire")
    return None


def take_together(tx: Transaction, found: Due) -> list[Due]:
    """The message, for this process alone to send, and first after it what goes out in the same one; empty as `take`.

    Those of a group that were sent in one message are brought up to date in one as well.
    """
    first = take(tx, found)
    if first is None or first.grouping is None:
        return [first] if first else []
    beside = tx.all(
        "notification_beside",
        workspace=first.workspace,
        grouping=first.grouping,
        person=first.person,
        channel=first.channel,
        address=first.address,
        state=first.state,
        lead=first.lead,
        id=first.id,
        limit=TOGETHER_MAX - 1,
        now=tx.now,
    )
    taken = [first, *(other for row in beside if (other := take(tx, Due(*row))))]
    if first.state != model.QUEUED:
        return taken
    lead = first.id if len(taken) > 1 else None
    for each in taken:
        if each.lead != lead:
            tx.write("notification_lead", id=each.id, lead=lead)
    return [each._replace(lead=lead) for each in taken]


def shown_with(tx: Transaction, taken: Due) -> list[Due]:
    """All whose questions stand in the message that this one belongs to; it alone where it was sent alone."""
    if taken.lead is None:
        return [taken]
    found = tx.all(
        "notification_led",
        workspace=taken.workspace,
        grouping=taken.grouping,
        person=taken.person,
        lead=taken.lead,
    )
    return [Due(*row) for row in found]


def sent(tx: Transaction, call: Call, taken: Due, provider: str, *, over: bool) -> None:
    """It was accepted by its channel; `over` says that it told how the question ended."""
    act = "expire" if taken.state == model.SENT and over else "update" if taken.state == model.SENT else "send"
    state = model.next_state(taken.state, act, taken.id)
    now = get(tx, taken.id)
    # Decided while it was on its way: it is brought up to date at once.
    next_at = tx.now if now is not None and now.ended_at is not None and not over else None
    written = tx.run(
        "notification_sent",
        id=taken.id,
        was=taken.state,
        attempts=taken.attempts,
        state=state,
        next_at=next_at,
        provider=provider,
        shown=int(over),
        now=tx.now,
    )
    if written:
        _record(tx, call, taken, state)


def failed(
    tx: Transaction, call: Call, taken: Due, error: str, *, final: bool = False, wait_seconds: float = 0.0
) -> None:
    """It was not accepted. It is tried again, not before `wait_seconds`, until its attempts are spent."""
    pause = model.pause_after(taken.attempts)
    if not final and pause is not None:
        next_at = tx.now + round(max(ids.jitter(pause), wait_seconds) * SECOND)
        tx.write(
            "notification_retry",
            id=taken.id,
            was=taken.state,
            attempts=taken.attempts,
            next_at=next_at,
            error=error[: model.ERROR_MAX],
        )
    elif _end(tx, taken, "fail", error):
        state = model.next_state(taken.state, "fail", taken.id)
        _record(tx, call, taken, state, error)
        tx.run("escalation_hasten", escalation=taken.escalation, occasion=taken.occasion, now=tx.now)


def outdated(tx: Transaction, escalation: int) -> int:
    """After the end of a question: every message of it that was sent has to say so. Returns how many."""
    return tx.run("notification_outdated", escalation=escalation, now=tx.now)


def told(tx: Transaction, escalation: int) -> list[Row]:
    """Of every message about a question: person, channel, occasion, state, attempts, error, created_at, sent_at."""
    return tx.all("notification_of", escalation=escalation)


def person_at(tx: Transaction, workspace: int, channel: str, address: str) -> str | None:
    """Whose address it is by the contacts in force."""
    for ruled in policies.all_of(tx, workspace, policy_model.CONTACT):
        if any((known.kind, known.address) == (channel, address) for known in ruled.document.channels):
            return ruled.name
    return None


def prune(tx: Transaction, workspace: int, before: int, limit: int) -> int:
    """Remove what is older than retention, and links that have long expired."""
    done = tx.run("notification_remove_old", workspace=workspace, before=before, limit=limit)
    return done + tx.run("answer_link_remove_old", workspace=workspace, before=before, limit=limit)


def _end(tx: Transaction, taken: Due, act: str, error: str = "") -> bool:
    state = model.next_state(taken.state, act, taken.id)
    error = error[: model.ERROR_MAX]
    return (
        tx.run("notification_end", id=taken.id, was=taken.state, attempts=taken.attempts, state=state, error=error) == 1
    )


def _record(tx: Transaction, call: Call, taken: Due, state: str, error: str = "") -> None:
    """Who was told, and through what; addresses stay out of the trail, since they may hold secrets."""
    subject = {
        "kind": "notification",
        "id": taken.id,
        "escalation": taken.handle,
        "person": taken.person,
        "channel": taken.channel,
        "occasion": taken.occasion,
        "state": state,
    }
    operation, outcome = ("notification.fail", NOT_SENT) if error else ("notification.send", DONE)
    audit.record(tx, call, operation, subject, stream=taken.handle, outcome=outcome, reason=error, count=taken.attempts)
