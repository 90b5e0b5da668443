"""Group commit in lanes: each workspace's writes go one after another, those of different workspaces side by side.

As with SQLite there is no timer. A writer takes all that waits in a lane, runs it in one transaction, and releases
answers and refusals after COMMIT. Other servers do the same; the row in `turn` says whose turn it is.

What goes wrong is told apart by what is known of the commit. A transaction that the server ended is run again. One
whose connection was lost is looked for first: its event is there, or it is not. A batch that one request spoiled runs
again request by request.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from agentmemo.clock import monotonic
from agentmemo.crashpoints import reach
from agentmemo.errors import Error, Unavailable
from agentmemo.store.database import COMMON_LANE, Done, Head, Read
from agentmemo.store.postgres_sessions import Sessions, unavailable
from agentmemo.store.postgres_transaction import Statements, WriteTransaction
from agentmemo.store.postgres_wire import Lost, Refused, Wire

T = TypeVar("T")
BATCH_MAX = 512
PAUSE_SECONDS_MAX = 1.0
# The server ended the transaction although nothing was wrong with it: serialization failure, deadlock, shutdown,
# cannot connect now, a standby that does not take writes yet, an idle or a slow transaction.
AGAIN = frozenset({"40001", "40P01", "57P01", "57P02", "57P03", "25006", "25P03", "57014", "55P03", "53300"})
_log = logging.getLogger("agentmemo.writer")


class _Job:
    """A request in a lane. `done` is None where a thread waits for `latch` instead."""

    __slots__ = ("done", "error", "latch", "reads", "result", "work")

    def __init__(self, work: Callable[[Any], Any], done: Done | None, reads: Sequence[Read]) -> None:
        self.work = work
        self.done = done
        self.reads = reads
        self.latch = threading.Lock()
        self.result: Any = None
        self.error: BaseException | None = None


class _Lane:
    """What waits for one workspace, and what this process remembers of it while no other one writes there."""

    __slots__ = ("busy", "heads", "last", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Job] = deque()
        self.busy = False
        self.heads: dict[str, Head] = {}
        self.last: int | None = None


class _Spoiled(Exception):
    """A request failed after something of it was sent; the others of its batch have to be run again without it."""


class Lanes:
    """The writers of one process. `write` waits, `submit` calls back from a writer's thread."""

    def __init__(
        self,
        sessions: Sessions,
        statements: Statements,
        *,
        writers: int,
        patience_seconds: float,
        now_us: Callable[[], int],
        notify: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._statements = statements
        self._patience = patience_seconds
        self._now_us = now_us
        self._notify = notify
        self._lanes: dict[int, _Lane] = {}
        self._ready: deque[int] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.commits = 0
        self.writes = 0
        self._threads = [
            threading.Thread(target=self._loop, name=f"agentmemo-writer-{number}", daemon=True)
            for number in range(writers)
        ]
        for thread in self._threads:
            thread.start()

    def write(self, work: Callable[[Any], T], lane: int, reads: Sequence[Read]) -> T:
        if threading.current_thread() in self._threads:
            raise RuntimeError("A write inside a write would wait for itself.")
        job = _Job(work, None, reads)
        job.latch.acquire()
        self._put(lane, job)
        job.latch.acquire()
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]

    def submit(self, work: Callable[[Any], Any], done: Done, lane: int, reads: Sequence[Read]) -> None:
        self._put(lane, _Job(work, done, reads))

    def close(self) -> None:
        """Finish what is queued, then end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _put(self, number: int, job: _Job) -> None:
        with self._changed:
            if self._closing:
                raise Unavailable("The connection is closing.", next_call="Connect again.", retry_safe=False)
            lane = self._lanes.setdefault(number, _Lane())
            lane.waiting.append(job)
            if not lane.busy:
                lane.busy = True
                self._ready.append(number)
                self._changed.notify()

    def _loop(self) -> None:
        wire: Wire | None = None
        while (number := self._next()) is not None:
            lane = self._lanes[number]
            with self._changed:
                batch = [lane.waiting.popleft() for _ in range(min(len(lane.waiting), BATCH_MAX))]
            wire = self._commit(wire, number, batch)
            with self._changed:
                lane.busy = bool(lane.waiting)
                if lane.busy:
                    # To the end of the queue: a busy workspace does not keep the others waiting.
                    self._ready.append(number)
                    self._changed.notify()
        if wire is not None:
            self._sessions.give_back(wire)

    def _next(self) -> int | None:
        with self._changed:
            while not self._ready:
                if self._closing:
                    return None
                self._changed.wait()
            return self._ready.popleft()

    def _commit(self, wire: Wire | None, number: int, batch: list[_Job]) -> Wire | None:
        """Run a batch to its end, whatever happens, and release its answers. Returns the connection to go on with."""
        changed = False
        try:
            wire, changed = self._persist(wire, number, batch)
        except BaseException as error:  # noqa: BLE001 - a lost answer would hang its caller for ever
            self._forget(number)
            wire = self._sessions.drop(wire)
            for job in batch:
                job.error = job.error or error
        reach("writer.before_answer")
        for job in batch:
            if job.done is None:
                job.latch.release()
            else:
                _deliver(job.done, job.result, job.error)
        reach("writer.after_answer")
        if changed:
            _deliver(self._notify)
        return wire

    def _persist(
        self, wire: Wire | None, number: int, batch: list[_Job], *, careful: bool = False
    ) -> tuple[Wire | None, bool]:
        """Verify, then retry, until the batch is committed or patience is over. Returns whether anything changed."""
        end = monotonic() + self._patience
        pause = 0.01
        proof: tuple[int, str] | None = None
        while True:
            transaction: WriteTransaction | None = None
            try:
                wire = wire or self._sessions.open()
                if proof is not None and self._is_there(wire, number, proof):
                    return wire, True
                proof = None
                transaction = self._begin(wire, number, batch, careful=careful)
                return wire, self._run(transaction, number, batch)
            except _Spoiled:
                return self._one_by_one(self._rolled_back(wire, number), number, batch)
            except Refused as refused:
                wire = self._rolled_back(wire, number)
                if self._sessions.learn_from(refused):
                    wire = self._sessions.drop(wire)
                elif refused.state not in AGAIN:
                    if not careful:
                        return self._one_by_one(wire, number, batch)
                    raise unavailable(refused, again=False) from refused
                problem: Exception = refused
            except (Lost, Unavailable) as lost:
                wire = self._sessions.drop(wire)
                self._forget(number)
                # Whether COMMIT arrived is not known, once it was on its way.
                proof = transaction.proof if transaction is not None and transaction.committing else proof
                problem = lost
            if monotonic() + pause > end or self._leaves(problem):
                raise unavailable(problem, again=True) from problem
            threading.Event().wait(pause * (0.5 + random.random()))  # noqa: S311 - so that servers do not retry in step
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    def _leaves(self, problem: Exception) -> bool:
        """Whoever closes does not wait for a server that is away."""
        return self._closing and isinstance(problem, Lost | Unavailable)

    def _begin(self, wire: Wire, number: int, batch: list[_Job], *, careful: bool) -> WriteTransaction:
        lane = self._lanes[number]
        # The common lane stands for no workspace, so nothing tells whether others have written what it remembers.
        heads = lane.heads if number != COMMON_LANE else {}
        made = WriteTransaction(wire, self._statements, self._now_us(), heads, careful=careful)
        reach("writer.before_begin")
        made.begin(self._sessions.settings, number, [read for job in batch for read in job.reads])
        if lane.last != made.taken[number]:
            heads.clear()
        reach("writer.after_begin")
        return made

    def _run(self, transaction: WriteTransaction, number: int, batch: list[_Job]) -> bool:
        for job in batch:
            job.result = job.error = None
            transaction.begin_request()
            try:
                job.result = job.work(transaction)
                transaction.keep()
                reach("writer.after_work")
            except (Lost, Refused):
                raise
            except Exception as error:
                if not transaction.undo_request():
                    if len(batch) > 1:
                        raise _Spoiled from error
                    transaction.forget()
                job.error = error
        reach("writer.before_commit")
        if transaction.changes():
            transaction.commit()
        else:
            transaction.roll_back()
        reach("writer.after_commit")
        self._lanes[number].last = transaction.last[number]
        with self._changed:
            self.commits += 1
            self.writes += len(batch)
        return transaction.changes() > 0

    def _one_by_one(self, wire: Wire | None, number: int, batch: list[_Job]) -> tuple[Wire | None, bool]:
        changed = False
        for job in batch:
            try:
                wire, one = self._persist(wire, number, [job], careful=True)
                changed = changed or one
            except Error as error:
                job.result, job.error = None, error
                wire = self._sessions.drop(wire)
        return wire, changed

    def _is_there(self, wire: Wire, number: int, proof: tuple[int, str]) -> bool:
        """Whether the transaction that wrote this event has committed. It is over: we hold the turn that it held."""
        position, event = proof
        look = WriteTransaction(wire, self._statements, 0, {})
        look.begin(self._sessions.settings, number, ())
        row = look.one("event_at", position=position)
        look.roll_back()
        return row is not None and row[0] == event

    def _rolled_back(self, wire: Wire | None, number: int) -> Wire | None:
        self._forget(number)
        if wire is None:
            return None
        try:
            wire.command(b"ROLLBACK")
            wire.settle(sync=True)
        except (Lost, Refused):
            return self._sessions.drop(wire)
        return wire

    def _forget(self, number: int) -> None:
        lane = self._lanes[number]
        lane.heads.clear()
        lane.last = None


def _deliver(target: Callable[..., None], *arguments: Any) -> None:
    """Call somebody who waits. They may be gone (a closed event loop); the commit stands all the same."""
    try:
        target(*arguments)
    except Exception:  # noqa: BLE001 - no listener may end the writer
        _log.debug("an answer found nobody", exc_info=True)
