"""Registered code as runs: started now, later or by cron, and claimed by workers that know the task."""

from __future__ import annotations

import datetime

import msgspec
from cronsim import CronSim, CronSimError

from agentmemo import ids
from agentmemo.clock import SECOND, utc
from agentmemo.engine import audit, runs
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.claims import existing
from agentmemo.engine.run_views import view
from agentmemo.engine.state import check_limit
from agentmemo.errors import IdempotencyMismatch, InvalidInput
from agentmemo.model import runs as model
from agentmemo.model.kinds import described
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.values import decode, encode, encode_sorted
from agentmemo.store import runs as rows
from agentmemo.store.blobs import PLAIN, Packed
from agentmemo.store.database import Row, Transaction

PRIORITY_MAX = 1000


def start(tx: Transaction, call: Call, request: model.StartTask) -> model.StartedTask:
    """A pending run that a worker with this task will claim; with `cron`, a schedule that makes such runs."""
    runs.check_new(request.name, request.key, request.max_attempts)
    runs.check_handoff(tx, call, request.name, request.key)
    runs.check_execution(request.name)
    if abs(request.priority) > PRIORITY_MAX:
        raise InvalidInput(
            f"priority is -{PRIORITY_MAX} to {PRIORITY_MAX}, not {request.priority}.", next_call="Leave it out for 0."
        )
    if request.cron is not None:
        return model.StartedTask(schedule=_schedule(tx, call, request))
    found = rows.find(tx, call.workspace, request.name, request.key) if request.key is not None else None
    if found is not None:
        runs.check_same_inputs(tx, call, found, request.inputs)
        return model.StartedTask(run=view(tx, call, found))
    run = runs.create(
        tx,
        call,
        name=request.name,
        key=request.key,
        inputs=request.inputs,
        budget=request.budget,
        max_attempts=request.max_attempts,
        parent=request.parent,
        task=request.name,
        at=request.at,
        priority=request.priority,
    )
    return model.StartedTask(run=run)


def claim(tx: Transaction, call: Call, request: model.ClaimTask) -> model.ClaimedTask:
    """The next ready run by priority and age, or none."""
    while (row := _next(tx, call, request)) is not None:
        claimed = runs.claim(tx, call, existing(tx, call, row[0]), request.worker, call.engine.settings.lease_seconds)
        # One that was taken over too often asks a person, and is not ready any more.
        if claimed.outcome == "claimed":
            return model.ClaimedTask(claimed=claimed)
    return model.ClaimedTask()


def would_claim(tx: Transaction, call: Call, request: model.ClaimTask) -> bool:
    return _next(tx, call, request) is not None


def _next(tx: Transaction, call: Call, request: model.ClaimTask) -> Row | None:
    return tx.one("ready_next", workspace=call.workspace, tasks=encode_sorted(request.tasks).decode(), now=tx.now)


def schedules(tx: Transaction, call: Call, request: model.ListSchedules) -> Page:
    limit = check_limit(request.limit)
    after = read_cursor(request.cursor, "task.schedules", None, "")
    found = tx.all("schedule_list", workspace=call.workspace, after=after, limit=limit + 1)
    items = [_view(row) for row in found[:limit]]
    cursor = make_cursor("task.schedules", None, found[limit - 1][0]) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def unschedule(tx: Transaction, call: Call, request: model.DeleteSchedule) -> model.Schedule:
    row = tx.one("schedule_get", workspace=call.workspace, id=request.id)
    if row is None:
        raise not_found("schedule", request.id)
    tx.write("schedule_remove", expect=1, workspace=call.workspace, id=request.id)
    audit.record(tx, call, "task.unschedule", {"kind": "schedule", "id": request.id, "task": row[1]})
    return _view(row[:-1])


def fire(tx: Transaction, call: Call, row: tuple) -> None:  # type: ignore[type-arg]
    """Make the run of a due schedule and move the schedule on. Missed times collapse into one run."""
    _, schedule, task, cron, inputs, options, next_at, *_ = row
    choices = msgspec.json.decode(options.encode())
    value = decode(inputs.encode())
    content = encode(value)
    key = f"{schedule}@{next_at // SECOND}"
    if rows.find(tx, call.workspace, task, key) is None:
        runs.create(
            tx,
            call,
            name=task,
            key=key,
            inputs=Packed(len(content), PLAIN, content, None, content, value),
            budget=msgspec.convert(choices.get("budget", {}), described(model.Budget)),
            max_attempts=choices["max_attempts"],
            task=task,
            priority=choices["priority"],
            reason=f"schedule {schedule}",
        )
    tx.write("schedule_move", id=schedule, next_at=next_time(cron, max(next_at, tx.now)))


def next_time(cron: str, after: int) -> int:
    """The first match of a cron expression (UTC) after a moment. Raises InvalidInput for a bad expression."""
    try:
        moment = next(CronSim(cron, utc(after)))
    except (CronSimError, StopIteration) as error:
        raise InvalidInput(
            f"Bad cron expression {cron!r}: {error}.",
            next_call="Use five fields, such as '*/5 * * * *' (UTC).",
        ) from None
    return round(moment.replace(tzinfo=datetime.UTC).timestamp()) * SECOND


def _schedule(tx: Transaction, call: Call, request: model.StartTask) -> model.Schedule:
    """Idempotent by key: its handle is made of it."""
    cron = request.cron or ""
    packed: Packed = request.inputs
    inputs = encode(packed.original).decode()
    options = encode(
        {
            "max_attempts": request.max_attempts,
            "priority": request.priority,
            "budget": msgspec.to_builtins(request.budget or model.Budget()),
        }
    ).decode()
    next_at = next_time(cron, max(request.at or 0, tx.now))
    handle = ids.mint("sch", tx.now)
    if request.key is not None:
        handle = ids.derived("sch", encode([call.workspace, request.name, request.key]))
        row = tx.one("schedule_get", workspace=call.workspace, id=handle)
        if row is not None:
            return _same(row, cron, packed, options)
    tx.write(
        "schedule_add",
        id=handle,
        workspace=call.workspace,
        task=request.name,
        cron=cron,
        inputs=inputs,
        options=options,
        author=call.actor,
        next_at=next_at,
    )
    audit.record(tx, call, "task.schedule", {"kind": "schedule", "id": handle, "task": request.name, "cron": cron})
    return model.Schedule(id=handle, name=request.name, cron=cron, next_at=next_at, inputs=packed.original)


def _same(row: Row, cron: str, inputs: Packed, options: str) -> model.Schedule:
    """The schedule that a key stands for. Raises IdempotencyMismatch where another one is asked for."""
    known = _view(row[:-1])
    if (row[2], row[-1], encode_sorted(known.inputs)) != (cron, options, encode_sorted(inputs.original)):
        raise IdempotencyMismatch(
            f"The key of schedule {known.id} ({known.name}, {known.cron!r}) stands for another one.",
            why="A key stands for one schedule: its times, inputs, priority, attempts and budget.",
            next_call=f"Choose another key, or end that one first: agent.runs.unschedule('{known.id}').",
            details={"schedule": known.id, "cron": known.cron},
        )
    return known


def _view(row: tuple) -> model.Schedule:  # type: ignore[type-arg]
    handle, task, cron, inputs, next_at = row
    return model.Schedule(id=handle, name=task, cron=cron, next_at=next_at, inputs=decode(inputs.encode()))
