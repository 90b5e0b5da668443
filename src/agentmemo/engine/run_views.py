"""Runs and steps as their readers see them."""

from __future__ import annotations

import msgspec

from agentmemo.clock import SECOND
from agentmemo.engine.call import Call
from agentmemo.model import runs as model
from agentmemo.model.values import decode
from agentmemo.store import blobs
from agentmemo.store import runs as rows
from agentmemo.store.database import Transaction

_budget_decoder = msgspec.json.Decoder(model.Budget)


def changed(tx: Transaction, call: Call, run: rows.RunRow) -> model.Run:
    """The run as this transaction has left it."""
    return view(tx, call, *rows.reload(tx, run))


def view(tx: Transaction, call: Call, run: rows.RunRow, values: dict[str, blobs.Packed] | None = None) -> model.Run:
    """The run as its readers see it; `values` are its stored ones, where they were read already."""
    if values is None:
        values = rows.values(tx, run.id)

    def value(field: str) -> object:
        packed = values.get(field)
        if packed is None:
            return None
        content = blobs.unpack(tx, call.workspace, packed.codec, packed.value, packed.blob)
        return decode(content) if content else None

    return model.Run(
        id=run.handle,
        name=run.name,
        key=run.key,
        state=run.state,
        epoch=run.epoch,
        attempt=run.attempt,
        max_attempts=run.max_attempts,
        agent=call.engine.names.actor_name(tx, call.workspace, run.agent),
        created_at=run.created_at,
        updated_at=run.updated_at,
        inputs=value("inputs"),
        result=value("result"),
        error=run.error,
        reason=run.reason,
        wake=run.wake,
        wake_at=run.wake_at,
        waiting_for=run.waiting_for,
        deadline=run.deadline,
        worker=run.worker,
        task=run.task,
        task_version=run.task_version,
        parent=run.parent,
        forked_from=run.forked_from,
        steps=run.steps,
        percent=run.percent,
        progress=run.progress,
        current_step=run.current_step,
        budget=budget_of(run),
        spent=spent_of(run, call.engine.clock.boot_us()),
        finished_at=run.finished_at,
        pruned=bool(run.pruned),
    )


def budget_of(run: rows.RunRow) -> model.Budget:
    return _budget_decoder.decode(run.budget)


def spent_of(run: rows.RunRow, boot: int) -> model.Spent:
    working = max(0, boot - run.claimed_at) if run.claimed_at is not None else 0
    return model.Spent(
        steps=run.steps, seconds=(run.worked_us + working) / SECOND, tokens=run.tokens, nanousd=run.nanousd
    )


def step_view(tx: Transaction, call: Call, run: str, step: rows.StepRow) -> model.Step:
    content = blobs.unpack(tx, call.workspace, step.codec, step.value, step.blob)
    return model.Step(
        run=run,
        name=step.name,
        key=step.key,
        number=step.number,
        state=step.state,
        effect=step.effect,
        attempt=step.attempt,
        epoch=step.epoch,
        run_attempt=step.run_attempt,
        fingerprint=step.fingerprint,
        started_at=step.started_at,
        finished_at=step.finished_at,
        result=decode(content) if content else None,
        error=step.error,
        decision=step.decision,
        size_bytes=step.size,
    )
