"""Copies of a store as new files: made under another name, and named once they are whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import apsw

from agentmemo.crashpoints import reach
from agentmemo.errors import Unavailable
from agentmemo.store.sqlite_files import map_error, sync_directory

SIDECARS = ("", "-wal", "-shm", "-journal", "-lock")


@contextlib.contextmanager
def named_when_whole(path: Path) -> Iterator[Path]:
    """Where to make the copy. It gets its name where the block ends well and the copy passes its check.

    Raises Unavailable where the disk refuses. Then nothing has the name, so that the call can be repeated as it was.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        _remove(partial)
        yield partial
        reach("backup.after_copy")
        _seal(partial)
        reach("backup.before_name")
        _give_name(partial, path)
    except apsw.Error as error:
        raise map_error(error, str(path)) from error
    except OSError as error:
        raise map_error(apsw.IOError(str(error)), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            _remove(partial)


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
    with contextlib.closing(apsw.Connection(str(partial))) as connection:
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
