"""A line to PostgreSQL that can be cut at a chosen message of the protocol, or after any number of bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from psycopg.conninfo import conninfo_to_dict

CLIENT, SERVER = "client", "server"
HEADER = 5  # a message's type and its length
PIECE = 65536


class Message(NamedTuple):
    side: str
    kind: bytes
    content: bytes


def asks_to_commit(message: Message) -> bool:
    return message.side == CLIENT and message.kind == b"P" and b"\0COMMIT\0" in message.content


# Where a write transaction can lose its line. Each is cut just before the message that it describes.
POINTS: dict[str, Callable[[Message], bool]] = {
    "before BEGIN is answered": lambda it: it.side == SERVER and it.kind == b"C" and it.content == b"BEGIN\0",
    "before COMMIT arrives": asks_to_commit,
    "before COMMIT is answered": lambda it: it.side == SERVER and it.kind == b"C" and it.content == b"COMMIT\0",
}


class Line:
    """Clients connect to `url`; while it is `closed` nobody gets through."""

    def __init__(self, url: str) -> None:
        self._port = int(conninfo_to_dict(url)["port"])
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        port = self._listener.getsockname()[1]
        # In clear, so that its messages can be told apart.
        self.url = url.replace(f":{self._port}/", f":{port}/") + "?sslmode=disable&gssencmode=disable"
        self.cuts = self.turned_away = 0
        self.closed = False
        self._lock = threading.Lock()
        self._matches: Callable[[Message], bool] | None = None
        self._left: int | None = None
        self._shuts = False
        # Since the cut was ordered. The end of a read is answered to nobody who waits, so an answer may be of before.
        self._asked_to_commit = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, matches: Callable[[Message], bool], *, shut: bool = False) -> None:
        """Cut once, before the next message that matches; with `shut` nobody gets through afterwards."""
        with self._lock:
            self._matches, self._shuts, self._asked_to_commit = matches, shut, False

    def cut_after(self, count: int) -> None:
        """Cut once, when so many bytes more have gone over the line in either direction."""
        with self._lock:
            self._left = count

    def shut(self, *, closed: bool = True) -> None:
        """Cut everything and let nobody through; with `closed=False` all may come again."""
        self.closed = closed
        if closed:
            self._cut_all()

    def end(self) -> None:
        # Shut down first: an accept that waits would else keep the listener open.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut_all()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.closed:
                    self.turned_away += 1
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    client.close()
                    continue
                for side in (client, server):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._pairs.append((client, server))
                for source, target, side in ((client, server, CLIENT), (server, client, SERVER)):
                    threading.Thread(target=self._pump, args=(source, target, side), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, side: str) -> None:
        with contextlib.suppress(OSError):
            for message, raw in messages(source, side):
                passed = self._allowed(message, raw)
                target.sendall(raw[:passed])
                if passed < len(raw):
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _allowed(self, message: Message, raw: bytes) -> int:
        """How many bytes of a message may pass; fewer than it has cuts the line."""
        with self._lock:
            self._asked_to_commit |= asks_to_commit(message)
            is_of_before = message.content == b"COMMIT\0" and not self._asked_to_commit
            if self._matches and self._matches(message) and not is_of_before:
                self._matches, self.closed = None, self._shuts
                self.cuts += 1
                return 0
            if self._left is not None:
                self._left -= len(raw)
                if self._left < 0:
                    passed, self._left = len(raw) + self._left, None
                    self.cuts += 1
                    return passed
            return len(raw)

    def _cut_all(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for side in pair:
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
                side.close()


def messages(source: socket.socket, side: str) -> Iterator[tuple[Message, bytes]]:
    """Whole messages of the protocol. A client's first one has no type."""
    waiting = b""
    typed = side == SERVER
    while data := source.recv(PIECE):
        waiting += data
        while True:
            head = HEADER if typed else HEADER - 1
            if len(waiting) < head:
                break
            size = head - 4 + int.from_bytes(waiting[head - 4 : head], "big")
            if len(waiting) < size:
                break
            raw, waiting = waiting[:size], waiting[size:]
            yield Message(side, raw[:1] if typed else b"", raw[head:]), raw
            typed = True
