"""A plane in this process for asyncio: nothing here blocks the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import msgspec

from agentmemo.api.operation import Operation
from agentmemo.client._async.connection import AsyncConnection
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client.transport import Transport
from agentmemo.embedded import EmbeddedTransport, LocalPlane, local_caller, release_plane, shared_plane, under
from agentmemo.engine.call import Call
from agentmemo.engine.dispatch import Engine
from agentmemo.engine.handlers import DIRECT, PEEKS, TELLING, is_ready
from agentmemo.engine.prepare import VALUE_FIELDS
from agentmemo.engine.waiting import place_of
from agentmemo.model.access import PERSON_ONLY, Caller, Claim, allows
from agentmemo.store.blobs import INLINE_BYTES_MAX
from agentmemo.store.database import Done

# Writes after which this process must do something itself.
BLOCKING = frozenset({"actor.disable", "worker.stop"})
# Of what is sent together: what may ask for a result or an acceptance to be judged first.
JUDGED = frozenset({"handoff.create", "handoff.complete"})
# What is looked at and judged before its transaction.
CONSIDERED = frozenset(
    {
        "workflow.start",
        "workflow.resume",
        "workflow.submit",
        "workflow.add_cases",
        "workflow.keep_case",
        "workflow.open_trial",
        "workflow.try_case",
        "workflow.propose",
    }
)
# Characters up to which a value fits into a row, whatever they are: JSON writes a control character as six bytes.
SURELY_SMALL = INLINE_BYTES_MAX // 6
SMALL_INTEGER_BITS = 64
# What of a request is stored as a value, or as a part of one.
CARRYING_FIELDS = (
    *VALUE_FIELDS, "context", "artifacts", "goal", "references", "constraints", "acceptance", "tried", "unverified",
)  # fmt: skip


async def open_embedded_async(
    address: str | None, *, agent: str | None, person: str | None, workspace: str, door: str
) -> AsyncConnection:
    caller = local_caller(agent, person, workspace, door)
    return connection_for_async(await asyncio.to_thread(shared_plane, address), caller, counted=True)


def connection_for_async(plane: LocalPlane, caller: Caller, *, counted: bool = False) -> AsyncConnection:
    plane.users += not counted
    transport = AsyncEmbeddedTransport(plane, caller)
    return AsyncConnection(AsyncPlane(transport, plane.clock, plane.settings.lease_seconds, plane.models), caller.name)


class AsyncEmbeddedTransport:
    """The same without blocking the event loop: writes call back from the writer, long reads go to a thread."""

    def __init__(self, plane: LocalPlane, caller: Caller) -> None:
        self.plane = plane
        self._engine = plane.engine
        self._caller = caller
        self._closed = False

    async def call(
        self, operation: Operation, request: Any, *, claim: Claim | None = None, worker: str | None = None
    ) -> Any:
        caller = under(self._caller, claim, worker)
        return await perform(self._engine, operation, caller, request, large=not _is_small(request))

    def hold(self, worker: str) -> None:
        self._engine.presence.hold(worker)

    def blocking(self) -> Transport:
        return EmbeddedTransport(self.plane, self._caller)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(release_plane, self.plane)


async def perform(
    engine: Engine,
    operation: Operation,
    caller: Caller,
    request: Any,
    *,
    large: bool = False,
    seen: list[Call] | None = None,
) -> Any:
    """An operation from an event loop: point reads at once, writes through the writer, the rest in a thread.

    With `wait_seconds` it waits for commits without holding a thread. `large` says that the request carries values
    to be stored before its transaction, which would block the loop; `seen` gets the engine's call.
    """
    seconds = min(getattr(request, "wait_seconds", 0.0), engine.settings.wait_seconds_max)
    if seconds <= 0:
        if large or _may_block(engine, operation, caller, request):
            return await asyncio.to_thread(engine.call, operation, caller, request, seen=seen)
        return await _once(engine, operation, caller, request, seen)
    request = msgspec.structs.replace(request, wait_seconds=0.0)
    if operation.name not in PEEKS:
        return await _wait(engine, operation, caller, request, seconds)
    answer = await _once(engine, operation, caller, request)
    if is_ready(operation, request, answer):
        return answer
    end = asyncio.get_running_loop().time() + seconds
    try:
        async with in_line(engine, operation, caller, request, end):
            return await _wait(engine, operation, caller, request, end - asyncio.get_running_loop().time())
    except TimeoutError:
        return await _once(engine, operation, caller, request) if operation.name in TELLING else answer


@contextlib.asynccontextmanager
async def in_line(
    engine: Engine, operation: Operation, caller: Caller, request: Any, end: float
) -> AsyncIterator[None]:
    """The turn to look, of all on this loop that wait for the same. Raises TimeoutError when `end` comes first."""
    line = engine.lines.of_loop(place_of(operation, caller, request))
    # Not `wait_for`, here and below: until Python 3.12 it loses a cancellation that comes together with the news.
    async with asyncio.timeout_at(end):
        await line.acquire()
    try:
        yield
    finally:
        line.release()


async def _wait(engine: Engine, operation: Operation, caller: Caller, request: Any, seconds: float) -> Any:
    """The answer once it says something, looked for after each commit, or as it is when the time is over."""
    loop = asyncio.get_running_loop()
    wake = asyncio.Event()

    def committed() -> None:
        loop.call_soon_threadsafe(wake.set)

    stop = engine.database.listen(committed)
    try:
        end = loop.time() + seconds
        while True:
            answer = await _once(engine, operation, caller, request)
            left = end - loop.time()
            if is_ready(operation, request, answer) or left <= 0:
                return answer
            with contextlib.suppress(TimeoutError):  # then it is as old as the wait: once more
                await _until_worth_asking(engine, operation, caller, request, wake, end)
    finally:
        stop()


async def _until_worth_asking(
    engine: Engine, operation: Operation, caller: Caller, request: Any, wake: asyncio.Event, end: float
) -> None:
    """Until a commit of anybody's may have changed the answer. Raises TimeoutError at `end`."""
    while True:
        async with asyncio.timeout_at(end):
            await wake.wait()
        wake.clear()
        if await is_worth_asking(engine, operation, caller, request):
            return


