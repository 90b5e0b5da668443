"""Group commit in lanes: each workspace's writes go one after another, those of different workspaces side by side.

As with SQLite there is no timer. A writer takes all that waits in a lane, runs it in one transaction, and releases
answers and refusals after COMMIT. Other servers do the same; the row in `turn` says whose turn it is.

What goes wrong is told apart by what is known of the commit. A transaction that the server ended is run again. One
whose connection was lost is looked for first: its event is there, or it is not. A batch that one request spoiled runs
again request by request.

Nobody who queues holds what another thread needs: a signal handler that writes may interrupt them anywhere, and waits
for a writer. So what is shared has no locks around it, but steps that are whole in themselves, in an order of which
each place says why.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from agentmemo import ids
from agentmemo.clock import monotonic
from agentmemo.crashpoints import reach
from agentmemo.errors import Unavailable
from agentmemo.store.database import COMMON_LANE, Done, Head, Read
from agentmemo.store.jobs import Job, answer, deliver
from agentmemo.store.postgres_sessions import Sessions, unavailable
from agentmemo.store.postgres_transaction import Statements, WriteTransaction
from agentmemo.store.postgres_wire import Lost, Refused, Wire

T = TypeVar("T")
BATCH_MAX = 512
PAUSE_SECONDS_MAX = 1.0
# The server ended the transaction although nothing was wrong with it: serialization failure, deadlock, shutdown,
# cannot connect now, a standby that does not take writes yet, an idle or a slow transaction.
AGAIN = frozenset({"40001", "40P01", "57P01", "57P02", "57P03", "25006", "25P03", "57014", "55P03", "53300"})


class _Lane:
    """What waits for one workspace, and what this process remembers of it while no other one writes there."""

    __slots__ = ("busy", "heads", "last", "number", "since", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        # The newest connection of the process when it began to remember.
        self.since: Wire | None = None
        self.waiting: deque[Job] = deque()
        # Held by the writer that works here.
        self.busy = threading.Lock()
        self.heads: dict[str, Head] = {}
        # The last position this process left there; another one in the row says that somebody else has written.
        self.last: int | None = None

    def take(self, room: int) -> list[Job]:
        """What waits, up to so many."""
        taken: list[Job] = []
        with contextlib.suppress(IndexError):
            while len(taken) < room:
                taken.append(self.waiting.popleft())
        return taken

    def forget(self) -> None:
        self.heads.clear()
        self.last = None


class _Trial:
    """What the attempts at one batch know of those before: what to look for first, and whether that is in doubt."""

    __slots__ = ("careful", "doubt", "proof")

    def __init__(self, *, careful: bool) -> None:
        self.careful = careful
        self.proof: tuple[int, str] | None = None
        self.doubt = False


class _Spoiled(Exception):
    """A request failed after something of it was sent; the others of its batch have to be run again without it."""


class Lanes:
    """The queues of one process. `write` waits, `submit` calls back from a writer's thread."""

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
        self.notify = notify
        self.closing = False
        # A new one may lead to another server, which has not all of what the former one acknowledged.
        self.newest: Wire | None = None
        self._lanes: dict[int, _Lane] = {}
        # A lane may stand here more than once, and while a writer works in it.
        self._ready: deque[_Lane] = deque()
        # The writer that worked last is woken first: one that suffices keeps its connection and its plans warm.
        self._idle: deque[threading.Lock] = deque()
        self._writers = [_Writer(self, sessions, statements, patience_seconds, now_us) for _ in range(writers)]
        self._threads = [
            threading.Thread(target=writer.run, name=f"agentmemo-writer-{number}", daemon=True)
            for number, writer in enumerate(self._writers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def commits(self) -> int:
        return sum(writer.commits for writer in self._writers)

    @property
    def writes(self) -> int:
        return sum(writer.writes for writer in self._writers)

    def write(self, work: Callable[[Any], T], number: int, reads: Sequence[Read]) -> T:
        if threading.current_thread() in self._threads:
            raise RuntimeError("A write inside a write would wait for itself.")
        job = Job(work, None, reads)
        self._put(number, job)
        return job.wait()  # type: ignore[no-any-return]

    def submit(self, work: Callable[[Any], Any], done: Done, number: int, reads: Sequence[Read]) -> None:
        self._put(number, Job(work, done, reads))

    def close(self) -> None:
        """Finish what is queued, then end the threads."""
        self.closing = True
        for _ in self._threads:
            self._wake()
        for thread in self._threads:
            thread.join()

    def take(self) -> tuple[_Lane, list[Job]] | None:
        """The next lane and what waits in it, up to a batch. None once closed and empty."""
        while True:
            closing = self.closing  # before looking: what was put before it was set is seen
            try:
                lane = self._ready.popleft()
            except IndexError:
                if closing:
                    self._wake()  # whoever is told to end tells the next: a wake may meet one who has run already
                    return None
                self._sleep()
                continue
            # Whoever works there looks again once it is done.
            if lane.busy.acquire(blocking=False):
                if batch := lane.take(BATCH_MAX):
                    return lane, batch
                self.put_back(lane)

    def put_back(self, lane: _Lane) -> None:
        """The writer is done there, and comes for the next lane."""
        lane.busy.release()
        if lane.waiting:  # after it was released: who puts from now on sees that nobody works there
            others = bool(self._ready)
            # To the end of the queue: a busy workspace does not keep the others waiting.
            self._ready.append(lane)
            if others:
                self._wake()

    def _put(self, number: int, job: Job) -> None:
        self._check_open()
        lane = self._lanes.get(number) or self._lanes.setdefault(number, _Lane(number))
        lane.waiting.append(job)
        if not lane.busy.locked():
            self._ready.append(lane)
            self._wake()
        try:
            self._check_open()
        except Unavailable:
            # The writers may have looked for the last time before it came; else one of them has it.
            with contextlib.suppress(ValueError):
                lane.waiting.remove(job)
                raise

    def _check_open(self) -> None:
        if self.closing:
            raise Unavailable("The connection is closing.", next_call="Connect again.", retry_safe=False)

    def _wake(self) -> None:
        for woken in reversed(tuple(self._idle)):
            # It stays there until it runs: were it taken out first, whoever interrupts here would find nobody to wake.
            with contextlib.suppress(RuntimeError):  # somebody else has woken it
                woken.release()
                return

    def _sleep(self) -> None:
        """Until somebody wakes this writer; not at all if something came before it could be woken."""
        woken = threading.Lock()
        woken.acquire()
        self._idle.append(woken)
        if not self._ready and not self.closing:
            woken.acquire()
        self._idle.remove(woken)


class _Writer:
    """One thread with one connection, which it opens when it must and replaces when it breaks."""

    def __init__(
        self,
        lanes: Lanes,
        sessions: Sessions,
        statements: Statements,
        patience_seconds: float,
        now_us: Callable[[], int],
    ) -> None:
        self._lanes = lanes
        self._sessions = sessions
        self._statements = statements
        self._patience = patience_seconds
        self._now_us = now_us
        self._wire: Wire | None = None
        self._pause = threading.Event()
        self.commits = 0
        self.writes = 0

    def run(self) -> None:
        while (taken := self._lanes.take()) is not None:
            lane, batch = taken
            performed = self._commit(lane, batch)
            self.commits += bool(performed)
            self.writes += performed
            self._lanes.put_back(lane)
        self._drop()

    def _commit(self, lane: _Lane, batch: list[Job]) -> int:
        """Run a batch to its end, whatever happens, and release its answers. Returns how many were performed."""
        changed = False
        try:
            changed = self._persist(lane, batch)
        except BaseException as error:  # noqa: BLE001 - a lost answer would hang its caller for ever
            self._drop(lane)
            for job in batch:
                # A refusal too: what it was for may never have happened.
                job.result, job.error = None, error
        reach("writer.before_answer")
        answered = answer(batch)
        reach("writer.after_answer")
        if changed:
            deliver(self._lanes.notify)
        answered.wait()
        return sum(job.error is None for job in batch)

    def _persist(self, lane: _Lane, batch: list[Job], *, careful: bool = False) -> bool:
        """Verify, then retry, until the batch is committed or patience is over. Returns whether anything changed."""
        end = monotonic() + self._patience
        pause = 0.01
        trial = _Trial(careful=careful)
        while True:
            try:
                return self._attempt(lane, batch, trial)
            except Refused as refused:
                self._roll_back(lane)
                if self._sessions.learn_from(refused):
                    self._drop(lane)
                elif refused.state not in AGAIN:
                    if not careful:
                        return self._one_by_one(lane, batch)
                    raise unavailable(refused, again=False) from refused
                problem: Exception = refused
            except (Lost, Unavailable) as lost:
                self._drop(lane)
                trial.doubt = trial.proof is not None
                problem = lost
            except Exception:
                # One request spoiled it, or what it wants to send cannot be sent, half of the batch being on its way.
                self._drop(lane)
                if careful:
                    raise
                return self._one_by_one(lane, batch)
            if monotonic() + pause > end or self._leaves(problem):
                raise unavailable(problem, again=True, doubt=trial.doubt) from problem
            self._pause.wait(ids.jitter(pause))
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    def _attempt(self, lane: _Lane, batch: list[Job], trial: _Trial) -> bool:
        transaction: WriteTransaction | None = None
        try:
            wire = self._connected()
            if trial.proof is not None and self._is_there(wire, lane, trial.proof):
                return True
            trial.proof, trial.doubt = None, False
            transaction = self._begin(wire, lane, batch, careful=trial.careful)
            return self._perform(transaction, lane, batch)
        except (Refused, Lost):
            # Once COMMIT was on its way, nobody knows whether it arrived.
            if transaction is not None and transaction.committing:
                trial.proof = transaction.proof
            raise

    def _leaves(self, problem: Exception) -> bool:
        """Whoever closes does not wait for a server that is away."""
        return self._lanes.closing and isinstance(problem, Lost | Unavailable)

    def _begin(self, wire: Wire, lane: _Lane, batch: list[Job], *, careful: bool) -> WriteTransaction:
        if lane.since is not self._lanes.newest:
            lane.forget()
            lane.since = self._lanes.newest
        # The common lane stands for no workspace, so nothing tells whether others have written what it remembers.
        heads = lane.heads if lane.number != COMMON_LANE else {}
        made = WriteTransaction(wire, self._statements, self._now_us(), heads, careful=careful)
        reach("writer.before_begin")
        made.begin(self._sessions.settings, lane.number, [read for job in batch for read in job.reads])
        if lane.last != made.taken[lane.number]:
            heads.clear()
        # Who came while the turn was waited for comes along: that is one more round trip, and one commit less.
        if not careful and (more := lane.take(BATCH_MAX - len(batch))):
            batch += more
            made.foresee([read for job in more for read in job.reads])
        reach("writer.after_begin")
        return made

    def _perform(self, transaction: WriteTransaction, lane: _Lane, batch: list[Job]) -> bool:
        for job in batch:
            job.result = job.error = None
            # Since the batch began it may have waited for its turn, and requests have joined it meanwhile.
            transaction.now = self._now_us()
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
        lane.last = transaction.last[lane.number]
        return transaction.changes() > 0

    def _one_by_one(self, lane: _Lane, batch: list[Job]) -> bool:
        changed = False
        for job in batch:
            try:
                changed = self._persist(lane, [job], careful=True) or changed
            except BaseException as error:  # noqa: BLE001 - it is this request's answer, whatever it is
                job.result, job.error = None, error
        return changed

    def _is_there(self, wire: Wire, lane: _Lane, proof: tuple[int, str]) -> bool:
        """Whether the transaction that wrote this event has committed. It is over: we hold the turn that it held."""
        position, event = proof
        look = WriteTransaction(wire, self._statements, 0, {})
        look.begin(self._sessions.settings, lane.number, ())
        row = look.one("event_at", position=position)
        look.roll_back()
        return row is not None and row[0] == event

    def _connected(self) -> Wire:
        if self._wire is None:
            self._wire = self._lanes.newest = self._sessions.open()
        return self._wire

    def _roll_back(self, lane: _Lane) -> None:
        lane.forget()
        if self._wire is not None:
            try:
                self._wire.command(b"ROLLBACK")
                self._wire.settle()
            except (Lost, Refused):
                self._drop()

    def _drop(self, lane: _Lane | None = None) -> None:
        """Close the connection; what was remembered under it may no longer be true."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if lane is not None:
            lane.forget()
