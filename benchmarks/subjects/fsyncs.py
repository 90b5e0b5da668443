"""How often the disk is told to keep a step: fsync and fdatasync, counted by strace in shorter and longer runs."""

from __future__ import annotations

import re
import shutil
import sys

import harness
from contender import Contender
from harness import Row, Target

PEERS = {"dbos": "DBOS on SQLite", "langgraph": "LangGraph SqliteSaver"}
TARGETS = {1: Target(1.1, at_most=True), 64: Target(0.10, at_most=True)}
# What starting, opening a run and completing it cost is in both, and drops out of the difference.
SHORT, LONG = 10, 40
SETTINGS = f"effect none; strace -c, the difference between runs of {SHORT} and of {LONG} steps"
_CALLS = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(?P<calls>\d+)\s+(?:\d+\s+)?(?:fsync|fdatasync)\s*$", re.MULTILINE)


def run() -> list[Row]:
    rows = []
    for agents, target in TARGETS.items():
        per_step = {name: _per_step(name, agents) for name in ("ours", *PEERS)}
        rows += [
            Row(
                subject=f"fsyncs per step, {agents} agent{'s' * (agents > 1)}",
                unit="per step",
                peer_name=title,
                ours=per_step["ours"],
                peer=per_step[name],
                target=target if name == "dbos" else None,
                settings=SETTINGS,
                note="" if shutil.which("strace") else "strace is not installed",
                repetitions={"ours": [per_step["ours"]], title: [per_step[name]]},
            )
            for name, title in PEERS.items()
        ]
    return rows


def _per_step(name: str, agents: int) -> float | None:
    if shutil.which("strace") is None:
        return None
    try:
        calls = _count(name, agents, LONG) - _count(name, agents, SHORT)
    except RuntimeError as error:
        print(f"  {error}", file=sys.stderr)
        return None
    return calls / (agents * (LONG - SHORT))


def _count(name: str, agents: int, steps: int) -> int:
    with harness.directory("fsyncs") as directory:
        output = directory / "strace.txt"
        wrapper = ["strace", "-f", "-c", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", str(output)]
        contender = Contender(
            "subjects.steps", name, directory / name, wrapper=wrapper, environment={"BENCH_STEPS": str(steps)}
        )
        contender.measure("run", agents, count=1)
        contender.close()
        return sum(int(match["calls"]) for match in _CALLS.finditer(output.read_text()))
