"""A disk that remembers what was written to it and what was synced, can fail, and can lose its power.

`Disk` stands below SQLite (as its file system) and below the few calls of `os` by which the product makes files itself.
It passes everything on and keeps a record of each change. `Image` walks along the record; at any point it says which
pieces of the changes so far are not yet safe, and what the files hold when each piece was kept, lost or spoiled.

Nothing is taken for safe that POSIX does not promise: a file's content is after its sync, its name after its
directory's; what is not safe may be there in part, in any order, torn between sectors, or as garbage.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import stat
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw

VFS = "agentmemo-disk"
SECTOR_BYTES = (512, 4096)
KEPT, LOST, SPOILED = "kept", "lost", "spoiled"
DIRECTORY = -1
# SQLite takes no notice when its log stays long or stays there, but apsw would tell of what is raised here.
_UNHEEDED = "-wal"
_JOURNALS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
_CREATE = apsw.SQLITE_OPEN_CREATE


class Write(NamedTuple):
    file: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    file: int
    size: int


class Sync(NamedTuple):
    file: int


class FailedSync(NamedTuple):
    """What it waited for may never be on the disk, also where a later sync succeeds: so it is on Linux."""

    file: int


class Name(NamedTuple):
    """From now on `path` names `file`, or nothing."""

    path: str
    file: int | None


class SyncNames(NamedTuple):
    """The names in a directory are safe."""

    path: str


Change = Write | Truncate | Sync | FailedSync | Name | SyncNames
Piece = Write | Truncate | Name


class Record:
    """Changes in their order, and the notes of who was told what, each with the number of changes before it."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.notes: list[tuple[int, dict]] = []
        self.labels: dict[int, str] = {}

    def note(self, note: dict) -> None:
        self.notes.append((len(self.changes), note))

    def told_before(self, point: int) -> list[dict]:
        return [note for at, note in self.notes if at <= point]

    def syncs(self) -> list[int]:
        return [at for at, change in enumerate(self.changes) if isinstance(change, Sync | SyncNames)]

    def describe(self, change: Change) -> str:
        file = getattr(change, "file", None)
        where = getattr(change, "path", None) or self.labels.get(file, "?")  # type: ignore[arg-type]
        if isinstance(change, Write):
            return f"write of {len(change.data)} bytes at {change.offset} of {where}"
        size = f" to {change.size} bytes" if isinstance(change, Truncate) else ""
        gone = " (removed)" if isinstance(change, Name) and change.file is None else ""
        return f"{type(change).__name__.lower()} {where}{size}{gone}"


class Fault(NamedTuple):
    """The `number`th call of a kind fails; `lasting`, so do all that follow, until `Disk.heal`.

    Only calls on files whose names end with `of` are counted. Without a kind calls are counted, and none fails.
    """

    kind: str = ""
    number: int = 0
    full: bool = False
    lasting: bool = False
    of: str = ""


_RESULTS = {
    "read": apsw.SQLITE_IOERR_READ,
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "lock": apsw.SQLITE_IOERR_LOCK,
    "delete": apsw.SQLITE_IOERR_DELETE,
}
# What the product asks of the system itself, past SQLite.
OWN = "own"
KINDS = (*_RESULTS, "open", OWN)
_FUNCTIONS = ("fsync", "link", "mkdir", "open", "rename", "replace", "unlink")


