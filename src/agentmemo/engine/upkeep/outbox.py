"""What agents are told over HTTP: found in the trail, and put into the outbox once."""

from __future__ import annotations

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

WEBHOOKS_MAX = 1000
# Events looked through in one transaction, for one webhook.
LOOKED_AT = 2000


class _Webhook(NamedTuple):
    workspace: int
    id: str
    actor: int
    name: str
    position: int


def fill_outbox(engine: Engine) -> int:
    """Webhooks follow the trail: what the events since the last look brought about is put into the outbox."""
    found = engine.database.read(lambda tx: [_Webhook(*row) for row in tx.all("webhook_behind", limit=WEBHOOKS_MAX)])
    done = 0
    for webhook in found:
        newest = engine.database.read(partial(audit.last_position, workspace=webhook.workspace), snapshot=False)
        if newest > webhook.position:
            done += engine.database.write(partial(_follow, webhook, newest), lane=webhook.workspace)
    return done


def _follow(webhook: _Webhook, newest: int, tx: Transaction) -> int:
    last = min(newest, webhook.position + LOOKED_AT)
    told = 0
    for (stream,) in tx.all("event_handoffs", after=webhook.position, last=last):
        row = handoff_rows.get(tx, webhook.workspace, stream)
        if row is not None:
            told += _tell(tx, webhook, row)
    tx.write("webhook_move", id=webhook.id, position=last)
    return told + (last < newest)


def _tell(tx: Transaction, webhook: _Webhook, row: handoff_rows.HandoffRow) -> int:
    """What this webhook's agent should know of a handoff as it is now."""
    told = 0
    if row.offered:
        addresses = [f"agent:{webhook.name}", *handoff_rows.addresses(tx, webhook.workspace, webhook.actor)]
        if handoff_rows.is_offered(tx, row, addresses, webhook.actor):
            message = f"{row.handle} offered at {row.offered_at} to {row.address} after epoch {row.epoch}"
            _add(tx, webhook, row, model.OFFERED, message)
            told += 1
    if row.sender == webhook.actor and row.notice_at is not None and row.received_at is None:
        _add(tx, webhook, row, model.TOLD, f"{row.handle} {row.state} at {row.notice_at}")
        told += 1
    return told


def _add(tx: Transaction, webhook: _Webhook, row: handoff_rows.HandoffRow, kind: str, message: str) -> None:
    """The message names the handoff; whoever gets it reads the rest with a key of its own."""
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
    body = {"type": kind, "timestamp": clock.iso(tx.now), "data": data}
    tx.write(
        "delivery_add",
        id=ids.mint("dlv", tx.now),
        workspace=webhook.workspace,
        webhook=webhook.id,
        message=message,
        type=kind,
        subject=row.handle,
        body=msgspec.json.encode(body).decode(),
        now=tx.now,
    )
