"""What both HTTP transports say: an operation's request as method, target, headers and body, and the answer back."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from agentmemo import ids
from agentmemo.api.lookup import operation_of
from agentmemo.api.operation import Operation
from agentmemo.clock import Clock, SystemClock
from agentmemo.errors import Error, InvalidInput, LimitExceeded, Unavailable, rebuild
from agentmemo.model.access import Claim
from agentmemo.model.kinds import described
from agentmemo.model.values import NOT_JSON, encode, encode_result
from agentmemo.model.wire import Request

PREFIX = "/v1"
CONNECT_SECONDS = 10.0
# On top of what the request itself waits for: a large write on a slow disk is still an answer.
ANSWER_SECONDS = 60.0
# Who is told to come again does, in no longer than this.
PAUSE_SECONDS_MAX = 10.0
TOO_MANY_REQUESTS = 429
AWAY = frozenset({502, 503, 504})
PROXY_SECONDS = 1.0
READ_BYTES = 64 * 1024
COPIED_BYTES = 64 * 1024
# Of a large body: after each an event loop has its turn, and the other side is known to read.
PIECE_BYTES = 256 * 1024
_PATH_SAFE = "/%:@!$&'()*+,;=~"
_IN_BODY = frozenset({"POST", "PUT"})
_AS_THEY_ARE = (str, int, bool, type(None))


class Sending(NamedTuple):
    """One request, ready for a connection. It may be repeated: it changes nothing, or carries its own key."""

    method: str
    target: str
    head: bytes
    body: bytes
    timeout_seconds: float

    def pieces(self) -> tuple[bytes | memoryview, ...]:
        """Head and body together, unless that would copy a large one: a second packet costs more than a small copy.

        Each has to leave in time, and the whole of a large one may take longer.
        """
        if len(self.body) <= COPIED_BYTES:
            return (self.head + self.body,)
        body = memoryview(self.body)
        return (self.head, *(body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES)))


class _Plan:
    """An operation's fields, sorted by where they travel."""

    __slots__ = ("decoder", "fields", "in_body", "parts", "waits")

    def __init__(self, operation: Operation) -> None:
        self.parts = [
            (part[1:-1] if part.startswith("{") else None, part) for part in operation.path.lstrip("/").split("/")
        ]
        in_path = {name for name, _ in self.parts if name}
        self.in_body = operation.method in _IN_BODY
        self.fields = [
            (field.name, field.required, _default(field))
            for field in msgspec.structs.fields(operation.request)
            if field.name not in in_path
        ]
        self.waits = any(name == "wait_seconds" for name, *_ in self.fields)
        self.decoder = msgspec.json.Decoder(described(operation.response or Any))


@cache
def _plan(kind: type[Request]) -> _Plan:
    return _Plan(operation_of(kind))


