"""The few things that differ between the colours: running a function, sleeping, working in parallel.

Each is there in both; the generated client uses `Flow` where the hand-written one uses `flow_async.py: AsyncFlow`.
"""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Callable
from typing import Any

from agentmemo.clock import Clock
from agentmemo.errors import InvalidInput, TimedOut


class Suspended(BaseException):
    """Unwinds a registered task whose run was parked: it waits, holding nothing, and its worker goes on."""


class Flow:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._failed = threading.Event()
        # A signal's handler may come in between, in the same thread.
        self.first_use = threading.RLock()

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)

    def run_function(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any], timeout: float | None
    ) -> Any:
        """Call a sync function. With a timeout it runs in a thread of its own, which is left behind when it is late."""
        if inspect.iscoroutinefunction(inspect.unwrap(function)):
            raise InvalidInput(
                f"{getattr(function, '__name__', function)} is an async function.",
                why="This connection is synchronous and has no event loop to run it on.",
                next_call="Use `await agentmemo.connect_async(...)`, or make the function synchronous.",
            )
        if timeout is None:
            return function(*arguments, **keywords)
        return _call_in_thread(function, arguments, keywords, timeout)

    def parallel(self, work: Callable[[], None], concurrency: int) -> None:
        errors: list[BaseException] = []

        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
                errors.append(error)
                self._failed.set()

        threads = [threading.Thread(target=guarded, name=f"agentmemo-work-{n}") for n in range(concurrency)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            self.stop()
            for thread in threads:
                thread.join()
            raise
        # They stopped for the one that failed; whoever works again begins anew.
        self._failed.clear()
        if errors:
            raise errors[0]

    def stop(self) -> None:
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set() or self._failed.is_set()


def _call_in_thread(
    function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any], timeout: float
) -> Any:
    outcome: list[tuple[bool, Any]] = []
    context = contextvars.copy_context()

    def target() -> None:
        try:
            outcome.append((True, context.run(function, *arguments, **keywords)))
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            outcome.append((False, error))

    thread = threading.Thread(target=target, name="agentmemo-step", daemon=True)
    thread.start()
    thread.join(timeout)
    if not outcome:
        raise timed_out(function, timeout)
    ok, value = outcome[0]
    if ok:
        return value
    raise value


def timed_out(function: Callable[..., Any], timeout: float) -> TimedOut:
    return TimedOut(
        f"{getattr(function, '__name__', 'The step')} did not finish within {timeout} s.",
        next_call="Raise timeout_seconds, or let the step do less.",
        retry_safe=True,
    )
