"""Hints between processes on one file: a datagram says "look now", so a listener need not wait for its next poll.

Losing one costs nothing: polling `data_version` stays the truth. Where sockets cannot be (a path too long, another
user's directory), there are no hints and the poll alone decides.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from pathlib import Path

from agentmemo.clock import monotonic

# The kernel's limit for the path of a Unix socket is 108 bytes on Linux and 104 on macOS.
PATH_BYTES_MAX = 100
LOOK_AGAIN_SECONDS = 0.5
_HINT = b"!"


class Hints:
    """This process's letter box and the addresses of the others'."""

    def __init__(self, database: Path) -> None:
        self._directory = database.with_name(database.name + "-hints")
        self._box: socket.socket | None = None
        self._own: Path | None = None
        self._others: list[str] = []
        self._looked_at = 0.0
        self._sender: socket.socket | None = None

    def listen(self) -> None:
        """Open the letter box; without one, `wait` is a plain pause."""
        path = self._directory / f"{os.getpid()}-{id(self):x}"
        if self._box is not None or len(os.fsencode(path)) > PATH_BYTES_MAX:
            return
        box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            box.setblocking(False)  # noqa: FBT003 - the standard library's signature
            box.bind(os.fspath(path))
        except OSError:
            box.close()
        else:
            self._box, self._own = box, path

    def wait(self, seconds: float) -> None:
        """Until a hint comes or the time is over."""
        if self._box is None:
            select.select([], [], [], seconds)
            return
        # Not `select`: it refuses descriptors above 1023, which a busy server has.
        poller = select.poll()
        poller.register(self._box, select.POLLIN)
        if poller.poll(seconds * 1000):
            with contextlib.suppress(BlockingIOError):
                while self._box.recv(16):
                    pass

    def send(self) -> None:
        """Tell the others. A box that nobody empties, or that is gone, is passed over."""
        now = monotonic()
        if now - self._looked_at > LOOK_AGAIN_SECONDS:
            self._looked_at = now
            self._others = self._find_others()
        if not self._others:
            return
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)  # noqa: FBT003 - as above
        for other in self._others:
            try:
                self._sender.sendto(_HINT, other)
            except BlockingIOError:
                continue
            except OSError:
                # Its process is gone without a goodbye.
                with contextlib.suppress(OSError):
                    os.unlink(other)  # noqa: PTH108 - the path is a string for sendto
                self._looked_at = 0.0

    def close(self) -> None:
        for endpoint in (self._box, self._sender):
            if endpoint is not None:
                endpoint.close()
        if self._own is not None:
            self._own.unlink(missing_ok=True)
        self._box = self._own = self._sender = None

    def _find_others(self) -> list[str]:
        try:
            return [entry.path for entry in os.scandir(self._directory) if Path(entry.path) != self._own]
        except OSError:
            return []
