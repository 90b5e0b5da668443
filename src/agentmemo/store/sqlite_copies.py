"""Copies of a store as new files: made under another name, and named once they are whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import apsw

from agentmemo.crashpoints import reach
from agentmemo.errors import Conflict, Unavailable
from agentmemo.store.sqlite_files import map_error, sync_directory

SIDECARS = ("", "-wal", "-shm", "-journal", "-lock")


@contextlib.contextmanager
def named_when_whole(path: Path) -> Iterator[Path]:
    """Where to make the copy. It gets its name where the block ends well and the copy passes its check.

    Raises Unavailable where the disk refuses. Then nothing has the name, so that the call can be repeated as it was.
    Raises Conflict while another process or thread makes a copy of this name.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with _alone(path):
            try:
                _remove(partial)
                # All of the store: readable by its owner only, as the store is, from the first byte.
                os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
                yield partial
                reach("backup.after_copy")
                _seal(partial)
                reach("backup.before_name")
                _give_name(partial, path)
            finally:
                with contextlib.suppress(OSError):
                    _remove(partial)
    except apsw.Error as error:
        raise map_error(error, str(path)) from error
    except OSError as error:
        raise map_error(apsw.IOError(str(error)), str(path)) from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two that make the same file would remove and name each other's. Who dies leaves a file that nobody holds."""
    place = path.with_name(path.name + ".copying")
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _got(descriptor, place):
            raise Conflict(
                f"Another copy is being written to {path}.",
                why="Each is made under a name of its own, which two would take from each other.",
                next_call="Name another file, or wait for that one.",
                retry_safe=True,
            )
        try:
            yield
        finally:
            place.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _got(descriptor: int, place: Path) -> bool:
    """Whether the lock is ours now, and the file still the one of that name: who held it removes it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def copy_pages(source: apsw.Connection, path: Path) -> None:
    """All of a database into a new file, in one reading transaction."""
    with contextlib.closing(apsw.Connection(str(path))) as target:
        copy = target.backup("main", source, "main")
        try:
            copy.step()
        finally:
            # A step that failed has told what went wrong; here it would be told again.
            with contextlib.suppress(apsw.Error):
                copy.close()


def _seal(partial: Path) -> None:
    """One durable file without a log beside it."""
    with contextlib.closing(apsw.Connection(str(partial), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.pragma("journal_mode", "DELETE")
        if (answer := connection.pragma("integrity_check")) != "ok":
            raise Unavailable(
                f"The copy does not pass its integrity check: {answer}.", next_call="Run agentmemo doctor."
            )
    with partial.open("rb+") as file:
        os.fsync(file.fileno())


def _give_name(partial: Path, path: Path) -> None:
    partial.replace(path)
    try:
        sync_directory(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _remove(partial: Path) -> None:
    for sidecar in SIDECARS:
        partial.with_name(partial.name + sidecar).unlink(missing_ok=True)