class Disk(apsw.VFS):
    """Everything below `root`. While it is plugged in, every SQLite connection of this process lies on it."""

    def __init__(self, root: Path) -> None:
        super().__init__(VFS, "unix", makedefault=True)
        self.root = root.resolve()
        self.record = Record()
        self.calls: Counter = Counter()
        self.failed = 0
        self.threads = set(threading.enumerate())
        self._fault: Fault | None = None
        self._files: dict[str, int] = {}
        self._numbers = iter(range(1, 1 << 62))
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def plugged_in(self) -> Iterator[Disk]:
        """Below the product's own calls too."""
        own = {name: getattr(os, name) for name in _FUNCTIONS}
        try:
            for name, function in own.items():
                recorded = getattr(self, f"_{name}", lambda real: real)
                setattr(os, name, recorded(self._failing(function)))
            yield self
        finally:
            for name, function in own.items():
                setattr(os, name, function)
            self.unregister()

    # What SQLite calls.

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = (name.filename() if isinstance(name, apsw.URIFilename) else name) or ""
        self.call("open", path)
        file = _File(self, name, flags)
        file.path = path
        if self._is_ours(path):
            file.number = self._born(path)
            file.names_unsafe = bool(flags[0] & _CREATE and flags[0] & _JOURNALS)
        return file

    def xDelete(self, path: str, sync_directory: bool) -> None:  # noqa: N802
        try:
            self.call("delete", path)
        except apsw.Error:
            if path.endswith(_UNHEEDED):
                return
            raise
        super().xDelete(path, sync_directory)
        self._gone(path)
        if sync_directory:
            self.keep(SyncNames(_parent(path)))

    # Faults.

    def fail(self, fault: Fault) -> None:
        self.calls.clear()
        self.failed = 0
        self._fault = fault

    def heal(self) -> None:
        self._fault = None

    def call(self, kind: str, path: str) -> None:
        """Count a call while there is a fault, and raise if it is the one that fails."""
        fault = self._fault
        if fault is None or not path.endswith(fault.of):
            return
        self.calls[kind] += 1
        number = self.calls[kind]
        if fault.kind == kind and (number == fault.number or (fault.lasting and number > fault.number)):
            self.failed += 1
            raise _error(fault)

    # The record.

    def keep(self, change: Change) -> None:
        with self._lock:
            self.record.changes.append(change)

    def note(self, note: dict) -> None:
        with self._lock:
            self.record.note(note)

    def _is_ours(self, path: str) -> bool:
        return path.startswith(f"{self.root}{os.sep}")

    def _born(self, path: str) -> int:
        """The number of a file, its name being on record."""
        with self._lock:
            if path not in self._files:
                self._name(path, next(self._numbers))
            return self._files[path]

    def _name(self, path: str, number: int) -> None:
        with self._lock:
            self._files[path] = number
            self.record.labels.setdefault(number, path.rpartition("/")[2])
            self.keep(Name(path, number))

    def _gone(self, path: str) -> None:
        with self._lock:
            if self._files.pop(path, None) is not None:
                self.keep(Name(path, None))

    def _content(self, path: str) -> int:
        """A file that was written past SQLite: what it holds now, as one write."""
        number = self._born(path)
        self.keep(Truncate(number, 0))
        self.keep(Write(number, 0, Path(path).read_bytes()))
        return number

    # What the product calls itself, in place of the functions of `os`.

    def _failing(self, real):
        def function(subject, *arguments, **options):
            path = _path_of(subject)
            if self._is_ours(path):
                self.call(OWN, path)
            return real(subject, *arguments, **options)

        return function

    def _fsync(self, real):
        def fsync(descriptor: int) -> None:
            path = _path_of(descriptor)
            is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            number = None if is_directory or not self._is_ours(path) else self._content(path)
            real(descriptor)
            if number is not None:
                self.keep(Sync(number))
            elif is_directory:
                self.keep(SyncNames(path))

        return fsync

    def _mkdir(self, real):
        def mkdir(path, *arguments, **options) -> None:
            real(path, *arguments, **options)
            if self._is_ours(str(path)):
                self._name(str(path), DIRECTORY)

        return mkdir

    def _link(self, real):
        def link(source, target, **options) -> None:
            real(source, target, **options)
            if str(source) in self._files:
                self._name(str(target), self._files[str(source)])

        return link

    def _rename(self, real):
        def rename(source, target, **options) -> None:
            real(source, target, **options)
            if str(source) in self._files:
                self._name(str(target), self._files[str(source)])
                self._gone(str(source))

        return rename

    _replace = _rename

    def _unlink(self, real):
        def unlink(path, **options) -> None:
            real(path, **options)
            self._gone(str(path))

        return unlink


