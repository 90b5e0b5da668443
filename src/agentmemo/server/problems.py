"""The one map from error codes to HTTP statuses, and the problem documents (RFC 9457) made with it."""

from __future__ import annotations

import logging
import math

import msgspec

from agentmemo import ids
from agentmemo.api.next_calls import in_http, worded
from agentmemo.clock import Clock
from agentmemo.errors import CLASSES, Error, Unavailable

MEDIA_TYPE = b"application/problem+json"
STATUS: dict[str, int] = {
    "invalid_input": 400,
    "not_authenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "conflict": 409,
    "version_conflict": 409,
    "invalid_transition": 409,
    "run_held": 409,
    "handoff_held": 409,
    "lease_lost": 409,
    "idempotency_mismatch": 409,
    "revision_gone": 410,
    "step_failed": 422,
    "timed_out": 504,
    "limit_exceeded": 413,
    "unavailable": 503,
    "error": 500,
    "internal": 500,
}
# A precondition that came as If-Match or If-None-Match fails as HTTP says; one in the body is a conflict.
PRECONDITION_FAILED = 412
RETRY_AFTER_SECONDS = 1
TITLES: dict[str, str] = {
    "internal": "Internal error",
    "error": "Error",
    **{cls.code: cls.code.replace("_", " ").capitalize() for cls in CLASSES},
}
_log = logging.getLogger("agentmemo.server")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What every refusal looks like. `code` and `retry_safe` are for programs, `why` and `next_call` for readers.

    `in_python` is `next_call` as a program says it that uses the package.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    why: str = ""
    next_call: str = ""
    in_python: str = ""
    retry_safe: bool = False
    details: dict[str, object] = {}
    instance: str | None = None


class Internal(Error):
    """An unexpected exception, as the outside may see it: a number to find it by in the log, and no more."""

    code = "internal"


class Refusal(Exception):
    """An error that the HTTP layer itself answers, with a status or headers of its own."""

    def __init__(self, error: Error, status: int, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = status
        self.headers = headers or []


def status_of(error: Error) -> int:
    return STATUS.get(error.code, 500)


def problem_of(error: Error, status: int | None = None) -> Problem:
    return Problem(
        type=f"urn:agentmemo:error:{error.code}",
        title=TITLES.get(error.code, "Error"),
        status=status or status_of(error),
        detail=error.message,
        code=error.code,
        message=error.message,
        why=error.why,
        next_call=worded(error.next_call, in_http),
        in_python=error.next_call,
        retry_safe=error.retry_safe,
        details=error.details,
        instance=error.details.get("request") if error.code == "internal" else None,
    )


def headers_of(error: Error) -> list[tuple[bytes, bytes]]:
    """What HTTP wants beside the document."""
    if error.code == "not_authenticated":
        return [(b"www-authenticate", b'Bearer realm="agentmemo"')]
    if isinstance(error, Unavailable) and error.retry_safe:
        seconds = error.details.get("retry_after_seconds", RETRY_AFTER_SECONDS)
        return [(b"retry-after", b"%d" % math.ceil(seconds))]
    return []


def internal(clock: Clock, operation: str, error: BaseException) -> Internal:
    """Log an unexpected exception under a fresh number, and make the error that tells only the number."""
    request = ids.mint("req", clock.now_us())
    _log.error("%s: %s failed unexpectedly", request, operation, exc_info=error)
    return Internal(
        "Something went wrong inside the plane.",
        why="This is a fault of AgentMemo, not of the request.",
        next_call=f"Look for {request} in the server's log, and report it.",
        details={"request": request},
    )


def encode(error: Error, status: int | None = None) -> bytes:
    try:
        return msgspec.json.encode(problem_of(error, status))
    except (TypeError, UnicodeEncodeError, ValueError):
        # Details are for programs; where one cannot be written as JSON the rest still has to arrive.
        plain = msgspec.structs.replace(problem_of(error, status), details={})
        return msgspec.json.encode(_writable(plain))


def _writable(problem: Problem) -> Problem:
    texts = {
        name: getattr(problem, name).encode("utf-8", "replace").decode()
        for name in ("detail", "message", "why", "next_call", "in_python")
    }
    return msgspec.structs.replace(problem, **texts)
