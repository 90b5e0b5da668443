"""Webhooks, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import webhooks
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    change("webhook.create", "POST /webhooks", "handoffs:write", webhooks.CreateWebhook, webhooks.Webhook,
            summary="Be told over HTTP of offered work and of what came of your own; the secret is shown once"),
    read("webhook.list", "/webhooks", "handoffs:read", webhooks.ListWebhooks, Page, items=webhooks.Webhook,
          summary="Webhooks, without secrets"),
    change("webhook.delete", "DELETE /webhooks/{id}", "handoffs:write", webhooks.DeleteWebhook, webhooks.Webhook,
            summary="Stop calling a webhook"),
    read("webhook.deliveries", "/webhook-deliveries", "handoffs:read", webhooks.ListDeliveries, Page,
          items=webhooks.Delivery, summary="What was sent, newest first"),
)  # fmt: skip
