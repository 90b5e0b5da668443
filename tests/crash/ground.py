"""The processes of the kills, on one store: who they are, how they start, and what can befall them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import apsw
import checker
import labour
import planted
from arena import Process
from children import PROGRAM as WORKLOAD
from follower import Follower

from agentmemo.store.sqlite_files import try_lock
from agentmemo.testing.ports import ReservedPort

PROGRAM = Path(labour.__file__)
# Who works: on the file, over HTTP, the server itself, and a person.
EMBEDDED, HTTP, SERVER, PERSON = "embedded", "http", "server", "person"
SLOTS = {"e0": EMBEDDED, "e1": EMBEDDED, "e2": EMBEDDED, "h0": HTTP, "h1": HTTP, "server": SERVER, "person": PERSON}
LEASE_SECONDS = 1.0
# Nothing that a worker does at once takes as long, on a busy machine too.
END_SECONDS = 150.0
NOTE_BYTES = 150
STUCK_SECONDS = 150.0
# Told to end by SIGTERM: a server ends by that signal too, in the end, as does who had not yet begun.
WELL = (0, -signal.SIGTERM)
LOCK_TRIES, LOCK_SECONDS = 20, 0.002
HELD = (
    "SELECT r.handle, r.epoch FROM run r JOIN worker w ON w.id = r.worker WHERE w.process = ?"
    " UNION ALL SELECT h.handle, h.epoch FROM handoff h JOIN worker w ON w.id = h.worker WHERE w.process = ?"
)
EPOCH = "SELECT epoch FROM run WHERE handle = ? UNION ALL SELECT epoch FROM handoff WHERE handle = ?"
# What nobody has been told yet who handed it over.
UNHEARD = "SELECT handle FROM handoff WHERE notice_at IS NOT NULL AND received_at IS NULL"


class Ground:
    """One store, those who work on it, and whoever follows what they do. A member is a slot's newest process."""

    def __init__(self, directory: Path, kinds: Iterable[str], plant: str = "") -> None:
        self.store = directory / "store.db"
        self.side = directory / "side"
        self._log = directory / "errors"
        self._directory = directory
        self._port = ReservedPort()
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTMEMO_")} | {
            "AGENTMEMO_LEASE_SECONDS": str(LEASE_SECONDS),
            "AGENTMEMO_UPKEEP_INTERVAL_SECONDS": "0.1",
            planted.VARIABLE: plant,
        }
        self.members: dict[str, Process] = {}
        self.slots = [slot for slot, kind in SLOTS.items() if kind in kinds]
        self.follower = Follower()
        self.acknowledged: Counter[str] = Counter()
        self.kills = 0
        self._first: dict[str, int] = {}
        self._read = 0
        self._ends: list[tuple[float, str, Process]] = []

    def open(self) -> None:
        labour.prepare(str(self.store))
        if "server" in self.slots:
            self.start("server")
            assert self.members["server"].process.stdout.readline() == b"ready\n", self.errors()
            key = next(self._directory.glob("**/agent.key")).read_text(encoding="ascii").strip()
            self._environment["AGENTMEMO_KEY"] = key
        for slot in self.slots:
            if slot != "server":
                self.start(slot)
        # Of the library that the product itself uses: two in one process would take each other's locks.
        self.file = apsw.Connection(str(self.store), flags=apsw.SQLITE_OPEN_READONLY)

    def start(self, slot: str) -> None:
        kind = SLOTS[slot]
        if kind == SERVER:
            words = [WORKLOAD, "serve", self.store, self.side, self._port.number]
        else:
            target = f"http://127.0.0.1:{self._port.number}" if kind == HTTP else self.store
            mode = "answer" if kind == PERSON else "work"
            words = [PROGRAM, mode, target, self.side, slot, self._first.get(slot, 0)]
        self.members[slot] = Process([str(word) for word in words], self._environment, self._log)

    def kill(self, slots: Iterable[str]) -> None:
        """All at once, and each is started again."""
        for slot in slots:
            self.members[slot].process.kill()
        for slot in slots:
            self.kill_process(slot, self.members[slot])
            self.start(slot)

    def kill_process(self, slot: str, process: Process) -> None:
        self._check_alive(slot, process)
        process.kill()
        self.kills += 1

    def tell_to_end(self, slot: str, process: Process) -> None:
        """In good order; it has until END_SECONDS."""
        process.process.send_signal(signal.SIGTERM)
        self._ends.append((time.monotonic() + END_SECONDS, slot, process))

    def held_by(self, process: Process) -> dict[str, int]:
        """What it holds, and at which epoch each is."""
        return dict(self.file.execute(HELD, (process.process.pid,) * 2).fetchall())

    def is_taken_over(self, held: dict[str, int]) -> bool:
        """Whether another has something of it."""
        return any(self.file.execute(EPOCH, (handle, handle)).fetchone()[0] > epoch for handle, epoch in held.items())

    def fall_asleep(self, slot: str) -> bool:
        """Stop a member where it holds something and does not commit: while it does, the file is locked for all."""
        process = self.members[slot]
        process.process.stop()
        if self._is_unlocked() and self.held_by(process):
            return True
        process.process.send_signal(signal.SIGCONT)
        return False

    def _is_unlocked(self) -> bool:
        for _ in range(LOCK_TRIES):
            descriptor = try_lock(self.store.with_name(self.store.name + "-lock"))
            if descriptor is not None:
                os.close(descriptor)
                return True
            time.sleep(LOCK_SECONDS)
        return False

    def let_work(self, notes: int, seconds: float) -> None:
        """Until they have noted about so much, and no longer than that."""
        end, wanted = time.monotonic() + seconds, self._read + notes * NOTE_BYTES
        while time.monotonic() < end and _size(self.side) < wanted:
            time.sleep(0.002)

    def look(self) -> None:
        """Every invariant, at what is new since the last look."""
        notes = self._new_notes()
        with closing(self.file.cursor()) as cursor:
            cursor.execute("BEGIN")
            try:
                self.follower.look(cursor, notes)
            finally:
                cursor.execute("ROLLBACK")
        for slot, process in self.members.items():
            self._check_alive(slot, process)
        self._reap()

    def _new_notes(self) -> list[dict]:
        if not self.side.exists():
            return []
        with self.side.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole = content.rpartition(b"\n")[0]
        self._read += len(whole) + bool(whole)
        notes = [json.loads(line) for line in whole.split(b"\n") if line]
        for note in notes:
            self.acknowledged[note["what"]] += 1
            if note["what"] == "cycle":
                self._first[note["slot"]] = max(self._first.get(note["slot"], 0), note["n"] + 1)
        return notes

    def _check_alive(self, slot: str, process: Process) -> None:
        code = process.process.poll()
        assert code in (None, -signal.SIGKILL), f"{slot} ended by itself with {code}:\n{self.errors()}"

    def _reap(self) -> None:
        """Those that were told to end have ended well, or still have time."""
        for end in list(self._ends):
            until, slot, process = end
            code = process.process.poll()
            assert code in (None, *WELL), f"{slot} was told to end, and did so with {code}:\n{self.errors()}"
            assert code in WELL or time.monotonic() < until, f"{slot} was told to end, and does not:\n{self.errors()}"
            if code in WELL:
                process.end()
                self._ends.remove(end)

    def finish(self) -> None:
        """Those who are there bring to its end whatever is not; then all of it is looked at anew."""
        Path(f"{self.side}.stop").touch()
        left, since = None, time.monotonic()
        while True:
            self.look()
            now = {**checker.unfinished(self.file), "notices": self.file.execute(UNHEARD).fetchall()}
            if not any(now.values()):
                break
            if now != left:
                left, since = now, time.monotonic()
            assert time.monotonic() < since + STUCK_SECONDS, f"stuck: {left}\n{self.errors()}"
            time.sleep(0.05)
        for slot in sorted(self.members, key=lambda slot: slot == "server"):
            self.tell_to_end(slot, self.members.pop(slot))
        while self._ends:
            self._reap()
            time.sleep(0.02)
        self.look()
        self.file.close()
        checker.check(self.store, self._all_notes())
        checker.check_derived(self.store)

    def _all_notes(self) -> list[dict]:
        return [json.loads(line) for line in self.side.read_bytes().split(b"\n") if line]

    def errors(self) -> str:
        return self._log.read_text(errors="replace")[-8000:] if self._log.exists() else ""

    def end(self) -> None:
        for process in [*self.members.values(), *(process for _, _, process in self._ends)]:
            process.process.send_signal(signal.SIGCONT)
            process.end()
        self._port.close()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
