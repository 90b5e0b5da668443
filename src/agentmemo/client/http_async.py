"""The asyncio HTTP transport, on aiohttp, which is imported with the first call: it takes a fifth of a second."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from agentmemo.api.operation import Operation
from agentmemo.client.http_wire import CONNECT_SECONDS, PAUSES_MAX, Sending, Wire
from agentmemo.client.transport import Transport
from agentmemo.clock import SystemClock
from agentmemo.errors import Unavailable
from agentmemo.model.access import Claim

if TYPE_CHECKING:
    import aiohttp

CONNECTIONS_MAX = 100
LARGE_BYTES = 1024 * 1024


class AsyncHttpTransport:
    """Calls a plane over HTTP from one event loop."""

    def __init__(self, address: str, key: str, limit: int) -> None:
        self._wire = Wire(address, key, limit)
        self._address = (address, key, limit)
        self._session: aiohttp.ClientSession | None = None
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
        import aiohttp

        lost = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)
        try:
            try:
                return await self._exchange(sending)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError) as error:
                # Repeated once, as in the synchronous transport: the request is safe to repeat. aiohttp does so
                # by itself for every method but POST.
                if sending.method != "POST" or isinstance(error, aiohttp.ClientConnectorError):
                    raise
                return await self._exchange(sending)
        except lost as error:
            raise self._failed(operation, error) from error

    def hold(self, worker: str) -> None:
        """Nothing to do: a plane elsewhere knows of this process only what it hears."""

    def blocking(self) -> Transport:
        from agentmemo.client.http_sync import HttpTransport

        return HttpTransport(*self._address)

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, sending: Sending) -> tuple[int, bytes]:
        import aiohttp
        from yarl import URL

        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        async with self._session.request(
            sending.method,
            URL(self._wire.address + sending.target, encoded=True),
            # aiohttp writes plain bytes in one go, and a file-like body in pieces that leave the loop its turn.
            data=sending.body if len(sending.body or b"") < LARGE_BYTES else io.BytesIO(sending.body or b""),
            headers=sending.headers,
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=sending.timeout_seconds),
            allow_redirects=False,
        ) as response:
            return response.status, await response.read()

    def _failed(self, operation: Operation, error: Exception) -> Unavailable:
        import aiohttp

        never_sent = isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
        return self._wire.unreachable(error) if never_sent else self._wire.interrupted(operation, error)
