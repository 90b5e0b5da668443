"""E-mail: over TLS, under one id however often it is tried, and with what was decided as an answer to the question."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import SplitResult, unquote, urlsplit

from agentmemo.clock import utc
from agentmemo.model import notification_forms as forms
from agentmemo.model.notifications import Message
from agentmemo.notify.channels import NotSent
from agentmemo.settings import Settings, secret

TIMEOUT_SECONDS = 20.0
PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
PERMANENT = 500
# Refusals of the server that speak of our account or its state, not of this message.
ACCOUNT = frozenset({530, 534, 535, 538})


class Email:
    """Sends through one mail server. `context` is how its certificate is checked."""

    def __init__(self, settings: Settings, context: Callable[[], ssl.SSLContext] = ssl.create_default_context) -> None:
        self._settings = settings
        self._context = context

    def send(self, message: Message, address: str) -> str:
        identity = f"<{message.id}@{self._domain()}>"
        self._deliver(self._compose(message, address, identity), address)
        return identity

    def update(self, provider: str, message: Message, address: str) -> str:
        """Mail cannot be edited: another one follows, in the same thread."""
        mail = self._compose(message, address, f"<{message.id}.over@{self._domain()}>")
        mail["In-Reply-To"] = provider
        self._deliver(mail, address)
        return provider

    def _compose(self, message: Message, address: str, identity: str) -> EmailMessage:
        form = forms.mail(message)
        mail = EmailMessage()
        try:
            mail["Subject"] = form.subject
            mail["From"] = self._settings.smtp_from
            mail["To"] = address
        except (ValueError, IndexError, MessageError) as error:
            raise NotSent(f"no such mail can be written: {type(error).__name__}", final=True) from None
        mail["Date"] = format_datetime(utc(message.at))
        mail["Message-ID"] = identity
        # All mail about one question makes one thread.
        mail["References"] = f"<{message.escalation}@{self._domain()}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Auto-Response-Suppress"] = "All"
        mail.set_content(form.text)
        mail.add_alternative(form.html, subtype="html")
        return mail

    def _domain(self) -> str:
        sender = parseaddr(self._settings.smtp_from)[1]
        if not self._settings.smtp_url or "@" not in sender:
            raise NotSent("no mail server is set: AGENTMEMO_SMTP_URL and AGENTMEMO_SMTP_FROM")
        return sender.rpartition("@")[2]

    def _deliver(self, mail: EmailMessage, address: str) -> None:
        try:
            with self._open() as server:
                server.send_message(mail, to_addrs=[address])
        except smtplib.SMTPRecipientsRefused as error:
            code = next((code for code, _ in error.recipients.values()), 0)
            raise NotSent(f"the mail server refuses the recipient: {code}", final=code >= PERMANENT) from None
        except smtplib.SMTPResponseException as error:
            final = error.smtp_code >= PERMANENT and error.smtp_code not in ACCOUNT
            raise NotSent(f"the mail server answered {error.smtp_code}", final=final) from None
        except (OSError, ValueError, smtplib.SMTPException) as error:
            # Only the kind: the texts of servers repeat addresses, those of libraries what they were given.
            raise NotSent(f"the mail server was not reached: {type(error).__name__}") from None

    def _open(self) -> smtplib.SMTP:
        """A connection that is ready to take mail. Without TLS only where that was asked for, and no password then."""
        place = self._place()
        host, port = place.hostname or "", place.port or PORTS[place.scheme]
        # Given a name, smtplib does not ask the resolver for one, which may take long.
        name = self._domain()
        if place.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, name, timeout=TIMEOUT_SECONDS, context=self._context())
        else:
            server = smtplib.SMTP(host, port, name, timeout=TIMEOUT_SECONDS)
        try:
            if place.scheme == "smtp":
                server.starttls(context=self._context())
            if place.username:
                server.login(unquote(place.username), secret("smtp_password") or "")
        except BaseException:
            server.close()
            raise
        return server

    def _place(self) -> SplitResult:
        place = urlsplit(self._settings.smtp_url)
        if place.scheme not in PORTS or not place.hostname:
            raise NotSent("AGENTMEMO_SMTP_URL is no address of a mail server")
        if place.password is not None:
            raise NotSent("AGENTMEMO_SMTP_URL holds a password; it belongs into AGENTMEMO_SMTP_PASSWORD")
        if place.scheme == "smtp+plain" and place.username and place.hostname not in LOCAL:
            raise NotSent("no password is sent without TLS: use smtp:// or smtps://")
        return place
