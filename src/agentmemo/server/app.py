"""The ASGI application: the operations table over HTTP. Its hot path is plain functions, without a framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import msgspec

from agentmemo.api.openapi import describe
from agentmemo.api.operations import BY_NAME
from agentmemo.client._async.connection import AsyncConnection
from agentmemo.clock import monotonic
from agentmemo.embedded import LocalPlane, under
from agentmemo.embedded_async import connection_for_async, perform
from agentmemo.errors import Error, InvalidInput, Unavailable
from agentmemo.model.access import Caller, Claim
from agentmemo.model.runs import ReleaseRun
from agentmemo.server import bodies, decoding, metrics, problems
from agentmemo.server.auth import FORGETTING, Authenticator
from agentmemo.server.bodies import Disconnected, Headers, Receive
from agentmemo.server.links import Links
from agentmemo.server.metrics import Metrics
from agentmemo.server.pace import Pace
from agentmemo.server.problems import Refusal
from agentmemo.server.room import Room
from agentmemo.server.routes import DESCRIPTION, PREFIX, Route, Routes
from agentmemo.server.slack import BODY_BYTES_MAX, SlackDoor
from agentmemo.server.slack import PATH as SLACK_PATH
from agentmemo.server.streams import MEDIA_TYPE, Stream, long_poll, resume_at
from agentmemo.server.waiting import Hub

Scope = Any
Send = Callable[[Any], Awaitable[None]]
Headers_ = list[tuple[bytes, bytes]]
# Values above this are stored before their transaction, which must not happen on the event loop.
LARGE_BYTES = 4096
RESUME = "run.resume"
LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
_JSON = (b"content-type", b"application/json")
_SAFE: Headers_ = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_encode = msgspec.json.Encoder().encode


class App:
    """One plane over HTTP. `stop` ends streams and long-polls, so that a server can finish the rest and leave."""

    def __init__(self, plane: LocalPlane) -> None:
        self.plane = plane
        self.engine = plane.engine
        self.hub = Hub(plane.engine.database)
        self.metrics = Metrics()
        self.room = Room(plane.engine.settings)
        self._pace = Pace(plane.clock, plane.engine.settings.requests_per_second)
        self._routes = Routes()
        self._keys = Authenticator(plane.engine, "http")
        self._console_keys = Authenticator(plane.engine, "console")
        self._console: asyncio.Task[Any] | None = None
        self._slack = SlackDoor(plane.engine)
        self._description = b""
        self._plain: dict[bytes, Callable[[Scope, Headers, Receive, Send], Awaitable[None]]] = {
            b"/healthz": self._health,
            b"/readyz": self._ready,
            b"/metrics": self._show_metrics,
            DESCRIPTION.encode(): self._describe,
        }

    def stop(self) -> None:
        """End what would wait; called on the event loop."""
        self.hub.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            path = scope.get("raw_path") or scope["path"].encode()
            plain = self._plain.get(path)
            if plain is not None:
                await self._guarded(plain, scope, receive, send)
            elif path == SLACK_PATH:
                await self._guarded(self._press, scope, receive, send, method="POST")
            elif path.startswith(PREFIX) or path == PREFIX[:-1]:
                await self._operation(path, scope, receive, send)
            else:
                await self._page(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _operation(self, path: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """One call of an operation, counted and with every error as a problem document."""
        started = monotonic()
        name, code = "unknown", "ok"
        try:
            method = scope["method"]
            route, parts = self._routes.find("GET" if method == "HEAD" else method, path)
            name = route.operation.name
            await self._perform(route, parts, scope, receive, send)
        except Error as error:
            code = error.code
            await _refuse(send, error, self._status(error, scope))
        except Refusal as refusal:
            code = refusal.error.code
            await _refuse(send, refusal.error, refusal.status, refusal.headers)
        except Disconnected:
            code = "disconnected"
        except Exception as unexpected:  # noqa: BLE001 - the outside learns a number, the log everything
            code = "internal"
            await _refuse(send, problems.internal(self.engine.clock, name, unexpected), 500)
        self.metrics.count(name, code, monotonic() - started)

    async def _perform(self, route: Route, parts: list[bytes], scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = dict(scope["headers"])
        authorization = headers.get(b"authorization")
        caller = await self._keys.admit(authorization)
        operation = route.operation
        if not operation.liveness:
            self._pace.admit(caller)
        if operation.mutating:
            with self.room.body() as held:
                settings = self.engine.settings
                body = await bodies.read_body(receive, headers, settings.request_bytes_max, held)
                query = scope["query_string"]
                decode = partial(decoding.decode_request, route, parts, query, headers, body)
                request = await bodies.decoded(body, held, settings, decode)
                await self._change(route, _with_headers(caller, headers), request, len(body), receive, send)
            return
        request = decoding.decode_request(route, parts, scope["query_string"], headers, b"")
        position = resume_at(headers.get(b"last-event-id")) if operation.watch else None
        if operation.watch and MEDIA_TYPE in headers.get(b"accept", b"") and scope["method"] == "GET":
            stream = Stream(self.engine, self.hub, lambda: self._keys.admit(authorization))
            with self.room.waiter(caller), self.metrics.stream():
                await stream.run(route, request, position, receive, send)
        elif route.waits and request.wait_seconds > 0:  # type: ignore[attr-defined]
            with self.room.waiter(caller):
                waiting = long_poll(self.engine, self.hub, route, caller, request)
                await _reply(send, 200, _encode(await _while_connected(waiting, receive)))
        else:
            answer = await perform(self.engine, operation, caller, request)
            if route.has_version:
                await _reply_versioned(send, answer, headers)
            else:
                await _reply(send, 200, _encode(answer))

    async def _change(
        self, route: Route, caller: Caller, request: Any, size: int, receive: Receive, send: Send
    ) -> None:
        seen: list[Any] = []
        operation = route.operation
        try:
            if route.waits and request.wait_seconds > 0:
                with self.room.waiter(caller):
                    answer = await self._change_when_ready(route, caller, request, receive)
            else:
                answer = await perform(self.engine, operation, caller, request, large=size > LARGE_BYTES, seen=seen)
        finally:
            if operation.name in FORGETTING:
                self._keys.forget()
                self._console_keys.forget()
        extra: Headers_ = []
        if seen and seen[0].replayed:
            extra.append((b"idempotency-replayed", b"true"))
        if route.has_version:
            extra.append((b"etag", b'"%d"' % answer.version))
        await _reply(send, 200, _encode(answer), extra)

    async def _change_when_ready(self, route: Route, caller: Caller, request: Any, receive: Receive) -> Any:
        """Wait for what can be claimed. Once the caller has hung up nothing is claimed for it.

        What was claimed while it hung up is answered to the repeated request; only a run that was to go on with it is
        free at once, not when the lease of a dead process ends.
        """
        gone = asyncio.ensure_future(_hung_up(receive))
        try:
            answer = await long_poll(self.engine, self.hub, route, caller, request, gone)
            if gone.done() and route.operation.name == RESUME and answer.outcome != "waiting":
                claim = Claim(run=answer.run.id, epoch=answer.run.epoch)
                release = ReleaseRun(run=answer.run.id)
                holder = msgspec.structs.replace(caller, claim=claim, request_id=None)
                await perform(self.engine, BY_NAME["run.release"], holder, release)
            return answer
        finally:
            gone.cancel()

    def _status(self, error: Error, scope: Scope) -> int:
        if error.code == "version_conflict":
            names = {name for name, _ in scope["headers"]}
            if b"if-match" in names or b"if-none-match" in names:
                return problems.PRECONDITION_FAILED
        return problems.status_of(error)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._console is None:  # in a thread, so that the calls of agents go on while it is loaded
            self._console = asyncio.create_task(asyncio.to_thread(self._load_console))
        loading = self._console
        try:
            console = await asyncio.shield(loading)
        except Exception:
            if self._console is loading:
                self._console = None  # the next page tries again: a file that could not be opened may be there then
            raise
        await console(scope, receive, send)

    def _load_console(self) -> Any:
        from agentmemo.console.app import create_console

        return create_console(self._connection, clock=self.plane.clock, door=Links(self.engine))

    def _connection(self, key: str) -> AsyncConnection:
        """A console session's key as a connection. Raises NotAuthenticated."""
        return connection_for_async(self.plane, self._console_keys.caller_of(key))

    async def _guarded(self, endpoint: Any, scope: Scope, receive: Receive, send: Send, method: str = "GET") -> None:
        try:
            if scope["method"] == method or (scope["method"] == "HEAD" and method == "GET"):
                await endpoint(scope, dict(scope["headers"]), receive, send)
            else:
                refused = InvalidInput(f"{scope['path']} takes {method} only.", next_call=f"{method} {scope['path']}.")
                allowed = b"GET, HEAD" if method == "GET" else method.encode()
                await _refuse(send, refused, 405, [(b"allow", allowed)])
        except Disconnected:
            return
        except Error as error:
            await _refuse(send, error)
        except Exception as unexpected:  # noqa: BLE001 - as for operations
            await _refuse(send, problems.internal(self.engine.clock, scope["path"], unexpected), 500)

    async def _health(self, _scope: Scope, _headers: Headers, _receive: Receive, send: Send) -> None:
        await _reply(send, 200, b'{"status":"ok"}')

    async def _ready(self, _scope: Scope, _headers: Headers, _receive: Receive, send: Send) -> None:
        """200 only when a write would be accepted now."""
        if self.hub.stopping:
            raise Unavailable(
                "The server is stopping.",
                next_call="Ask another one, or again in a moment.",
                details={"retry_after_seconds": problems.RETRY_AFTER_SECONDS},
            )
        # An empty transaction waits for the write lock and commits, so a full or read-only disk shows.
        await asyncio.to_thread(self.engine.database.write, lambda _tx: None)
        await _reply(send, 200, b'{"status":"ready"}')

    async def _press(self, _scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        """A button in Slack. The signature is over the bytes as they came."""
        with self.room.body() as held:
            body = await bodies.read_body(receive, headers, BODY_BYTES_MAX, held)
            await self._slack.take(headers, body)
        await _reply(send, 200, b"{}")

    async def _show_metrics(self, scope: Scope, headers: Headers, _receive: Receive, send: Send) -> None:
        client = scope.get("client")
        local = (client is None or client[0] in LOOPBACK) and b"x-forwarded-for" not in headers
        if not local:
            # Names and numbers only, but not everybody's: from elsewhere it takes a key.
            await self._keys.admit(headers.get(b"authorization"))
        page = await asyncio.to_thread(self.metrics.render, self.engine)
        await _respond(send, 200, page, [(b"content-type", metrics.MEDIA_TYPE), *_SAFE])

    async def _describe(self, _scope: Scope, _headers: Headers, _receive: Receive, send: Send) -> None:
        if not self._description:
            self._description = _encode(describe())
        await _reply(send, 200, self._description)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def create_app(plane: LocalPlane) -> App:
    """The plane as an ASGI application: HTTP under /v1, health and metrics, and the console for everything else."""
    return App(plane)


def _with_headers(caller: Caller, headers: Headers) -> Caller:
    """The caller under this request's claim, worker and idempotency key."""
    worker = headers.get(b"agentmemo-worker")
    return under(
        caller,
        decoding.read_claim(headers) if b"agentmemo-claim" in headers else None,
        worker.decode("latin-1")[:64] if worker else None,
        decoding.read_idempotency_key(headers) if b"idempotency-key" in headers else None,
    )


async def _while_connected(waiting: Any, receive: Receive) -> Any:
    """The answer of a wait, given up when the caller hangs up."""
    work = asyncio.ensure_future(waiting)
    gone = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise Disconnected
    finally:
        gone.cancel()
        work.cancel()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reply_versioned(send: Send, answer: Any, headers: Headers) -> None:
    tag = (b"etag", b'"%d"' % answer.version)
    if decoding.is_unchanged(headers, answer.version):
        await _respond(send, 304, b"", [tag, *_SAFE])
    else:
        await _reply(send, 200, _encode(answer), (tag,))


async def _reply(send: Send, status: int, body: bytes, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
    await _respond(send, status, body, [_JSON, *_SAFE, *extra])


async def _refuse(send: Send, error: Error, status: int | None = None, extra: Headers_ | None = None) -> None:
    headers = [(b"content-type", problems.MEDIA_TYPE), *_SAFE, *problems.headers_of(error), *(extra or [])]
    await _respond(send, status or problems.status_of(error), problems.encode(error, status), headers)


async def _respond(send: Send, status: int, body: bytes, headers: Headers_) -> None:
    if status != 304:  # noqa: PLR2004 - it has no body, and no length that would speak of one
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
