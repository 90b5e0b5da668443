"""What every channel can do, and how it says that it could not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agentmemo.model.notifications import Message

if TYPE_CHECKING:
    from agentmemo.notify.outgoing import Outcome


class NotSent(Exception):
    """A message was not accepted. `final`: it never will be. The reason names no address and no secret."""

    def __init__(self, reason: str, *, final: bool = False, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.wait_seconds = wait_seconds


class Channel(Protocol):
    """One way to reach people. Both calls raise NotSent."""

    def send(self, message: Message, address: str) -> str:
        """Send it; returns what the other side knows it by."""
        ...

    def update(self, provider: str, message: Message, address: str) -> str:
        """Bring a message that was sent up to date: edit it, or where that cannot be, follow it with another."""
        ...


# What a receiver says about the message or its address, so that the next attempt would be told the same.
FINAL_STATUS = frozenset({400, 403, 404, 405, 410, 413, 415, 422})


def accepted(outcome: Outcome, *, final: frozenset[int] = FINAL_STATUS) -> Outcome:
    """The outcome of an HTTP call, if it was one. Raises NotSent, whose reason holds no address."""
    if not outcome.delivered:
        reason = outcome.cause if outcome.status else f"not reached: {outcome.cause}"
        raise NotSent(reason, final=outcome.status in final, wait_seconds=outcome.wait_seconds)
    return outcome
