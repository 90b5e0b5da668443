"""One kept connection of the asyncio transport: one request at a time, in one piece where it is small."""

from __future__ import annotations

import asyncio

from agentmemo.client.http_answer import Answer, NotHttp
from agentmemo.client.http_wire import Sending


class Connection(asyncio.Protocol):
    """`ask` is the only way to use it; `lost` says that it cannot be used any more."""

    def __init__(self) -> None:
        self.lost = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._answer = Answer()
        self._waiting: asyncio.Future[None] | None = None
        self._draining: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle
        self._heard_at = 0.0
        self._seconds = 0.0

    async def ask(self, sending: Sending) -> Answer:
        """The answer, once it is whole.

        Raises ConnectionError where the connection is lost, NotHttp for no answer, and TimeoutError where neither side
        moves for as long as the request may take. The connection is closed then, as it is when the caller is cancelled.
        """
        self._answer = Answer()
        self._waiting = waiting = self._loop.create_future()
        self._heard_at, self._seconds = self._loop.time(), sending.timeout_seconds
        self._timer = self._loop.call_later(self._seconds, self._look)
        try:
            sent = await self._send(sending, waiting)
            await waiting
        except BaseException:
            self.close()
            raise
        finally:
            self._timer.cancel()
            self._waiting = None
        if not (sent and self._answer.reusable):
            self.close()
        return self._answer

    def close(self) -> None:
        self.lost = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._answer.whole:
            # Nobody asked, so it would be taken for the answer to the next request.
            self.close()
            return
        self._heard_at = self._loop.time()
        try:
            if self._answer.feed(data):
                self._end(None)
        except NotHttp as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self.lost:
            exc = ConnectionAbortedError("The connection was closed here")
        self.lost = True
        if exc is None and not self._answer.whole:
            try:
                self._answer.end()
            except ConnectionError as error:
                exc = error
        self._end(exc)

    def pause_writing(self) -> None:
        self._draining = self._loop.create_future()

    def resume_writing(self) -> None:
        self._heard_at = self._loop.time()
        self._wake_writer()

    async def _send(self, sending: Sending, waiting: asyncio.Future[None]) -> bool:
        """Whether all of it was sent. Of what is refused unread the rest is not: it would be taken for what follows."""
        for data in sending.pieces():
            if waiting.done():
                return False
            self._transport.write(data)
            if self._draining is not None:
                await self._draining
        return True

    def _look(self) -> None:
        """The time is over, unless something moved meanwhile; then it began anew."""
        left = self._heard_at + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._end(TimeoutError("Nothing came in time"))

    def _end(self, error: Exception | None) -> None:
        self._wake_writer()
        if self._waiting is None or self._waiting.done():
            return
        if error is None:
            self._waiting.set_result(None)
        else:
            self._waiting.set_exception(error)

    def _wake_writer(self) -> None:
        draining, self._draining = self._draining, None
        if draining is not None and not draining.done():
            draining.set_result(None)
