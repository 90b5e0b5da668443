"""An HTTP/1.1 answer, made of the pieces in which it comes. It reads no socket, so both transports share it."""

from __future__ import annotations

import ssl

import httptools

HEAD_BYTES_MAX = 64 * 1024
_FIRST_FINAL = 200


class NotHttp(Exception):
    """What came is no answer of HTTP/1.1."""


# What a kept connection says when the other side has closed it meanwhile.
LOST = (NotHttp, ConnectionError, ssl.SSLError)


class Answer:
    """Feed it until it is `whole`. Its connection may serve another request where it is `reusable` then."""

    __slots__ = ("_head_bytes", "_is_bounded", "_parser", "_pieces", "reusable", "status", "whole")

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._head_bytes = 0
        # Whether the head says where the body ends; else it ends with the connection.
        self._is_bounded = False
        self.status = 0
        self.whole = False
        self.reusable = False

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    def feed(self, data: bytes) -> bool:
        """Whether it is whole now. Raises NotHttp for what cannot be an answer."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.whole:
                raise NotHttp(f"The answer is no HTTP/1.1: {error.__context__ or error}") from error
            self.reusable = False
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                raise NotHttp("The head of the answer does not end")
        return self.whole

    def end(self) -> None:
        """The other side has hung up. Raises ConnectionResetError where something was still to come."""
        if not self.status or self._is_bounded:
            raise ConnectionResetError("The connection was closed before the answer was whole")
        self.whole = True

    # The parser calls these.

    def on_message_begin(self) -> None:
        # Bytes behind an answer belong to nothing that was asked.
        self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            raise NotHttp(f"it is encoded as {value[:40]!r}")
        self._is_bounded = self._is_bounded or name in {b"content-length", b"transfer-encoding"}

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        # Heads that only say `go on` are passed over.
        if status >= _FIRST_FINAL and not self.whole:
            self.status = status

    def on_body(self, data: bytes) -> None:
        if not self.whole:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self.status and not self.whole:
            self.whole = True
            self.reusable = self._parser.should_keep_alive()
