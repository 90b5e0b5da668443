"""Each channel against a real receiver on this machine: what arrives, what is edited, and what a refusal becomes."""

from __future__ import annotations

import base64
import hmac
import json
import ssl

import msgspec
import pytest
from certificates import write_certificate

from agentmemo.engine.webhooks import person_secret_of
from agentmemo.model import notification_forms as forms
from agentmemo.model.notifications import Message, Option, Over
from agentmemo.notify.apprise import Apprise
from agentmemo.notify.channels import NotSent
from agentmemo.notify.email import Email
from agentmemo.notify.ntfy import Ntfy
from agentmemo.notify.person_webhook import PersonWebhook
from agentmemo.notify.slack import Slack
from agentmemo.settings import Settings

NOW = 1_750_000_000_000_000
MESSAGE = Message(
    id="ntf_0000000000000001",
    escalation="esc_0000000000000001",
    workspace="default",
    person="maria",
    occasion="step 1",
    at=NOW,
    question="Roll back production?\nNow?",
    kind="question",
    severity="high",
    asker="agent:deployer",
    consequence="the answer is no",
    deadline=NOW + 60_000_000,
    options=(Option(decision="choose", choice="yes", label="Yes, äöü", reversible=True),),
    answer_url="https://memo.example.org/answer/TOKEN",
    code="0471",
)
OVER = msgspec.structs.replace(
    MESSAGE, over=Over(state="decided", label="Yes", by="person:maria", at=NOW), answer_url="", code=""
)
PASSWORD = "pass word"


def settings(receiver=None, **given):
    base = {"slack_url": receiver.base + "/api", "ntfy_url": receiver.base} if receiver else {}
    return Settings(**base, **given)


def mail_settings(server, user="", scheme="smtp+plain", host="127.0.0.1"):
    return Settings(smtp_url=f"{scheme}://{user}{host}:{server.port}", smtp_from="AgentMemo <memo@example.org>")


def refusal(call, *arguments):
    with pytest.raises(NotSent) as refused:
        call(*arguments)
    return refused.value


# e-mail


def test_mail_arrives_whole_and_what_was_decided_follows_in_its_thread(mail_server):
    channel = Email(mail_settings(mail_server))
    identity = channel.send(MESSAGE, "maria@example.org")
    assert channel.update(identity, OVER, "maria@example.org") == identity
    (to, asked), (_, told) = mail_server.got
    assert to == ["maria@example.org"]
    assert asked["Subject"] == "High: Roll back production? Now?"
    assert asked["From"] == "AgentMemo <memo@example.org>"
    assert asked["Message-ID"] == identity == "<ntf_0000000000000001@example.org>"
    assert (asked["Auto-Submitted"], asked["Date"]) == ("auto-generated", "Sun, 15 Jun 2025 15:06:40 +0000")
    assert asked.get_body(("plain",)).get_content().replace("\r\n", "\n") == forms.plain_text(MESSAGE)
    assert "Yes, äöü" in asked.get_body(("html",)).get_content()
    assert told["Message-ID"] != identity
    assert told["In-Reply-To"] == identity
    assert told["References"] == asked["References"] == "<esc_0000000000000001@example.org>"
    assert told["Subject"].startswith("Decided: ")


def test_a_mail_that_is_tried_again_is_the_same_mail(mail_server):
    channel = Email(mail_settings(mail_server))
    mail_server.refusal = "450 busy"
    refused = refusal(channel.send, MESSAGE, "maria@example.org")
    assert (refused.final, refused.reason) == (False, "the mail server refuses the recipient: 450")
    first, second = channel.send(MESSAGE, "maria@example.org"), channel.send(MESSAGE, "maria@example.org")
    assert first == second
    mail_server.refusal = "550 no such mailbox maria@example.org"
    refused = refusal(channel.send, MESSAGE, "maria@example.org")
    assert refused.final
    assert "maria" not in refused.reason


