"""Reading runs, their notes and progress, and explaining why one is where it is."""

from __future__ import annotations

from agentmemo import clock
from agentmemo.engine import audit, liveness
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.claims import existing, held
from agentmemo.engine.run_views import changed, view
from agentmemo.engine.state import check_limit
from agentmemo.errors import InvalidInput
from agentmemo.model import runs as model
from agentmemo.model.executions import is_execution
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.store import runs as rows
from agentmemo.store.audit import REVISION_MASK
from agentmemo.store.database import Row, Transaction

PERCENT_MAX = 100.0
NEWEST = 1 << 60


def get(tx: Transaction, call: Call, request: model.GetRun) -> model.Run:
    return view(tx, call, existing(tx, call, request.run))


def find(tx: Transaction, call: Call, request: model.FindRun) -> model.Run:
    run = rows.find(tx, call.workspace, request.name, request.key)
    if run is None:
        raise not_found("run", f"{request.name}/{request.key}")
    return view(tx, call, run)


def list_(tx: Transaction, call: Call, request: model.ListRuns) -> Page:
    limit = check_limit(request.limit)
    bound = [request.name, request.state, request.agent, request.parent]
    before = read_cursor(request.cursor, "run.list", bound, NEWEST)
    agent = call.engine.names.find_actor(tx, call.workspace, request.agent) if request.agent else None
    if request.agent and agent is None:
        return Page(items=[])
    found = rows.listed(
        tx,
        call.workspace,
        before,
        limit + 1,
        state=request.state,
        name=request.name,
        agent=agent,
        parent=request.parent,
    )
    items = [view(tx, call, row) for row in found[:limit]]
    cursor = make_cursor("run.list", bound, found[limit - 1].id) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def progress(tx: Transaction, call: Call, request: model.SetProgress) -> model.Run:
    run = held(tx, call, request.run)
    if request.percent is not None and not 0 <= request.percent <= PERCENT_MAX:
        raise InvalidInput(f"percent is 0 to 100, not {request.percent}.", next_call="Send a part of a hundred.")
    tx.write(
        "run_set_progress",
        expect=1,
        id=run.id,
        epoch=run.epoch,
        percent=request.percent,
        progress=request.text,
        current_step=request.current_step,
        now=tx.now,
    )
    audit.record(tx, call, "run.progress", {"kind": "run", "id": run.handle}, stream=run.handle, reason=request.text)
    return changed(tx, call, run)


def note(tx: Transaction, call: Call, request: model.AddNote) -> model.Note:
    """Record what an agent decided, found or tried in vain; it appears in the next briefing."""
    model.check_choice(request.kind, model.NOTE_KINDS, "kind of note")
    run = existing(tx, call, request.run)
    if not request.text:
        raise InvalidInput("A note needs a text.", next_call="Say what was decided, found or tried.")
    if request.key is not None:
        row = tx.one("note_find", run=run.id, kind=request.kind, key=request.key)
        if row is not None:
            return note_view(row)
    position = audit.record(
        tx,
        call,
        f"note.{request.kind}",
        {"kind": "note", "id": run.handle},
        stream=run.handle,
        step=request.step,
        contents={"text": request.text.encode(), "because": request.because.encode()},
    )
    tx.write(
        "note_add",
        run=run.id,
        kind=request.kind,
        key=request.key,
        text=request.text,
        because=request.because,
        step=request.step,
        now=tx.now,
        author=call.actor,
        position=position,
    )
    return model.Note(
        kind=request.kind,
        text=request.text,
        because=request.because,
        step=request.step,
        at=tx.now,
        author=call.caller.actor,
        trust=trust_of_actor(call.caller.kind),
        revision=audit.revision(position),
    )


