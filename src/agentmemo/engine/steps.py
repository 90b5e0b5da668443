"""Steps: announced, completed with everything buffered in them, failed."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

import msgspec

from agentmemo.clock import SECOND
from agentmemo.crashpoints import reach
from agentmemo.engine import audit, run_questions
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.claims import check_own_course, existing, lost
from agentmemo.engine.run_views import step_view
from agentmemo.engine.state import check_limit
from agentmemo.errors import InvalidInput, InvalidTransition, LeaseLost
from agentmemo.model import runs as model
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.state import check_name
from agentmemo.store import runs as rows
from agentmemo.store.blobs import NOTHING, Packed
from agentmemo.store.database import Transaction

_budget_decoder = msgspec.json.Decoder(model.Budget)
UNBOUNDED = "{}"
# Of results in one page of steps.
PAGE_BYTES = 1024 * 1024


def start(tx: Transaction, call: Call, request: model.StartStep, *, of_document: bool = False) -> model.Step:
    """Announce a step; durable before its function runs, so that a crash leaves it in doubt and never unseen.

    `of_document` says, here and below, that the execution of a workflow does it, and nobody from outside.
    """
    reach("step.before_start")
    _check(request.name, request.key, request.effect)
    run = _held(tx, call, request.run, of_document=of_document)
    found = rows.get_step(tx, run.id, request.name, request.key)
    model.next_step_state(found.state if found else "absent", "start", request.name)
    _check_unfinished(found, request)
    _set_current(tx, call, f"{request.name}/{request.key}")
    made = _put(tx, call, run, request, model.STARTED, NOTHING, started_at=tx.now)
    _record(tx, call, request, "step.start", None)
    reach("step.after_start")
    return made


def complete(tx: Transaction, call: Call, request: model.CompleteStep) -> model.Step:
    """One commit: the epoch check, the result, the buffered calls, the charge and the events."""
    reach("step.before_complete")
    run, made = keep(tx, call, request)
    for prepared in request.calls:
        call.engine.perform(tx, call, prepared)
    paused = _pause_if_overspent(tx, call, request, run)
    reach("step.after_complete")
    return msgspec.structs.replace(made, paused=paused) if paused else made


def keep(
    tx: Transaction, call: Call, request: model.CompleteStep, *, of_document: bool = False
) -> tuple[rows.HeldRun, model.Step]:
    """The result of a step that is done, under the caller's claim. Raises LeaseLost.

    Raises InvalidTransition where the step has a result, unless that was made of other inputs.
    """
    _check(request.name, request.key, request.effect)
    run = _held(tx, call, request.run, of_document=of_document)
    tx.write(
        "run_count_step",
        expect=1,
        handle=request.run,
        epoch=call.claim_on(request.run).epoch,
        holder=call.actor,
        tokens=request.tokens,
        nanousd=request.nanousd,
        now=tx.now,
    )
    packed: Packed = request.result
    made = _put(tx, call, run, request, model.COMPLETED, packed, started_at=request.started_at or tx.now)
    _record(tx, call, request, "step.complete", packed if packed.source else None)
    return run, made


def fail(tx: Transaction, call: Call, request: model.FailStep, *, of_document: bool = False) -> model.Step:
    """Record a failed attempt; its error is kept, what it buffered is not. The effect is the one that was announced.

    Raises InvalidTransition where the step has a result, as when only the answer that it was recorded was lost.
    """
    _check(request.name, request.key, request.effect)
    run = _held(tx, call, request.run, of_document=of_document)
    found = rows.get_step(tx, run.id, request.name, request.key)
    _check_unfinished(found, request)
    if found and found.state == model.STARTED:
        request = msgspec.structs.replace(request, effect=found.effect)
    _set_current(tx, call, None)
    made = _put(
        tx, call, run, request, model.FAILED, NOTHING, started_at=request.started_at or tx.now, error=request.error
    )
    audit.record(
        tx,
        call,
        "step.fail",
        {"kind": "step", "id": request.run},
        stream=request.run,
        step=f"{request.name}/{request.key}",
        to_version=request.attempt,
        reason=request.error,
    )
    return made


def find(tx: Transaction, call: Call, request: model.FindStep) -> model.Step:
    row = tx.one("step_find", handle=request.run, workspace=call.workspace, name=request.name, key=request.key)
    if row is None:
        raise not_found("step", f"{request.name}/{request.key}", f"agent.runs.steps({request.run!r})")
    return step_view(tx, call, request.run, rows.StepRow(*row))


def list_(tx: Transaction, call: Call, request: model.ListSteps) -> Page:
    limit = check_limit(request.limit)
    bound = [request.run, request.state]
    after = read_cursor(request.cursor, "step.list", bound, 0)
    run = existing(tx, call, request.run)
    query = "step_list" if request.state in (None, model.COMPLETED) else "step_list_unfinished"
    found = [rows.StepRow(*row) for row in tx.all(query, run=run.id, after=after, state=request.state, limit=limit + 1)]
    shown = _of_one_page(found[:limit])
    items = [step_view(tx, call, run.handle, row) for row in shown]
    cursor = make_cursor("step.list", bound, shown[-1].id) if len(found) > len(shown) else None
    return Page(items=items, cursor=cursor)


def _of_one_page(found: list[rows.StepRow]) -> list[rows.StepRow]:
    """As many as may go in one answer: results can be large, and one at least is shown."""
    sizes = list(accumulate(row.size for row in found))
    return found[: max(1, bisect_right(sizes, PAGE_BYTES))]


def _check_unfinished(found: rows.StepRow | None, request: model.StartStep | model.FailStep) -> None:
    """Only an attempt with other inputs may stand in the place of a result; `step_put` has the same condition."""
    if found is None or found.state != model.COMPLETED:
        return
    if not request.fingerprint or found.fingerprint in ("", request.fingerprint):
        raise _finished(request)


def _finished(request: model.StartStep | model.CompleteStep | model.FailStep) -> InvalidTransition:
    return InvalidTransition(
        f"Step {request.name}/{request.key} is completed; its result stands.",
        why="A finished step is never made again. Its attempt was recorded, even if the answer was lost.",
        next_call="Read the step, or open the run again: it replays the result. What is another step has another key.",
    )


def _check(name: str, key: str, effect: str) -> None:
    model.check_step_name(name)
    check_name(key, "step key", model.NAME_MAX)
    if effect not in model.EFFECTS:
        raise InvalidInput(f"Unknown effect {effect!r}.", next_call=f"Use one of: {', '.join(model.EFFECTS)}.")


def _held(tx: Transaction, call: Call, handle: str, *, of_document: bool = False) -> rows.HeldRun:
    """The run under the caller's claim, read as little as a step needs of it. Raises LeaseLost."""
    run = _find_held(tx, call, handle)
    if run is None:
        raise lost(existing(tx, call, handle), call.claim_on(handle).epoch)
    if not of_document:
        check_own_course(run, handle)
    return run


