"""The synchronous HTTP transport, on the standard library's http.client."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
from collections import deque
from typing import Any

from agentmemo.api.operation import Operation
from agentmemo.client.http_wire import CONNECT_SECONDS, PAUSES_MAX, Sending, Wire
from agentmemo.errors import Unavailable
from agentmemo.model.access import Claim

# What a kept connection says when the other side has closed it meanwhile.
_LOST = (http.client.HTTPException, ConnectionError, ssl.SSLError)


class HttpTransport:
    """Calls a plane over HTTP. Thread-safe: each call takes a connection from the pool, or opens one."""

    def __init__(self, address: str, key: str, limit: int) -> None:
        self._wire = Wire(address, key, limit)
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._tls = ssl.create_default_context() if self._wire.tls else None
        self._closed = threading.Event()
        self._process = os.getpid()

    def call(self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None) -> Any:
        if self._closed.is_set():
            raise Unavailable(
                "The connection is closed.", next_call="Call agentmemo.connect(...) again.", retry_safe=False
            )
        sending = self._wire.sending(operation, request, claim, worker)
        status, body = self._sent(operation, sending)
        for _ in range(PAUSES_MAX):
            seconds = self._wire.pause(status, body)
            if seconds is None or self._closed.wait(seconds):
                break
            status, body = self._sent(operation, sending)
        return self._wire.answer(operation, status, body)

    def _sent(self, operation: Operation, sending: Sending) -> tuple[int, bytes]:
        # Repeated once when the connection was lost: a read changes nothing, and a change that was already done
        # is answered from its Idempotency-Key.
        try:
            return self._exchange(sending)
        except _LOST:
            self._drop_idle()
            try:
                return self._exchange(sending)
            except _LOST as error:
                raise self._wire.interrupted(operation, error) from error
            except OSError as error:
                raise self._wire.interrupted(operation, error) from error
        except OSError as error:
            raise self._wire.interrupted(operation, error) from error

    def hold(self, worker: str) -> None:
        """Nothing to do: a plane elsewhere knows of this process only what it hears."""

    def close(self) -> None:
        self._closed.set()
        self._drop_idle()

    def _exchange(self, sending: Sending) -> tuple[int, bytes]:
        connection = self._take()
        try:
            assert connection.sock is not None  # noqa: S101 - a connection in the pool is open
            connection.sock.settimeout(sending.timeout_seconds)
            try:
                connection.request(sending.method, sending.target, sending.body, sending.headers)
            except (BrokenPipeError, ConnectionResetError):
                # The plane may have refused a body without reading it all; its answer then lies there already.
                if not sending.body or connection.sock is None:
                    raise
            response = connection.getresponse()
            body = response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close or connection.sock is None:
            connection.close()
        else:
            self._idle.append(connection)
            if self._closed.is_set():
                self._drop_idle()
        return response.status, body

    def _take(self) -> http.client.HTTPConnection:
        if self._process != os.getpid():
            # After a fork both sides would speak on the same sockets.
            self._idle, self._process = deque(), os.getpid()
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        wire = self._wire
        connection = (
            http.client.HTTPSConnection(wire.host, wire.port, timeout=CONNECT_SECONDS, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(wire.host, wire.port, timeout=CONNECT_SECONDS)
        )
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            raise wire.unreachable(error) from error
        return connection

    def _drop_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()