def notes(tx: Transaction, call: Call, request: model.ListNotes) -> Page:
    limit = check_limit(request.limit)
    bound = [request.run, request.kind]
    after = read_cursor(request.cursor, "run.notes", bound, 0)
    run = existing(tx, call, request.run)
    found = tx.all("note_list", run=run.id, after=after, kind=request.kind, limit=limit + 1)
    cursor = make_cursor("run.notes", bound, found[limit - 1][0]) if len(found) > limit else None
    return Page(items=[note_view(row) for row in found[:limit]], cursor=cursor)


def note_view(row: Row) -> model.Note:
    _, kind, text, because, step, at, actor_kind, actor, position = row
    return model.Note(
        kind=kind,
        text=text,
        because=because,
        step=step,
        at=at,
        author=f"{actor_kind}:{actor}",
        trust=trust_of_actor(actor_kind),
        revision=position & REVISION_MASK,
    )


def explain(tx: Transaction, call: Call, request: model.ExplainRun) -> model.Explanation:
    """Why a run is not moving, since when, who holds it and what will move it, in one paragraph."""
    run = existing(tx, call, request.run)
    worker = rows.get_worker(tx, call.workspace, run.worker) if run.worker else None
    doubtful = [f"{name}/{key}" for name, key in tx.all("step_in_doubt", run=run.id)]
    sentence, next_call = _sentences(run, worker)
    sentence += "" if sentence.endswith((".", "!", "?")) else "."
    since = f"Since {clock.iso(run.updated_at)}."
    doubt = f" In doubt: {', '.join(doubtful)}; it is never silently repeated." if doubtful else ""
    return model.Explanation(
        run=run.handle,
        state=run.state,
        since=run.updated_at,
        text=f"{run.name}{'/' + run.key if run.key else ''} is {run.state}. {sentence} {since}{doubt}",
        held_by=liveness.seen_as(worker) if worker else None,
        wake=run.wake,
        wake_at=run.wake_at,
        next_call=next_call,
        in_doubt=doubtful,
    )


def _sentences(run: rows.RunRow, worker: rows.WorkerRow | None) -> tuple[str, str]:
    """What moves the run next, and the call that helps."""
    if run.state == model.RUNNING:
        where = f" at step {run.current_step}" if run.current_step else ""
        who = liveness.seen_as(worker) if worker else "a worker"
        return f"It is held by {who}{where}. If that dies, its lease ends and the run is taken over.", ""
    opening = f"agent.run({run.name!r}, key={run.key!r})" if run.key else "its key"
    if is_execution(run.name):
        opening = f"agent.workflows.resume({run.handle!r})"
    until = f" or {clock.iso(run.wake_at)}" if run.wake_at else ""
    by_wake = {
        "ready": _ready(run),
        "caller": (f"Whoever opens {opening} continues it. {run.reason}".strip(), opening),
        "timer": (f"A timer wakes it at {clock.iso(run.wake_at or 0)}.", ""),
        "signal": (
            f"It waits for the signal {run.waiting_for!r}{until}.",
            f"agent.runs.signal({run.handle!r}, {run.waiting_for!r}, value)",
        ),
        "child": (
            f"It waits for its child {run.waiting_for} to end{until}.",
            f"agent.runs.explain({run.waiting_for!r})",
        ),
        "person": (
            f"A person must decide: {run.waiting_for}. {run.reason}".strip(),
            model.how_to_decide(run.handle, run.waiting_for),
        ),
    }
    return by_wake.get(run.wake or "", (run.error or run.reason or "It is finished.", ""))


def _ready(run: rows.RunRow) -> tuple[str, str]:
    if is_execution(run.name):
        said = f"It waits for a worker that drives workflows. {run.reason}".strip()
        return said, "Run agent.work(workflows=True) in a process with its models and tools."
    return (
        f"It waits for a worker that registered the task {run.task!r}. {run.reason}".strip(),
        f"Run agent.work() in a process that has @agent.task({run.task!r}).",
    )


def trust_of_actor(kind: str) -> str:
    return "verified" if kind == "person" else "agent"
