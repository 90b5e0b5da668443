"""Death at every point of an execution: the same output, no effect twice, and every call of a model accounted for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from children import END_SECONDS
from forked import Forked

import agentmemo
from agentmemo.crashpoints import POINTS, VARIABLE

PROGRAM = Path(__file__).with_name("execute.py")
EXECUTING = [point for point in POINTS if point.startswith("execution.")]


@pytest.fixture
def perform(tmp_path):
    """Run the program once, with a point to die at or without. Returns its exit code."""

    def run(point=""):
        with (tmp_path / "errors").open("ab") as errors:
            environment = {**os.environ, VARIABLE: point}
            child = Forked([PROGRAM, tmp_path / "store.db", tmp_path / "notes"], environment, errors)
            code = child.wait(END_SECONDS)
            child.close()
        assert code in (0, -signal.SIGKILL), (tmp_path / "errors").read_text()
        return code

    return run


@pytest.mark.parametrize("point", EXECUTING)
def test_death_at_a_point_of_an_execution(perform, tmp_path, point):
    died = 0
    for count in (1, 2):
        died += perform(f"{point}:{count}") == -signal.SIGKILL
    assert died, "it was never reached"
    assert perform() == 0
    notes = (tmp_path / "notes").read_text().split("\n")
    with agentmemo.connect(tmp_path / "store.db", agent="looker") as agent:
        (execution,) = agent.workflows.executions("review")
        rows = list(agent.ledger.list(run=execution.id))
        steps = [(step.name, step.state) for step in agent.runs.steps(execution.id)]
    assert execution.result == {"posted": "posted Look at diff 7.", "said": "Look at diff 7."}
    assert steps == [("fetch", "completed"), ("look", "completed"), ("post", "completed")]
    assert {note for note in notes if note.startswith("post")} == {f"post {execution.id}:post"}, "one idempotency key"
    settled = [row for row in rows if row.state == "settled"]
    assert len(settled) == 1, "what was kept is paid once"
    assert sum(row.usage.output_tokens for row in settled) == 100
    # A call whose answer was lost may have been billed: it is unknown, and counts at the most that it can cost.
    assert {row.state for row in rows} <= {"settled", "unknown"}
    assert len(rows) >= notes.count("asked")
