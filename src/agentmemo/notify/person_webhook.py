"""A person's own webhook: the message as data, signed as Standard Webhooks says."""

from __future__ import annotations

from collections.abc import Callable

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.engine.webhooks import person_secret_of
from agentmemo.model import notification_forms as forms
from agentmemo.model.notifications import Message
from agentmemo.model.webhooks import signature_text, signed_content
from agentmemo.notify.channels import accepted
from agentmemo.notify.outgoing import post
from agentmemo.settings import VERSION, Settings


class PersonWebhook:
    def __init__(self, settings: Settings, pepper: Callable[[], bytes]) -> None:
        self._settings = settings
        self._pepper = pepper

    def send(self, message: Message, address: str) -> str:
        return self._call(message.id, message, address)

    def update(self, provider: str, message: Message, address: str) -> str:
        """Under an id of its own, since a receiver drops an id that it has seen."""
        return self._call(f"{message.id}.over", message, address) and provider

    def _call(self, identity: str, message: Message, address: str) -> str:
        body = forms.webhook(message)
        seconds = message.at // SECOND
        key = person_secret_of(self._pepper(), message.workspace, address)
        headers = {
            "content-type": "application/json",
            "user-agent": f"AgentMemo/{VERSION}",
            "webhook-id": identity,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature_text(ids.keyed_hash(key, signed_content(identity, seconds, body))),
        }
        accepted(post(address, body, headers, private=self._settings.webhook_private_addresses))
        return identity
