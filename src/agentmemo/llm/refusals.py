"""What a provider's refusal means: which of our errors it is, and whether and when the same call may go again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import msgspec

from agentmemo.clock import SECOND
from agentmemo.errors import (
    Error,
    InvalidInput,
    LimitExceeded,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    TimedOut,
    Unavailable,
)
from agentmemo.model.documents import EPOCH, MICROSECOND
from agentmemo.model.values import NOT_JSON

# Refusals that pass by themselves: no time, a lock, too many requests; and every fault of the server.
PASSING = frozenset({408, 409, 429})
SERVER_FAULT = 500
# Codes of 429 that no waiting mends.
SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "credit_balance_too_low"})
SAID_CHARACTERS = 300
HINT_SECONDS_MAX = 3600.0

_NEXT: dict[int, tuple[type[Error], str]] = {
    401: (NotAuthenticated, "Check the variable or file that holds the key."),
    402: (LimitExceeded, "Add credit at the provider, or use another model."),
    403: (PermissionDenied, "Use a key that may call this model, or another model."),
    404: (NotFound, "Check `model` and `base_url` of this model."),
    413: (LimitExceeded, "Send less: fewer messages or shorter ones."),
}


class Broken(Exception):
    """What came is no whole answer; its text says why, and may repeat whatever the provider said."""


class Refusal(NamedTuple):
    """An attempt that brought no answer. `wait_seconds` is the provider's wish, or None."""

    error: Error
    again: bool = False
    wait_seconds: float | None = None


def refused(what: str, status: int, headers: Mapping[str, str], body: bytes, now_us: int) -> Refusal:
    """What an answer that is none means."""
    code, said = _said(body)
    details: dict[str, Any] = {"status": status, "provider_code": code}
    wait = _wait_seconds(headers, now_us)
    if wait is not None:
        details["retry_after_seconds"] = wait
    message, why = f"{what} refused the call with {status}.", said
    if status in PASSING and code in SPENT:
        error: Error = LimitExceeded(message, why=why, next_call=_NEXT[402][1], details=details)
        return Refusal(error)
    if status in PASSING or status >= SERVER_FAULT:
        error = Unavailable(message, why=why, next_call="Try again later, or use another model.", details=details)
        return Refusal(error, headers.get("x-should-retry") != "false", wait)
    kind, next_call = _NEXT.get(status, (InvalidInput, "Correct the request as the provider says."))
    return Refusal(kind(message, why=why, next_call=next_call, details=details))


def unreached(what: str, cause: str) -> Refusal:
    """Nothing was sent, so nothing is owed."""
    error = Unavailable(
        f"{what} was not reached: {cause}.", next_call="Check `base_url` and that the server runs; then call again."
    )
    return Refusal(error, again=True)


def lost(what: str, cause: str) -> Unavailable:
    """The answer did not come whole. The provider may charge for it, so whoever keeps the budget goes on."""
    return Unavailable(
        f"The answer of {what} was lost: {cause}.",
        why="The call was sent, so the provider may charge for it.",
        next_call="Count it at the worst case, then call again.",
        details={"may_be_billed": True},
    )


def late(what: str, seconds: float) -> TimedOut:
    """As `lost`."""
    return TimedOut(
        f"{what} did not answer within {seconds:g} s.",
        why="The call was sent, so the provider may charge for it.",
        next_call="Count it at the worst case, then call again with more timeout_seconds.",
        retry_safe=True,
        details={"may_be_billed": True},
    )


def one_line(told: Any) -> str:
    """A provider's words, and not too many of them."""
    return " ".join(str(told).split())[:SAID_CHARACTERS]


def _said(body: bytes) -> tuple[str, str]:
    """The provider's code and its words."""
    code, words = "", body.decode(errors="replace")
    with contextlib.suppress(*NOT_JSON):
        told = msgspec.json.decode(body, type=dict[str, Any])
        told = told["error"] if isinstance(told.get("error"), dict) else told
        code = str(told.get("code") or told.get("type") or "")
        words = str(told.get("message") or told.get("detail") or told.get("error") or words)
    return code[:100], one_line(words)


def _wait_seconds(headers: Mapping[str, str], now_us: int) -> float | None:
    """What the provider asks for: milliseconds, seconds or a time of day."""
    with contextlib.suppress(KeyError, ValueError):
        return _hint(float(headers["retry-after-ms"]) / 1000)
    with contextlib.suppress(KeyError, ValueError):
        return _hint(float(headers["retry-after"]))
    with contextlib.suppress(KeyError, ValueError, TypeError):  # TypeError: a date without a zone
        until = (parsedate_to_datetime(headers["retry-after"]) - EPOCH) // MICROSECOND
        return _hint((until - now_us) / SECOND)
    return None


def _hint(seconds: float) -> float:
    if seconds != seconds:  # noqa: PLR0124 - not a number
        raise ValueError
    return min(HINT_SECONDS_MAX, max(0.0, seconds))
