"""Finding a run, and making sure that the caller still holds it."""

from __future__ import annotations

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.engine.call import Call, not_found
from agentmemo.errors import InvalidTransition, LeaseLost
from agentmemo.model import runs as model
from agentmemo.model.executions import is_execution
from agentmemo.store import runs as rows
from agentmemo.store.database import Transaction

HOUR = 3600 * SECOND


def existing(tx: Transaction, call: Call, handle: str) -> rows.RunRow:
    """The run of a handle or of a prefix of one that is unique. Raises NotFound."""
    run = rows.get(tx, call.workspace, handle)
    if run is None and len(handle.removeprefix("run_")) >= ids.SHORTEST_PREFIX:
        low = handle if handle.startswith("run_") else f"run_{handle}"
        found = tx.all("run_handles", workspace=call.workspace, low=low, high=low + "~")
        if len(found) == 1:
            run = rows.get(tx, call.workspace, found[0][0])
    if run is None:
        raise not_found("run", handle)
    return run


def held(tx: Transaction, call: Call, handle: str) -> rows.RunRow:
    """The run, if the caller holds it at the current epoch. Raises LeaseLost otherwise.

    A claim names its run in full: the trail's stream is made of it.
    """
    claim_ = call.claim_on(handle)
    run = rows.get(tx, call.workspace, handle)
    if run is None:
        raise not_found("run", handle)
    if run.epoch != claim_.epoch or run.state != model.RUNNING or run.holder != call.actor:
        raise lost(run, claim_.epoch)
    return run


def lost(run: rows.RunRow, epoch: int) -> LeaseLost:
    if run.state == model.CANCELLED:
        return LeaseLost(
            f"Run {run.handle} was cancelled: {run.reason}.",
            why="Somebody cancelled it while this process worked on it.",
            next_call="Stop this work.",
            details={"run": run.handle, "state": run.state, "epoch": epoch, "current": run.epoch},
        )
    ended = run.state in model.FINISHED
    return LeaseLost(
        f"The claim on run {run.handle} with epoch {epoch} is not valid any more.",
        why=f"The run is {run.state} at epoch {run.epoch}"
        + ("; what has ended takes no more writes." if ended else "; somebody else may hold it."),
        next_call=f"See what came of it: agent.runs.get('{run.handle}')."
        if ended
        else "Stop this work; open the run again by its key to continue it.",
        details={"run": run.handle, "state": run.state, "epoch": epoch, "current": run.epoch},
    )


def worked_us(tx: Transaction, call: Call, run: rows.RunRow, *, by_lease: bool = False) -> int:
    """How long a run was worked on since its claim. The wall clock may be set meanwhile, so the boot clock counts.

    `by_lease` is for a holder that may be dead: it worked no longer than its lease ran, however late that is noticed.
    """
    if run.claimed_at is None:
        return 0
    until = call.engine.clock.boot_us()
    worker = rows.get_worker(tx, call.workspace, run.worker) if by_lease and run.worker else None
    if worker is not None:
        # Its lease was counted by the clock of its boot, as its claim was.
        same_boot = worker.boot_id == call.engine.clock.boot_id
        until = min(until, worker.lease_until) if same_boot else worker.lease_until
    return max(0, until - run.claimed_at)


def check_own_course(run: rows.RunRow | rows.HeldRun, handle: str) -> None:
    """The steps, the waits and the result of an execution are made by its document alone, each checked before."""
    if is_execution(run.name):
        raise InvalidTransition(
            f"Run {handle} is the execution of a workflow; its steps and its end are not written from outside.",
            why="Each is checked before it is kept, and what is a person's is answered by a person.",
            next_call=f"Do its `next_step`: agent.workflows.execution('{handle}'), then agent.workflows.submit(...).",
        )


def overdue_at(tx: Transaction, call: Call, at: int | None = None) -> int:
    """When somebody is told that this still waits."""
    return max(at or 0, tx.now) + round(call.engine.settings.overdue_hours * HOUR)


def make_ready(tx: Transaction, call: Call, run: rows.RunRow, available_at: int) -> None:
    tx.write(
        "ready_add",
        run=run.id,
        workspace=call.workspace,
        task=run.task,
        priority=run.priority,
        available_at=available_at,
    )
