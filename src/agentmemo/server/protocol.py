"""HTTP on one connection, with bounds: who is slow, silent, flooding or does not read is cut off."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from agentmemo.errors import Error, InvalidInput, LimitExceeded, TimedOut, Unavailable
from agentmemo.server import problems
from agentmemo.settings import Settings

# Requests behind one that is not answered yet. Clients that pipeline send a few; a flood sends thousands.
PIPELINED_MAX = 16
HEADERS_MAX = 256


class Bounds(NamedTuple):
    head_bytes: int
    head_seconds: float
    body_seconds: float
    stalled_seconds: float
    connections: int


def bounds_of(settings: Settings, descriptors: int) -> Bounds:
    """What each connection is held to; never more connections than the process has descriptors for."""
    return Bounds(
        head_bytes=settings.head_bytes_max,
        head_seconds=settings.head_seconds,
        body_seconds=settings.body_seconds,
        stalled_seconds=settings.stalled_seconds,
        connections=min(settings.connections_max, descriptors),
    )


class Protocol(HttpToolsProtocol):
    """One deadline at a time: for the head of a request, then for its body. Another for a client that does not read."""

    def __init__(self, bounds: Bounds, *, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state)
        self._bounds = bounds
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0
        self._header_bytes = 0
        self._running: RequestResponseCycle | None = None
        self._refusal: tuple[int, Error] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections:
            self._refuse(503, _full())
        else:
            self._expect(self._bounds.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        self.resume_writing()
        running = self._running
        super().connection_lost(exc)
        if running is not None and running is not self.cycle:
            # Requests that wait behind it hide the one that is answered; it has to hear that the client is gone too.
            running.disconnected = True
            running.message_event.set()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        before = self._head_bytes if self._in_head else 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # there is nothing to upgrade to; the request is answered as it is
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, _malformed())))
            return
        if self._in_head:
            # Not whole yet: what has come of it cannot be less than this much.
            self._head_bytes = before + len(data)
            if self._head_bytes > self._bounds.head_bytes + len(data):
                self._refuse(431, _head_too_large(self._bounds.head_bytes))
        elif self._deadline is None and self.timeout_keep_alive_task is None and self._is_idle():
            # Line ends between requests are no request, but they were heard.
            self._expect(self._bounds.head_seconds)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._header_bytes = 0
        self._expect(self._bounds.head_seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._bounds.head_bytes or len(self.headers) >= HEADERS_MAX:
            self._stop(431, _head_too_large(self._bounds.head_bytes))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.url) > self._bounds.head_bytes:
            self._stop(431, _head_too_large(self._bounds.head_bytes))
        if len(self.pipeline) >= PIPELINED_MAX:
            self._stop(429, _too_many_at_once())
        self._expect(self._bounds.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._expect(None)
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self._bounds.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _expect(self, seconds: float | None) -> None:
        """The next part of a request within so many seconds; None: nothing is due."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if self._in_head:
            self._refuse(408, _too_slow(self._bounds.head_seconds))
        else:
            # Nothing came at all, or a body does not end. Whoever waits for it hears that the client is gone.
            self.transport.abort()

    def _stop(self, status: int, error: Error) -> None:
        """From inside the parser, which is stopped by any exception and forgets what it was."""
        self._refusal = (status, error)
        raise error

    def _refuse(self, status: int, error: Error) -> None:
        """Say why, unless it would stand in the middle of another answer, and hang up."""
        self._expect(None)
        if self._is_idle() and not self.transport.is_closing():
            self.transport.write(_answer(status, error))
            self.transport.close()
        else:
            self.transport.abort()

    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is None or cycle.response_complete


def _answer(status: int, error: Error) -> bytes:
    body = problems.encode(error, status)
    headers = [
        (b"content-type", problems.MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *problems.headers_of(error),
    ]
    return b"".join([STATUS_LINE[status], *(b"%s: %s\r\n" % header for header in headers), b"\r\n", body])


def _full() -> Error:
    return Unavailable(
        "This server has as many connections as it takes.",
        next_call="Connect again soon, keep one connection for many requests, or raise AGENTMEMO_CONNECTIONS_MAX.",
        retry_safe=True,
    )


def _malformed() -> Error:
    return InvalidInput("This is not HTTP/1.1.", next_call="Send one well-formed request after the other.")


def _head_too_large(limit: int) -> Error:
    return LimitExceeded(
        f"The path and headers are larger than {limit} bytes, or the headers more than {HEADERS_MAX}.",
        next_call="Send fewer headers, and what is long in the body; or raise AGENTMEMO_HEAD_BYTES_MAX on the plane.",
        details={"limit": limit},
    )


def _too_many_at_once() -> Error:
    return LimitExceeded(
        f"More than {PIPELINED_MAX} requests wait on this connection.",
        next_call="Wait for answers, or use several connections.",
    )


def _too_slow(seconds: float) -> Error:
    return TimedOut(
        f"The head of the request did not come within {seconds:g} s.", next_call="Send it again, in one piece."
    )
