"""Webhooks: being told over HTTP."""

from __future__ import annotations

from agentmemo.client._async.pages import AsyncPage
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.model.webhooks import CreateWebhook, DeleteWebhook, Delivery, ListDeliveries, ListWebhooks, Webhook


class AsyncWebhooks:
    """Where this agent is called. Messages are signed as Standard Webhooks says, and come at least once."""

    def __init__(self, plane: AsyncPlane) -> None:
        self._plane = plane

    async def create(self, url: str, *, agent: str | None = None, label: str = "") -> Webhook:
        """Call this address when work is offered to the agent, and when what it handed over or asked people has ended.

        Of what it handed over also when it is late. The answer's `secret` checks the messages' signatures and is shown
        once. For another `agent` than the caller it needs handoffs:admin. Private addresses are called only by a plane
        with AGENTMEMO_WEBHOOK_PRIVATE_ADDRESSES.
        """
        return await self._plane.call(CreateWebhook(url=url, agent=agent, label=label))

    async def list(self, *, cursor: str | None = None, limit: int = 100) -> AsyncPage[Webhook]:
        return await self._plane.page(ListWebhooks(cursor=cursor, limit=limit))

    async def delete(self, id: str) -> Webhook:
        """Stop calling it; what waits for it is tried once more and no further."""
        return await self._plane.call(DeleteWebhook(id=id))

    async def deliveries(
        self,
        *,
        subject: str | None = None,
        webhook: str | None = None,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> AsyncPage[Delivery]:
        """What was or is to be sent, newest first, about a `subject`: a handoff or an escalation.

        `state` is sending, delivered or failed.
        """
        return await self._plane.page(
            ListDeliveries(subject=subject, webhook=webhook, state=state, cursor=cursor, limit=limit)
        )
