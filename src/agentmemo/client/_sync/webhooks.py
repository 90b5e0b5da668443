# Generated from client/_async by scripts/generate_sync.py; edit there.
"""Webhooks: being told over HTTP."""

from __future__ import annotations

from agentmemo.client._sync.pages import Page
from agentmemo.client._sync.plane import Plane
from agentmemo.model.webhooks import CreateWebhook, DeleteWebhook, Delivery, ListDeliveries, ListWebhooks, Webhook


class Webhooks:
    """Where this agent is called. Messages are signed as Standard Webhooks says, and come at least once."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def create(self, url: str, *, agent: str | None = None, label: str = "") -> Webhook:
        """Call this address when work is offered to the agent, and when what it handed over or asked people has ended.

        Of what it handed over also when it is late. The answer's `secret` checks the messages' signatures and is shown
        once. For another `agent` than the caller it needs handoffs:admin. Private addresses are called only by a plane
        with AGENTMEMO_WEBHOOK_PRIVATE_ADDRESSES.
        """
        return self._plane.call(CreateWebhook(url=url, agent=agent, label=label))

    def list(self, *, cursor: str | None = None, limit: int = 100) -> Page[Webhook]:
        return self._plane.page(ListWebhooks(cursor=cursor, limit=limit))

    def delete(self, id: str) -> Webhook:
        """Stop calling it; what waits for it is tried once more and no further."""
        return self._plane.call(DeleteWebhook(id=id))

    def deliveries(
        self,
        *,
        subject: str | None = None,
        webhook: str | None = None,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Delivery]:
        """What was or is to be sent, newest first, about a `subject`: a handoff or an escalation.

        `state` is sending, delivered or failed.
        """
        return self._plane.page(
            ListDeliveries(subject=subject, webhook=webhook, state=state, cursor=cursor, limit=limit)
        )
