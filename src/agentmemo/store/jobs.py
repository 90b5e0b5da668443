"""What a writer's queue holds, how its answers leave it, and who hears that something was committed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from agentmemo.store.database import Crowd, Done, Latch, Read

T = TypeVar("T")
# As long as the interpreter lets a busy thread run. Who was answered and has not run by then is not waited for.
RETURN_SECONDS = 0.005
_log = logging.getLogger("agentmemo.writer")


class Answered:
    """Who was answered by one commit: threads, and crowds that share one. The last of them to run says so."""

    __slots__ = ("_all_run", "_answers", "_expected", "_runs", "_wanted")

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._expected = 0
        self._runs: list[None] = []
        self._wanted: int | None = None
        self._all_run = Latch()

    def expect(self) -> None:
        """One more, of whom the writer will hear."""
        self._expected += 1

    def runs(self) -> None:
        self._runs.append(None)
        if self._wanted is not None and len(self._runs) >= self._wanted:
            self._all_run.open()

    def wait(self) -> None:
        """Until all run. A lone caller is not waited for: the writer has nothing to do that could disturb it."""
        if self._answers > 1:
            self._wanted = self._expected  # before looking: who runs from now on sees it
            if len(self._runs) < self._expected:
                self._all_run.wait(RETURN_SECONDS)


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
    """Release whoever waits for what was committed. Returns those who are to run before the next batch."""
    answered = Answered(len(batch))
    crowds: set[Crowd | None] = set()
    for job in batch:
        if job.done is None:
            answered.expect()
            job.answered = answered
            job.latch.release()
        else:
            crowds.add(deliver(job.done, job.result, job.error))
    for crowd in crowds:
        if crowd is not None:
            answered.expect()
            deliver(crowd.once_run, answered.runs)
    return answered


class Listeners:
    """Who wants to hear of commits. False while nobody does."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._changing = threading.RLock()

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


def deliver(target: Callable[..., T], *arguments: Any) -> T | None:
    """Call somebody who waits. They may be gone (a closed event loop); the commit stands all the same."""
    try:
        return target(*arguments)
    except Exception:  # noqa: BLE001 - no listener may end the writer, or silence the others
        _log.debug("an answer found nobody", exc_info=True)
        return None
