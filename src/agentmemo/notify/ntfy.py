"""ntfy: a push to a phone. It can lead to the page where one answers; it never answers itself."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from agentmemo.model import notification_forms as forms
from agentmemo.model.notifications import Message
from agentmemo.notify.channels import accepted
from agentmemo.notify.outgoing import post
from agentmemo.settings import Settings, secret


class Ntfy:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, message: Message, address: str) -> str:
        server, topic, ours = self._place(address)
        headers = {"content-type": "application/json"}
        if ours and (token := secret("ntfy_token")):
            headers["authorization"] = f"Bearer {token}"
        private = ours or self._settings.webhook_private_addresses
        accepted(post(server, msgspec.json.encode(forms.ntfy(message, topic)), headers, private=private))
        return message.id

    def update(self, provider: str, message: Message, address: str) -> str:
        """The same sequence again takes the place of what was there."""
        self.send(msgspec.structs.replace(message, id=provider), address)
        return provider

    def _place(self, address: str) -> tuple[str, str, bool]:
        """(server, topic, whether it is the operator's own server, which alone gets the token)."""
        if "://" not in address:
            return self._settings.ntfy_url, address, True
        parts = urlsplit(address)
        server = f"{parts.scheme}://{parts.netloc}"
        return server, parts.path.strip("/"), server == self._settings.ntfy_url.rstrip("/")
