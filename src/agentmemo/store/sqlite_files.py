"""Files around an SQLite database: the kernel-queued lock, the file systems it cannot use, its errors in our words."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

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


def try_lock(path: Path) -> int | None:
    """Take a file's lock without waiting: its descriptor, or None while another holds it or there is no file."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


def map_error(error: apsw.Error, path: str) -> Error:
    """An SQLite error in our words. The store is unchanged in every case, and most causes go away by themselves."""
    os_code = getattr(error, "errno", 0)
    if isinstance(error, apsw.FullError) or os_code == errno.ENOSPC:
        return Unavailable(
            f"The disk of {path} is full.", why="Nothing was written.", next_call="Free space, then repeat the call."
        )
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError | apsw.AuthError):
        return Unavailable(
            f"{path} is read-only.",
            why="The file or its directory may not be written; nothing was written.",
            next_call="Make it writable, then repeat the call.",
        )
    if isinstance(error, apsw.NotADBError):
        return Unavailable(
            f"{path} is not an SQLite database.",
            why="Its first bytes are something else; it was not touched.",
            next_call="Choose another file, or restore a backup: agentmemo restore FILE.",
            retry_safe=False,
        )
    if isinstance(error, apsw.CorruptError):
        return Unavailable(
            f"{path} is damaged: {error}.",
            why="A page of the file does not hold what SQLite wrote; nothing was written.",
            next_call="Run agentmemo doctor, then restore a backup: agentmemo restore FILE.",
            retry_safe=False,
        )
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return Unavailable(
            f"{path} stayed locked by another program.",
            why="Somebody outside AgentMemo holds a write transaction.",
            next_call="Close it, then repeat the call.",
        )
    if isinstance(error, apsw.CantOpenError):
        return Unavailable(
            f"{path} cannot be opened.",
            why="The directory is missing, or may not be read and written.",
            next_call="Check the path and its permissions.",
        )
    if isinstance(error, apsw.IOError):
        return Unavailable(
            f"Reading or writing {path} failed: {error}.",
            why="The disk reported an error; what was acknowledged before is kept.",
            next_call="Run agentmemo doctor; repeat the call when the disk works again.",
        )
    return Unavailable(f"SQLite refused the work on {path}: {error}.", retry_safe=False)