def _find_held(tx: Transaction, call: Call, handle: str) -> rows.HeldRun | None:
    """As `_held`, or None."""
    epoch = call.claim_on(handle).epoch
    row = tx.one("run_held", handle=handle, workspace=call.workspace, epoch=epoch, holder=call.actor)
    return rows.HeldRun(*row) if row is not None else None


def _set_current(tx: Transaction, call: Call, step: str | None) -> None:
    claim = call.caller.claim
    assert claim is not None  # noqa: S101 - `_held` asked for it
    tx.write(
        "run_at_step",
        expect=1,
        handle=claim.run,
        epoch=claim.epoch,
        holder=call.actor,
        current_step=step,
        now=tx.now,
    )


def _put(
    tx: Transaction,
    call: Call,
    run: rows.HeldRun,
    request: model.StartStep | model.CompleteStep | model.FailStep,
    state: str,
    packed: Packed,
    *,
    started_at: int,
    error: str | None = None,
) -> model.Step:
    """Write the step's row, and return what a reader of it would see, without its result."""
    made = model.Step(
        run=request.run,
        name=request.name,
        key=request.key,
        number=run.steps + 1,
        state=state,
        effect=request.effect,
        attempt=request.attempt,
        epoch=call.claim_on(request.run).epoch,
        run_attempt=run.attempt,
        fingerprint=request.fingerprint,
        started_at=started_at,
        finished_at=None if state == model.STARTED else tx.now,
        error=error,
        size_bytes=packed.size,
    )
    try:
        tx.write(
            "step_put",
            expect=1,
            run=run.id,
            name=made.name,
            key=made.key,
            number=made.number,
            state=state,
            effect=made.effect,
            attempt=made.attempt,
            epoch=made.epoch,
            run_attempt=made.run_attempt,
            fingerprint=made.fingerprint,
            started_at=started_at,
            finished_at=made.finished_at,
            error=error,
            **packed.columns(),
        )
    except LeaseLost as refused:
        raise _finished(request) from refused
    return made


def _record(
    tx: Transaction,
    call: Call,
    request: model.StartStep | model.CompleteStep,
    operation: str,
    packed: Packed | None,
) -> None:
    audit.record(
        tx,
        call,
        operation,
        {"kind": "step", "effect": request.effect},
        stream=request.run,
        step=f"{request.name}/{request.key}",
        to_version=request.attempt,
        contents={"result": packed} if packed else None,
    )


def _pause_if_overspent(tx: Transaction, call: Call, request: model.CompleteStep, run: rows.HeldRun) -> str | None:
    """A step may overshoot a bound once; then the run waits for a person."""
    if run.budget == UNBOUNDED:
        return None
    # What the buffered calls recorded of model calls is charged to the run by now; with its handoff they may end it.
    now = _find_held(tx, call, request.run) if request.calls else _charged(run, request)
    if now is None:
        return None
    spent = model.Spent(
        steps=now.steps,
        seconds=(now.worked_us + max(0, call.engine.clock.boot_us() - now.claimed_at)) / SECOND,
        tokens=now.tokens,
        nanousd=now.nanousd,
    )
    over = model.overspent(_budget_decoder.decode(run.budget), spent)
    if not over:
        return None
    run_questions.ask(tx, call, existing(tx, call, request.run), "budget", f"The budget is spent: {', '.join(over)}.")
    return "budget"


def _charged(run: rows.HeldRun, request: model.CompleteStep) -> rows.HeldRun:
    return run._replace(steps=run.steps + 1, tokens=run.tokens + request.tokens, nanousd=run.nanousd + request.nanousd)
