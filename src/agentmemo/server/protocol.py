"""HTTP on one connection, with bounds: who is slow, silent, flooding or does not read is cut off."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from agentmemo.errors import Error, InvalidInput, LimitExceeded, TimedOut, Unavailable
from agentmemo.server import problems
from agentmemo.server.exchange import STATUS_LINES, Application, Exchange
from agentmemo.settings import Settings

# Requests behind one that is not answered yet. Clients that pipeline send a few; a flood sends thousands.
PIPELINED_MAX = 16
HEADERS_MAX = 256
# What has to be read of an answer within STALLED_SECONDS.
READ_BYTES_MIN = 64 * 1024
# How long what is not wanted any more is taken from who was told so.
LEAVING_SECONDS = 5.0
_ASGI = {"version": "3.0", "spec_version": "2.3"}


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


class Protocol(asyncio.Protocol):
    """One deadline at a time: for the head of a request, then for its body. Another for a client that does not read.

    What comes in one piece, which is nearly everything, needs no deadline: they are set once a piece is parsed.
    """

    def __init__(
        self,
        bounds: Bounds,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        del app_state  # of a lifespan, which this server does not have
        if not config.loaded:
            config.load()
        self.transport: asyncio.Transport
        self.writing_paused = False
        self.logs_access = logging.getLogger("uvicorn.access").hasHandlers()
        self._application: Application = config.loaded_app
        self._keep_alive_seconds = config.timeout_keep_alive
        self._server = server_state
        self._bounds = bounds
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        # What follows a request that was to be the last is not its fault: it is answered first.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._addresses: dict[str, Any] = {}
        self._reading_paused = False
        self._is_leaving = False
        self._drained = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._due_seconds: float | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        # Since when nothing came after an answer; None while something is to be done.
        self._silent_since: float | None = None
        # The time for what is still to come of a request, and whether that is another part than before.
        self._rest_seconds: float | None = None
        self._is_new_part = False
        self._in_head = False
        self._head_bytes = 0
        self._header_bytes = 0
        self._hosts = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._expects_continue = False
        self._newest: Exchange | None = None
        self._running: Exchange | None = None
        self._behind: deque[Exchange] = deque()
        self._refusal: tuple[int, Error] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.connections.add(self)  # type: ignore[arg-type]
        self.transport = transport  # type: ignore[assignment]
        self._addresses = {
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "scheme": "https" if is_ssl(self.transport) else "http",
        }
        if len(self._server.connections) > self._bounds.connections:
            self._refuse(503, _full())
        else:
            self._expect(self._bounds.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._expect(None)
        if self._silence is not None:
            self._silence.cancel()
        self.resume_writing()
        self._watch_reader(watched=False)
        # Requests that wait behind it hide the one that is answered; both have to hear that the client is gone.
        for exchange in (self._running, self._newest):
            if exchange is not None:
                exchange.hang_up()
        if exc is None:
            self.transport.close()

    def eof_received(self) -> bool:
        """The client sends no more. True keeps the connection for the answer to what it has asked; TLS has no such."""
        newest = self._newest
        if newest is None or newest.complete or not newest.whole or self._addresses["scheme"] == "https":
            return False
        self._expect(None)
        self._in_head = False
        newest.keep_alive = False
        for exchange in (self._running, *self._behind):
            if exchange is not None:
                exchange.half_close()
        return True

    def data_received(self, data: bytes) -> None:
        if self._is_leaving:
            return
        self._silent_since = None
        before = self._head_bytes if self._in_head else 0
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, _malformed())))
            return
        if self._is_new_part:
            self._is_new_part = False
            self._expect(self._rest_seconds)
        if self._deadline is None and self._is_idle() and not self._is_silent():
            # What was heard is no request: line ends, or the rest of a body whose answer did not wait for it.
            self._expect(self._bounds.head_seconds)
        if self._in_head:
            # Not whole yet: what has come of it cannot be less than this much.
            self._head_bytes = before + len(data)
            if self._head_bytes > self._bounds.head_bytes + len(data):
                self._refuse(431, _head_too_large(self._bounds.head_bytes))

    def shutdown(self) -> None:
        """The server stops: close, once what was asked is answered."""
        if self._newest is None or self._newest.complete:
            self._close_now()
        else:
            self._newest.keep_alive = False

    def close(self) -> None:
        """Once what was written has left; who does not read it is cut off.

        Who is still sending is heard out: what comes to a closed socket is answered with a reset, and most clients then
        do not look for the answer that was there before.
        """
        is_partial = self._in_head or (self._newest is not None and not self._newest.whole)
        if not is_partial or self._is_leaving or not self.transport.can_write_eof():
            self._close_now()
            return
        self._is_leaving, self._in_head = True, False
        self.transport.write_eof()
        self.resume_reading()
        self._expect(LEAVING_SECONDS)
        self._watch_reader(watched=True)

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._expects_continue = False
        self._in_head = True
        self._head_bytes = 0
        self._header_bytes = 0
        self._hosts = 0
        self._await_part(self._bounds.head_seconds)

    def on_url(self, part: bytes) -> None:
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._bounds.head_bytes or len(self._headers) >= HEADERS_MAX:
            self._stop(431, _head_too_large(self._bounds.head_bytes))
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            self._stop(501, _encoded())
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._parser.should_upgrade():
            return  # its head comes again
        self._in_head = False
        if len(self._url) > self._bounds.head_bytes:
            self._stop(431, _head_too_large(self._bounds.head_bytes))
        if len(self._behind) >= PIPELINED_MAX:
            self._stop(429, _too_many_at_once())
        self._await_part(self._bounds.body_seconds)
        version = self._parser.get_http_version()
        is_current = version == "1.1"
        if self._hosts != 1 and (is_current or self._hosts):
            self._stop(400, _no_host())
        exchange = Exchange(
            self,
            self._scope(version),
            keep_alive=is_current and self._parser.should_keep_alive(),
            expects_continue=is_current and self._expects_continue,
        )
        self._headers = []  # what comes behind the body is none of its head
        is_free = self._is_idle()
        self._newest = exchange
        if is_free:
            self._start(exchange)
        else:
            self.pause_reading()
            self._behind.append(exchange)
            if self._running is not None:
                self._running.tell()

    def on_body(self, piece: bytes) -> None:
        assert self._newest is not None  # noqa: S101 - a body comes behind its head
        self._newest.take(piece)

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # as above
        assert self._newest is not None  # noqa: S101 - as above
        self._await_part(None)
        self._newest.end()

    def answered(self) -> None:
        """The answer that was under way is whole: the next one, or silence."""
        if self.transport.is_closing():
            return
        self.resume_reading()
        if self._behind:
            self._start(self._behind.popleft())
            return
        self._silent_since = self._loop.time()
        if self._silence is None:
            self._silence = self._loop.call_later(self._keep_alive_seconds, self._has_been_silent)

    def usual_headers(self) -> list[tuple[bytes, bytes]]:
        return self._server.default_headers

    def pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()
            if self._deadline is not None:
                self._expect(self._deadline.when() - self._loop.time())

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()
            self._expect(self._due_seconds)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._drained.clear()
        self._watch_reader(watched=True)

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._drained.set()
        # Of a connection that closes the rest has to leave, too.
        self._watch_reader(watched=self.transport.is_closing())

    async def drained(self) -> None:
        await self._drained.wait()

    def _scope(self, version: str) -> dict[str, Any]:
        url = httptools.parse_url(self._url)
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self._headers,
            **self._addresses,
        }

    def _start(self, exchange: Exchange) -> None:
        self._running = exchange
        task = self._loop.create_task(exchange.run(self._application))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _has_been_silent(self) -> None:
        """The time for the next request is over, unless something came meanwhile; then it began anew."""
        self._silence = None
        if self._silent_since is None:
            return
        left = self._silent_since + self._keep_alive_seconds - self._loop.time()
        if left > 0:
            self._silence = self._loop.call_later(left, self._has_been_silent)
        else:
            self.close()

    def _close_now(self) -> None:
        self.transport.close()
        self._watch_reader(watched=True)

    def _watch_reader(self, *, watched: bool) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        if watched:
            unread = self.transport.get_write_buffer_size()
            self._stalled = self._loop.call_later(self._bounds.stalled_seconds, self._has_stalled, unread)

    def _has_stalled(self, unread: int) -> None:
        """Who read a good part meanwhile is slow, and no more than that: a large answer takes its time."""
        if unread - self.transport.get_write_buffer_size() < READ_BYTES_MIN:
            self.transport.abort()
        else:
            self._watch_reader(watched=True)

    def _await_part(self, seconds: float | None) -> None:
        self._rest_seconds = seconds
        self._is_new_part = True

    def _expect(self, seconds: float | None) -> None:
        """The next part of a request within so many seconds in which it is read; None: nothing is due."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._due_seconds = seconds
        if seconds is not None and not self._reading_paused:
            self._deadline = self._loop.call_later(seconds, self._too_late)

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
        """Say why, unless it would stand in the middle or in place of another answer, and hang up."""
        self._expect(None)
        running = self._running
        if running is not None and running is self._newest and not running.whole:
            running.hang_up()  # it will not become whole; this is its answer
            is_free = not running.started
        else:
            is_free = self._is_idle()
        if is_free and not self.transport.is_closing():
            self.transport.write(_answer(status, error))
            self.close()
        else:
            self.transport.abort()

    def _parse(self, data: bytes) -> None:
        """Nothing is upgraded to. The parser takes what follows such a head for another protocol: it gets a new one."""
        while True:
            try:
                return self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._plain_head() + data[upgrade.args[0] :]

    def _plain_head(self) -> bytes:
        method = self._parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserInvalidMethodError
        lines = b"".join(b"%b: %b\r\n" % header for header in self._headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, self._parser.get_http_version().encode(), lines)

    def _is_idle(self) -> bool:
        return self._newest is None or self._newest.complete

    def _is_silent(self) -> bool:
        return self._silent_since is not None


def _answer(status: int, error: Error) -> bytes:
    body = problems.encode(error, status)
    headers = [
        (b"content-type", problems.MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *problems.headers_of(error),
    ]
    return b"".join([STATUS_LINES[status], *(b"%s: %s\r\n" % header for header in headers), b"\r\n", body])


def _full() -> Error:
    return Unavailable(
        "This server has as many connections as it takes.",
        next_call="Connect again soon, keep one connection for many requests, or raise AGENTMEMO_CONNECTIONS_MAX.",
        retry_safe=True,
    )


def _malformed() -> Error:
    return InvalidInput("This is not HTTP/1.1.", next_call="Send one well-formed request after the other.")


def _no_host() -> Error:
    return InvalidInput("A request names one host.", next_call="Send exactly one Host header.")


def _encoded() -> Error:
    return InvalidInput("A body comes as it is, or in chunks.", next_call="Send no Transfer-Encoding but chunked.")


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
