"""Tools of the MCP servers that models.toml names, each called `<server>.<tool>`.

The SDK is asynchronous, and is imported when the first server is needed. Its sessions live in the event loop of one
thread; whoever calls a tool waits for it there.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from agentmemo.client.driving import IDEMPOTENCY_KEY, Tool
from agentmemo.errors import Error, StepFailed, TimedOut, Unavailable
from agentmemo.llm.config import ToolServer
from agentmemo.model.runs import ANNOUNCED_EFFECTS

if TYPE_CHECKING:
    import mcp

T = TypeVar("T")
JOIN_SECONDS = 10.0


class McpTools:
    """A server is started when one of its tools is needed first. Safe to use from several threads."""

    def __init__(self, servers: Mapping[str, ToolServer], environ: Mapping[str, str] = os.environ) -> None:
        self._servers = {name: _Server(name, settings, environ) for name, settings in servers.items()}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def find(self, name: str) -> Tool | None:
        """None where no server has it. Raises Unavailable for a server that cannot be started or reached."""
        for server in self._servers.values():
            if name.startswith(f"{server.name}."):
                self._do(server.session())
                found = server.tools.get(name.removeprefix(f"{server.name}."))
                if found is not None:
                    return self._tool(name, server, found)
        return None

    def names(self) -> list[str]:
        """Of the servers that have been needed so far."""
        return sorted(f"{server.name}.{tool}" for server in self._servers.values() for tool in server.tools)

    def close(self) -> None:
        """End the sessions, and the programs that were started for them."""
        with self._lock:
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(self._leave(), loop).result(JOIN_SECONDS)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(JOIN_SECONDS)
            loop.close()

    async def _leave(self) -> None:
        await asyncio.gather(*(server.leave() for server in self._servers.values()))

    def _tool(self, name: str, server: _Server, found: mcp.Tool) -> Tool:
        effect = server.settings.effects.get(found.name) or effect_of(found)
        # A key is the plane's to give, never a model's.
        keyed = IDEMPOTENCY_KEY in found.input_schema.get("properties", {})

        def call(**arguments: Any) -> Any:
            return self._do(server.call(found.name, arguments, repeatable=effect not in ANNOUNCED_EFFECTS))

        schema = _without_key(found.input_schema) if keyed else found.input_schema
        return Tool(name, call, effect, found.description or "", schema, keyed)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """In the thread of the sessions. Whoever stops waiting stops it."""
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="agentmemo-mcp", daemon=True)
                self._thread.start()
            return self._loop


class _Server:
    """One server and its session, which a task of its own opens and closes: the SDK wants both from the same task."""

    def __init__(self, name: str, settings: ToolServer, environ: Mapping[str, str]) -> None:
        self.name = name
        self.settings = settings
        self.tools: dict[str, mcp.Tool] = {}
        self._environ = environ
        self._starting = asyncio.Lock()
        self._leaving = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._client: mcp.Client | None = None

    async def session(self) -> mcp.Client:
        """The session there is, else a new one. Raises Unavailable."""
        async with self._starting:
            if self._client is None or self._keeper is None or self._keeper.done():
                await self._start()
            assert self._client is not None  # noqa: S101 - it was just started
            return self._client

    async def call(self, tool: str, arguments: dict[str, Any], *, repeatable: bool) -> Any:
        """What it gave. A server that is gone is started again once; what may have had its effect is not repeated."""
        if not repeatable and not await self._is_there():
            await self.leave()
        try:
            return await self._called(tool, arguments)
        except _GoneError as gone:
            await self.leave()
            if not repeatable:
                raise self._lost(tool, gone) from None
        try:
            return await self._called(tool, arguments)
        except _GoneError as gone:
            raise self._lost(tool, gone) from None

    async def leave(self) -> None:
        """End the session, if there is one."""
        keeper, self._keeper, self._client = self._keeper, None, None
        self._leaving.set()
        if keeper is not None:
            await asyncio.wait({keeper}, timeout=JOIN_SECONDS)
            keeper.cancel()

    async def _start(self) -> None:
        self._leaving = asyncio.Event()
        ready: asyncio.Future[mcp.Client] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(ready, self._leaving))
        either: list[asyncio.Future[Any]] = [ready, self._keeper]
        await asyncio.wait(either, timeout=self.settings.timeout_seconds, return_when="FIRST_COMPLETED")
        if ready.done() and ready.exception() is None:
            self._client = ready.result()
            return
        self._keeper.cancel()
        raise self._unreachable(ready.exception() if ready.done() else None)

    async def _keep(self, ready: asyncio.Future[mcp.Client], leaving: asyncio.Event) -> None:
        try:
            async with _client(self.settings, self._environ) as client:
                self.tools = await _listed(client)
                ready.set_result(client)
                await leaving.wait()
        except Exception as error:  # noqa: BLE001 - whatever ended it, whoever calls is told
            if not ready.done():
                ready.set_exception(error)

    async def _is_there(self) -> bool:
        """Whether it still answers: asked before what must not be sent twice."""
        client = await self.session()
        try:
            await self._answered(client.list_tools(cache_mode="bypass"))
        except (Error, _GoneError):
            return False
        return True

    async def _called(self, tool: str, arguments: dict[str, Any]) -> Any:
        client = await self.session()
        said = await self._answered(client.call_tool(tool, arguments, self.settings.timeout_seconds))
        if said.is_error:
            raise StepFailed(
                f"The tool {self.name}.{tool} failed: {_text(said)}",
                next_call="Correct its arguments, or do without it.",
            )
        return _text(said) if said.structured_content is None else said.structured_content

    async def _answered(self, asked: Awaitable[T]) -> T:
        """The answer, unless the session ends first."""
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        answer = asyncio.ensure_future(asked)
        assert self._keeper is not None  # noqa: S101 - whoever asks has a session
        try:
            await asyncio.wait({answer, self._keeper}, return_when="FIRST_COMPLETED")
            if not answer.done():
                raise _GoneError("the connection broke")
            return answer.result()
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise _GoneError(error.message) from None
            if error.code == REQUEST_TIMEOUT:
                raise TimedOut(
                    f"The MCP server {self.name!r} did not answer within {self.settings.timeout_seconds:g} s.",
                    next_call=f"Raise timeout_seconds of [tools.{self.name}] in models.toml.",
                    retry_safe=False,
                ) from None
            raise StepFailed(
                f"The MCP server {self.name!r} refused it: {error.message}",
                next_call="Correct the call; see the server's own documentation.",
            ) from None
        finally:
            answer.cancel()

    def _lost(self, tool: str, gone: _GoneError) -> Unavailable:
        return Unavailable(
            f"The MCP server {self.name!r} went away during {tool}: {gone}.",
            why="It may have done it before.",
            next_call="See whether it did; the next call starts the server anew.",
            retry_safe=False,
        )

    def _unreachable(self, error: BaseException | None) -> BaseException:
        if isinstance(error, Error):
            return error
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        place = self.settings.url or " ".join(self.settings.command or ())
        said = f"{type(error).__name__}: {error}" if error else f"no answer in {self.settings.timeout_seconds:g} s"
        return Unavailable(
            f"The MCP server {self.name!r} cannot be used: {said}.",
            why=f"[tools.{self.name}] in models.toml says {place}.",
            next_call="Try that by hand, and correct models.toml.",
            retry_safe=True,
        )


class _GoneError(Exception):
    """The session ended before there was an answer."""


def effect_of(tool: mcp.Tool) -> str:
    """What its annotations say. Without any it is taken for what cannot be taken back, as the protocol has it."""
    hints = tool.annotations
    if hints is not None and hints.read_only_hint:
        return "read"
    can_be_repeated = hints is not None and (hints.idempotent_hint or hints.destructive_hint is False)
    return "write" if can_be_repeated else "irreversible"


def _client(settings: ToolServer, environ: Mapping[str, str]) -> mcp.Client:
    """A program is given the variables that its entry names, and of the rest only where it is at home (PATH, HOME)."""
    if importlib.util.find_spec("mcp") is None:
        raise Unavailable(
            "Tools of MCP servers need the package mcp.", next_call="pip install 'agentmemo[mcp]'", retry_safe=False
        )
    import mcp

    seconds = settings.timeout_seconds
    if settings.command is not None:
        program, *arguments = settings.command
        given = {name: environ[name] for name in settings.env if name in environ}
        started = mcp.StdioServerParameters(command=program, args=arguments, env=given)
        return mcp.Client(started, read_timeout_seconds=seconds)
    key = environ.get(settings.key_env, "") if settings.key_env else ""
    return mcp.Client(_at(settings.url or "", key), read_timeout_seconds=seconds)


@asynccontextmanager
async def _at(url: str, key: str) -> AsyncIterator[Any]:
    """A server that runs elsewhere, given the key if there is one."""
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    headers = {"Authorization": f"Bearer {key}"} if key else None
    async with create_mcp_http_client(headers) as http, streamable_http_client(url, http_client=http) as streams:
        yield streams


async def _listed(client: mcp.Client) -> dict[str, mcp.Tool]:
    page = await client.list_tools()
    tools = list(page.tools)
    while page.next_cursor:
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return {tool.name: tool for tool in tools}


def _text(said: mcp.types.CallToolResult) -> str:
    """Its texts, and of anything else what it is."""
    return "\n".join(block.text if block.type == "text" else f"[{block.type}]" for block in said.content)


def _without_key(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {name: value for name, value in schema["properties"].items() if name != IDEMPOTENCY_KEY}
    required = [name for name in schema.get("required", ()) if name != IDEMPOTENCY_KEY]
    return {**schema, "properties": properties, "required": required}