class _File(apsw.VFSFile):
    """One open file of SQLite. A temporary one has no number and leaves no record."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self.number: int | None = None
        self.names_unsafe = False
        self.path = ""

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.call("read", self.path)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.call("write", self.path)
        if self.number is not None:
            self._disk.keep(Write(self.number, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        try:
            self._disk.call("truncate", self.path)
        except apsw.Error:
            if self.path.endswith(_UNHEEDED):
                return
            raise
        if self.number is not None:
            self._disk.keep(Truncate(self.number, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        try:
            self._disk.call("sync", self.path)
        except apsw.Error:
            if self.number is not None:
                self._disk.keep(FailedSync(self.number))
            raise
        super().xSync(flags)
        if self.number is None:
            return
        self._disk.keep(Sync(self.number))
        if self.names_unsafe:
            # SQLite's own file system does this after the first sync of a journal it may have made.
            self.names_unsafe = False
            self._disk.keep(SyncNames(_parent(self.path)))

    def xLock(self, level: int) -> None:  # noqa: N802
        self._disk.call("lock", self.path)
        super().xLock(level)


def _parent(path: str) -> str:
    """As text: pathlib takes half of the time of a cut."""
    return path.rpartition("/")[0]


def _path_of(subject: int | str | os.PathLike[str]) -> str:
    return str(Path(f"/proc/self/fd/{subject}").readlink() if isinstance(subject, int) else subject)


def _error(fault: Fault) -> apsw.Error | OSError:
    if fault.kind == OWN:
        return OSError(errno.EIO, os.strerror(errno.EIO))
    if fault.full:
        return apsw.FullError("the disk is full")
    if fault.kind == "open":
        return apsw.CantOpenError("the file cannot be opened")
    error = apsw.IOError(f"the disk fails to {fault.kind}")
    error.extendedresult = _RESULTS[fault.kind]
    return error


class Image:
    """The files as the record has left them at `point`: what of them is safe, and which changes are not."""

    def __init__(self, record: Record, root: Path) -> None:
        self._record = record
        self._root = str(root.resolve())
        self.point = 0
        self._content: dict[int, bytearray] = defaultdict(bytearray)
        self._names: dict[str, int | None] = {}
        self._unsafe: list[Piece] = []
        self._failures = 0

    def go_to(self, point: int) -> None:
        """On to a later point: that many changes have happened."""
        for change in self._record.changes[self.point : point]:
            self._go_on(change)
        self.point = point

    def _go_on(self, change: Change) -> None:
        if isinstance(change, Write | Truncate | Name):
            self._unsafe.append(change)
            return
        if isinstance(change, FailedSync):
            self._forget(change)
            return
        safe = [piece for piece in self._unsafe if _is_made_safe(piece, change)]
        self._unsafe = [piece for piece in self._unsafe if not _is_made_safe(piece, change)]
        _apply(safe, [KEPT] * len(safe), self._content, self._names)

    def _forget(self, failed: FailedSync) -> None:
        """Nobody will write again what was to be synced; what of it is on the disk is so from now on."""
        self._failures += 1
        mine = [piece for piece in self._unsafe if not isinstance(piece, Name) and piece.file == failed.file]
        self._unsafe = [piece for piece in self._unsafe if piece not in mine]
        pieces = [piece for change in mine for piece in _sectors(change, SECTOR_BYTES[0])]
        _apply(pieces, draw_fates(pieces, random.Random(self._failures)), self._content, self._names)

    def pieces(self, sector_bytes: int) -> list[Piece]:
        """What is not safe: each sector of a write for itself."""
        return [piece for change in self._unsafe for piece in _sectors(change, sector_bytes)]

    def files(self, pieces: Sequence[Piece], fates: Sequence[str]) -> dict[str, bytes]:
        """Paths below the root and what they hold, after this has become of the pieces."""
        content = defaultdict(bytearray, {file: bytearray(data) for file, data in self._content.items()})
        names = dict(self._names)
        _apply(pieces, fates, content, names)
        return {
            path.removeprefix(f"{self._root}{os.sep}"): bytes(content[file])
            for path, file in names.items()
            if file not in (None, DIRECTORY) and self._is_reached(_parent(path), names)
        }

    def _is_reached(self, directory: str, names: dict[str, int | None]) -> bool:
        while directory != self._root:
            if names.get(directory) != DIRECTORY:
                return False
            directory = _parent(directory)
        return True


def _is_made_safe(piece: Piece, by: Sync | SyncNames) -> bool:
    if isinstance(by, Sync):
        return not isinstance(piece, Name) and piece.file == by.file
    return isinstance(piece, Name) and _parent(piece.path) == by.path


def _sectors(change: Piece, sector_bytes: int) -> Iterator[Piece]:
    if not isinstance(change, Write):
        yield change
        return
    start = change.offset
    end = start + len(change.data)
    while start < end:
        stop = min(end, (start // sector_bytes + 1) * sector_bytes)
        yield Write(change.file, start, change.data[start - change.offset : stop - change.offset])
        start = stop


def draw_fates(pieces: Sequence[Piece], chance: random.Random) -> list[str]:
    """What may become of each piece: none is left, all, the first ones, or any of them; some are spoiled."""
    count = len(pieces)
    kind = chance.choice(("none", "all", "first", "one", "other", "any", "any"))
    if kind in ("none", "all"):
        fates = [KEPT if kind == "all" else LOST] * count
    elif kind == "first":
        kept = chance.randint(0, count)
        fates = [KEPT] * kept + [LOST] * (count - kept)
    elif kind in ("one", "other"):
        single, rest = (KEPT, LOST) if kind == "one" else (LOST, KEPT)
        fates = [rest] * count
        if count:
            fates[chance.randrange(count)] = single
    else:
        share = chance.choice((0.05, 0.5, 0.95))
        fates = [KEPT if chance.random() < share else LOST for _ in range(count)]
    if chance.random() < 0.25:
        fates = [SPOILED if fate == LOST and chance.random() < 0.5 else fate for fate in fates]
    return fates


def _apply(
    pieces: Sequence[Piece],
    fates: Sequence[str],
    content: dict[int, bytearray],
    names: dict[str, int | None],
) -> None:
    for piece, fate in zip(pieces, fates, strict=True):
        if fate == LOST or (fate == SPOILED and not isinstance(piece, Write)):
            continue
        if isinstance(piece, Name):
            names[piece.path] = piece.file
        elif isinstance(piece, Truncate):
            _resize(content[piece.file], piece.size)
        else:
            data = piece.data if fate == KEPT else random.Random(piece.offset).randbytes(len(piece.data))
            held = content[piece.file]
            if len(held) < piece.offset:
                _resize(held, piece.offset)
            held[piece.offset : piece.offset + len(data)] = data


def _resize(held: bytearray, size: int) -> None:
    if size < len(held):
        del held[size:]
    else:
        held.extend(bytes(size - len(held)))
