"""Slack: messages with buttons, edited after the decision, and the check of what Slack sends back.

An address is a channel's or member's id, for an app with a bot token, or an incoming webhook, which cannot edit.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

import msgspec

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.errors import InvalidInput, NotAuthenticated
from agentmemo.model import notification_forms as forms
from agentmemo.model.kinds import described
from agentmemo.model.notifications import Message
from agentmemo.model.values import NOT_JSON
from agentmemo.notify.channels import NotSent, accepted
from agentmemo.notify.outgoing import post
from agentmemo.settings import Settings, secret

WINDOW_SECONDS = 300
# What will be the same the next time; all other refusals may pass.
FINAL = frozenset(
    {
        "channel_not_found",
        "is_archived",
        "not_in_channel",
        "user_not_found",
        "invalid_blocks",
        "msg_too_long",
        "no_text",
    }
)
UNEDITABLE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"})
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}\Z")


class Slack:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, message: Message, address: str) -> str:
        """The id of what was posted is `channel/timestamp`; a webhook tells none."""
        form = forms.slack(message)
        if "://" in address:
            # Whose address that is was said by a person, not by the operator: it leads to nowhere private.
            private = self._settings.webhook_private_addresses
            accepted(post(address, msgspec.json.encode(form), _JSON, private=private))
            return ""
        answer = self._call("chat.postMessage", {"channel": address, "unfurl_links": False, **form})
        return f"{answer.get('channel', address)}/{answer.get('ts', '')}"

    def update(self, provider: str, message: Message, address: str) -> str:
        channel, _, at = provider.partition("/")
        if not at:
            return self.send(message, address)
        try:
            self._call("chat.update", {"channel": channel, "ts": at, **forms.slack(message)})
        except NotSent as refused:
            if refused.reason.rpartition(" ")[2] not in UNEDITABLE:
                raise
            return self.send(message, address)
        return provider

    def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call of the Web API, which says in the body whether it was done."""
        token = secret("slack_token")
        if not token:
            raise NotSent("no Slack token is set: AGENTMEMO_SLACK_TOKEN")
        headers = _JSON | {"authorization": f"Bearer {token}"}
        url = f"{self._settings.slack_url.rstrip('/')}/{method}"
        outcome = accepted(post(url, msgspec.json.encode(body), headers, private=True))
        try:
            answer = msgspec.json.decode(outcome.body, type=dict[str, Any])
        except NOT_JSON:
            raise NotSent("Slack's answer is no JSON") from None
        if not answer.get("ok"):
            error = forms.one_line(str(answer.get("error")), 100)
            raise NotSent(f"Slack refused: {error}", final=error in FINAL, wait_seconds=outcome.wait_seconds)
        return answer


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """A button that was pressed: by which member, what it says, and where an answer to them alone is posted."""

    user: str
    button: forms.Button
    comment: str
    response_url: str


def verify(signing_secret: str, timestamp: str, signature: str, body: bytes, now_us: int) -> None:
    """Raise NotAuthenticated unless Slack signed these bytes in the last five minutes."""
    fresh = timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 15  # noqa: PLR2004 - seconds of this age
    if not fresh or abs(now_us // SECOND - int(timestamp)) > WINDOW_SECONDS:
        raise _unsigned("It was signed too long ago, or says no time.")
    expected = "v0=" + ids.keyed_hash(signing_secret.encode(), f"v0:{timestamp}:".encode() + body).hex()
    if not _SIGNATURE.match(signature) or not ids.same_bytes(signature.encode(), expected.encode()):
        raise _unsigned("Its signature is not that of the signing secret over these bytes.")


def read_interaction(body: bytes) -> Interaction | None:
    """The button in a request whose signature is good; None for what needs no answer. Raises InvalidInput."""
    try:
        fields = parse_qs(body.decode(), max_num_fields=20)
        payload = msgspec.json.decode(fields["payload"][0], type=described(_Payload))
        pressed = [action for action in payload.actions if action.action_id.startswith(forms.SLACK_DECIDE)]
        if payload.type != "block_actions" or not pressed:
            return None
        button = msgspec.json.decode(pressed[0].value, type=described(forms.Button))
    except (*NOT_JSON, KeyError, ValueError) as error:
        raise InvalidInput(
            f"This is no interaction of ours: {type(error).__name__}.", next_call="Only Slack calls this address."
        ) from None
    given = payload.state.values.get(forms.SLACK_COMMENT, {}).get(forms.SLACK_COMMENT)
    comment = (given.value if given else None) or ""
    return Interaction(user=payload.user.id, button=button, comment=comment, response_url=payload.response_url)


def tell_presser(settings: Settings, interaction: Interaction, text: str) -> None:
    """Say something to whoever pressed the button, and to nobody else. Raises NotSent."""
    body = {"response_type": "ephemeral", "replace_original": False, "text": text}
    private = settings.webhook_private_addresses
    if interaction.response_url:
        accepted(post(interaction.response_url, msgspec.json.encode(body), _JSON, private=private))


_JSON = {"content-type": "application/json; charset=utf-8"}


class _User(msgspec.Struct):
    id: str = ""


class _Pressed(msgspec.Struct):
    action_id: str = ""
    value: str = ""


class _Given(msgspec.Struct):
    value: str | None = None


class _State(msgspec.Struct):
    values: dict[str, dict[str, _Given]] = {}


class _Payload(msgspec.Struct):
    """What of Slack's request is looked at."""

    type: str = ""
    user: _User = msgspec.field(default_factory=_User)
    actions: list[_Pressed] = []
    state: _State = msgspec.field(default_factory=_State)
    response_url: str = ""


def _unsigned(why: str) -> NotAuthenticated:
    return NotAuthenticated(
        "This does not come from Slack.", why=why, next_call="Check AGENTMEMO_SLACK_SIGNING_SECRET and the clock."
    )