async def is_worth_asking(engine: Engine, operation: Operation, caller: Caller, request: Any) -> bool:
    """Whether to try again what found nothing, as `Engine.is_worth_asking`; without blocking the loop."""
    if operation.name not in PEEKS:
        return True
    return await asyncio.to_thread(engine.is_worth_asking, operation, caller, request)


def _is_short_scalar(value: Any) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= SMALL_INTEGER_BITS
    return value is None or isinstance(value, float)


def _is_small(request: Any) -> bool:
    """Whether the values of a request surely fit into their row: then nothing is stored before its transaction."""
    if getattr(request, "calls", None):
        return False
    values = [getattr(request, field) for field in CARRYING_FIELDS if hasattr(request, field)]
    characters = sum(_characters(value) for value in values)
    if SURELY_SMALL < characters <= INLINE_BYTES_MAX:
        try:
            return all(len(msgspec.json.encode(value)) <= INLINE_BYTES_MAX for value in values)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            return False  # refused on the other thread, with the reason
    return characters <= SURELY_SMALL


def _characters(value: Any) -> int:
    """About how long a value is; more than a row holds as soon as that is clear, or it is nothing plain."""
    total, waiting = 0, [value]
    while waiting and total <= INLINE_BYTES_MAX:
        found = waiting.pop()
        total += 8
        if isinstance(found, str):
            total += len(found)
        elif isinstance(found, dict):
            total += sum(len(key) if isinstance(key, str) else INLINE_BYTES_MAX for key in found)
            waiting.extend(found.values())
        elif isinstance(found, list | tuple):
            waiting.extend(found)
        elif not _is_short_scalar(found):
            return INLINE_BYTES_MAX + 1
    return total


def _may_block(engine: Engine, operation: Operation, caller: Caller, request: Any) -> bool:
    """A denial is committed before it is answered, and a name that is new has to be asked for over the network."""
    if not engine.database.capabilities.local and not engine.names.knows(caller, getattr(request, "namespace", None)):
        return True
    if _may_be_judged(engine, operation, request):
        return True
    permission = operation.permission
    if permission is None:
        return False
    if permission in PERSON_ONLY and caller.kind != "person":
        return True
    namespace = getattr(request, "namespace", None) if permission.startswith("state:") else None
    return not allows(caller.grants, permission, namespace)


def _may_be_judged(engine: Engine, operation: Operation, request: Any) -> bool:
    """A result is checked first, and so is what a result must be, however long that takes."""
    if operation.name in CONSIDERED:
        return True
    if operation.name == "handoff.complete":
        return bool(engine.carried.get(request.handoff, (1, None))[0])
    if operation.name == "workflow.create" or getattr(request, "acceptance", None) is not None:
        return True
    return any(call.operation in JUDGED for call in getattr(request, "calls", ()))


async def _once(
    engine: Engine, operation: Operation, caller: Caller, request: Any, seen: list[Call] | None = None
) -> Any:
    if operation.quick and engine.database.capabilities.local:
        return engine.call(operation, caller, request)
    if not operation.mutating or operation.name in DIRECT or operation.name in BLOCKING:
        return await asyncio.to_thread(engine.call, operation, caller, request, seen=seen)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    call = engine.submit(operation, caller, request, _answers_of(loop).to(future))
    if seen is not None:
        seen.append(call)
    return await future


class _Answers:
    """Brings answers from writers' threads to one event loop. Those of one commit wake it once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._came: deque[Callable[[], None]] = deque()
        self._is_woken = False

    def to(self, future: asyncio.Future[Any]) -> Done:
        def done(result: Any, error: BaseException | None) -> _Answers:
            self._bring(partial(_settle, future, result, error))
            return self

        return done

    def once_run(self, callback: Callable[[], None]) -> None:
        # Whoever an answer wakes stands in the loop's queue by then: this goes behind them.
        self._bring(lambda: asyncio.get_running_loop().call_soon(callback))

    def _bring(self, what: Callable[[], Any]) -> None:
        self._came.append(what)
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._is_woken = False  # before looking: what comes from now on wakes the loop again
        try:
            while self._came:
                self._came.popleft()()
        finally:
            if self._came:  # one of them failed, which is not for the others to wait for
                self._loop.call_soon(self._take)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if isinstance(error, StopIteration):
        future.set_exception(RuntimeError(f"A request ended with {error!r}."))  # which no future takes
    elif error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


# Alive while something is asked: what came for a loop that was closed meanwhile would keep that loop for ever.
_answers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_Answers]] = weakref.WeakKeyDictionary()


def _answers_of(loop: asyncio.AbstractEventLoop) -> _Answers:
    known = _answers.get(loop)
    found = known() if known is not None else None
    if found is None:
        found = _Answers(loop)
        _answers[loop] = weakref.ref(found)
    return found
