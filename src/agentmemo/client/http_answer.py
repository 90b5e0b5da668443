"""An HTTP/1.1 answer, made of the pieces in which it comes. It reads no socket, so both transports share it."""

from __future__ import annotations

import ssl

HEAD_BYTES_MAX = 64 * 1024
_LINE = b"\r\n"
_SWITCHING = 101
_FIRST_FINAL = 200
_WITHOUT_BODY = frozenset({204, 304})
_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")


class NotHttp(Exception):
    """What came is no answer of HTTP/1.1."""


# What a kept connection says when the other side has closed it meanwhile.
LOST = (NotHttp, ConnectionError, ssl.SSLError)


class Answer:
    """Feed it until it is `whole`. Its connection may serve another request where it is `reusable` then."""

    __slots__ = ("_buffer", "_is_chunked", "_is_last", "_keeps", "_left", "_pieces", "reusable", "status", "whole")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pieces: list[bytes] = []
        # Of the body; None where it ends with the connection.
        self._left: int | None = None
        self._is_chunked = False
        self._is_last = False
        self._keeps = False
        self.status = 0
        self.whole = False
        self.reusable = False

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    def feed(self, data: bytes) -> bool:
        """Whether it is whole now. Raises NotHttp for what cannot be an answer."""
        if not self.status:
            self._buffer += data
            data = self._behind_head()
        if self.status and self._is_chunked:
            self._buffer += data
            self._take_chunks()
        elif self.status:
            self._take(data)
        return self.whole

    def end(self) -> None:
        """The other side has hung up. Raises ConnectionResetError where something was still to come."""
        if not self.status or self._is_chunked or self._left is not None:
            raise ConnectionResetError("The connection was closed before the answer was whole")
        self.whole = True

    def _behind_head(self) -> bytes:
        """What came behind the head, once that is there. Heads that only say `go on` are passed over."""
        while not self.status:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                if len(self._buffer) > HEAD_BYTES_MAX:
                    raise NotHttp("The head of the answer does not end")
                return b""
            self._buffer = rest
            self._read_head(bytes(head))
        found = bytes(self._buffer)
        self._buffer.clear()
        return found

    def _read_head(self, head: bytes) -> None:
        line, *headers = head.split(_LINE)
        version, _, rest = line.partition(b" ")
        if version not in {b"HTTP/1.1", b"HTTP/1.0"} or not rest[:3].isdigit():
            raise NotHttp(f"An answer begins otherwise than {line[:40]!r}")
        status = int(rest[:3])
        if status < _FIRST_FINAL and status != _SWITCHING:
            return
        self._keeps = version == b"HTTP/1.1"
        for header in headers:
            self._read_header(header)
        if status in _WITHOUT_BODY:
            self._left, self._is_chunked = 0, False
        elif self._is_chunked:
            self._left = None
        self._keeps = self._keeps and (self._is_chunked or self._left is not None)
        self.status = status

    def _read_header(self, header: bytes) -> None:
        name, _, value = header.partition(b":")
        name, value = name.lower(), value.strip()
        if name == b"content-length":
            if not value.isdigit() or self._left not in {None, int(value)}:
                raise NotHttp("The answer's length is no number, or two")
            self._left = int(value)
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise NotHttp(f"The answer is encoded as {value[:40]!r}")
            self._is_chunked = True
        elif name == b"connection" and b"close" in value.lower():
            self._keeps = False

    def _take(self, data: bytes) -> None:
        if self._left is None:
            self._pieces.append(data)
            return
        self._pieces.append(data[: self._left])
        # Bytes behind an answer belong to nothing that was asked.
        self._keeps = self._keeps and len(data) <= self._left
        self._left -= len(self._pieces[-1])
        if not self._left:
            self._finish()

    def _take_chunks(self) -> None:
        """Sizes in front of chunks; what stands behind a size, or between the last chunk and the end, is not read."""
        buffer = self._buffer
        while not self.whole:
            end = buffer.find(_LINE)
            if end < 0:
                if len(buffer) > HEAD_BYTES_MAX:
                    raise NotHttp("A chunk's size does not end")
                return
            start = end + len(_LINE)
            size = 0 if self._is_last else _size_of(bytes(buffer[:end]))
            if size:
                if len(buffer) < start + size + len(_LINE):
                    return
                self._pieces.append(bytes(buffer[start : start + size]))
                start += size + len(_LINE)
                if buffer[start - len(_LINE) : start] != _LINE:
                    raise NotHttp("A chunk is longer than its size")
            elif self._is_last and not end:
                self._finish()
            self._is_last = self._is_last or not size
            del buffer[:start]
        self.reusable = self.reusable and not buffer

    def _finish(self) -> None:
        self.whole = True
        self.reusable = self._keeps


def _size_of(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or not _HEXADECIMAL.issuperset(digits):
        raise NotHttp(f"{line[:40]!r} is not a chunk's size")
    return int(digits, 16)
