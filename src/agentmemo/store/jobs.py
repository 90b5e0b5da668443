"""What a writer's queue holds, how its answers leave it, and who hears that something was committed."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from agentmemo.store.database import Done, Read

# As long as the interpreter lets a busy thread run. Who was answered and has not run by then is not waited for.
RETURN_SECONDS = 0.005
_log = logging.getLogger("agentmemo.writer")


class Answered:
    """The threads that one commit answers. The last of them to run says so."""

    __slots__ = ("_all_run", "_runs", "_threads")

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # Counting is one step of the interpreter: no lock is needed.
        self._runs = itertools.count(1)
        self._all_run = threading.Lock()
        self._all_run.acquire()

    def runs(self) -> None:
        if next(self._runs) == self._threads:
            self._all_run.release()

    def wait(self) -> None:
        """Until all run. A lone one is not waited for: the writer has nothing to do that could disturb it."""
        if self._threads > 1:
            self._all_run.acquire(timeout=RETURN_SECONDS)


class Job:
    """A request in a queue. `done` is None where a thread waits for its result instead."""

    __slots__ = ("answered", "done", "error", "latch", "reads", "result", "work")

    def __init__(self, work: Callable[[Any], Any], done: Done | None, reads: Sequence[Read] = ()) -> None:
        self.work = work
        self.done = done
        self.reads = reads
        self.latch = threading.Lock()
        self.latch.acquire()
        self.answered: Answered  # made with the answer
        self.result: Any = None
        self.error: BaseException | None = None

    def wait(self) -> Any:
        """The result, or its error raised, once it is committed."""
        self.latch.acquire()
        self.answered.runs()
        if self.error is not None:
            raise self.error
        return self.result


def answer(batch: Sequence[Job]) -> Answered:
    """Release whoever waits for what was committed. Returns the threads among them."""
    answered = Answered(sum(job.done is None for job in batch))
    for job in batch:
        if job.done is None:
            job.answered = answered
            job.latch.release()
        else:
            deliver(job.done, job.result, job.error)
    return answered


class Listeners:
    """Who wants to hear of commits. False while nobody does."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._changing = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Returns what ends it."""
        with self._changing:
            self._callbacks[id(callback)] = callback

        def stop() -> None:
            with self._changing:
                self._callbacks.pop(id(callback), None)

        return stop

    def notify(self) -> None:
        for callback in list(self._callbacks.values()):
            deliver(callback)


def deliver(target: Callable[..., None], *arguments: Any) -> None:
    """Call somebody who waits. They may be gone (a closed event loop); the commit stands all the same."""
    try:
        target(*arguments)
    except Exception:  # noqa: BLE001 - no listener may end the writer, or silence the others
        _log.debug("an answer found nobody", exc_info=True)
