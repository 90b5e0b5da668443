"""How often the disk is told to keep a step: fsync and fdatasync calls, counted by strace, between two run counts."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import harness
from contender import Contender
from harness import Row, Target
from subjects.steps import STEPS

PEERS = {"dbos": "DBOS on SQLite", "langgraph": "LangGraph SqliteSaver"}
TARGETS = {1: Target(1.1, at_most=True), 64: Target(0.10, at_most=True)}
# Agents -> runs each, fewer and more; what starting and the first run cost is in both and drops out.
RUNS = {1: (4, 14), 64: (1, 3)}
SETTINGS = "runs of 10 steps of effect none, opening and completing the run included; strace -c, difference of two counts"
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
    few, many = RUNS[agents]
    try:
        calls = _count(name, agents, many) - _count(name, agents, few)
    except RuntimeError as error:
        print(f"  {error}", file=sys.stderr)
        return None
    return calls / (agents * (many - few) * STEPS)


def _count(name: str, agents: int, runs: int) -> int:
    with harness.directory("fsyncs") as directory:
        output = Path(directory) / "strace.txt"
        wrapper = ["strace", "-f", "-c", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", str(output)]
        contender = Contender("subjects.steps", name, Path(directory) / name, wrapper=wrapper)
        contender.measure("run", agents, count=runs)
        contender.close()
        return sum(int(match["calls"]) for match in _CALLS.finditer(output.read_text()))
