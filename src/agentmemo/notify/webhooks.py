"""Calling webhooks: signed, at least once, with pauses between the attempts, and to nowhere private unless allowed."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from agentmemo import ids
from agentmemo.clock import SECOND, monotonic
from agentmemo.engine import audit
from agentmemo.engine.call import Call
from agentmemo.engine.dispatch import Engine
from agentmemo.engine.webhooks import secret_of
from agentmemo.errors import Error
from agentmemo.model import webhooks as model
from agentmemo.settings import VERSION
from agentmemo.store.database import Transaction

if TYPE_CHECKING:
    from agentmemo.notify.outgoing import Outcome

BATCH = 200
SENDERS = 4
# A webhook that answers slowly leaves its thread to others after this; what is left of its messages waits a round.
TURN_SECONDS = 10.0
# A process that dies while it sends leaves the message to others after this.
TAKEN_SECONDS = 60.0
GONE = 410
_log = logging.getLogger("agentmemo.webhooks")


class Due(NamedTuple):
    """A message that is to be sent now."""

    workspace: int
    id: str
    webhook: str
    type: str
    body: str
    attempts: int
    url: str
    ended_at: int | None


class WebhookSender:
    """Sends due messages beside upkeep; `send_due` does so now and waits, for tests.

    Each webhook has at most one thread at a time, so that a slow one keeps no more than that from the others.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool: ThreadPoolExecutor | None = None
        self._sending: set[str] = set()
        self._lock = threading.Lock()
        self._closing = False

    def start_due(self) -> None:
        """Begin to send what is due, without waiting for it."""
        due = sorted(self._due(), key=attrgetter("webhook"))
        for webhook, messages in groupby(due, key=attrgetter("webhook")):
            with self._lock:
                if webhook in self._sending:
                    continue
                self._sending.add(webhook)
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="agentmemo-webhook")
            self._pool.submit(self._send_turn, webhook, list(messages))

    def send_due(self) -> int:
        """Send what is due now; returns how many attempts were made."""
        found = self._due()
        for due in found:
            self._send(due)
        return len(found)

    def close(self) -> None:
        self._closing = True
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _due(self) -> list[Due]:
        now = self._engine.clock.now_us()
        return self._engine.database.read(
            lambda tx: [Due(*row) for row in tx.all("delivery_due", now=now, limit=BATCH)], snapshot=False
        )

    def _send_turn(self, webhook: str, messages: list[Due]) -> None:
        """Messages of one webhook, one after another, until its turn is over."""
        end = monotonic() + TURN_SECONDS
        try:
            for due in messages:
                self._send(due)
                if self._closing or monotonic() >= end:
                    return
        except Error as error:
            _log.warning("messages to %s wait: %s", webhook, error.message)
        except Exception:  # noqa: BLE001 - one webhook must not end the sending to others
            _log.exception("a message to %s could not be sent", webhook)
        finally:
            with self._lock:
                self._sending.discard(webhook)

    def _send(self, due: Due) -> None:
        if not self._engine.database.write(lambda tx: self._take(tx, due), lane=due.workspace):
            return  # another process has it
        from agentmemo.notify.outgoing import Outcome, post

        if due.ended_at is not None:
            self._finish(due, Outcome(None, "the webhook was deleted"))
            return
        seconds = self._engine.clock.now_us() // SECOND
        body = due.body.encode()
        mac = ids.keyed_hash(secret_of(self._engine.pepper(), due.webhook), model.signed_content(due.id, seconds, body))
        headers = {
            "content-type": "application/json",
            "user-agent": f"AgentMemo/{VERSION}",
            "webhook-id": due.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": model.signature_text(mac),
        }
        outcome = post(due.url, body, headers, private=self._engine.settings.webhook_private_addresses)
        self._finish(due, outcome)

    def _finish(self, due: Due, outcome: Outcome) -> None:
        call = self._engine.system_calls({due.workspace})[due.workspace]
        self._engine.database.write(lambda tx: self._keep(tx, call, due, outcome), lane=due.workspace)

    def _take(self, tx: Transaction, due: Due) -> bool:
        next_at = tx.now + round(TAKEN_SECONDS * SECOND)
        return tx.run("delivery_take", id=due.id, attempts=due.attempts, next_at=next_at) == 1

    def _keep(self, tx: Transaction, call: Call, due: Due, outcome: Outcome) -> None:
        attempt = due.attempts + 1
        ended = outcome.delivered or outcome.status == GONE or attempt >= len(model.PAUSES_SECONDS)
        if not ended and due.ended_at is None:
            pause = round(ids.jitter(model.PAUSES_SECONDS[attempt]) * SECOND)
            tx.write("delivery_retry", id=due.id, next_at=tx.now + pause, status=outcome.status, error=outcome.error)
            return
        state = model.DELIVERED if outcome.delivered else model.FAILED
        tx.write("delivery_end", id=due.id, state=state, status=outcome.status, error=outcome.error, now=tx.now)
        if outcome.status == GONE:
            tx.write("webhook_end", id=due.webhook, now=tx.now)
        audit.record(
            tx,
            call,
            "webhook.deliver",
            {"kind": "webhook", "id": due.webhook, "message": due.id, "state": state},
            outcome="ok" if outcome.delivered else "failed",
            reason=outcome.error,
            count=attempt,
        )
