"""Every call that a workload makes of its disk fails, one at a time, once and from then on.

    python faults.py --faults all [--seed 7] [--workers 2]
    python faults.py --faults 500                       so many, drawn
    python faults.py --only use/write/17/lasting       one of them again

Each has a store of its own, in memory where there is some. What fails prints the case, and the run goes on to its end.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import faulty
import power
from faulty import Case

ALL = "all"
TELL_SECONDS = 10.0
AT_ONCE = 8
SHOWN = 1000


class Outcome(NamedTuple):
    case: Case
    refused: int = 0
    found: str = ""


def attempt(text: str) -> Outcome:
    """One case, in a directory of this process."""
    case = faulty.case_of(text)
    with tempfile.TemporaryDirectory(dir=power.QUICK_PLACE) as place:
        try:
            return Outcome(case, refused=len(faulty.run(case, Path(place) / "disk")))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            return Outcome(case, found=f"{type(error).__name__}: {error}")


def make_ready() -> None:
    """Of each process. What a failing disk makes the product log is expected, and is a line for nearly every case."""
    for module, name, value in power.SMALL:
        setattr(module, name, value)
    logging.disable()


class Faults:
    """The outcomes so far, and what is said of them."""

    def __init__(self, cases: list[Case], seed: int) -> None:
        self.cases, self.seed = cases, seed
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.found: list[str] = []
        self._begun = self._told = time.monotonic()

    def take(self, outcome: Outcome) -> None:
        case = outcome.case
        kind = f"{case.scene}/{case.fault.kind}{'/full' * case.fault.full}"
        self.done[kind] += 1
        self.refused[kind] += bool(outcome.refused)
        if outcome.found:
            self.found.append(str(case))
            print(f"\n{case}: {outcome.found[:SHOWN]}\nagain: make torture FAULTS=1 ARGS='--only {case}'", flush=True)  # noqa: T201
        if time.monotonic() > self._told + TELL_SECONDS:
            self._told = time.monotonic()
            print(self.told(), flush=True)  # noqa: T201 - progress of a long run

    def told(self) -> str:
        return (
            f"faults: {self.done.total()} of {len(self.cases)} in {time.monotonic() - self._begun:.0f} s,"
            f" {self.refused.total()} refused somebody, {len(self.found)} found; seed {self.seed}"
        )

    def table(self) -> str:
        return "\n".join(
            f"  {kind}: {count} calls failed, {self.refused[kind]} refused somebody"
            for kind, count in sorted(self.done.items())
        )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", default=ALL, help="how many, drawn; or all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=faulty.case_of, action="append")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nobody is left behind
    with multiprocessing.get_context("spawn").Pool(wanted.workers, make_ready) as processes:
        cases = wanted.only or drawn(processes.apply(every_case), wanted.faults, wanted.seed)
        faults = Faults(cases, wanted.seed)
        print(f"seed {wanted.seed}, {len(cases)} cases", flush=True)  # noqa: T201
        for outcome in processes.imap_unordered(attempt, map(str, cases), AT_ONCE):
            faults.take(outcome)
    print(f"{faults.table()}\n{faults.told()}", flush=True)  # noqa: T201
    return 1 if faults.found else 0


def every_case() -> list[Case]:
    with tempfile.TemporaryDirectory(dir=power.QUICK_PLACE) as place:
        return [case for scene in faulty.SCENES for case in faulty.cases_of(scene, Path(place) / "disk")]


def drawn(cases: list[Case], how_many: str, seed: int) -> list[Case]:
    """In an order of chance, so that what was done so far speaks for the rest."""
    count = len(cases) if how_many == ALL else min(int(how_many), len(cases))
    return random.Random(seed).sample(cases, count)


if __name__ == "__main__":
    sys.exit(main())
