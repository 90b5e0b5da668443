"""Long-polls, and server-sent events whose ids are revisions, so that Last-Event-ID goes on without a gap."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import msgspec

from agentmemo.api.operation import Operation
from agentmemo.clock import monotonic
from agentmemo.embedded_async import in_line, is_worth_asking, perform
from agentmemo.engine import audit
from agentmemo.engine.dispatch import Engine
from agentmemo.engine.handlers import ENDED, PEEKS, TELLING, is_ready
from agentmemo.errors import Error, InvalidInput
from agentmemo.model.access import Caller
from agentmemo.server import problems
from agentmemo.server.bodies import Disconnected, Receive
from agentmemo.server.routes import Route
from agentmemo.server.waiting import Hub, Place, Topic
from agentmemo.store import access as access_rows
from agentmemo.store.database import Transaction

HEARTBEAT_SECONDS = 15.0
RETRY_MS = 1000
MEDIA_TYPE = b"text/event-stream"
HEADERS = [
    (b"content-type", MEDIA_TYPE + b"; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),
]
Send = Callable[[Any], Awaitable[None]]


class Batch(NamedTuple):
    """What one look found: (id, event name, data) each, where to go on, and whether to look again at once or end."""

    events: list[tuple[int | None, str, Any]]
    position: int
    more: bool = False
    ended: bool = False


class _Asked(NamedTuple):
    """One request that waits, performed again and again."""

    engine: Engine
    operation: Operation
    caller: Caller
    request: Any

    async def perform(self) -> Any:
        return await perform(self.engine, self.operation, self.caller, self.request)

    async def is_worth_asking(self) -> bool:
        return await is_worth_asking(self.engine, self.operation, self.caller, self.request)

    def is_ready(self, answer: Any) -> bool:
        return is_ready(self.operation, self.request, answer)


async def long_poll(
    engine: Engine, hub: Hub, route: Route, caller: Caller, request: Any, gone: asyncio.Future[None] | None = None
) -> Any:
    """Perform until there is something to say, `wait_seconds` are over, or the server stops.

    `gone` is done once the caller has hung up: nothing is performed for it any more. Raises Disconnected then.
    """
    end = monotonic() + min(request.wait_seconds, engine.settings.wait_seconds_max)
    once = msgspec.structs.replace(request, wait_seconds=0.0)
    asked = _Asked(engine, route.operation, caller, once)
    if route.operation.name not in PEEKS:
        return await _poll(hub, asked, end, gone)
    answer = await asked.perform()
    if asked.is_ready(answer):
        return answer
    in_time = asyncio.get_running_loop().time() + end - monotonic()
    try:
        async with in_line(engine, route.operation, caller, once, in_time):
            return await _poll(hub, asked, end, gone)
    except TimeoutError:
        return await asked.perform() if route.operation.name in TELLING else answer


async def _poll(hub: Hub, asked: _Asked, end: float, gone: asyncio.Future[None] | None) -> Any:
    line: AbstractAsyncContextManager[None] = contextlib.nullcontext()
    with hub.topic(_place(asked.operation, asked.caller, asked.request)) as topic:
        while True:
            if gone is not None and gone.done():
                raise Disconnected
            seen = topic.generation
            async with line:
                answer = await asked.perform()
            if end - monotonic() <= 0 or topic.stopping or asked.is_ready(answer):
                return answer
            await _unless_gone(_until_worth_asking(hub, topic, seen, end, asked), gone)
            # Changes share commits, so they go together; reads take turns.
            line = contextlib.nullcontext() if asked.operation.mutating else hub.look()


async def _unless_gone(waiting: Coroutine[Any, Any, None], gone: asyncio.Future[None] | None) -> None:
    """Wait, but no longer than somebody is there to hear of it. Nothing is changed meanwhile."""
    if gone is None:
        return await waiting
    work = asyncio.ensure_future(waiting)
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        work.cancel()


async def _until_worth_asking(hub: Hub, topic: Topic, seen: int, end: float, asked: _Asked) -> None:
    """Until a commit of anybody's may have changed the answer, the time is over, or the server stops."""
    while (left := end - monotonic()) > 0 and await topic.changed_since(seen, left):
        seen = topic.generation  # before asking: what is committed meanwhile is seen then or looked at again
        async with hub.look():
            if await asked.is_worth_asking():
                return


def _place(operation: Operation, caller: Caller, request: Any) -> Place | None:
    """The namespace that is watched, where it is one; else any commit may be what is waited for."""
    return (caller.workspace, request.namespace) if operation.name == "state.watch" else None


