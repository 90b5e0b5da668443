"""Work on a recorded disk, the cuts of its power, and the smallest loss that shows a fault.

What a cut leaves is opened by SQLite, and must be, page for page, what one of the commits made: none older than what
somebody was told of. Each commit's store is itself opened by the product, and checked as after a kill.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import apsw
import checker
import workload
from disk import KEPT, LOST, SECTOR_BYTES, Disk, Image, Piece, Record, Write, draw_fates

from agentmemo.embedded import release_plane, shared_plane
from agentmemo.store import blobs, sqlite

STORE = "plane/store.db"
PEPPER = f"{STORE}-pepper"
# Small enough that every cycle sees chunks, checkpoints, a log that begins anew and one that is cut short.
SMALL = (
    (workload, "BIG_BYTES", 40_000),
    (blobs, "CHUNK_BYTES", 8 * 1024),
    (sqlite, "CHECKPOINT_PAGES", 60),
    (sqlite, "LOG_BYTES_KEPT", 64 * 1024),
)
FRAME_HEADER_BYTES = 24
_MEMORY = "/dev/shm"  # noqa: S108 - a directory of our own is made in it
# Thousands of stores need not go to a disk, where there is memory to write to.
QUICK_PLACE = _MEMORY if os.access(_MEMORY, os.W_OK) else None
Cycle = Callable[[workload.Work, int], None]


class RecordedSide:
    """Where the workload notes what it was told: the record of the disk, so that both have one order."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def note(self, what: str, **fields: object) -> None:
        self._disk.note({"what": what, "pid": 0, **fields})


def work_recorded(root: Path, threads: int = 2, cycle: Cycle = workload.Work.cycle) -> Record:
    """A store that is made, worked on by several threads at once, and closed."""
    disk = Disk(root)
    with disk.plugged_in():
        side = RecordedSide(disk)
        works = [workload.Work(str(root / STORE), side, str(slot), agent="worker") for slot in range(threads)]
        side.note("key", secret=works[0].person.keys.create("agent", "visitor").secret)
        workers = [threading.Thread(target=cycle, args=(work, 0)) for work in works]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for work in works:
            work.agent.close()
            work.person.close()
    return disk.record


def briefly(work: workload.Work, n: int) -> None:
    """The shortest cycle: values, large ones too, and what is written together."""
    work.sets(n)
    work.transaction(n)


