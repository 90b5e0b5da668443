"""What agents are told over HTTP: found in the trail, and put into the outbox once.

Looking and matching is done on a reader, once for all webhooks of a workspace; the writer gets what was found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agentmemo import clock, ids
from agentmemo.engine import audit
from agentmemo.model import webhooks as model
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
    row: handoff_rows.HandoffRow
    type: str
    text: str  # what it is about, so that nothing is told twice


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
    return _waiting(tx, workspace, hook) + [_notice(hook, handoff_rows.HandoffRow(*row)) for row in told]


def _waiting(tx: Transaction, workspace: int, hook: _Webhook) -> list[_Message]:
    addresses = [f"agent:{hook.name}", *handoff_rows.addresses(tx, workspace, hook.actor)]
    return [_offer(hook, row) for row in handoff_rows.offered(tx, workspace, addresses, hook.actor, WAITING_TOLD)]


def _offer(hook: _Webhook, row: handoff_rows.HandoffRow) -> _Message:
    text = f"{row.handle} offered at {row.offered_at} to {row.address} after epoch {row.epoch}"
    return _Message(hook.id, row, model.OFFERED, text)


def _notice(hook: _Webhook, row: handoff_rows.HandoffRow) -> _Message:
    return _Message(hook.id, row, model.TOLD, f"{row.handle} {row.state} at {row.notice_at}")


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
            subject=message.row.handle,
            body=_body(message, tx.now),
            now=tx.now,
        )
    for webhook, position in look.moves.items():
        tx.write("webhook_move", id=webhook, position=position)
    if look.all_to is not None:
        tx.write("webhook_move_all", workspace=workspace, low=audit.position_range(workspace)[0], position=look.all_to)


def _body(message: _Message, now: int) -> str:
    """The message names the handoff; whoever gets it reads the rest with a key of its own."""
    row = message.row
    data = {
        "handoff": row.handle,
        "to": row.address,
        "state": row.state,
        "goal": row.goal,
        "workflow": row.workflow,
        "priority": row.priority,
        "attempt": row.attempt,
        "reason": row.reason,
    }
    return msgspec.json.encode({"type": message.type, "timestamp": clock.iso(now), "data": data}).decode()
