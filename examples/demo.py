"""Kill an agent three times in the middle of its work, and prove that it continued.

    make demo                              or: python examples/demo.py [REPOSITORY] [--seed N] [--keep]

It runs `resumable_analysis.py` on this repository, or on another, as a child process, kills it with SIGKILL at three
random moments, lets a fresh process finish, and proves from a log beside the store that nothing finished ran again.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import analysis
from resumable_analysis import COMMITS_MAX, COMMITS_PER_STEP, FILES_PER_STEP, RUN_NAME, run_key

import agentmemo

HERE = Path(__file__).resolve().parent
KILLS = 3
PAUSE_SECONDS_MAX = 0.4
# Nothing takes as long, on a busy machine too.
PLANE_START_SECONDS = 60.0
ANALYSIS_SECONDS = 600.0
EVENTS_SHOWN = 8
StepId = tuple[str, str]


@dataclass(frozen=True)
class Line:
    """One line of the log the steps write: what happened ("began", "finished") to which step in which process."""

    what: str
    step: StepId
    process: int


@dataclass
class Killed:
    """A process that was killed, and what the store held as finished right after."""

    process: int
    stored: set[StepId]
    log_length: int


@dataclass
class Demo:
    folder: Path
    repository: str
    commit: str
    chance: random.Random
    killed: list[Killed] = field(default_factory=list)
    last_output: str = ""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def report(self) -> Path:
        return self.folder / "report.md"

    def log(self) -> list[Line]:
        path = self.folder / "steps.log"
        rows = [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
        return [Line(what, (name, key), int(process)) for what, name, key, process in rows]


def kill_three_times(demo: Demo, steps: int, pause: float) -> None:
    most = max(1, (steps - 2) // (KILLS + 1))
    for number in range(1, KILLS + 1):
        after = demo.chance.randint(1, most)
        with analysing(demo, demo.data, demo.report, pause) as child:
            said = wait_for_steps(child, after)
            time.sleep(demo.chance.uniform(0, pause))
            child.kill()
            said += child.communicate()[0]
            if child.returncode != -signal.SIGKILL:
                sys.exit(f"Process {child.pid} ended by itself with {child.returncode} before it was killed:\n{said}")
        stored = stored_steps(demo)
        demo.killed.append(Killed(child.pid, stored, len(demo.log())))
        say(f"  {number}. killed process {child.pid} after {after} of its steps; the store holds {len(stored)} steps")


def wait_for_steps(child: subprocess.Popen[str], count: int) -> str:
    """What the child said until it had run `count` steps, or until it ended."""
    assert child.stdout is not None
    said = ""
    for line in child.stdout:
        said += line
        count -= line.startswith("ran ")
        if count <= 0:
            break
    return said


def finish(demo: Demo, pause: float) -> None:
    with analysing(demo, demo.data, demo.report, pause) as child:
        demo.last_output, _ = child.communicate(timeout=ANALYSIS_SECONDS)
    if child.returncode:
        sys.exit(f"The last process failed with {child.returncode}:\n{demo.last_output}")


@contextlib.contextmanager
def analysing(demo: Demo, data: Path, report: Path, pause: float) -> Iterator[subprocess.Popen[str]]:
    """The example as a child process, which does not outlive this block."""
    options = ["--data", str(data), "--report", str(report), "--pause", str(pause)]
    command = [sys.executable, str(HERE / "resumable_analysis.py"), demo.repository, *options]
    log = {"AGENTMEMO_EXAMPLE_LOG": str(demo.folder / "steps.log")} if data == demo.data else {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | log
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()


def stored_steps(demo: Demo) -> set[StepId]:
    with agentmemo.connect(str(demo.data), agent="demo") as agent:
        steps = agent.runs.steps(run_id(agent, demo))
        return {(step.name, step.key) for step in steps if step.state == "completed"}


def run_id(agent: agentmemo.Connection, demo: Demo) -> str:
    run = agent.runs.find(RUN_NAME, run_key(demo.repository, demo.commit))
    if run is None:
        sys.exit("The run is not in the store.")
    return run.id


def proofs(demo: Demo) -> dict[str, bool]:
    """Each claim with whether it holds."""
    unbroken = demo.folder / "unbroken.md"
    with analysing(demo, demo.folder / "unbroken", unbroken, 0.0) as child:
        child.communicate(timeout=ANALYSIS_SECONDS)
    return proofs_of(demo.log(), demo.killed, stored_steps(demo)) | {
        "the report equals that of a run nobody killed, byte for byte": unbroken.exists()
        and unbroken.read_bytes() == demo.report.read_bytes(),
    }


def proofs_of(log: list[Line], killed: list[Killed], stored: set[StepId]) -> dict[str, bool]:
    """What the log of the steps says, beside what the store held at each kill."""
    began = Counter(line.step for line in log if line.what == "began")
    repeated = {step: count for step, count in began.items() if count > 1}
    allowed = Counter(step for kill in killed for step in interrupted(log, kill))
    untouched = all(
        kill.stored.isdisjoint(line.step for line in log[kill.log_length :] if line.what == "began") for kill in killed
    )
    return {
        f"{KILLS} processes were killed, a different one finished": len({line.process for line in log}) == KILLS + 1,
        f"all {len(stored)} steps are finished in the store, and no others began": stored == set(began),
        "no step that the store held at a kill began again": untouched,
        f"only steps that a kill interrupted ran again ({len(repeated)} of {len(stored)})": all(
            count <= 1 + allowed[step] for step, count in repeated.items()
        ),
    }


def interrupted(log: list[Line], killed: Killed) -> set[StepId]:
    """What the process had begun, when it died, without a result in the store."""
    return {line.step for line in log if line.process == killed.process and line.what == "began"} - killed.stored


def show_work(demo: Demo) -> None:
    log = demo.log()
    say("\nWho did what:")
    for number, process in enumerate(dict.fromkeys(line.process for line in log), start=1):
        mine = {line.step for line in log if line.process == process and line.what == "began"}
        resumed = len(demo.killed[number - 2].stored) if number > 1 else 0
        cut = interrupted(log, demo.killed[number - 1]) if number <= len(demo.killed) else set()
        again = "".join(f", interrupted in {name} {key}" for name, key in sorted(cut))
        say(f"  process {process}: {resumed:3} steps resumed from the store, {len(mine - cut):3} run now{again}")

    say("\nThe briefing the last process got:")
    briefing = (line for line in demo.last_output.splitlines() if line.startswith("    "))
    say("\n".join(briefing) or "    (none)")


def show_events(demo: Demo) -> None:
    say("\nThe last events of the run:")
    with agentmemo.connect(str(demo.data), agent="demo") as agent:
        events = sorted(agent.audit.events(run=run_id(agent, demo)), key=lambda event: event.revision)
    for event in events[-EVENTS_SHOWN:]:
        at = datetime.fromtimestamp(event.at / 1_000_000, UTC).strftime("%H:%M:%S.%f")[:-3]
        say(f"  {event.revision:5}  {at}  {event.actor}  {event.operation}  {event.step or ''}  {event.outcome}")


@contextlib.contextmanager
def plane(data: Path, log: Path) -> Iterator[str]:
    """A plane on the same file, only so that the console can be looked at. Yields its address, or ""."""
    beside = Path(sys.executable).with_name("agentmemo")
    command = [str(beside)] if beside.exists() else [sys.executable, "-m", "agentmemo"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "up", "--data", str(data), "--port", str(port)], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield f"http://127.0.0.1:{port}/" if answers(process, port) else ""
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + PLANE_START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
        time.sleep(0.05)
    return False


def this_repository(folder: Path) -> tuple[str, str]:
    """This repository at its HEAD; where it came without its history, a copy of it with one commit."""
    try:
        return analysis.locate(str(HERE))
    except analysis.RepositoryError:
        copy = folder / "repository"
        shutil.copytree(HERE.parent, copy, ignore=shutil.ignore_patterns(".git", ".*venv*", "*cache*", "node_modules"))
        identity = ["-c", "user.name=Demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false"]
        for words in (["init"], ["add", "--all"], [*identity, "commit", "--message", "The project as it is"]):
            subprocess.run(["git", "-C", str(copy), *words], check=True, capture_output=True)
        return analysis.locate(str(copy))


def count_steps(repository: str, commit: str) -> int:
    inventory = analysis.list_files(repository, commit)
    batches = -(-len(inventory.entries) // FILES_PER_STEP)
    return 3 + batches + -(-min(inventory.commits, COMMITS_MAX) // COMMITS_PER_STEP)


def show(folder: Path, subject: tuple[str, str], seed: int, pauses: float) -> bool:
    started = time.monotonic()
    repository, commit = subject
    demo = Demo(folder, repository, commit, random.Random(seed))
    steps = count_steps(repository, commit)
    pause = min(PAUSE_SECONDS_MAX, pauses / steps)
    say(f"Analysing {repository} at {commit[:12]} in {steps} steps; seed {seed}")
    with plane(demo.data, folder / "plane.log") as address:
        say(f"Watch it at {address}" if address else "No plane could be started; the run needs none.")
        kill_three_times(demo, steps, pause)
        finish(demo, pause)
    show_work(demo)
    show_events(demo)
    say("\nProofs:")
    outcome = proofs(demo)
    for claim, holds in outcome.items():
        say(f"  {'yes' if holds else 'NO '}  {claim}")
    say(f"\n{time.monotonic() - started:.1f} s, {len(demo.report.read_text().splitlines())} lines of report.")
    return all(outcome.values())


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill an agent in the middle of its work and watch it continue.")
    parser.add_argument("repository", nargs="?", help="what is analysed; without it, the one of this file")
    parser.add_argument("--seed", type=int, default=None, help="repeat the random moments of an earlier demo")
    parser.add_argument("--pauses", type=float, default=8.0, help="seconds that all pauses for watching take together")
    parser.add_argument("--keep", action="store_true", help="keep the data and the report, and say where they are")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="agentmemo-demo-"))
    try:
        subject = analysis.locate(given.repository) if given.repository else this_repository(folder)
        seed = given.seed if given.seed is not None else random.randrange(10_000)
        holds = show(folder, subject, seed, given.pauses)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if given.keep:
        say(f"Kept in {folder}. Look at it with: agentmemo up --data {folder / 'data'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
