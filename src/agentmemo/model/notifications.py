"""Notifications: what people are told about a question, through which channels, and what becomes of each message.

A message reaches its person at least once; a decision counts once, however many messages spoke of it. How a message
looks in each channel stands in `model/notification_forms.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model.escalations import SEVERITIES

QUEUED, SENT, EXPIRED, FAILED = "queued", "sent", "expired", "failed"
# `expired`: the question is over, and the message says so or was never needed.
TRANSITIONS: dict[tuple[str, str], str] = {
    (QUEUED, "send"): SENT,
    (QUEUED, "retry"): QUEUED,
    (QUEUED, "fail"): FAILED,
    (QUEUED, "expire"): EXPIRED,
    (SENT, "retry"): SENT,
    (SENT, "fail"): EXPIRED,
    (SENT, "update"): SENT,
    (SENT, "expire"): EXPIRED,
}
# Pauses before the attempts. Questions are urgent, so the first ones are short.
PAUSES_SECONDS = (0, 5, 30, 120, 600, 1800, 3600, 7200)

EMAIL, SLACK, NTFY, WEBHOOK, APPRISE = "email", "slack", "ntfy", "webhook", "apprise"
CHANNELS = (EMAIL, SLACK, NTFY, WEBHOOK, APPRISE)
# Through these a message passes a service of others, where a topic's name may be all that guards it.
PUSHED = frozenset({NTFY, APPRISE})
ADDRESS_MAX = 2048
ERROR_MAX = 500

# A link decides only together with its code where a slip or a scanner could do harm.
GUARDED_SEVERITIES = ("critical", "high")
LINK_HOURS = 72
CODE_DIGITS = 4
MISSES_MAX = 5
HIDDEN = "A question waits for you."
_LEVELS = ("public", "internal", "secret")


class Option(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way to answer. `reversible` None is unknown; `says_why` marks those that need a comment."""

    decision: str
    label: str
    choice: str | None = None
    effect: str = ""
    reversible: bool | None = None
    cost: str = ""
    says_why: bool = False


class Over(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a question ended: what was decided, by whom, and when."""

    state: str
    at: int
    label: str = ""
    by: str = ""
    comment: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a surface needs to put a question before a person.

    `consequence` is what happens at `deadline` when nobody answers. `why` and `evidence` are the asker's words.
    `answer_url` leads to a page that shows the question; `code` is typed there. `seen` is the digest of what is shown.
    `others` are further questions that stand in the same message, each with its own.
    """

    id: str
    escalation: str
    workspace: str
    person: str
    occasion: str
    at: int
    question: str
    kind: str = ""
    severity: str = ""
    asker: str = ""
    sensitivity: str = "internal"
    consequence: str = ""
    deadline: int | None = None
    options: tuple[Option, ...] = ()
    action: str = ""
    why: str = ""
    evidence: tuple[str, ...] = ()
    run: str | None = None
    step: str | None = None
    waiting: int = 0
    occurrences: int = 1
    guarded: bool = False
    seen: str = ""
    answer_url: str = ""
    code: str = ""
    over: Over | None = None
    others: tuple[Message, ...] = ()


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of a one-time link shows. `closed` says why nothing can be answered there (any more)."""

    message: Message
    closed: str = ""
    asks_code: bool = False


def next_state(state: str, act: str, notification: str) -> str:
    """The state after `act`. Raises InvalidTransition where the table has no such arrow."""
    try:
        return TRANSITIONS[state, act]
    except KeyError:
        raise InvalidTransition(
            f"Notification {notification} is {state}; it cannot {act}.",
            why="What is over is not sent again.",
            next_call="Look at the question's own state.",
            details={"notification": notification, "state": state, "act": act},
        ) from None


def pause_after(attempts: int) -> float | None:
    """Seconds until the next attempt after so many have failed; None when they are spent."""
    return PAUSES_SECONDS[attempts] if attempts < len(PAUSES_SECONDS) else None


def is_guarded(severity: str, *, irreversible: bool) -> bool:
    """Whether a link alone must not decide."""
    return irreversible or severity in GUARDED_SEVERITIES


def outward(message: Message, channel: str, carries: str = "internal") -> Message:
    """What of a message may leave the machine through a channel, to an address that may carry so much.

    Of a secret question, and of one that is too much for its address, nobody learns more than that it waits; through a
    service of others, of an internal one no more than the question and the ways to answer.
    """
    if message.others:
        alone = outward(msgspec.structs.replace(message, others=()), channel, carries)
        return msgspec.structs.replace(alone, others=tuple(outward(each, channel, carries) for each in message.others))
    if message.sensitivity == "secret" or _LEVELS.index(message.sensitivity) > _LEVELS.index(carries):
        return Message(
            id=message.id,
            escalation=message.escalation,
            workspace=message.workspace,
            person=message.person,
            occasion=message.occasion,
            at=message.at,
            question=HIDDEN,
            sensitivity="secret",
            answer_url=message.answer_url,
            code=message.code,
            over=message.over and Over(state=message.over.state, at=message.over.at),
        )
    if message.sensitivity == "internal" and channel in PUSHED:
        return msgspec.structs.replace(message, action="", why="", evidence=())
    return message


def together(messages: list[Message]) -> Message:
    """One message of several: what is still to be answered first, the most severe of it at the top."""

    def urgency(message: Message) -> tuple[bool, int, int]:
        rank = SEVERITIES.index(message.severity) if message.severity in SEVERITIES else len(SEVERITIES)
        return message.over is not None, rank, message.deadline or 0

    first, *others = sorted(messages, key=urgency)
    return msgspec.structs.replace(first, others=tuple(others))


def with_link(message: Message, url: str, code: str) -> Message:
    return msgspec.structs.replace(message, answer_url=url, code=code)


def check_address(channel: str, address: str) -> None:
    """Refuse an address that a channel could never send to. Raises InvalidInput without repeating it."""
    if channel not in CHANNELS:
        raise InvalidInput(f"Unknown channel {channel[:40]!r}.", next_call=f"Use one of: {', '.join(CHANNELS)}.")
    printable = address.isprintable() and address.strip() == address
    if not address or len(address) > ADDRESS_MAX or not printable or not _FITS[channel](address):
        raise InvalidInput(
            f"This is no address for {channel}.",
            why="It is not repeated here, since addresses may hold secrets.",
            next_call={
                EMAIL: "Use name@example.org.",
                SLACK: "Use a channel's or member's id (C..., U...), or the https:// address of an incoming webhook.",
                NTFY: "Use a topic, or https://server/topic.",
                WEBHOOK: "Use https://host/path.",
                APPRISE: "Use an Apprise URL: service://...",
            }[channel],
        )


def _is_mailbox(text: str) -> bool:
    name, _, host = text.rpartition("@")
    return bool(name and host) and not any(letter in ' <>,;:"' for letter in text)


def _is_web(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_slack(text: str) -> bool:
    return _is_web(text) or (text.isascii() and text.isalnum() and text[0] in "CDGUW")


def _is_ntfy(text: str) -> bool:
    return _is_web(text) or all(letter.isalnum() or letter in "-_" for letter in text)


def _is_apprise(text: str) -> bool:
    return "://" in text


_FITS: dict[str, Callable[[str], bool]] = {
    EMAIL: _is_mailbox,
    SLACK: _is_slack,
    NTFY: _is_ntfy,
    WEBHOOK: _is_web,
    APPRISE: _is_apprise,
}
