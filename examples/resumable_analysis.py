"""Analyse a Git repository in one durable run. Kill it at any moment, start it again: it continues.

    python examples/resumable_analysis.py PATH [--report FILE] [--data DIR | --url URL] [--pause SECONDS]

The run's key is the repository and its HEAD commit. Whoever opens that key again, in whatever process, gets the
stored result of every finished step and works on from there. A commit that was analysed is never analysed twice.
"""

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import analysis

import agentmemo

RUN_NAME = "analyse-repository"
FILES_PER_STEP = 10
COMMITS_PER_STEP = 500
COMMITS_MAX = 20_000

T = TypeVar("T")


@dataclass
class Steps:
    """Takes the steps of a run, one after another, and says of each whether it ran now or came from the store.

    Resuming needs none of this: `run.step(name, function, argument, key=...)` alone does it.
    """

    run: agentmemo.Run
    pause: float
    total: int = 1
    done: int = 0
    ran: int = 0
    ran_now: bool = False

    def take(self, name: str, function: Callable[..., T], *arguments: Any, key: str = "1", effect: str = "read") -> T:
        self.ran_now = False

        @functools.wraps(function)
        def work(*given: Any) -> T:
            self.ran_now = True
            witness("began", name, key)
            time.sleep(self.pause)
            return function(*given)

        result = self.run.step(name, work, *arguments, key=key, effect=effect)
        self.done += 1
        if self.ran_now:
            witness("finished", name, key)
            self.ran += 1
            self.run.progress(100 * self.done / max(self.total, self.done), f"{name} {key}")
        say(f"{'ran' if self.ran_now else 'resumed':8}{name} {key}")
        return result


def analyse(run: agentmemo.Run, steps: Steps, repository: str, commit: str) -> analysis.Summary:
    inventory = steps.take("list-files", analysis.list_files, repository, commit)
    stretches = range(0, min(inventory.commits, COMMITS_MAX), COMMITS_PER_STEP)
    batches = range(0, len(inventory.entries), FILES_PER_STEP)
    steps.total = 1 + len(stretches) + len(batches) + 2
    if steps.ran_now:
        run.decide(
            f"Analyse {len(inventory.entries)} files of commit {commit[:12]} in {len(batches)} steps.",
            because="a commit never changes, so what is finished stays true",
        )

    histories = [
        steps.take("history", analysis.read_history, repository, commit, skip, COMMITS_PER_STEP, key=str(number))
        for number, skip in enumerate(stretches, start=1)
    ]
    files: list[analysis.FileFacts] = []
    for number, start in enumerate(batches, start=1):
        batch = inventory.entries[start : start + FILES_PER_STEP]
        files += steps.take("files", analysis.analyse_files, repository, batch, key=str(number))

    summary = steps.take("summary", summarise, repository, inventory, histories, files, effect="none")
    if steps.ran_now:
        note_what_stands_out(run, summary)
    return summary


def summarise(
    repository: str,
    inventory: analysis.Inventory,
    histories: list[analysis.History],
    files: list[analysis.FileFacts],
) -> analysis.Summary:
    summary = analysis.summarise(inventory, histories, files)
    step = agentmemo.current_step()  # what it sets commits together with the step's result, or not at all
    step.state.set("analysis", repository, {"commit": summary.commit, "totals": summary.totals})
    return summary


def note_what_stands_out(run: agentmemo.Run, summary: analysis.Summary) -> None:
    """Notes stay with the run: the next agent reads them in its briefing."""
    if secrets := summary.totals["secrets"]:
        run.finding(f"{secrets} likely secrets in the tracked files; see the report for the lines.")
    if summary.hot_spots:
        run.finding(f"The hottest file is {analysis.literal(summary.hot_spots[0].path)}.")
    if limited := summary.totals["files read with limits"]:
        run.tried("Read every file whole.", why_failed=f"{limited} could only be read with limits.")


def write_report(path: Path, text: str) -> None:
    """Outside the run, since writing the same bytes again is harmless; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.partial")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def work_on(agent: agentmemo.Connection, repository: str, commit: str, report: Path, pause: float) -> None:
    key = run_key(repository, commit)
    earlier = agent.runs.find(RUN_NAME, key)
    if earlier:
        say(f"This run exists and is {earlier.state}. The briefing:")
        say("\n".join(f"    {line}" for line in str(agent.briefing()).splitlines()))

    with agent.run(RUN_NAME, key=key, inputs={"repository": repository, "commit": commit}) as run:
        steps = Steps(run, pause)
        summary = analyse(run, steps, repository, commit)
        text = steps.take("report", analysis.render, Path(repository).name, summary, effect="none")
        write_report(report, text)
        run.complete(summary.totals)
    say(f"Done: {steps.ran} steps ran now, {steps.done - steps.ran} came from the store. The report: {report}")


def run_key(repository: str, commit: str) -> str:
    return f"{repository[-400:]}@{commit}"  # a key has at most 512 characters; the inputs hold the whole path


def witness(what: str, name: str, key: str) -> None:
    """For `demo.py`, which proves from this log that no finished step ran again."""
    if log := os.environ.get("AGENTMEMO_EXAMPLE_LOG"):
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{what}\t{name}\t{key}\t{os.getpid()}\n")


def say(text: str) -> None:
    print(text, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Analyse a Git repository in one run that survives being killed.")
    parser.add_argument("path", help="a Git repository, or a folder inside one")
    parser.add_argument("--report", type=Path, default=Path("analysis-report.md"), help="where the Markdown goes")
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="make every step take longer")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--data", help="keep the run in this directory; no server needed")
    where.add_argument("--url", help="keep the run in the plane at this address (AGENTMEMO_KEY holds the key)")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    try:
        repository, commit = analysis.locate(given.path)
    except analysis.RepositoryError as error:
        print(error, file=sys.stderr)
        return 2
    say(f"Analysing {repository} at {commit[:12]}")
    try:
        with agentmemo.connect(given.url or given.data, agent="repository-analyst") as agent:
            work_on(agent, repository, commit, given.report, max(given.pause, 0.0))
    except (agentmemo.Error, analysis.RepositoryError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
