"""The asyncio HTTP transport, on connections of the event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from typing import Any

from agentmemo.api.operation import Operation
from agentmemo.client.http_answer import LOST
from agentmemo.client.http_connection import Connection
from agentmemo.client.http_wire import CONNECT_SECONDS, PAUSES_MAX, Sending, Wire
from agentmemo.client.transport import Transport
from agentmemo.clock import SystemClock
from agentmemo.errors import Unavailable
from agentmemo.model.access import Claim

CONNECTIONS_MAX = 100


class AsyncHttpTransport:
    """Calls a plane over HTTP from one event loop, over as many connections as there are calls at once."""

    def __init__(self, address: str, key: str, limit: int) -> None:
        self._wire = Wire(address, key, limit)
        self._address = (address, key, limit)
        self._tls = ssl.create_default_context() if self._wire.tls else None
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)
        self._clock = SystemClock()
        self._closed = False

    async def call(
        self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None
    ) -> Any:
        if self._closed:
            raise Unavailable(
                "The connection is closed.", next_call="Call agentmemo.connect_async(...) again.", retry_safe=False
            )
        sending = self._wire.sending(operation, request, claim, worker)
        status, body = await self._sent(operation, sending)
        for _ in range(PAUSES_MAX):
            seconds = self._wire.pause(status, body)
            if seconds is None:
                break
            await self._clock.sleep_async(seconds)
            status, body = await self._sent(operation, sending)
        return self._wire.answer(operation, status, body)

    async def _sent(self, operation: Operation, sending: Sending) -> tuple[int, bytes]:
        # Repeated once, as in the synchronous transport: the request is safe to repeat.
        try:
            return await self._exchange(sending)
        except LOST:
            self._drop_idle()
            try:
                return await self._exchange(sending)
            except (*LOST, OSError) as error:
                raise self._wire.interrupted(operation, error) from error
        except OSError as error:
            raise self._wire.interrupted(operation, error) from error

    def hold(self, worker: str) -> None:
        """Nothing to do: a plane elsewhere knows of this process only what it hears."""

    def blocking(self) -> Transport:
        from agentmemo.client.http_sync import HttpTransport

        return HttpTransport(*self._address)

    async def close(self) -> None:
        self._closed = True
        for connection in self._open:
            connection.close()
        await self._clock.sleep_async(0)  # the loop lets go of them with its next turn

    async def _exchange(self, sending: Sending) -> tuple[int, bytes]:
        async with self._room:
            connection = await self._take()
            try:
                answer = await connection.ask(sending)
            finally:
                if connection.lost or self._closed:
                    connection.close()
                    self._open.discard(connection)
                else:
                    self._idle.append(connection)
        return answer.status, answer.body

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost:
                return connection
            self._open.discard(connection)
        if self._closed:
            raise ConnectionAbortedError("The connection was closed here")
        try:
            connection = await self._connected()
        except OSError as error:
            raise self._wire.unreachable(error) from error
        self._open.add(connection)
        return connection

    async def _connected(self) -> Connection:
        """To the first address of the name that answers in time, as `socket.create_connection` does."""
        wire, loop = self._wire, asyncio.get_running_loop()
        problem = OSError("Its name has no address")
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await loop.getaddrinfo(wire.host, wire.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await self._connected_by(socket.socket(family, kind, protocol), address)
            except OSError as error:
                problem = error
        raise problem

    async def _connected_by(self, made: socket.socket, address: Any) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            made.setblocking(False)  # noqa: FBT003 - positional there
            await loop.sock_connect(made, address)
            _, connection = await loop.create_connection(
                Connection, sock=made, ssl=self._tls, server_hostname=self._wire.host if self._tls else None
            )
        except BaseException:
            made.close()
            raise
        return connection

    def _drop_idle(self) -> None:
        while self._idle:
            connection = self._idle.pop()
            connection.close()
            self._open.discard(connection)
