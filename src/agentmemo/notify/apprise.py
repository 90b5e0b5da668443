"""Apprise: about 150 more services, one way only, where the extra is installed."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from agentmemo.model import notification_forms as forms
from agentmemo.model.notifications import Message
from agentmemo.notify.channels import NotSent
from agentmemo.notify.outgoing import PrivateAddress, check_public
from agentmemo.settings import Settings

# The sender names the threads of a channel so.
THREADS = "agentmemo-apprise"
KINDS = {"critical": "failure", "high": "warning", "medium": "info", "low": "info"}


class Apprise:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, message: Message, address: str) -> str:
        library = _library()
        target = library.Apprise()
        # Its addresses hold secrets, so nothing that it says about them is repeated.
        if not target.add(address):
            raise NotSent("Apprise does not know this kind of address", final=True)
        if not self._settings.webhook_private_addresses:
            _check_hosts(target)
        kind = "success" if message.over else KINDS.get(message.severity, "info")
        try:
            done = target.notify(
                title=forms.subject(message),
                body=forms.plain_text(message),
                notify_type=kind,
                body_format=library.NotifyFormat.TEXT,
            )
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            raise NotSent(f"Apprise failed: {type(error).__name__}") from None
        if not done:
            raise NotSent("Apprise could not deliver it")
        return message.id

    def update(self, provider: str, message: Message, address: str) -> str:
        """Nothing can be edited there: another message follows."""
        self.send(message, address)
        return provider


def _check_hosts(target: Any) -> None:
    """Services that one hosts oneself are addressed by host; of all others the host is no host, but a token."""
    for plugin in target:
        if any("{host}" in template for template in plugin.templates):
            try:
                check_public(plugin.host or "")
            except (OSError, ValueError, PrivateAddress):
                raise NotSent("Apprise would call a private address, or one that is not found", final=True) from None


def _library() -> Any:
    """Imported when the first such message is sent: it loads every plugin it has."""
    try:
        library = importlib.import_module("apprise")
    except ImportError:
        raise NotSent("Apprise is not installed: pip install 'agentmemo[apprise]'") from None
    # What it logs holds the message with its link, and addresses; so does what it calls through.
    logging.getLogger("apprise").disabled = True
    logging.getLogger("urllib3.connectionpool").addFilter(_is_not_ours)
    return library


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not (record.threadName or "").startswith(THREADS)
