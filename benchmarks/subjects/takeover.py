"""From `kill -9` of the worker that holds a task's run to the moment another worker's code continues it.

On one machine the dead worker's file lock tells; across machines only its lease does. For the second row the lock files
are removed first, which is how a worker on another machine looks: nothing here can prove that it is gone.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import harness
from harness import QUICK, REPETITIONS, Row, Target

PUBLISHED = {"DBOS Conductor": 60.0, "Absurd": 120.0}
ROWS = {
    "takeover after kill -9, one machine": (True, Target(1.0, at_most=True)),
    "takeover after kill -9, across machines": (False, Target(15.0, at_most=True)),
}
STARTED, CONTINUED = "started", "continued"
WAIT_SECONDS = 60


def run() -> list[Row]:
    rows = []
    for subject, (provable, target) in ROWS.items():
        # A lease runs for ten seconds; one measurement of it is enough for a bound.
        times = [takeover(__file__, provable=provable) for _ in range(REPETITIONS if provable and not QUICK else 1)]
        rows += [
            Row(
                subject=subject,
                unit="s",
                peer_name=f"{title} (published)",
                ours=statistics.median(times),
                peer=published,
                target=target if title == "DBOS Conductor" else None,
                settings="two worker processes on one store; the peer's figure is its documented default, not measured",
                repetitions={"ours": times, title: [published]},
            )
            for title, published in PUBLISHED.items()
        ]
    return rows


def takeover(program: str, *, provable: bool) -> float:
    """Seconds from the end of PROGRAM as the holder to when PROGRAM as the heir says that it continues."""
    with harness.directory("takeover") as directory:
        holder = _worker(program, directory, "holder")
        try:
            _await(directory / STARTED, holder)
            heir = _worker(program, directory, "heir")
            try:
                _await(directory / "heir.ready", heir)
                if not provable:
                    shutil.rmtree(directory / "plane.db-workers", ignore_errors=True)
                killed = time.time()
                os.kill(holder.pid, signal.SIGKILL)
                holder.wait()
                return float(_await(directory / CONTINUED, heir)) - killed
            finally:
                heir.kill()
                heir.wait()
        finally:
            holder.kill()
            holder.wait()


def _worker(program: str, directory: Path, role: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, program, str(directory), role], cwd=directory, env=environment)


def _await(path: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text()):
            return text
        if process.poll() is not None:
            raise RuntimeError(f"a worker ended with {process.returncode}")
        time.sleep(0.005)
    raise RuntimeError(f"{path.name} did not come within {WAIT_SECONDS} s")


def _work(directory: Path, role: str) -> None:
    import agentmemo

    with agentmemo.connect(directory / "plane.db", agent=role) as agent:

        @agent.task("task", version="1")
        def task(run: agentmemo.Run) -> None:
            run.step("first", lambda: 1)
            if role == "holder":
                (directory / STARTED).write_text("now")
                time.sleep(WAIT_SECONDS)
            (directory / CONTINUED).write_text(str(time.time()))

        if role == "holder":
            agent.start("task", key="1")
        (directory / f"{role}.ready").write_text("now")
        agent.work(concurrency=1)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), sys.argv[2])
