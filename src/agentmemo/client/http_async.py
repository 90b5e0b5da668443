"""The asyncio HTTP transport, on connections of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from typing import Any

from agentmemo.api.operation import Operation
from agentmemo.client.http_answer import NotHttp
from agentmemo.client.http_connection import Connection
from agentmemo.client.http_tries import Patience, Tries
from agentmemo.client.http_wire import CONNECT_SECONDS, Sending, Wire
from agentmemo.client.transport import Transport
from agentmemo.clock import SystemClock
from agentmemo.errors import Unavailable
from agentmemo.model.access import Claim

CONNECTIONS_MAX = 100


class _Pool:
    """The connections of one event loop."""

    __slots__ = ("idle", "open", "room")

    def __init__(self) -> None:
        self.idle: deque[Connection] = deque()
        self.open: set[Connection] = set()
        self.room = asyncio.Semaphore(CONNECTIONS_MAX)

    def taken(self) -> Connection | None:
        """A connection that nobody uses, if there is one."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.lost:
                return connection
            self.open.discard(connection)
        return None

    def close(self) -> None:
        for connection in self.open:
            connection.close()

    def close_idle(self) -> None:
        while self.idle:
            connection = self.idle.pop()
            connection.close()
            self.open.discard(connection)


class AsyncHttpTransport:
    """Calls a plane over HTTP, over as many connections as there are calls at once, each of one event loop."""

    def __init__(self, address: str, key: str, limit: int, patience_seconds: float = 0.0) -> None:
        self._wire = Wire(address, key, limit)
        self._patience = Patience(patience_seconds)
        self._address = (address, key, limit)
        self._tls = ssl.create_default_context() if self._wire.tls else None
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}
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
        tries = Tries(self._wire, self._patience, operation)
        while True:
            try:
                status, body = await self._exchange(sending)
            except (Unavailable, NotHttp, OSError) as error:
                self._pool().close_idle()
                seconds = tries.missed(error)
                if seconds is None or await self._is_closed_after(seconds):
                    raise tries.given_up(error) from error
            else:
                seconds = tries.answered(status, body)
                if seconds is None or await self._is_closed_after(seconds):
                    return self._wire.answer(operation, status, body)

    async def _is_closed_after(self, seconds: float) -> bool:
        if seconds:
            await self._clock.sleep_async(seconds)
        return self._closed

    def hold(self, worker: str) -> None:
        """Nothing to do: a plane elsewhere knows of this process only what it hears."""

    def blocking(self) -> Transport:
        # It serves the heart and who leaves at once, who never wait for a plane that is away.
        from agentmemo.client.http_sync import HttpTransport

        return HttpTransport(*self._address)

    async def close(self) -> None:
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, pool in list(self._pools.items()):
            if loop is here:
                pool.close()
            else:
                with contextlib.suppress(RuntimeError):  # it was closed before
                    loop.call_soon_threadsafe(pool.close)
        await self._clock.sleep_async(0)  # the loop lets go of them with its next turn

    def _pool(self) -> _Pool:
        """That of the running loop. What the others have cannot be used here."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for other in list(self._pools):
                if other.is_closed():
                    self._pools.pop(other, None)
            pool = self._pools[loop] = _Pool()
        return pool

    async def _exchange(self, sending: Sending) -> tuple[int, bytes]:
        pool = self._pool()
        async with pool.room:
            connection = pool.taken() or await self._made(pool)
            try:
                answer = await connection.ask(sending)
            finally:
                if connection.lost or self._closed:
                    connection.close()
                    pool.open.discard(connection)
                else:
                    pool.idle.append(connection)
        return answer.status, answer.body

    async def _made(self, pool: _Pool) -> Connection:
        if self._closed:
            raise ConnectionAbortedError("The connection was closed here")
        try:
            connection = await self._connected()
        except OSError as error:
            raise self._wire.unreachable(error) from error
        pool.open.add(connection)
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