class Wire:
    """Shared by the two transports of one address and key."""

    def __init__(self, address: str, key: str, limit: int, clock: Clock | None = None) -> None:
        parts, host, port = _split(address)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise InvalidInput("The address holds more than host, port and path.", next_call="Pass the key as key=...")
        self.address = f"{parts.scheme}://{parts.netloc}"
        self.host = host
        self.tls = parts.scheme == "https"
        self.port = (443 if self.tls else 80) if port is None else port
        self._path = quote(parts.path, safe=_PATH_SAFE).rstrip("/").removesuffix(PREFIX) + PREFIX
        self._limit = limit
        self._clock = clock or SystemClock()
        if not key.isascii() or not key.isprintable():
            raise InvalidInput("The key holds characters that no key has.", next_call="Pass the whole key: am_...")
        # An answer that was compressed on the way could not be read.
        self._usual = (
            f" HTTP/1.1\r\nHost: {_host_header(host, port)}\r\nAuthorization: Bearer {key}\r\n"
            "Accept: application/json\r\nAccept-Encoding: identity\r\n"
        )

    def sending(self, operation: Operation, request: Request, claim: Claim | None, worker: str | None) -> Sending:
        """Raises InvalidInput or LimitExceeded for what cannot travel, before anything is sent."""
        plan = _plan(operation.request)
        target = self._path + "".join(
            "/" + (_segment(getattr(request, name), name) if name else part) for name, part in plan.parts
        )
        given = {
            name: value
            for name, required, default in plan.fields
            for value in (getattr(request, name),)
            if required or not _same(value, default)
        }
        body = b""
        more = self._of_a_change(claim, worker) if operation.mutating else ""
        if plan.in_body:
            body = self._body(given)
            more += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        elif given:
            target += "?" + urlencode(
                {name: _query_text(name, value) for name, value in given.items()}, quote_via=quote
            )
        waits = getattr(request, "wait_seconds", 0.0) if plan.waits else 0.0
        head = f"{operation.method} {target}{self._usual}{more}\r\n".encode("ascii")
        return Sending(operation.method, target, head, body, ANSWER_SECONDS + waits)

    def _of_a_change(self, claim: Claim | None, worker: str | None) -> str:
        """The headers of a change: its own key, and under what it is made."""
        lines = f"Idempotency-Key: {ids.mint('req', self._clock.now_us())}\r\n"
        if claim is not None:
            lines += f"AgentMemo-Claim: {_header_text(claim_text(claim), 'claim')}\r\n"
        if worker is not None:
            lines += f"AgentMemo-Worker: {_header_text(worker, 'worker')}\r\n"
        return lines

    def pause(self, status: int, body: bytes) -> float | None:
        """In how many seconds the same request should be sent again, where the answer says so; else None."""
        if status != TOO_MANY_REQUESTS and status not in AWAY:
            return None
        error = self._error(status, body)
        seconds = error.details.get("retry_after_seconds")
        if not error.retry_safe or not isinstance(seconds, int | float) or not 0 <= seconds <= PAUSE_SECONDS_MAX:
            return None
        return float(seconds)

    def answer(self, operation: Operation, status: int, body: bytes) -> Any:
        """The response, or the error that the plane answered, raised."""
        if status == 200:  # noqa: PLR2004 - the one status of success
            try:
                return _plan(operation.request).decoder.decode(body)
            except NOT_JSON as error:
                raise self.not_a_plane(f"an answer that does not fit: {error}") from None
        raise self._error(status, body)

    def _error(self, status: int, body: bytes) -> Error:
        try:
            problem = msgspec.json.decode(body)
        except NOT_JSON:
            problem = None
        if isinstance(problem, dict) and isinstance(problem.get("code"), str):
            # The plane words the next call for its other callers.
            return rebuild(problem | {"next_call": problem.get("in_python") or problem.get("next_call", "")})
        if status in AWAY:
            return Unavailable(
                f"Something in front of {self.address} answered {status}.",
                why="A proxy could not reach the plane.",
                next_call="Try again in a moment.",
                details={"retry_after_seconds": PROXY_SECONDS},
            )
        return self.not_a_plane(f"status {status}")

    def not_a_plane(self, what: str) -> Unavailable:
        return Unavailable(
            f"{self.address} answered {what}.",
            why="It does not look like an AgentMemo plane.",
            next_call="Check the address; `agentmemo up` prints it.",
            retry_safe=False,
        )

    def unreachable(self, error: BaseException) -> Unavailable:
        """Nothing was sent, so the same call may be made again."""
        return Unavailable(
            f"{self.address} cannot be reached: {_reason(error)}.",
            why="No connection could be made; nothing was sent.",
            next_call="Start the plane there with `agentmemo up`, or correct the address.",
            retry_safe=True,
        )

    def interrupted(self, operation: Operation, error: BaseException) -> Unavailable:
        """Sent, and no answer came: a change may or may not have happened."""
        return Unavailable(
            f"{self.address} did not answer {operation.name}: {_reason(error)}.",
            why="The change may or may not have happened." if operation.mutating else "The connection was lost.",
            next_call="Read what is there before doing it again." if operation.mutating else "Try again.",
            retry_safe=not operation.mutating or operation.liveness,
            details={"in_doubt": operation.mutating},
        )

    def _body(self, given: dict[str, Any]) -> bytes:
        """The fields as JSON. Each value is encoded on its own, so that a refusal names the path inside it."""
        pieces: dict[str, Any] = {}
        for name, value in given.items():
            if type(value) in _AS_THEY_ARE:
                pieces[name] = value
            else:
                # A value is kept exactly; results and inputs may hold what is read back into a type.
                pieces[name] = msgspec.Raw(encode(value) if name == "value" else encode_result(value))
        try:
            body = msgspec.json.encode(pieces)
        except UnicodeEncodeError:
            for name, value in given.items():
                _refuse_surrogates(name, value)
            raise
        if len(body) > self._limit:
            raise LimitExceeded(
                f"The request has {len(body)} bytes; {self._limit} is the most.",
                next_call="Send it in parts, or raise AGENTMEMO_REQUEST_BYTES_MAX here and on the plane.",
                details={"bytes": len(body), "limit": self._limit},
            )
        return body


def _split(address: str) -> tuple[SplitResult, str, int | None]:
    """The parts of an address, its host and its port. Raises InvalidInput for what is none."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as it will be asked for, and told
    except ValueError:
        parts, host, port = SplitResult("", "", "", "", ""), "", None
    _, bracket, behind = parts.netloc.partition("]")
    is_host = host.isprintable() and " " not in host and (not bracket or behind[:1] in {"", ":"})
    if not host or not is_host or parts.scheme not in {"http", "https"}:
        raise InvalidInput(f"{address!r} is not an address.", next_call="Use http://host:port or https://host:port.")
    return parts, host, port


def claim_text(claim: Claim) -> str:
    """`run_x@3`, with the step behind it where the claim names one."""
    text = f"{claim.run}@{claim.epoch}"
    return f"{text};step={quote(claim.step, safe='/')}" if claim.step else text


def _same(value: Any, default: Any) -> bool:
    """Whether a field may be left out. True is not 1 here, and 0.0 not 0: values cross as they are."""
    return type(value) is type(default) and bool(value == default)


def _host_header(host: str, port: int | None) -> str:
    # The zone behind an address says something on this machine alone.
    name = f"[{host.partition('%')[0]}]" if ":" in host else host.encode("idna").decode("ascii")
    return name if port is None else f"{name}:{port}"


def _header_text(value: str, name: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise InvalidInput(
            f"The {name} {value[:64]!r} holds characters that no handle has.", next_call="Send the whole handle."
        )
    return value


def _segment(value: str, name: str) -> str:
    _refuse_surrogates(name, value)
    text = quote(value, safe="")
    # A lone dot or two would be taken for a folder by whatever normalises paths on the way.
    return text.replace(".", "%2E") if text in {".", ".."} else text


def _query_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"`{name}` must be a finite number.", next_call=f"Leave `{name}` out, or send a number.")
    _refuse_surrogates(name, value)
    return value if isinstance(value, str) else json.dumps(value)


def _refuse_surrogates(name: str, value: Any) -> None:
    if not isinstance(value, str):
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"`{name}` holds a lone surrogate at position {error.start}.", next_call="Replace or remove it."
        ) from None


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).rstrip(".")
