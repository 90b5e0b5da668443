"""Starting the workload as processes, arming their deaths, and waiting for them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import workload
from forked import Forked

PROGRAM = Path(__file__).with_name("workload.py")
# Far above anything a test waits for: what is free within seconds is free because its holder's lock is.
LEASE_SECONDS = 120.0
DEATH_SECONDS = 180.0
END_SECONDS = 180.0
# In place of an exit code: it had to be stopped.
LATE = 124
# Every process of this session that died by SIGKILL.
kills: list[int] = []


class Child:
    """One process of the workload. Its standard error goes to a file that failures show."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self.process = Forked([PROGRAM, *arguments], environment, errors)

    def wait_ready(self) -> None:
        """It has imported everything and is about to open the store."""
        assert self.process.stdout.readline() == b"ready\n", self._failed("did not start")

    def kill(self) -> None:
        self.process.kill()
        self.join()

    def stop(self) -> None:
        self.process.stop()

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def say(self, text: str) -> None:
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def died_at_its_point(self) -> None:
        """It must have killed itself: a child that lives on has not reached the point it was armed with."""
        code = self.join()
        assert code == -signal.SIGKILL, self._failed(f"ended with {code} instead of dying at its point")

    def succeeded(self) -> None:
        code = self.join(END_SECONDS)
        assert code == 0, self._failed(f"ended with {code}")

    def join(self, seconds: float = DEATH_SECONDS) -> int:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = LATE
        if code == -signal.SIGKILL:
            kills.append(self.process.pid)
        self.process.close()
        return code

    def _failed(self, what: str) -> str:
        return f"the child {what}:\n{self._log.read_text(errors='replace')[-4000:]}"


class Plane:
    """A store in a directory with the notes beside it."""

    def __init__(self, directory: Path, name: str = "store") -> None:
        self.directory = directory
        self.store = directory / f"{name}.db"
        self.side = directory / f"{name}.side"
        self._log = directory / f"{name}.errors"
        self._children: list[Child] = []

    def start(
        self,
        mode: str,
        slot: str = "0",
        *,
        point: str | None = None,
        lease_seconds: float = LEASE_SECONDS,
        address: str | None = None,
        key: str | None = None,
    ) -> Child:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTMEMO_")}
        environment |= {
            "AGENTMEMO_LEASE_SECONDS": str(lease_seconds),
            "AGENTMEMO_UPKEEP_INTERVAL_SECONDS": "0.05",
        }
        if point:
            environment["AGENTMEMO_TEST_CRASH"] = point
        if key:
            environment["AGENTMEMO_KEY"] = key
        child = Child([mode, address or str(self.store), str(self.side), slot], environment, self._log)
        self._children.append(child)
        child.wait_ready()
        return child

    def finish(self) -> None:
        """One process that is not killed brings everything to its end."""
        self.start("finish").succeeded()

    def notes(self, what: str | None = None) -> list[dict]:
        return [note for note in workload.read_notes(self.side) if what is None or note["what"] == what]

    def wait_for(self, what: str, count: int = 1, *, seconds: float = DEATH_SECONDS) -> list[dict]:
        end = time.monotonic() + seconds
        while len(found := self.notes(what)) < count:
            assert time.monotonic() < end, f"no {what} within {seconds} s\n{self._log.read_text()[-4000:]}"
            time.sleep(0.005)
        return found

    def errors(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def end_all(self) -> None:
        for child in self._children:
            if child.process.poll() is None:
                child.go_on()
                child.kill()
