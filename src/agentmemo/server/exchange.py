"""One request on a connection and its answer, as the application sees them: ASGI, with head and body in one write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

Application = Callable[[Any, Any, Any], Awaitable[None]]
# What of a body waits here to be received before no more of it is read.
BODY_BYTES_WAITING = 64 * 1024
# Smaller bodies are copied behind their head, and both leave at once: a second packet costs more than the copy.
COPIED_BYTES = 64 * 1024
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_WITHOUT_BODY = frozenset({204, 304})
_FAILED = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21"), (b"connection", b"close")]
_log = logging.getLogger("agentmemo.server")
_access = logging.getLogger("uvicorn.access")


class Connection(Protocol):
    """What an exchange needs of the connection it is on."""

    transport: asyncio.Transport
    writing_paused: bool
    logs_access: bool

    async def drained(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def usual_headers(self) -> Iterable[tuple[bytes, bytes]]: ...
    def answered(self) -> None: ...
    def close(self) -> None: ...


class Exchange:
    """`take` and `end` bring the body, `receive` and `send` are the application's, `hang_up` says that nobody waits."""

    __slots__ = (
        "_chunked",
        "_chunks",
        "_connection",
        "_expects_continue",
        "_half_closed",
        "_has_body",
        "_head",
        "_left",
        "_news",
        "_scope",
        "_taken",
        "_waiting_bytes",
        "complete",
        "gone",
        "keep_alive",
        "started",
        "whole",
    )

    def __init__(self, connection: Connection, scope: Any, *, keep_alive: bool, expects_continue: bool) -> None:
        self._connection = connection
        self._scope = scope
        self._expects_continue = expects_continue
        self._chunks: list[bytes] = []
        self._waiting_bytes = 0
        self._taken = False
        self._news: asyncio.Event | None = None
        self._head: bytes = b""
        self._has_body = True
        self._chunked = False
        # None where the body ends with the connection.
        self._left: int | None = None
        self._half_closed = False
        self.keep_alive = keep_alive
        # Whether the request has come to its end, and the answer begun, and come to its end.
        self.whole = self.started = self.complete = False
        self.gone = False

    async def run(self, application: Application) -> None:
        try:
            await application(self._scope, self.receive, self.send)
        except BaseException as error:  # noqa: BLE001 - also when it is cancelled: the client must not wait for ever
            _log.error("A request failed outside of its operation.", exc_info=error)
            await self._fail()
        else:
            if self._half_closed and not self.complete:
                self._connection.close()
            elif not self.complete and not self.gone:
                _log.error("A request ended without an answer.")
                await self._fail()

    def take(self, piece: bytes) -> None:
        """A part of the body. What comes after the answer is not wanted any more."""
        if self.complete:
            return
        self._chunks.append(piece)
        self._waiting_bytes += len(piece)
        if self._waiting_bytes > BODY_BYTES_WAITING:
            self._connection.pause_reading()
        self.tell()

    def end(self) -> None:
        """The body is whole."""
        self.whole = True
        self.tell()

    def half_close(self) -> None:
        """The client will not be heard any more: who waits for news hears that it is gone, the rest is answered."""
        self._half_closed = True
        self.tell()

    def hang_up(self) -> None:
        self.gone = True
        self.tell()

    def tell(self) -> None:
        """Who waits in `receive` is to look again, and goes on listening."""
        if self._news is not None:
            self._news.set()

    async def receive(self) -> dict[str, Any]:
        """The next part of the body; after it, that the client is gone or was answered, once it is."""
        if self._expects_continue and not self.gone:
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._expects_continue = False
        while not (self.gone or self.complete):
            if self._chunks or (self.whole and not self._taken):
                return self._part()
            if self._half_closed:
                break
            self._connection.resume_reading()
            self._news = self._news or asyncio.Event()
            self._news.clear()
            await self._news.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if self._connection.writing_paused and not self.gone:
            await self._connection.drained()
        if self.gone:
            return
        if message["type"] == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
        else:
            self._continue(message.get("body", b""), more=message.get("more_body", False))

    def _part(self) -> dict[str, Any]:
        body = b"".join(self._chunks)
        self._chunks.clear()
        self._waiting_bytes = 0
        self._taken = self.whole
        return {"type": "http.request", "body": body, "more_body": not self.whole}

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the head. It waits for the first part of the body, to leave with it."""
        if self.started:
            raise RuntimeError("An answer begins once.")
        self.started = True
        # Whether a body comes for which nobody asked is not known.
        self.keep_alive &= self.whole or not self._expects_continue
        self._expects_continue = False
        if self._connection.logs_access:
            self._log_access(status)
        pieces = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        measured = closes = False
        for name, value in (*self._connection.usual_headers(), *headers):
            pieces += (name, b": ", value, b"\r\n")
            if name == b"content-length":
                self._left, measured = int(value), True
            elif name == b"connection" and b"close" in value.lower():
                closes = True
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            pieces += (b"connection", b": ", b"close", b"\r\n")
        self._has_body = self._scope["method"] != "HEAD" and status not in _WITHOUT_BODY
        # Who speaks an older version knows no chunks: there the body ends with the connection.
        if not measured and self._has_body and self._scope["http_version"] == "1.1":
            self._chunked = True
            pieces += (b"transfer-encoding", b": ", b"chunked", b"\r\n")
        head = b"".join(pieces)
        lines = 1 + len(pieces) // 4  # the status, and a line for each four
        if head.count(b"\n") != lines or head.count(b"\r") != lines:
            raise RuntimeError("A line end inside a header would begin another one.")
        self._head = head + b"\r\n"

    def _continue(self, body: bytes, *, more: bool) -> None:
        if not self.started or self.complete:
            raise RuntimeError("A body belongs between the beginning and the end of an answer.")
        if not self._has_body:
            body = b""
        elif self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left > 0 and not more):
                raise RuntimeError("The body is not as long as the answer said.")
        self._write(body)
        if not more:
            self.complete = True
            self.tell()
            if not self.keep_alive:
                self._connection.close()
            self._connection.answered()

    def _write(self, body: bytes) -> None:
        head, self._head = self._head, b""
        write = self._connection.transport.write
        if head and len(body) > COPIED_BYTES:
            write(head)
            write(body)
        elif head or body:
            write(head + body)

    async def _fail(self) -> None:
        """Say that it went wrong, where that can still be said."""
        if self.started:
            self._connection.close()
        else:
            await self.send({"type": "http.response.start", "status": 500, "headers": _FAILED})
            await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    def _log_access(self, status: int) -> None:
        scope = self._scope
        target = get_path_with_query_string(scope)
        _access.info(
            '%s - "%s %s HTTP/%s" %d', get_client_addr(scope), scope["method"], target, scope["http_version"], status
        )
