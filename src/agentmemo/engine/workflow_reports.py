"""What became of executions, read from their rows."""

from __future__ import annotations

from agentmemo.engine.call import Call
from agentmemo.engine.workflows import find
from agentmemo.model import workflow_reports as model
from agentmemo.model import workflows
from agentmemo.model.runs import CANCELLED, COMPLETED, FAILED, FINISHED
from agentmemo.model.workflows import walk
from agentmemo.store.database import Transaction


def counts(tx: Transaction, call: Call, request: model.CountExecutions) -> model.ExecutionCounts:
    by_version: dict[tuple[str, str], dict[str, int]] = {}
    for workflow, version, state, number, last_at in tx.all(
        "execution_counts", workspace=call.workspace, workflow=request.workflow, since=request.since or 0
    ):
        ended = by_version.setdefault((workflow, version), {"last_at": 0})
        name = state if state in FINISHED else "unfinished"
        ended[name] = ended.get(name, 0) + number
        ended["last_at"] = max(ended["last_at"], last_at)
    return model.ExecutionCounts(
        counts=[
            model.ExecutionCount(
                workflow=workflow,
                version=version,
                completed=ended.get(COMPLETED, 0),
                failed=ended.get(FAILED, 0),
                cancelled=ended.get(CANCELLED, 0),
                unfinished=ended.get("unfinished", 0),
                last_at=ended["last_at"],
            )
            for (workflow, version), ended in sorted(by_version.items())
        ]
    )


def rates(tx: Transaction, call: Call, request: model.GetRates) -> model.PassRates:
    row, document = find(tx, call, request.name, request.version)
    hashes = {step.id: workflows.step_hash(step, document.edge_cases) for step in walk(document.steps)}
    since = request.since if request.since is not None else _earliest(tx, call, [*hashes.values()])
    part_us = max(1, -(-(tx.now + 1 - since) // request.parts))
    found = [
        model.PassRate(step=step, step_hash=asked, model=name, part=part, passed=passed, failed=failed)
        for step, asked in hashes.items()
        for name, part, passed, failed in tx.all(
            "attempt_rates", workspace=call.workspace, step_hash=asked, since=since, part_us=part_us
        )
    ]
    return model.PassRates(
        name=row.name, version=row.version, since=since, part_us=part_us, parts=request.parts, rates=found
    )


def _earliest(tx: Transaction, call: Call, hashes: list[str]) -> int:
    """When the first attempt at any of the steps was; now, where there was none."""
    firsts = [tx.one("attempt_first", workspace=call.workspace, step_hash=asked) for asked in hashes]
    return min((row[0] for row in firsts if row and row[0] is not None), default=tx.now)
