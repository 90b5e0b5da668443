"""What agents are told over HTTP: found in the trail, and put into the outbox once.

Looking and matching is done on a reader, once for all webhooks of a workspace; the writer gets what was found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agentmemo import clock, ids
from agentmemo.engine import audit
from agentmemo.model import webhooks as model
from agentmemo.model.escalations import Answer
from agentmemo.model.kinds import described
from agentmemo.store import escalations as escalation_rows
from agentmemo.store import handoffs as handoff_rows
from agentmemo.store.database import Transaction

if TYPE_CHECKING:
    from agentmemo.engine.dispatch import Engine

# Events looked through at once. A webhook that nothing was found for is moved on only when it is so far behind.
LOOKED_AT = 1000
# Who is further behind (new, or of an agent that was disabled) is told what waits now in place of what happened.
FAR_BEHIND = 100_000
# Of what waits already for a receiver, so much is told; the rest is found by whoever comes for it.
WAITING_TOLD = 1000


class _Webhook(NamedTuple):
    id: str
    actor: int
    name: str
    position: int


class _Message(NamedTuple):
    webhook: str
    subject: str
    type: str
    text: str  # what it is about, so that nothing is told twice
    data: dict[str, Any]


class _Look(NamedTuple):
    """What was found for the webhooks of a workspace, and how far each of them is to be moved."""

    messages: list[_Message]
    moves: dict[str, int]
    all_to: int | None
    is_behind: bool


def fill_outbox(engine: Engine) -> int:
    """Webhooks follow the trail: what the events since the last look brought about is put into the outbox."""
    done = 0
    for workspace, lowest in engine.database.read(lambda tx: tx.all("webhook_places")):
        newest = engine.database.read(partial(audit.last_position, workspace=workspace), snapshot=False)
        if newest <= lowest:
            continue
        look = engine.database.read(partial(_look, workspace, newest))
        if look.moves or look.all_to is not None:
            engine.database.write(partial(_keep, workspace, look), lane=workspace)
        done += len(look.messages) + look.is_behind
    return done


def _look(workspace: int, newest: int, tx: Transaction) -> _Look:
    hooks = [_Webhook(*row) for row in tx.all("webhook_live", workspace=workspace)]
    far_to = max(audit.position_range(workspace)[0], newest - FAR_BEHIND)
    far, near = ([hook for hook in hooks if (hook.position < far_to) is is_far] for is_far in (True, False))
    messages = [message for hook in far for message in _all_of(tx, workspace, hook)]
    moves = dict.fromkeys((hook.id for hook in far), newest)
    after = min((hook.position for hook in near), default=newest)
    last = min(newest, after + LOOKED_AT)
    found = _of_trail(tx, workspace, near, after, last)
    moves |= dict.fromkeys((message.webhook for message in found), last)
    return _Look(messages + found, moves, last if last - after >= LOOKED_AT else None, last < newest)


def _of_trail(tx: Transaction, workspace: int, hooks: list[_Webhook], after: int, last: int) -> list[_Message]:
    """What the events in (after, last] brought about, for the webhooks that have not come as far."""
    if not hooks or after >= last:
        return []
    messages: list[_Message] = []
    announced: dict[int, int] = dict(tx.all("event_announcements", after=after, last=last))
    for hook in hooks:
        if hook.position < announced.get(hook.actor, 0):
            messages += _waiting(tx, workspace, hook)
    for handle, position in tx.all("event_escalations_ended", after=after, last=last):
        near = [hook for hook in hooks if hook.position < position]
        messages += _ended(tx, workspace, near, handle)
    changed: dict[str, int] = dict(tx.all("event_handoffs_newest", after=after, last=last))
    if not changed:
        return messages
    index = _Index(tx, workspace, hooks)
    reads = (("handoff_get", {"workspace": workspace, "handle": stream}) for stream in changed)
    found = [handoff_rows.HandoffRow(*read[0]) for read in tx.fetch(*reads) if read]
    for row, refusing in zip(found, handoff_rows.refusing(tx, found), strict=True):
        messages += index.told_of(row, changed[row.handle], refusing)
    return messages


class _Index:
    """The webhooks of a workspace by where they are offered work, and by actor."""

    def __init__(self, tx: Transaction, workspace: int, hooks: list[_Webhook]) -> None:
        self._by_actor: defaultdict[int, list[_Webhook]] = defaultdict(list)
        self._by_address: defaultdict[str, list[_Webhook]] = defaultdict(list)
        for hook in hooks:
            self._by_actor[hook.actor].append(hook)
            self._by_address[f"agent:{hook.name}"].append(hook)
        for address, actor in tx.all("webhook_receivers", workspace=workspace):
            self._by_address[address] += self._by_actor.get(actor, [])

    def told_of(self, row: handoff_rows.HandoffRow, position: int, refusing: set[int]) -> Iterable[_Message]:
        """Whom a handoff concerns as it is now, of those that have not come to `position`."""
        asked = self._by_address.get(row.address, []) if row.offered else []
        yield from (_offer(hook, row) for hook in asked if hook.position < position and hook.actor not in refusing)
        if _is_news(row):
            yield from (_notice(hook, row) for hook in self._by_actor.get(row.sender, []) if hook.position < position)


def _all_of(tx: Transaction, workspace: int, hook: _Webhook) -> list[_Message]:
    """Everything an agent has to know now, whenever it happened."""
    told = tx.all("handoff_notices", workspace=workspace, sender=hook.actor, at=0, after=0, limit=WAITING_TOLD)
    notices = [_notice(hook, handoff_rows.HandoffRow(*row)) for row in told]
    owed = tx.all("escalation_owed", workspace=workspace, actor=hook.actor, limit=WAITING_TOLD)
    answers = [message for (handle,) in owed for message in _ended(tx, workspace, [hook], handle)]
    return _waiting(tx, workspace, hook) + notices + answers


def _ended(tx: Transaction, workspace: int, hooks: list[_Webhook], handle: str) -> list[_Message]:
    """To those who asked it: a question has come to its end."""
    row = escalation_rows.get(tx, workspace, handle) if hooks else None
    if row is None or row.ended_at is None:
        return []
    askers = {waiter.actor for waiter in escalation_rows.waiters(tx, row.id)} | {row.asker}
    data = _answer_data(row)
    return [
        _Message(hook.id, handle, model.ANSWERED, f"{handle} {row.state}", data)
        for hook in hooks
        if hook.actor in askers
    ]


def _waiting(tx: Transaction, workspace: int, hook: _Webhook) -> list[_Message]:
    addresses = [f"agent:{hook.name}", *handoff_rows.addresses(tx, workspace, hook.actor)]
    return [_offer(hook, row) for row in handoff_rows.offered(tx, workspace, addresses, hook.actor, WAITING_TOLD)]


def _offer(hook: _Webhook, row: handoff_rows.HandoffRow) -> _Message:
    text = f"{row.handle} offered at {row.offered_at} to {row.address} after epoch {row.epoch}"
    return _Message(hook.id, row.handle, model.OFFERED, text, _handoff_data(row))


def _notice(hook: _Webhook, row: handoff_rows.HandoffRow) -> _Message:
    text = f"{row.handle} {row.state} at {row.notice_at}"
    return _Message(hook.id, row.handle, model.TOLD, text, _handoff_data(row))


def _is_news(row: handoff_rows.HandoffRow) -> bool:
    return row.notice_at is not None and row.received_at is None


def _keep(workspace: int, look: _Look, tx: Transaction) -> None:
    for message in look.messages:
        tx.write(
            "delivery_add",
            id=ids.mint("dlv", tx.now),
            workspace=workspace,
            webhook=message.webhook,
            message=message.text,
            type=message.type,
            subject=message.subject,
            body=_body(message, tx.now),
            now=tx.now,
        )
    for webhook, position in look.moves.items():
        tx.write("webhook_move", id=webhook, position=position)
    if look.all_to is not None:
        tx.write("webhook_move_all", workspace=workspace, low=audit.position_range(workspace)[0], position=look.all_to)


def _body(message: _Message, now: int) -> str:
    """The message names what it is about; whoever gets it reads the rest with a key of its own."""
    body = {"type": message.type, "timestamp": clock.iso(now), "data": message.data}
    return msgspec.json.encode(body).decode()


def _handoff_data(row: handoff_rows.HandoffRow) -> dict[str, Any]:
    return {
        "handoff": row.handle,
        "to": row.address,
        "state": row.state,
        "goal": row.goal,
        "workflow": row.workflow,
        "priority": row.priority,
        "attempt": row.attempt,
        "reason": row.reason,
    }


def _answer_data(row: escalation_rows.EscalationRow) -> dict[str, Any]:
    """What was decided, without what people wrote: that may not be for everybody who can read along."""
    answer = msgspec.json.decode(row.answer, type=described(Answer)) if row.answer else None
    return {
        "escalation": row.handle,
        "state": row.state,
        "kind": row.kind,
        "severity": row.severity,
        "run": row.run,
        "decision": answer.decision if answer else None,
        "choice": answer.choice if answer else None,
        "defaulted": answer.defaulted if answer else False,
        "superseded_by": row.superseded_by,
    }