def test_the_password_comes_from_the_environment_or_a_file(mail_server, monkeypatch, tmp_path):
    channel = Email(mail_settings(mail_server, "user%40x@"))
    monkeypatch.setenv("AGENTMEMO_SMTP_PASSWORD", PASSWORD)
    channel.send(MESSAGE, "maria@example.org")
    monkeypatch.delenv("AGENTMEMO_SMTP_PASSWORD")
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    monkeypatch.setenv("AGENTMEMO_SMTP_PASSWORD_FILE", str(tmp_path / "password"))
    channel.send(MESSAGE, "maria@example.org")
    assert mail_server.logins == [("user@x", PASSWORD)] * 2
    monkeypatch.setenv("AGENTMEMO_SMTP_PASSWORD", "wrong")
    refused = refusal(channel.send, MESSAGE, "maria@example.org")
    assert (refused.final, refused.reason) == (False, "the mail server answered 535")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(server's context, client's context) for localhost, with a certificate of its own."""
    place = write_certificate(tmp_path_factory.mktemp("tls") / "both.pem")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(place)
    return server, lambda: ssl.create_default_context(cafile=place)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_tls_is_used_and_certificates_are_checked(mail_server_of, certificate, scheme, monkeypatch):
    ours, theirs = certificate
    option = {"tls_context": ours, "require_starttls": True} if scheme == "smtp" else {"ssl_context": ours}
    server = mail_server_of(**option)
    monkeypatch.setenv("AGENTMEMO_SMTP_PASSWORD", PASSWORD)
    place = mail_settings(server, "user@" if scheme == "smtp" else "", scheme, "localhost")
    Email(place, theirs).send(MESSAGE, "maria@example.org")
    assert len(server.got) == 1
    refused = refusal(Email(place).send, MESSAGE, "maria@example.org")
    assert refused.reason == "the mail server was not reached: SSLCertVerificationError"
    assert len(server.got) == 1


def test_without_tls_nothing_is_sent_unless_asked_for(mail_server, monkeypatch):
    monkeypatch.setenv("AGENTMEMO_SMTP_PASSWORD", PASSWORD)
    refused = refusal(Email(mail_settings(mail_server, "user@", "smtp")).send, MESSAGE, "maria@example.org")
    assert "SMTPNotSupportedError" in refused.reason
    far = Settings(smtp_url="smtp+plain://user@mail.example.org", smtp_from="memo@example.org")
    assert "without TLS" in refusal(Email(far).send, MESSAGE, "maria@example.org").reason
    told = Settings(smtp_url=f"smtp://user:{PASSWORD.replace(' ', '')}@x", smtp_from="memo@example.org")
    refused = refusal(Email(told).send, MESSAGE, "maria@example.org")
    assert "AGENTMEMO_SMTP_PASSWORD" in refused.reason
    assert "password@" not in refused.reason
    assert mail_server.logins == mail_server.got == []


def test_no_mail_server_and_none_there(mail_server):
    assert "AGENTMEMO_SMTP_URL" in refusal(Email(Settings()).send, MESSAGE, "maria@example.org").reason
    nowhere = Settings(smtp_url="smtp+plain://127.0.0.1:9", smtp_from="memo@example.org")
    refused = refusal(Email(nowhere).send, MESSAGE, "maria@example.org")
    assert not refused.final
    assert "ConnectionRefusedError" in refused.reason


# Slack


def test_slack_posts_and_replaces(receiver, monkeypatch):
    monkeypatch.setenv("AGENTMEMO_SLACK_TOKEN", "xoxb-1")
    receiver.answers = [(200, b'{"ok":true,"channel":"C2","ts":"17.1","message":{}}'), (200, b'{"ok":true}')]
    channel = Slack(settings(receiver))
    provider = channel.send(MESSAGE, "U1")
    assert provider == "C2/17.1"
    assert channel.update(provider, OVER, "U1") == provider
    assert [path for path, _, _ in receiver.got] == ["/api/chat.postMessage", "/api/chat.update"]
    assert {headers["authorization"] for _, headers, _ in receiver.got} == {"Bearer xoxb-1"}
    asked, told = receiver.bodies
    assert (asked["channel"], asked["unfurl_links"]) == ("U1", False)
    assert (told["channel"], told["ts"]) == ("C2", "17.1")
    assert any(block["type"] == "actions" for block in asked["blocks"])
    assert not any(block["type"] in ("actions", "input") for block in told["blocks"])


def test_what_slack_cannot_edit_is_followed(receiver, monkeypatch):
    monkeypatch.setenv("AGENTMEMO_SLACK_TOKEN", "xoxb-1")
    receiver.answers = [
        (200, b'{"ok":false,"error":"message_not_found"}'),
        (200, b'{"ok":true,"channel":"C2","ts":"18.1"}'),
    ]
    assert Slack(settings(receiver)).update("C2/17.1", OVER, "U1") == "C2/18.1"


def test_slack_says_no(receiver, monkeypatch):
    channel = Slack(settings(receiver))
    assert "AGENTMEMO_SLACK_TOKEN" in refusal(channel.send, MESSAGE, "U1").reason
    monkeypatch.setenv("AGENTMEMO_SLACK_TOKEN", "xoxb-1")
    receiver.answers = [
        (200, b'{"ok":false,"error":"channel_not_found"}'),
        (200, b'{"ok":false,"error":"fatal_error"}'),
    ]
    assert refusal(channel.send, MESSAGE, "U1").final
    assert not refusal(channel.send, MESSAGE, "U1").final
    receiver.answers, receiver.headers = [429], {"retry-after": "30"}
    refused = refusal(channel.send, MESSAGE, "U1")
    assert (refused.final, refused.wait_seconds) == (False, 30.0)
    receiver.answers = [(200, b"<html>")]
    assert not refusal(channel.send, MESSAGE, "U1").final


def test_an_incoming_webhook_is_told_twice_and_its_address_is_secret(receiver):
    channel = Slack(settings(receiver, webhook_private_addresses=True))
    address = receiver.base + "/services/T/B/hidden"
    assert channel.send(MESSAGE, address) == ""
    channel.update("", OVER, address)
    assert len(receiver.got) == 2
    for bad in (address + " x", receiver.base + "/services/T/B/hidden\u00e4"):
        assert "hidden" not in refusal(channel.send, MESSAGE, bad).reason
    closed = Slack(settings(receiver))
    refused = refusal(closed.send, MESSAGE, address)
    assert refused.reason == "not reached: PrivateAddress"


# ntfy, webhooks, Apprise


def test_ntfy_replaces_by_sequence_and_keeps_its_token_at_home(receiver, monkeypatch):
    monkeypatch.setenv("AGENTMEMO_NTFY_TOKEN", "tk_1")
    channel = Ntfy(settings(receiver, webhook_private_addresses=True))
    provider = channel.send(MESSAGE, "topic")
    channel.update(provider, OVER, "topic")
    elsewhere = receiver.base.replace("127.0.0.1", "localhost")
    channel.send(MESSAGE, f"{elsewhere}/other")
    first, second, third = receiver.bodies
    assert first["sequence_id"] == second["sequence_id"] == MESSAGE.id
    assert (first["topic"], third["topic"]) == ("topic", "other")
    assert [headers.get("authorization") for _, headers, _ in receiver.got] == ["Bearer tk_1", "Bearer tk_1", None]
    assert "PrivateAddress" in refusal(Ntfy(settings(receiver)).send, MESSAGE, f"{elsewhere}/other").reason


def test_a_persons_webhook_is_signed(receiver):
    channel = PersonWebhook(settings(webhook_private_addresses=True), lambda: b"pepper")
    provider = channel.send(MESSAGE, receiver.url)
    channel.update(provider, OVER, receiver.url)
    key = person_secret_of(b"pepper", "default", receiver.url)
    assert [headers["webhook-id"] for _, headers, _ in receiver.got] == [MESSAGE.id, f"{MESSAGE.id}.over"]
    for _, headers, body in receiver.got:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    assert receiver.bodies[0]["data"]["question"] == MESSAGE.question
    assert [body["type"] for body in receiver.bodies] == ["escalation.asked", "escalation.over"]
    receiver.answers = [410, 503]
    assert refusal(channel.send, MESSAGE, receiver.url).final
    assert not refusal(channel.send, MESSAGE, receiver.url).final
    closed = PersonWebhook(settings(), lambda: b"pepper")
    assert "PrivateAddress" in refusal(closed.send, MESSAGE, receiver.url).reason


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_apprise_reaches_what_it_knows(receiver, caplog):
    caplog.set_level("DEBUG")
    channel = Apprise(settings(webhook_private_addresses=True))
    address = receiver.base.replace("http://", "json://") + "/here"
    channel.update(channel.send(MESSAGE, address), OVER, address)
    first, second = receiver.bodies
    assert first["title"] == "High: Roll back production? Now?"
    assert "/answer/TOKEN" in first["message"]
    assert second["title"].startswith("Decided")
    assert "TOKEN" not in caplog.text
    receiver.answers = [500]
    refused = refusal(channel.send, MESSAGE, address)
    assert (refused.final, refused.reason) == (False, "Apprise could not deliver it")
    refused = refusal(channel.send, MESSAGE, "nonsense://hidden")
    assert refused.final
    assert "hidden" not in refused.reason
    refused = refusal(Apprise(settings()).send, MESSAGE, address)
    assert "private address" in refused.reason


def test_without_apprise_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    assert "agentmemo[apprise]" in refusal(Apprise(settings()).send, MESSAGE, "json://x").reason


def test_slack_messages_are_json_of_utf8(receiver, monkeypatch):
    monkeypatch.setenv("AGENTMEMO_SLACK_TOKEN", "xoxb-1")
    receiver.answers = [(200, b'{"ok":true}')]
    Slack(settings(receiver)).send(MESSAGE, "U1")
    assert "äöü" in receiver.got[0][2].decode()
    assert json.loads(receiver.got[0][2])["text"] == "High: Roll back production? Now?"
