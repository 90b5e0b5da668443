"""Runs and steps as rows."""

from __future__ import annotations

from typing import Any, NamedTuple

from agentmemo.model.runs import FINISHED, UNFINISHED
from agentmemo.store import lists
from agentmemo.store.blobs import NOTHING, Packed, packed_row
from agentmemo.store.database import Transaction


class RunRow(NamedTuple):
    """The columns of a run, in the order of the queries."""

    id: int
    handle: str
    workspace: int
    name: str
    key: str | None
    state: str
    epoch: int
    attempt: int
    max_attempts: int
    agent: int
    inputs_hash: str
    wake: str | None
    wake_at: int | None
    waiting_for: str | None
    wait_name: str | None
    wait_key: str | None
    deadline: int | None
    worker: str | None
    task: str | None
    task_version: str | None
    priority: int
    parent: str | None
    forked_from: str | None
    steps: int
    takeovers: int
    percent: float | None
    progress: str
    current_step: str | None
    reason: str
    error: str | None
    budget: str
    worked_us: int
    tokens: int
    nanousd: int
    claimed_at: int | None  # by the boot clock
    created_at: int
    updated_at: int
    finished_at: int | None
    pruned: int
    holder: int | None


class HeldRun(NamedTuple):
    """What a step needs of the run it belongs to."""

    id: int
    name: str
    steps: int
    attempt: int
    budget: str
    worked_us: int
    claimed_at: int  # by the boot clock
    tokens: int
    nanousd: int


class StepRow(NamedTuple):
    id: int
    name: str
    key: str
    number: int
    state: str
    effect: str
    attempt: int
    epoch: int
    run_attempt: int
    fingerprint: str
    started_at: int
    finished_at: int | None
    error: str | None
    decision: str | None
    size: int
    codec: int
    value: bytes | None
    blob: bytes | None


class WorkerRow(NamedTuple):
    id: str
    host: str
    process: int
    boot_id: str
    lease_us: int
    lease_until: int
    started_at: int
    stopped_at: int | None
    kind: str
    name: str


def get(tx: Transaction, workspace: int, handle: str) -> RunRow | None:
    row = tx.one("run_get", workspace=workspace, handle=handle)
    return RunRow(*row) if row else None


def find(tx: Transaction, workspace: int, name: str, key: str) -> RunRow | None:
    row = tx.one("run_find", workspace=workspace, name=name, key=key)
    return RunRow(*row) if row else None


def listed(
    tx: Transaction,
    workspace: int,
    before: int,
    limit: int,
    *,
    state: str | None = None,
    name: str | None = None,
    agent: int | None = None,
    parent: str | None = None,
) -> list[RunRow]:
    """The newest runs that fit every filter; `state` is one of the six, or `unfinished`."""
    wanted: dict[str, Any] = {"workspace": workspace, "before": before}
    if parent is not None:
        wanted |= {"parent": parent, "name": name, "agent": agent, "state": state, "limit": limit}
        return [RunRow(*row) for row in tx.all("run_list_of_parent", **wanted)]
    if name is not None:
        query = "run_list_of_name"
        wanted |= {"name": name, "agent": agent}
    elif agent is not None:
        query = "run_list_of_agent"
        wanted |= {"agent": agent}
    elif state is not None:
        query = "run_list_of_state"
    else:
        return [RunRow(*row) for row in lists.all_before(tx, "run_list", workspace, before, limit)]
    return [RunRow(*row) for row in lists.in_states(tx, query, _states(state), limit, wanted)]


def _states(state: str | None) -> tuple[str, ...]:
    if state is None:
        return (*UNFINISHED, *FINISHED)
    return UNFINISHED if state == "unfinished" else (state,)


def values(tx: Transaction, run: int) -> dict[str, Packed]:
    return {row[0]: packed_row(row[1:]) for row in tx.all("run_values", run=run)}


def reload(tx: Transaction, run: RunRow) -> tuple[RunRow, dict[str, Packed]]:
    """A run that is there, and its values, as they are by now."""
    found, stored = tx.fetch(
        ("run_get", {"workspace": run.workspace, "handle": run.handle}), ("run_values", {"run": run.id})
    )
    return RunRow(*found[0]), {row[0]: packed_row(row[1:]) for row in stored}


def set_value(tx: Transaction, run: int, field: str, packed: Packed) -> None:
    if packed is not NOTHING:
        tx.write("run_value_set", run=run, field=field, **packed.columns())


def get_step(tx: Transaction, run: int, name: str, key: str) -> StepRow | None:
    row = tx.one("step_get", run=run, name=name, key=key)
    return StepRow(*row) if row else None


def get_worker(tx: Transaction, workspace: int, handle: str) -> WorkerRow | None:
    row = tx.one("worker_get", workspace=workspace, id=handle)
    return WorkerRow(*row) if row else None
