"""Telling people: every message at least once, each channel by itself, so that one that hangs holds up no other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import msgspec

from agentmemo.engine import answer_links, notifications
from agentmemo.engine.call import Call
from agentmemo.engine.dispatch import Engine
from agentmemo.engine.notifications import Due
from agentmemo.errors import Error
from agentmemo.model import notifications as model
from agentmemo.notify.channels import Channel, NotSent
from agentmemo.store.database import Transaction

SENDERS = 2
ANSWER_PATH = "/answer/"
Compose = Callable[[Transaction, Call, Due], model.Message]
_log = logging.getLogger("agentmemo.people")


class PeopleSender:
    """Sends due messages beside upkeep; `send_due` does so now and waits, for tests.

    `compose` writes a message as its question stands; the link to answer is put into it here.
    """

    def __init__(self, engine: Engine, compose: Compose) -> None:
        self._engine = engine
        self._compose = compose
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._sending: set[str] = set()
        self._lock = threading.Lock()

    @cached_property
    def channels(self) -> dict[str, Channel]:
        from agentmemo.notify.every_channel import channels_of

        return channels_of(self._engine)

    def start_due(self) -> None:
        """Begin to send what is due, without waiting for it."""
        for due in self._due():
            with self._lock:
                if due.id in self._sending:
                    continue
                self._sending.add(due.id)
                pool = self._pools.get(due.channel)
                if pool is None:
                    pool = ThreadPoolExecutor(SENDERS, thread_name_prefix=f"agentmemo-{due.channel}")
                    self._pools[due.channel] = pool
            pool.submit(self._send_quietly, due)

    def send_due(self) -> int:
        """Send what is due now; returns how many attempts were made."""
        return sum(self._send(due) for due in self._due())

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)

    def _due(self) -> list[Due]:
        return self._engine.database.read(notifications.due, snapshot=False)

    def _send_quietly(self, due: Due) -> None:
        try:
            self._send(due)
        except Error as error:
            _log.warning("message %s waits: %s", due.id, error.message)
        except Exception:  # noqa: BLE001 - one message must not end the sending of others
            _log.exception("message %s could not be sent", due.id)
        finally:
            with self._lock:
                self._sending.discard(due.id)

    def _send(self, due: Due) -> bool:
        together = self._engine.database.write(lambda tx: notifications.take_together(tx, due), lane=due.workspace)
        if not together:
            return False
        call = self._engine.system_calls({due.workspace})[due.workspace]
        first = together[0]
        try:
            message, over = self._written(call, together)
            provider = self._hand_over(first, model.outward(message, first.channel, first.carries))
        except NotSent as refused:
            self._not_sent(call, together, refused)
        except Exception as error:
            # Counted as an attempt, or it would be tried again without end.
            self._not_sent(call, together, NotSent(f"could not be written: {type(error).__name__}"))
            raise
        else:
            self._sent(call, together, provider, over)
        return True

    def _written(self, call: Call, together: list[Due]) -> tuple[model.Message, set[int]]:
        """The message as its questions stand, and which of them it says are over."""
        # Read before the transaction: it may have to be made first.
        self._engine.pepper()
        return self._engine.database.write(lambda tx: self._compose_all(tx, call, together), lane=call.workspace)

    def _compose_all(self, tx: Transaction, call: Call, together: list[Due]) -> tuple[model.Message, set[int]]:
        first = together[0]
        shown = notifications.shown_with(tx, first) if first.state == model.SENT else together
        # Two occasions of one question are one question to whoever reads.
        found = {each.escalation: each for each in reversed([first, *shown])}
        messages = {number: self._with_link(tx, call, each) for number, each in found.items()}
        over = {number for number, message in messages.items() if message.over is not None}
        if len(messages) == 1:
            return messages[first.escalation], over
        message = msgspec.structs.replace(model.together(list(messages.values())), id=first.id, at=tx.now)
        return message, over

    def _sent(self, call: Call, together: list[Due], provider: str, over: set[int]) -> None:
        def keep(tx: Transaction) -> None:
            for taken in together:
                notifications.sent(tx, call, taken, provider, over=taken.escalation in over)

        self._engine.database.write(keep, lane=call.workspace)

    def _with_link(self, tx: Transaction, call: Call, taken: Due) -> model.Message:
        message = self._compose(tx, call, taken)
        place = self._engine.settings.public_url.rstrip("/")
        if not place or message.over is not None:
            return message
        link = answer_links.make_link(
            tx,
            call,
            escalation=taken.escalation,
            notification=taken.id,
            person=taken.person,
            deadline=message.deadline,
        )
        return model.with_link(message, f"{place}{ANSWER_PATH}{link.token}", link.code)

    def _hand_over(self, taken: Due, message: model.Message) -> str:
        channel = self.channels[taken.channel]
        if taken.state == model.SENT:
            return channel.update(taken.provider or "", message, taken.address)
        return channel.send(message, taken.address)

    def _not_sent(self, call: Call, together: list[Due], refused: NotSent) -> None:
        def keep(tx: Transaction) -> None:
            for taken in together:
                notifications.failed(
                    tx, call, taken, refused.reason, final=refused.final, wait_seconds=refused.wait_seconds
                )

        self._engine.database.write(keep, lane=call.workspace)
