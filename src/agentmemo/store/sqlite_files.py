"""Files around an SQLite database: the kernel-queued lock, the file systems it cannot use, its errors in our words."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from agentmemo.errors import Error, Unavailable

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.s3fs", "ncpfs"}
)


class FileLock:
    """flock on a sidecar file: the kernel queues waiters fairly, where SQLite's own busy back-off starves some."""

    def __init__(self, path: Path | None) -> None:
        self._file: int | None = None
        if path:
            try:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise Unavailable(
                    f"The lock file {path} cannot be opened: {error.strerror}.",
                    why="The directory or the file is read-only, or belongs to another user.",
                    next_call="Make it writable, or choose another data directory.",
                ) from error

    def acquire(self) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextlib.contextmanager
def whole(connection: apsw.Connection) -> Iterator[None]:
    """One transaction around the block, or nothing of it.

    Where a disk fails SQLite has often undone it already. apsw's own would then raise that there is nothing to undo,
    in place of what went wrong.
    """
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(apsw.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def sync_directory(path: Path) -> None:
    """Make a new name in a directory as durable as the file it names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make what is missing of a path, so that no loss of power takes a new directory with all that is in it."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for directory in missing:
        # Where a directory cannot be read, or its file system has no such thing, nobody could do more.
        with contextlib.suppress(OSError):
            sync_directory(directory.parent)


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Take a file's lock without waiting: its descriptor, or None while another holds it or there is no file.

    `shared` only asks whether somebody holds it: two who ask at once do not take each other for the holder.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def file_system_of(path: Path) -> str:
    """The type of the file system a path lies on, from /proc/mounts; empty where there is none."""
    real = os.path.realpath(path)
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(" ")
            point = fields[1].replace("\\040", " ")
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, fields[2]
    return kind


def refuse_network_file_system(path: Path) -> None:
    kind = file_system_of(path.parent)
    if kind in NETWORK_FILE_SYSTEMS:
        raise Unavailable(
            f"{path} lies on a network file system ({kind}).",
            why="SQLite's write-ahead log needs memory shared by one machine; over a network it can corrupt the file.",
            next_call="Put the data directory on a local disk.",
            retry_safe=False,
        )


class _Explained(NamedTuple):
    message: str
    why: str
    next_call: str
    retry_safe: bool = True


# Most causes go away by themselves, and the same call then works; `{path}` and `{error}` are filled in.
_EXPLAINED: tuple[tuple[tuple[type[apsw.Error], ...], _Explained], ...] = (
    (
        (apsw.FullError,),
        _Explained("The disk of {path} is full.", "Nothing was written.", "Free space, then repeat the call."),
    ),
    (
        (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError),
        _Explained(
            "{path} is read-only.",
            "The file or its directory may not be written; nothing was written.",
            "Make it writable, then repeat the call.",
        ),
    ),
    (
        (apsw.NotADBError,),
        _Explained(
            "{path} is not an SQLite database.",
            "Its first bytes are something else; it was not touched.",
            "Choose another file, or restore a backup: agentmemo restore FILE.",
            retry_safe=False,
        ),
    ),
    (
        (apsw.CorruptError,),
        _Explained(
            "{path} is damaged: {error}.",
            "A page of the file does not hold what SQLite wrote; nothing was written.",
            "Run agentmemo doctor, then restore a backup: agentmemo restore FILE.",
            retry_safe=False,
        ),
    ),
    (
        (apsw.BusyError, apsw.LockedError),
        _Explained(
            "{path} stayed locked by another program.",
            "Somebody outside AgentMemo holds a write transaction.",
            "Close it, then repeat the call.",
        ),
    ),
    (
        (apsw.CantOpenError,),
        _Explained(
            "{path} cannot be opened.",
            "The directory is missing, or may not be read and written.",
            "Check the path and its permissions.",
        ),
    ),
    (
        (apsw.IOError,),
        _Explained(
            "Reading or writing {path} failed: {error}.",
            "The disk reported an error; what was acknowledged before is kept.",
            "Run agentmemo doctor; repeat the call when the disk works again.",
        ),
    ),
)
_UNEXPECTED = _Explained(
    "SQLite refused the work on {path}: {error}.", "Nothing was written.", "Report it; this is a bug.", retry_safe=False
)


def map_error(error: apsw.Error, path: str) -> Error:
    """An SQLite error in our words. The store is unchanged in every case."""
    full = getattr(error, "errno", 0) == errno.ENOSPC
    kind = apsw.FullError if full else type(error)
    explained = next((found for kinds, found in _EXPLAINED if issubclass(kind, kinds)), _UNEXPECTED)
    return Unavailable(
        explained.message.format(path=path, error=error),
        why=explained.why,
        next_call=explained.next_call,
        retry_safe=explained.retry_safe,
    )
