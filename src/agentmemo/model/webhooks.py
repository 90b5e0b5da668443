"""Webhooks: where an agent is told over HTTP of work offered to it, and of what came of what it handed over or asked.

Messages, headers and signatures are those of Standard Webhooks (standardwebhooks.com, version 1).
"""

from __future__ import annotations

import base64
from typing import Annotated

from agentmemo.model.wire import Request, Response, one_of

SENDING, DELIVERED, FAILED = "sending", "delivered", "failed"
URL_MAX = 2048
SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark of a secret, none itself
OFFERED, TOLD, ANSWERED = "handoff.offered", "handoff.told", "escalation.ended"
# Pauses before the attempts: the schedule that Standard Webhooks recommends.
PAUSES_SECONDS = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)


class Webhook(Response, kw_only=True):
    """An address that is called. `secret` is filled once, in the answer that created it."""

    id: str
    url: str
    agent: str
    label: str
    created_at: int
    ended_at: int | None = None
    secret: str | None = None


class Delivery(Response, kw_only=True):
    """One message to one webhook. `state` is sending, delivered or failed."""

    id: str
    webhook: str
    type: str
    subject: str
    state: str
    attempts: int
    next_at: int | None
    status: int | None
    error: str
    created_at: int
    ended_at: int | None


class CreateWebhook(Request, kw_only=True):
    """Call this address when work is offered to `agent` (the caller), or when it has to hear of what it handed over.

    And when a question that it asked people has come to its end.
    """

    url: str
    agent: str | None = None
    label: str = ""


class ListWebhooks(Request, kw_only=True):
    cursor: str | None = None
    limit: int = 100


class DeleteWebhook(Request, kw_only=True):
    id: str


class ListDeliveries(Request, kw_only=True):
    """Newest first; with `subject`, those about one handoff or escalation."""

    subject: str | None = None
    webhook: str | None = None
    state: Annotated[str, one_of((SENDING, DELIVERED, FAILED))] | None = None
    cursor: str | None = None
    limit: int = 100


def secret_text(key: bytes) -> str:
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signed_content(message: str, seconds: int, body: bytes) -> bytes:
    """What the signature is made over."""
    return f"{message}.{seconds}.".encode() + body


def signature_text(mac: bytes) -> str:
    return "v1," + base64.b64encode(mac).decode()