class Cuts:
    """Cuts the power of one record, in the order of its points, and looks at what is left, in `place`.

    The smallest loss that shows a fault is left in `kept`.
    """

    def __init__(self, record: Record, root: Path, place: Path, kept: Path, *, full_checks: int | None = None) -> None:
        self._record = record
        self._root = root
        self._place = place
        self._kept = kept
        self._image = Image(record, root)
        self._commits = _commits(record)
        self._digests: dict[bytes, str] = {}
        self._states = self._known_states()
        self._checked: dict[tuple[str, int], str | None] = {}
        self.full_checks_left = full_checks
        self.cuts = 0

    @property
    def commits(self) -> int:
        return len(self._commits)

    @property
    def full_checks(self) -> int:
        return len(self._checked)

    def cut(self, point: int, chance: random.Random, *, worst: bool = False) -> None:
        """Lose the power after so many changes; `worst` loses all that may be lost.

        Raises AssertionError with the smallest loss that still shows what is wrong.
        """
        self._image.go_to(point)
        pieces = self._image.pieces(chance.choice(SECTOR_BYTES))
        fates = [LOST] * len(pieces) if worst else draw_fates(pieces, chance)
        self.cuts += 1
        if self._wrong(pieces, fates) is None:
            return
        fates = shrink(fates, lambda fewer: self._wrong(pieces, fewer) is not None)
        _lay_out(self._image.files(pieces, fates), self._kept)
        raise AssertionError(self._told(pieces, fates))

    def _told(self, pieces: list[Piece], fates: list[str]) -> str:
        wrong = self._wrong(pieces, fates)
        point = self._image.point
        last = self._record.describe(self._record.changes[point - 1]) if point else "nothing"
        lost = [
            f"  {fate}: {self._record.describe(piece)}"
            for piece, fate in zip(pieces, fates, strict=True)
            if fate != KEPT
        ]
        return "\n".join(
            [f"the power goes after change {point} ({last}), which leaves {self._kept}:", *lost, str(wrong)]
        )

    def _wrong(self, pieces: list[Piece], fates: list[str]) -> str | None:
        """What does not hold in the files that are left; None if they are as promised."""
        files = self._image.files(pieces, fates)
        told = self._record.told_before(self._image.point)
        if PEPPER not in files and any(note["what"] == "key" for note in told):
            return "the secret is lost under which an acknowledged key was hashed"
        state = self._recovered(files)
        expected = self._told_of(len(told))
        if state not in self._states and self._image.point > self._commits[0]:
            return "what is there is not what any commit made"
        if (found := self._states.get(state, 0)) < expected:
            return f"what is there is commit {found}, and commit {expected} was acknowledged"
        return self._check_fully(state, files, told)

    def _check_fully(self, state: str, files: Mapping[str, bytes], told: list[dict]) -> str | None:
        """What the product, and the checks of the tests with kills, say of it; asked once for each store and answer."""
        known = (state, len(told))
        if known not in self._checked:
            if self.full_checks_left == 0:
                return None
            if self.full_checks_left is not None:
                self.full_checks_left -= 1
            _lay_out(files, self._place)
            self._checked[known] = check(self._place / STORE, told)
        return self._checked[known]

    def _told_of(self, notes: int) -> int:
        """The commit of the last note: it, or where its flush was awaited no longer, the one before."""
        if not notes:
            return 0
        at = self._record.notes[notes - 1][0]
        return sum(commit <= at for commit in self._commits) - 1

    def _known_states(self) -> dict[str, int]:
        """The digest of each commit's pages, and which commit it was."""
        image = Image(self._record, self._root)
        states = {}
        # Number 0 is the file that is made ready for the first commit, whose log has a header and one frame's.
        for number, point in enumerate([self._commits[0] - 2, *self._commits]):
            image.go_to(point)
            pieces = image.pieces(SECTOR_BYTES[-1])
            states[self._recovered(image.files(pieces, [KEPT] * len(pieces)))] = number
        return states

    def _recovered(self, files: Mapping[str, bytes]) -> str:
        """A digest of the pages that SQLite finds in the files; the same files are opened once."""
        content = hashlib.sha256()
        for path in sorted(files):
            content.update(path.encode() + files[path])
        if (same := content.digest()) not in self._digests:
            self._digests[same] = self._open(files)
        return self._digests[same]

    def _open(self, files: Mapping[str, bytes]) -> str:
        _lay_out(files, self._place)
        connection = apsw.Connection(str(self._place / STORE)) if STORE in files else None
        if connection is None:
            return ""
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            return hashlib.sha256(connection.serialize("main") or b"").hexdigest()
        except apsw.Error as error:
            return f"{type(error).__name__}: {error}"
        finally:
            connection.close()


def check(store: Path, told: list[dict]) -> str | None:
    """What does not hold in a store that the product opens; None if it is as promised."""
    try:
        checker.check(store, told, finished=False)
        plane = shared_plane(str(store))
        try:
            for note in told:
                if note["what"] == "key":
                    plane.engine.authenticate(note["secret"])
        finally:
            release_plane(plane)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return f"{type(error).__name__}: {error}"
    return None


def _lay_out(files: Mapping[str, bytes], place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    for path, content in files.items():
        file = place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _commits(record: Record) -> list[int]:
    """After which changes the log holds one more commit: a frame whose header says so, and its page."""
    commits, header = [], False
    for at, change in enumerate(record.changes):
        if not isinstance(change, Write) or not record.labels[change.file].endswith("-wal"):
            continue
        if header:
            commits.append(at + 1)
        header = len(change.data) == FRAME_HEADER_BYTES and any(change.data[4:8])
    return commits


def shrink(fates: list[str], fails: Callable[[list[str]], bool], tries: int = 300) -> list[str]:
    """As few pieces lost as still fail: many at once first, then single ones."""
    width = len(fates)
    while width:
        for start in range(0, len(fates), width):
            fewer = [*fates[:start], *[KEPT] * len(fates[start : start + width]), *fates[start + width :]]
            if fewer == fates:
                continue
            if not tries:
                return fates
            tries -= 1
            if fails(fewer):
                fates = fewer
        width //= 2
    return fates
