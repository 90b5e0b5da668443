"""Turns, medians, rows: what every subject needs to measure ours and a peer in the same minutes."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contender import Contender

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
SECONDS = float(os.environ.get("BENCH_SECONDS", "0.3" if QUICK else "2"))
REPETITIONS = int(os.environ.get("BENCH_REPETITIONS", "1" if QUICK else "3"))
WARM_UP_SECONDS = 0.1 if QUICK else 0.3
WHOLE_RUN_SECONDS = 20 * 60
CLIENTS = (1, 16) if QUICK else (1, 16, 64)

_began = time.monotonic()


@dataclass
class Target:
    """A figure of the design: at least, or at most, so much of a unit."""

    number: float
    at_most: bool = False

    def met_by(self, number: float) -> bool:
        return number <= self.number if self.at_most else number >= self.number

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {figure(self.number)}"


@dataclass
class Row:
    """One line of the table. Without `ours` or `peer` the note says why."""

    subject: str
    unit: str
    peer_name: str = ""
    ours: float | None = None
    peer: float | None = None
    target: Target | None = None
    settings: str = ""
    note: str = ""
    repetitions: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times better ours is, whichever way better lies."""
        if not self.ours or not self.peer:
            return None
        lower_is_better = self.target.at_most if self.target else self.unit in LOWER_IS_BETTER
        return self.peer / self.ours if lower_is_better else self.ours / self.peer

    @property
    def met(self) -> bool | None:
        return self.target.met_by(self.ours) if self.target and self.ours is not None else None

    def as_data(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


LOWER_IS_BETTER = frozenset({"s", "ms", "MiB", "x", "per step"})


def figure(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def time_left() -> float:
    return WHOLE_RUN_SECONDS - (time.monotonic() - _began)


@contextmanager
def directory(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"agentmemo-bench-{name}-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@contextmanager
def contenders(
    module: str, names: Sequence[str], environments: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[dict[str, Contender]]:
    """Each in its own process and directory; one that cannot start is left out, and said so."""
    environments = environments or {}
    started: dict[str, Contender] = {}
    with directory(module.rpartition(".")[2]) as path:
        try:
            for name in names:
                try:
                    started[name] = Contender(module, name, path / name, environment=environments.get(name))
                except RuntimeError as error:
                    print(f"  {name} is not there: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
            yield started
        finally:
            for contender in started.values():
                contender.close()


def take_turns(
    started: dict[str, Contender], workload: str, clients: int, **order: Any
) -> dict[str, list[dict[str, Any]]]:
    """Samples by contender: all warm up, then each repetition lets each of them run once."""
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in started}
    for contender in started.values():
        contender.measure(workload, clients, seconds=WARM_UP_SECONDS)
    for repetition in range(REPETITIONS):
        if repetition and time_left() < 0:
            break
        for name, contender in started.items():
            samples[name].append(contender.measure(workload, clients, seconds=SECONDS, **order))
    return samples


def rates(samples: list[dict[str, Any]], each: float = 1.0) -> float | None:
    return statistics.median(sample["rate"] for sample in samples) * each if samples else None


def compare(
    subject: str,
    samples: dict[str, list[dict[str, Any]]],
    names: dict[str, str],
    *,
    target: Target | None = None,
    settings: str = "",
    each: float = 1.0,
) -> list[Row]:
    """One row per peer, the first carrying the target; `each` is how many units one operation stands for."""
    rows = []
    for name, title in names.items():
        if name in samples or not rows:
            rows.append(
                Row(
                    subject=subject,
                    unit="per s",
                    peer_name=title,
                    ours=rates(samples.get("ours", []), each),
                    peer=rates(samples.get(name, []), each),
                    target=target if not rows else None,
                    settings=settings,
                    note=_latency(samples),
                    repetitions={"ours": samples.get("ours", []), title: samples.get(name, [])},
                )
            )
    return rows


def _latency(samples: dict[str, list[dict[str, Any]]]) -> str:
    ours = sorted(samples.get("ours", []), key=lambda sample: sample["rate"])
    if not ours:
        return "ours is not there"
    middle = ours[len(ours) // 2]
    return f"ours p50 {middle['p50_ms']:.2f} ms, p99 {middle['p99_ms']:.2f} ms"
