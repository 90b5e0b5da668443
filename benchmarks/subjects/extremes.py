"""A run of very many steps, whose last are to cost what its first did; how it is resumed; the largest value there is.

Of the steps the first and the last hundredth are made through the product; those between are copies of their rows.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import harness
import servers
from harness import QUICK, Row, Target

import agentmemo

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "shared"))
import growing

STEPS = int(float(os.environ.get("BENCH_STEPS", "1e4" if QUICK else "1e5")))
PORTION = STEPS // 100
# What other programs do shows in the mean of so many steps, and not in the best of them.
BATCH = max(PORTION // 20, 5)
REPLAYED = 1_000 if QUICK else 10_000
MIB = 1024 * 1024
# With its quotes it is the largest that is taken.
LARGEST = 64 * MIB - 2
RESUME_MS = 200
BUSY_MS = 60_000


def run() -> list[Row]:
    return [*_long_run(), *_resumed(), *_largest()]


def _long_run() -> list[Row]:
    with harness.directory("long") as place, _held(place / "plane.db", "long") as run:
        first = _steps(run, 0)
        connection = apsw.Connection(str(place / "plane.db"))
        connection.set_busy_timeout(BUSY_MS)
        growing.Growth(connection).lengthen(STEPS - 2 * PORTION)
        connection.close()
        last = _steps(run, STEPS - PORTION)
    return [
        Row(
            subject=f"a run of {STEPS:,} steps, its last {PORTION:,} against its first",
            unit="x",
            ours=last / first,
            target=Target(1.2, at_most=True),
            note=f"{first * 1e6:,.0f} to {last * 1e6:,.0f} us of processor time a step",
            settings=f"embedded, SQLite, FULL; the best of means over {BATCH} steps each",
        )
    ]


def _steps(run: Any, first: int) -> float:
    """Processor seconds of a step."""
    means = []
    for start in range(first, first + PORTION, BATCH):
        began = time.process_time()
        for number in range(start, start + BATCH):
            run.step("made", lambda number=number: {"n": number}, key=f"k{number}")
        means.append((time.process_time() - began) / BATCH)
    return min(means)


@contextmanager
def _held(path: Path, name: str) -> Iterator[Any]:
    """A run that is left unfinished."""
    with (
        agentmemo.connect(path, agent="bench") as agent,
        suppress(RuntimeError),
        agent.run(name, "1", max_attempts=1000) as run,
    ):
        yield run
        raise RuntimeError("later")


def _resumed() -> list[Row]:
    with harness.directory("resumed") as place:
        path = place / "plane.db"
        with _held(path, "long") as run:
            for number in range(REPLAYED):
                run.step("step", lambda number=number: {"n": number})
        lazy = min(_resume(path, f"next-{attempt}", 0) for attempt in range(3))
        whole = min(_resume(path, f"after-{attempt}", REPLAYED) for attempt in range(3))
    settings = f"{REPLAYED:,} completed steps; a new process's connection, processor time"
    return [
        Row(
            subject="resumed, to its next step",
            unit="ms",
            ours=lazy * 1e3,
            target=Target(RESUME_MS, at_most=True),
            note="whose code knows where it was",
            settings=settings,
        ),
        Row(
            subject="resumed, through all its steps to the next",
            unit="ms",
            ours=whole * 1e3,
            target=Target(RESUME_MS, at_most=True),
            note=f"{whole / REPLAYED * 1e6:.0f} us for each step that is answered from the store",
            settings=settings,
        ),
    ]


def _resume(path: Path, step: str, replayed: int) -> float:
    began = time.process_time()
    with _held(path, "long") as run:
        for _ in range(replayed):
            run.step("step", lambda: None)
        run.step(step, lambda: 1)
        return time.process_time() - began
    raise AssertionError


def _largest() -> list[Row]:
    text = base64.b64encode(os.urandom(LARGEST * 3 // 4)).decode()[:LARGEST]
    with harness.directory("largest") as place:
        with agentmemo.connect(place / "plane.db", agent="bench") as agent:
            rows = _of_value(agent, text, "embedded", os.getpid())
        with (
            servers.our_server(place / "server") as started,
            agentmemo.connect(started["url"], key=started["agent_key"]) as agent,
        ):
            rows += _of_value(agent, text, "of the server", started["process"])
    return rows


def _of_value(agent: Any, text: str, how: str, process: int) -> list[Row]:
    before = _memory(process)
    seconds = {
        "set": _timed(agent.state.set, "largest", "value", text),
        "get": _timed(agent.state.get, "largest", "value"),
        "delete": _timed(agent.state.delete, "largest", "value"),
    }
    note = ", ".join(f"{name} {took:.2f} s" for name, took in seconds.items())
    more = (_memory(process) - before) / LARGEST
    return [Row(subject=f"a value of 64 MiB, {how}: highest memory, in values", unit="x", ours=more, note=note)]


def _timed(call: Any, *arguments: Any) -> float:
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began


def _memory(process: int) -> int:
    """The highest it had, in bytes."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
