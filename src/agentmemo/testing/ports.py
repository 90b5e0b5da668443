"""Ports for servers that a test starts: picked beforehand, and not lost to anybody else until they are used."""

from __future__ import annotations

import socket
import sys
from typing import Self

# Elsewhere than on Linux a socket that is bound keeps everybody away, the server too.
KEEPS = sys.platform.startswith("linux")


class ReservedPort:
    """A port of this machine, `number`, that no other process is given until `close`.

    One that was only looked up is anybody's before a server listens there, and again while that server is away. A bound
    socket that does not listen keeps it: who connects is refused, and a server that sets SO_REUSEADDR may listen.
    """

    def __init__(self) -> None:
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.number = int(self._kept.getsockname()[1])
        if not KEEPS:
            self._kept.close()

    def close(self) -> None:
        self._kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