class Stream:
    """One SSE response. The key is checked again around each look: a revoked one is shown no more, and ends it."""

    def __init__(self, engine: Engine, hub: Hub, admit: Callable[[], Awaitable[Caller]]) -> None:
        self._engine = engine
        self._hub = hub
        self._admit = admit

    async def run(self, route: Route, request: Any, position: int | None, receive: Receive, send: Send) -> None:
        """Answer until the caller goes, the server stops, or nothing more can come. Raises Error before the start."""
        look = _LOOKS[route.operation.name]
        # The first look decides about the status: what it refuses is answered as a problem, not inside a stream.
        first = await look(self, route, request, position)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        gone = asyncio.ensure_future(_until_gone(receive))
        feed = asyncio.ensure_future(self._feed(route, request, first, send))
        try:
            await asyncio.wait({gone, feed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not feed.done():
                feed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feed
        if not gone.done() or gone.cancelled():
            await send({"type": "http.response.body", "body": b""})

    async def _feed(self, route: Route, request: Any, first: Batch, send: Send) -> None:
        # An id stands for everything up to it, so it goes ahead only where no event is still to come.
        start = b"" if first.events else b"id: %d\n" % first.position
        await _write(send, b"retry: %d\n%s\n" % (RETRY_MS, start))
        try:
            async for piece in self._pieces(route, request, first):
                await _write(send, piece)
        except Error as error:
            # Too late for a status: the problem travels as the stream's last event.
            await _write(send, _problem(error))
        except Exception as unexpected:  # noqa: BLE001 - as for every operation: a number outside, the rest in the log
            await _write(send, _problem(problems.internal(self._engine.clock, route.operation.name, unexpected)))

    async def _pieces(self, route: Route, request: Any, batch: Batch) -> AsyncIterator[bytes]:
        look = _LOOKS[route.operation.name]
        with self._hub.topic(_place(route.operation, await self._admit(), request)) as topic:
            spoke = monotonic()
            while True:
                if batch.events:
                    yield b"".join(map(_event, batch.events))
                    spoke = monotonic()
                if batch.ended or topic.stopping:
                    return
                seen = topic.generation
                async with self._hub.look():
                    batch = await look(self, route, request, batch.position)
                await self._admit()  # whose key was revoked while this was read is shown nothing of it
                if batch.events or batch.more or batch.ended:
                    continue
                silent = spoke + HEARTBEAT_SECONDS - monotonic()
                if silent > 0:
                    await topic.changed_since(seen, silent)
                if monotonic() - spoke >= HEARTBEAT_SECONDS:
                    # The id without data moves Last-Event-ID along, so a late return need not look at old revisions.
                    yield b": heartbeat\nid: %d\n\n" % batch.position
                    spoke = monotonic()

    async def changes(self, route: Route, request: Any, position: int | None) -> Batch:
        after = position if position is not None else request.after
        request = msgspec.structs.replace(request, after=after, wait_seconds=0.0)
        answer = await self._perform(route, request)
        events = [(change.revision, change.kind, change) for change in answer.changes]
        return Batch(events, answer.next, more=len(answer.changes) == request.limit)

    async def trail(self, route: Route, request: Any, position: int | None) -> Batch:
        if request.newest_first or request.cursor is not None:
            raise InvalidInput(
                "A stream follows the trail forwards.", next_call="Leave out newest_first and cursor; use after."
            )
        after = position if position is not None else request.after
        newest = await asyncio.to_thread(self._newest, (await self._admit()).workspace)
        if after is None:
            return Batch([], newest)
        request = msgspec.structs.replace(request, after=after, wait_seconds=0.0)
        page = await self._perform(route, request)
        events = [(event.revision, "event", event) for event in page.items]
        if page.cursor:
            return Batch(events, events[-1][0], more=True)
        # Nothing up to `newest` fits that is not here, so the next look starts behind it.
        return Batch(events, max([newest, after, *(number for number, *_ in events)]))

    async def waiting(self, route: Route, request: Any, position: int | None) -> Batch:
        """Handoffs as they come in: first all there are, then those that something has happened to since."""
        if request.cursor is not None:
            raise InvalidInput("A stream begins with everything there is.", next_call="Leave out cursor.")
        newest = await asyncio.to_thread(self._newest, (await self._admit()).workspace)
        after = position if position is not None else request.after
        request = msgspec.structs.replace(request, after=after, wait_seconds=0.0)
        found = []
        while True:
            page = await self._perform(route, request)
            found += page.items
            if page.cursor is None:
                break
            request = msgspec.structs.replace(request, cursor=page.cursor)
        # The id stands for all of them, so only the last one brings it: who is cut off before is told all again.
        numbers: list[int | None] = [None] * (len(found) - 1) + [newest] if found else []
        return Batch([(number, "handoff", handoff) for number, handoff in zip(numbers, found, strict=True)], newest)

    async def states(self, route: Route, request: Any, position: int | None) -> Batch:
        """A run, handoff or escalation as it is, each time it changed; its ids are the times. Ends with it."""
        answer = await self._perform(route, msgspec.structs.replace(request, wait_seconds=0.0))
        ended = answer.state in ENDED
        if position is not None and answer.updated_at == position:
            return Batch([], position, ended=ended)
        return Batch([(answer.updated_at, route.operation.noun, answer)], answer.updated_at, ended=ended)

    async def _perform(self, route: Route, request: Any) -> Any:
        return await perform(self._engine, route.operation, await self._admit(), request)

    def _newest(self, name: str) -> int:
        def look(tx: Transaction) -> int:
            found = access_rows.workspace_id(tx, name)
            return audit.revision(audit.last_position(tx, found[0])) if found else 0

        return self._engine.database.read(look)


_LOOKS = {
    "state.watch": Stream.changes,
    "audit.events": Stream.trail,
    "run.get": Stream.states,
    "handoff.get": Stream.states,
    "escalation.get": Stream.states,
    "handoff.pending": Stream.waiting,
    "handoff.notices": Stream.waiting,
}


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


def _event(event: tuple[int | None, str, Any]) -> bytes:
    number, name, data = event
    place = b"" if number is None else b"id: %d\n" % number
    return b"%sevent: %s\ndata: %s\n\n" % (place, name.encode(), msgspec.json.encode(data))


def _problem(error: Error) -> bytes:
    return b"event: problem\ndata: " + problems.encode(error) + b"\n\n"


def resume_at(last_id: bytes | None) -> int | None:
    if last_id is None or not last_id.strip():
        return None
    if not last_id.strip().isdigit() or len(last_id) > 16:  # noqa: PLR2004 - the digits of 2^53
        raise InvalidInput(
            "Last-Event-ID is not one of ours.", next_call="Send the id of the last event you got, or none."
        )
    return int(last_id)
