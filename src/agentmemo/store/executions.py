"""Executions as rows."""

from __future__ import annotations

from typing import NamedTuple

from agentmemo.store.audit import position_range
from agentmemo.store.blobs import Packed, packed_row
from agentmemo.store.database import Transaction


class ExecutionRow(NamedTuple):
    """The columns of an execution, in the order of the queries. `models` and `progress` are JSON."""

    run: int
    handle: str
    workflow: str
    version: str
    unproven: int
    driver: str
    models: str
    progress: str
    revision: int


class AttemptRow(NamedTuple):
    id: int
    path: str
    step: str
    step_hash: str
    number: int
    rung: int | None
    first_rung: int | None
    model: str | None
    served_model: str | None
    verdict: str
    problems: str
    input_hash: str
    reservation: str | None
    checks: str
    at: int


def get(tx: Transaction, workspace: int, handle: str) -> ExecutionRow | None:
    row = tx.one("execution_get", workspace=workspace, handle=handle)
    return ExecutionRow(*row) if row else None


def listed(
    tx: Transaction,
    workspace: int,
    before: int,
    limit: int,
    *,
    workflow: str | None,
    version: str | None,
    state: str | None,
) -> list[ExecutionRow]:
    """The newest executions that fit every filter."""
    low, high = position_range(workspace)
    wanted = {"before": min(before, high + 1), "version": version, "state": state, "limit": limit}
    if workflow is None:
        found = tx.all("execution_list", **wanted, low=low)
    else:
        found = tx.all("execution_list_of_workflow", **wanted, workspace=workspace, workflow=workflow)
    return [ExecutionRow(*row) for row in found]


def attempts(tx: Transaction, run: int) -> list[AttemptRow]:
    return [AttemptRow(*row) for row in tx.all("attempt_list", run=run)]


def output(tx: Transaction, run: int, path: str) -> Packed | None:
    """What a step gave: its newest attempt that was kept."""
    row = tx.one("execution_output", run=run, name=path)
    return packed_row(row) if row else None


def inputs(tx: Transaction, run: int, path: str) -> Packed | None:
    """What a workflow inside another was given."""
    row = tx.one("execution_inputs", run=run, name=path)
    return packed_row(row) if row else None
