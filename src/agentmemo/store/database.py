"""The seam: what the engine asks of a database. One small file per database implements it.

`docs/decisions/0002-database-seam.md` says why the methods are these.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from agentmemo.clock import Clock, monotonic
from agentmemo.model.system import Finding

T = TypeVar("T")
Row = tuple[Any, ...]
Read = tuple[str, dict[str, Any]]
# The lane of what belongs to no workspace: making one, leading upkeep.
COMMON_LANE = 0


class Crowd(Protocol):
    """Many who share one thread, as those on an event loop do, and were answered together."""

    def once_run(self, callback: Callable[[], None]) -> None:
        """Call back when those who have been answered so far have run."""
        ...


# Gets the result or the error of a request. A crowd that it brought them to is let run before more is committed.
Done = Callable[[Any, BaseException | None], Crowd | None]


def lane_beside(workspace: int) -> int:
    """The lane for what a workspace's own writes need not wait for: its search index. It records no event there."""
    return -workspace


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a database can do; tests skip by these, never by name."""

    name: str
    address: str  # for people, without secrets
    durable: bool
    concurrent_reads: bool
    local: bool  # reads never leave the process: a point read may be made on an event loop
    search_folds: bool  # the index itself takes case and accents off what it is given
    file: Path | None = None
    # What this machine keeps for the store lies beside this path: locks of workers, the pepper, key files.
    beside: Path | None = None


class Head(msgspec.Struct, frozen=True):
    """The newest event of a stream."""

    sequence: int
    hash: str


class Transaction(Protocol):
    """One transaction. Queries are named; conditions stand in WHERE and are checked by row count."""

    now: int

    def fetch(self, *reads: Read) -> list[list[Row]]:
        """The rows of several reads, in one round trip where the database has round trips."""
        ...

    def one(self, name: str, /, **parameters: Any) -> Row | None: ...

    def all(self, name: str, /, **parameters: Any) -> list[Row]: ...

    def write(self, name: str, /, *, expect: int | None = None, **parameters: Any) -> None:
        """A change without result, which a database may send later, with the commit.

        With `expect`, another number of changed rows rolls the transaction back with LeaseLost.
        """
        ...

    def run(self, name: str, /, **parameters: Any) -> int:
        """A change whose number of rows the caller needs now."""
        ...

    def next_position(self, workspace: int) -> int:
        """The event position that comes next in a workspace: dense, in order of commit."""
        ...

    def head(self, stream: str) -> Head | None:
        """The newest event of a stream, this transaction's own included."""
        ...

    def set_head(self, stream: str, head: Head) -> None: ...

    def changes(self) -> int:
        """Rows changed so far by this request."""
        ...


class Database(Protocol):
    """A store. `lane` is the workspace that a write is about, or COMMON_LANE; writes of one lane happen one by one."""

    capabilities: Capabilities
    clock: Clock

    def read(self, work: Callable[[Transaction], T], *, snapshot: bool = True) -> T:
        """Run `work` on a consistent snapshot; `snapshot=False` is for a single query."""
        ...

    def write(self, work: Callable[[Transaction], T], *, lane: int = COMMON_LANE, reads: Sequence[Read] = ()) -> T:
        """Run `work` and return once it is durable. An exception from `work` undoes all it did.

        `reads` are point reads that `work` will probably ask for; a database with round trips makes them beforehand.
        """
        ...

    def submit(
        self, work: Callable[[Transaction], Any], done: Done, *, lane: int = COMMON_LANE, reads: Sequence[Read] = ()
    ) -> None:
        """Like `write`, without waiting: `done(result, error)` is called after the commit, on another thread."""
        ...

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after every commit, by any process; a hint, so the listener looks for itself. Returns a stop."""
        ...

    def backup(self, path: Path) -> int:
        """Write a consistent copy; returns its bytes."""
        ...

    def counters(self) -> dict[str, int]:
        """Of this process, since it opened: `commits`, and the `writes` (requests) in them."""
        ...

    def diagnose(self) -> list[Finding]:
        """For doctor: library or server, settings, sizes, and whether what lies there is whole."""
        ...

    def check_pepper(self, digest: str) -> bool:
        """Whether this is the secret that the keys in the store were made with, told by a digest of it."""
        ...

    def size(self) -> int:
        """Bytes the store takes on disk."""
        ...

    def shrink(self) -> int:
        """Give a portion of what retention freed back to the disk; 0 once nothing is worth it."""
        ...

    def close(self) -> None: ...


class Latch:
    """Lets one thread wait for another. Who opens it or waits holds nothing that others need.

    A signal handler that writes may interrupt them anywhere, and waits for the writer, which goes through here, too.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is open
            self._lock.release()

    def wait(self, seconds: float) -> None:
        """Until it was opened, which closes it again, or the time is over."""
        self._lock.acquire(timeout=seconds)


def wait_for(database: Database, ready: Callable[[], T | None], timeout_seconds: float) -> T | None:
    """Call `ready` now and after every commit until it returns something, or the time is over."""
    found = ready()
    if found is not None or timeout_seconds <= 0:
        return found
    wake = Latch()
    stop = database.listen(wake.open)
    try:
        end = monotonic() + timeout_seconds
        while (found := ready()) is None and (left := end - monotonic()) > 0:
            wake.wait(left)
    finally:
        stop()
    return found
