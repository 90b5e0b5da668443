"""What the engine adds to each step of a workflow: its durable commits, its checks and its bookkeeping."""

from __future__ import annotations

import statistics
import tempfile
import time

from harness import QUICK, REPETITIONS, Row, Target

import agentmemo
from agentmemo.testing.models import ScriptedModels

STEPS = 50
TARGET = Target(5, at_most=True)
SETTINGS = "tools and models that answer at once; SQLite, synchronous=FULL; one agent"
KINDS = {
    "tool": {"kind": "tool", "tool": "nothing"},
    "llm": {"instruction": "Say ok."},
    "llm with a condition and a schema": {
        "instruction": "Say ok.",
        "output_schema": {"enum": ["ok"]},
        "checks": [{"kind": "expression", "expression": "output == 'ok'"}],
    },
}


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, agentmemo.connect(folder) as agent:
        agent.workflows.register(lambda: "ok", "nothing", "none")
        agent.workflows.use(ScriptedModels({"model": lambda _: "ok"}))
        return [_row(agent, number, kind, step) for number, (kind, step) in enumerate(KINDS.items())]


def _row(agent: agentmemo.Connection, number: int, kind: str, step: dict[str, object]) -> Row:
    name = f"w{number}"
    agent.workflows.create(name=name, designed_by="bench", steps=[{"id": f"s{n}"} | step for n in range(STEPS)])
    agent.workflows.execute(name)
    times = []
    for _ in range(1 if QUICK else max(3, REPETITIONS)):
        began = time.perf_counter()
        agent.workflows.execute(name)
        times.append((time.perf_counter() - began) / STEPS * 1000)
    return Row(
        subject=f"workflow step, {kind}",
        unit="ms",
        ours=statistics.median(times),
        target=TARGET,
        settings=SETTINGS,
        note=f"median of {len(times)} executions of {STEPS} steps",
    )
