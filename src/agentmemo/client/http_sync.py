"""The synchronous HTTP transport, on plain sockets: a request leaves in one piece, and most answers come in one."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
from collections import deque
from typing import Any

from agentmemo.api.operation import Operation
from agentmemo.client.http_answer import Answer, NotHttp
from agentmemo.client.http_tries import Patience, Tries
from agentmemo.client.http_wire import CONNECT_SECONDS, READ_BYTES, Sending, Wire
from agentmemo.errors import Unavailable
from agentmemo.model.access import Claim


class HttpTransport:
    """Calls a plane over HTTP. Thread-safe: each call takes a connection from the pool, or opens one."""

    def __init__(self, address: str, key: str, limit: int, patience_seconds: float = 0.0) -> None:
        self._wire = Wire(address, key, limit)
        self._patience = Patience(patience_seconds)
        self._idle: deque[socket.socket] = deque()
        self._tls = ssl.create_default_context() if self._wire.tls else None
        self._closed = threading.Event()
        self._process = os.getpid()

    def call(self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None) -> Any:
        if self._closed.is_set():
            raise Unavailable(
                "The connection is closed.", next_call="Call agentmemo.connect(...) again.", retry_safe=False
            )
        sending = self._wire.sending(operation, request, claim, worker)
        tries = Tries(self._wire, self._patience, operation)
        while True:
            try:
                status, body = self._exchange(sending)
            except (Unavailable, NotHttp, OSError) as error:
                self._drop_idle()
                seconds = tries.missed(error)
                if seconds is None or self._closed.wait(seconds):
                    raise tries.given_up(error) from error
            else:
                seconds = tries.answered(status, body)
                if seconds is None or self._closed.wait(seconds):
                    return self._wire.answer(operation, status, body)

    def hold(self, worker: str) -> None:
        """Nothing to do: a plane elsewhere knows of this process only what it hears."""

    def close(self) -> None:
        self._closed.set()
        self._drop_idle()

    def _exchange(self, sending: Sending) -> tuple[int, bytes]:
        connection = self._take()
        try:
            answer = _ask(connection, sending)
        except BaseException:
            connection.close()
            raise
        if answer.reusable:
            self._idle.append(connection)
            if self._closed.is_set():
                self._drop_idle()
        else:
            connection.close()
        return answer.status, answer.body

    def _take(self) -> socket.socket:
        if self._process != os.getpid():
            # After a fork both sides would speak on the same sockets.
            self._idle, self._process = deque(), os.getpid()
        with contextlib.suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if _is_silent(connection):
                    return connection
                connection.close()
        try:
            return self._connected()
        except OSError as error:
            raise self._wire.unreachable(error) from error

    def _connected(self) -> socket.socket:
        connection = socket.create_connection((self._wire.host, self._wire.port), timeout=CONNECT_SECONDS)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._tls.wrap_socket(connection, server_hostname=self._wire.host) if self._tls else connection
        except BaseException:
            connection.close()
            raise

    def _drop_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()


def _is_silent(connection: socket.socket) -> bool:
    """Not closed by the other side, and nothing came that nobody asked for: it would be taken for the next answer."""
    came = select.poll()
    came.register(connection, select.POLLIN)
    return not came.poll(0)


def _ask(connection: socket.socket, sending: Sending) -> Answer:
    """Raises OSError where the connection is lost or the answer does not come, and NotHttp where it is none."""
    if connection.gettimeout() != sending.timeout_seconds:
        connection.settimeout(sending.timeout_seconds)
    try:
        for piece in sending.pieces():
            connection.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        # The plane may have refused a body without reading it all; its answer then lies there already.
        if not sending.body:
            raise
    answer = Answer()
    while not answer.whole:
        data = connection.recv(READ_BYTES)
        if data:
            answer.feed(data)
        else:
            answer.end()
    return answer
