"""What claims to come from Slack: signed, within five minutes, over these very bytes."""

from __future__ import annotations

import hmac
import json
from urllib.parse import urlencode

import pytest

from agentmemo import InvalidInput, NotAuthenticated
from agentmemo.notify.slack import read_interaction, verify

NOW = 1_750_000_000
SECRET = "8f742231b10e"


def signed(body, at=NOW, secret=SECRET):
    return "v0=" + hmac.digest(secret.encode(), f"v0:{at}:".encode() + body, "sha256").hex()


def pressed(value='{"notification":"ntf_1","decision":"approve","seen":"d"}', **more):
    payload = {
        "type": "block_actions",
        "user": {"id": "U1", "name": "maria"},
        "actions": [{"action_id": "decide:0", "value": value, "type": "button"}],
        "state": {"values": {"comment": {"comment": {"type": "plain_text_input", "value": "because"}}}},
        "response_url": "https://hooks.slack.com/actions/x",
        "team": {"id": "T1"},
    } | more
    return urlencode({"payload": json.dumps(payload)}).encode()


def test_a_good_signature_passes_for_five_minutes():
    body = pressed()
    for skew in (0, 299, -299):
        verify(SECRET, str(NOW), signed(body), body, (NOW + skew) * 1_000_000)


@pytest.mark.parametrize(
    ("timestamp", "signature", "body"),
    [
        (str(NOW - 301), signed(b"x", NOW - 301), b"x"),
        (str(NOW + 302), signed(b"x", NOW + 302), b"x"),
        (str(NOW), signed(b"x"), b"y"),
        (str(NOW + 1), signed(b"x"), b"x"),
        (str(NOW), signed(b"x", secret="another"), b"x"),
        (str(NOW), signed(b"x").upper(), b"x"),
        (str(NOW), "v0=" + "é" * 64, b"x"),
        (str(NOW), "", b"x"),
        ("", signed(b"x"), b"x"),
        ("-1", signed(b"x"), b"x"),
        ("١٢٣", signed(b"x"), b"x"),
        ("9" * 5000, signed(b"x"), b"x"),
    ],
)
def test_stale_altered_and_foreign_ones_do_not(timestamp, signature, body):
    with pytest.raises(NotAuthenticated) as refused:
        verify(SECRET, timestamp, signature, body, NOW * 1_000_000)
    assert SECRET not in str(refused.value.to_dict())


def test_a_button_says_who_pressed_it_and_why():
    found = read_interaction(pressed())
    assert (found.user, found.comment, found.response_url) == ("U1", "because", "https://hooks.slack.com/actions/x")
    assert (found.button.notification, found.button.decision, found.button.seen) == ("ntf_1", "approve", "d")
    assert read_interaction(pressed(state={"values": {}})).comment == ""
    assert read_interaction(pressed(type="view_closed")) is None
    assert read_interaction(pressed(actions=[{"action_id": "other", "value": ""}])) is None


@pytest.mark.parametrize(
    "body", [b"", b"payload=", b"payload=%7B", b"\xff", pressed("{"), pressed("{}"), pressed(state=1)]
)
def test_what_is_no_interaction_is_refused(body):
    with pytest.raises(InvalidInput):
        read_interaction(body)
