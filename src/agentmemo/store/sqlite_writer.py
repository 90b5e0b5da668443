"""Group commit: one thread, one connection, one commit for everything that waited meanwhile.

The writer takes what is queued, runs it in one transaction, commits once and only then releases answers and refusals. A
lone caller pays no delay; under load one fsync serves many. There is no timer, but several threads that were answered
together are let run before the next batch (`Answered`): they bring it, and beside them the writer would lose the
interpreter at every statement, which costs more than all of its work.

One request never undoes another. A refusal that wrote nothing, which is nearly every one, is simply its answer. A
request that fails after it wrote spoils the batch: all of it is rolled back and runs again with a savepoint around
each. Savepoints from the start cost every write (decision 10), for SQLite keeps a copy of each page they touch.

The log goes into the file after the answers: nobody waits for it, and its failure is nobody's refusal.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from agentmemo.clock import Clock
from agentmemo.crashpoints import reach
from agentmemo.errors import Unavailable
from agentmemo.store.database import Done
from agentmemo.store.jobs import Job, answer, deliver
from agentmemo.store.sqlite_files import FileLock, map_error

T = TypeVar("T")
BATCH_MAX = 512
_log = logging.getLogger("agentmemo.store")


class _OuterRolledBack(Exception):
    """SQLite itself undid the whole transaction; no savepoint of the batch survived."""


class _Spoiled(Exception):
    """A request failed after it had written, and no savepoint stands before it."""


class GroupCommit:
    """The writer of one process. `write` waits, `submit` calls back from the writer thread."""

    def __init__(
        self,
        connection: apsw.Connection,
        transaction: Any,
        lock: FileLock,
        clock: Clock,
        notify: Callable[[], None],
        checkpoint_pages: int,
    ) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._transaction = transaction
        self._lock = lock
        self._clock = clock
        self._notify = notify
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._data_version = connection.pragma("data_version")
        self._thread = threading.Thread(target=self._loop, name="agentmemo-writer", daemon=True)
        self._closing = False
        # Nothing may be queued behind the None that ends the thread: its caller would wait for ever. Here as wherever a
        # caller passes, a signal handler that writes may come again.
        self._gate = threading.RLock()
        self.commits = 0
        self.writes = 0
        self._checkpoint_pages = self._checkpoint_from = checkpoint_pages
        self._log_pages = 0
        connection.set_wal_hook(self._log_grew)
        self._thread.start()

    def write(self, work: Callable[[Any], T], *, kind: str = "write") -> T:
        if threading.current_thread() is self._thread:
            raise RuntimeError(f"A {kind} inside a write would wait for itself.")
        job = Job(work, None)
        self._put(job)
        return job.wait()  # type: ignore[no-any-return]

    def submit(self, work: Callable[[Any], Any], done: Done) -> None:
        self._put(Job(work, done))

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._gate:
            self._closing = True
            self._queue.put(None)
        self._thread.join()

    def _put(self, job: Job) -> None:
        with self._gate:
            if self._closing:
                raise Unavailable("The connection is closing.", next_call="Connect again.", retry_safe=False)
            self._queue.put(job)

    def _loop(self) -> None:
        while True:
            job = self._queue.get()
            batch = []
            ending = job is None
            while job is not None:
                batch.append(job)
                if len(batch) >= BATCH_MAX:
                    break
                try:
                    job = self._queue.get_nowait()
                    ending = ending or job is None
                except queue.Empty:
                    break
            if batch:
                self._commit(batch)
            if ending:
                return

    def _commit(self, batch: list[Job]) -> None:
        """Run a batch; when its one transaction dies, run each request alone so that one cannot fail the others."""
        changed = False
        try:
            changed = self._transact(batch)
        except (apsw.Error, _OuterRolledBack) as error:
            self._abandon()
            if len(batch) > 1:
                for job in batch:
                    job.result = job.error = None
                    self._commit([job])
                return
            cause = error.__cause__ if isinstance(error, _OuterRolledBack) else error
            batch[0].error = map_error(cause, self._connection.filename or ":memory:")  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - a lost answer would hang its caller for ever
            self._abandon()
            for job in batch:
                # A refusal too: what it was for did not happen.
                job.result, job.error = None, error
        reach("writer.before_answer")
        answered = answer(batch)
        reach("writer.after_answer")
        if changed:
            deliver(self._notify)
        if self._log_pages >= self._checkpoint_from:
            self._checkpoint()
        answered.wait()

    def _transact(self, batch: list[Job]) -> bool:
        try:
            return self._run_all(batch, self._run)
        except _Spoiled:
            self._abandon()
            for job in batch:
                job.result = job.error = None
            return self._run_all(batch, self._run_under_savepoint)

    def _run_all(self, batch: list[Job], run: Callable[[Job], None]) -> bool:
        """One transaction around the batch. Returns whether anything changed."""
        reach("writer.before_begin")
        self._lock.acquire()
        try:
            self._execute("BEGIN IMMEDIATE")
            version = self._connection.pragma("data_version")
            if version != self._data_version:
                self._data_version = version
                self._transaction.forget()
            self._transaction.now = self._clock.now_us()
            reach("writer.after_begin")
            before = self._connection.total_changes()
            for job in batch:
                run(job)
            reach("writer.before_commit")
            self._execute("COMMIT")
            reach("writer.after_commit")
            self.commits += 1
            self.writes += len(batch)
            return self._connection.total_changes() != before
        finally:
            self._lock.release()

    def _run(self, job: Job) -> None:
        transaction = self._transaction
        transaction.begin_request()
        before = self._connection.total_changes()
        try:
            job.result = job.work(transaction)
            transaction.keep()
            reach("writer.after_work")
        except Exception as error:
            if isinstance(error, apsw.Error) or self._connection.total_changes() != before:
                raise _Spoiled from error
            transaction.begin_request()
            job.error = error

    def _run_under_savepoint(self, job: Job) -> None:
        transaction = self._transaction
        transaction.begin_request()
        self._execute("SAVEPOINT request")
        try:
            job.result = job.work(transaction)
            transaction.keep()
            self._execute("RELEASE request")
            reach("writer.after_work")
        except Exception as error:
            if not self._connection.in_transaction:
                raise _OuterRolledBack from error
            self._execute("ROLLBACK TO request")
            self._execute("RELEASE request")
            transaction.begin_request()
            if isinstance(error, apsw.Error):
                error = map_error(error, self._connection.filename or ":memory:")
            job.error = error

    def _log_grew(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Move the log into the file, so that it can begin anew. After a failure, once it grew as much more."""
        try:
            with self._lock.held():
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._checkpoint_from = self._checkpoint_pages
        except (apsw.Error, OSError) as error:
            self._checkpoint_from = self._log_pages + self._checkpoint_pages
            _log.warning("the log of %d pages could not be moved into the file: %s", self._log_pages, error)
        self._log_pages = 0

    def _abandon(self) -> None:
        self._transaction.forget()
        with contextlib.suppress(apsw.Error):
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
