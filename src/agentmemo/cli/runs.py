"""`agentmemo runs`: durable work, as those who do not hold it see it."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from msgspec import UNSET

from agentmemo.api.next_calls import worded
from agentmemo.cli.options import (
    EVERYWHERE,
    Common,
    Cursor,
    Json,
    Limit,
    Nanousd,
    Seconds,
    Steps,
    Tokens,
    budget_of,
    flag,
    group_of_commands,
)
from agentmemo.cli.output import brief, pretty, stamp, stamp_ago
from agentmemo.cli.values import read_time, read_value
from agentmemo.cli.verbs import in_shell
from agentmemo.clock import iso
from agentmemo.errors import NotFound
from agentmemo.model.runs import FINISHED, Run, Schedule

app = group_of_commands("runs", "Durable work: look, explain, decide, signal, cancel.")

WATCH_SECONDS = 30.0
Id = Annotated[str, Parameter(help="Handle of a run; its first characters are enough.")]
RunKey = Annotated[str | None, Parameter(help="The run's own key.")]


@app.command(name="list")
def list_(
    *,
    name: Annotated[str | None, Parameter(help="Only runs of this name.")] = None,
    state: Annotated[
        str | None, Parameter(help="pending, running, waiting, completed, failed, cancelled, or unfinished.")
    ] = None,
    by: Annotated[str | None, Parameter(help="Only runs of this agent.")] = None,
    parent: Annotated[str | None, Parameter(help="Only children of this run.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List runs, newest first."""
    with common.connect() as plane:
        page = plane.runs.list(name=name, state=state, agent=by, parent=parent, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [(run.id, run.state, str(run.steps), stamp(run.updated_at), _wakes(run), _title(run)) for run in page.items]
    common.out.table(("run", "state", "steps", "updated", "moves by", "name and key…"), rows, empty="No runs.")
    common.out.more(page.cursor)


@app.command
def show(run: Id, /, *, common: Common = EVERYWHERE) -> None:
    """Show a run: where it is, what it was given and what came of it."""
    with common.connect() as plane:
        _show(common, plane.runs.get(run))


@app.command
def find(name: str, key: str, /, *, common: Common = EVERYWHERE) -> None:
    """Show the run of a name and a key."""
    with common.connect() as plane:
        found = plane.runs.find(name, key)
    if found is None:
        raise NotFound(
            f"There is no run {name!r} with the key {key!r}, or you may not see it.",
            next_call=f"agentmemo runs list --name {name}",
        )
    _show(common, found)


@app.command
def steps(
    run: Id,
    /,
    *,
    state: Annotated[str | None, Parameter(help="started, completed, failed or in_doubt.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List a run's recorded steps in their order, with their results."""
    with common.connect() as plane:
        page = plane.runs.steps(run, state=state, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (
            str(step.number),
            f"{step.name}/{step.key}",
            step.state,
            step.effect,
            str(step.attempt),
            stamp(step.finished_at or step.started_at),
            step.error or brief(step.result),
        )
        for step in page.items
    ]
    columns = ("no", "step", "state", "effect", "attempt", "at", "result…")
    common.out.table(columns, rows, empty="No steps.")
    common.out.more(page.cursor)


@app.command
def notes(
    run: Id,
    /,
    *,
    kind: Annotated[str | None, Parameter(help="decision, finding or tried.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """List what was decided, found and tried in vain, oldest first."""
    with common.connect() as plane:
        found = list(plane.runs.notes(run, kind=kind))
    if common.json:
        common.out.page(found, None)
        return
    for each in found:
        common.out.say(f"{stamp(each.at)}  {each.kind}  {each.author} (trust: {each.trust})")
        common.out.say(f"    {each.text}" + (f"\n    because {each.because}" if each.because else ""))
    if not found:
        common.out.remark("No notes.")


@app.command
def note(
    run: Id,
    kind: Annotated[str, Parameter(help="decision, finding or tried.")],
    text: str,
    /,
    *,
    because: Annotated[str, flag("Why.")] = "",
    common: Common = EVERYWHERE,
) -> None:
    """Leave a note for whoever continues the run; its next briefing shows it."""
    with common.connect() as plane:
        made = plane.runs.note(run, kind, text, because=because)
    if common.json:
        common.out.document(made)
    else:
        common.out.say(f"Noted at revision {made.revision}.")


@app.command
def explain(run: Id, /, *, common: Common = EVERYWHERE) -> None:
    """Say why a run is not moving, since when, who holds it and what will move it."""
    with common.connect() as plane:
        found = plane.runs.explain(run)
    if common.json:
        common.out.document(found)
        return
    common.out.say(found.text)
    pairs = (
        ("run", found.run),
        ("since", stamp_ago(found.since)),
        ("held by", found.held_by or ""),
        ("wakes", stamp_ago(found.wake_at)),
        ("next", worded(found.next_call, in_shell)),
    )
    common.out.fields(pairs)


@app.command
def signal(
    run: Id,
    name: str,
    value: Json = "null",
    /,
    *,
    text: Annotated[bool, flag("The value is a text and is kept as it stands, not read as JSON.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """Send a named signal with a value; it is kept until the run waits for it."""
    given = read_value(value, text=text)
    with common.connect() as plane:
        found = plane.runs.signal(run, name, given)
    _changed(common, found, f"Signal {name} is kept; the run is {found.state}.")


@app.command
def cancel(run: Id, reason: str, /, *, common: Common = EVERYWHERE) -> None:
    """Cancel a run and its children; whoever holds it is told at the next call."""
    with common.connect() as plane:
        _changed(common, plane.runs.cancel(run, reason), "Cancelled.")


@app.command
def fork(
    run: Id,
    /,
    *,
    from_step: Annotated[str | None, Parameter(help="Keep the finished steps before this one (default: all).")] = None,
    run_key: Annotated[str | None, Parameter(help="Key of the new run (default: a new one).")] = None,
    reason: Annotated[str, flag("Why, for the trail.")] = "",
    common: Common = EVERYWHERE,
) -> None:
    """Make a new run out of a run's finished steps; a rewind is a fork."""
    with common.connect() as plane:
        made = plane.runs.fork(run, from_step=from_step, key=run_key, reason=reason)
    _changed(common, made, f"It has {made.steps} of the steps, and the key {made.key}.")


@app.command
def resolve(
    run: Id,
    decision: Annotated[str, Parameter(help="happened, retry (in doubt), reuse, rerun (mismatch) or continue.")],
    /,
    *,
    result: Annotated[
        str | None,
        Parameter(help="With happened, always: what the step returned, as JSON, - or @FILE; null for nothing."),
    ] = None,
    steps: Steps = None,
    seconds: Seconds = None,
    tokens: Tokens = None,
    nanousd: Nanousd = None,
    comment: Annotated[str, flag("Why, for the trail.")] = "",
    asked: Annotated[
        int | None, flag("The run's updated_at as you saw it; another question is then left alone.")
    ] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Decide, as a person, what a run asks. `runs explain` shows the question.

    In an opened store you act as the operating system's user, or as --person, and not where AGENTMEMO_AGENT says
    that you are an agent; over HTTP you need a person's key.
    """
    value = UNSET if result is None else read_value(result)
    with common.connect(deciding=True) as plane:
        found = plane.runs.resolve(
            run,
            decision,
            result=value,
            budget=budget_of(steps, seconds, tokens, nanousd),
            comment=comment,
            asked=asked,
        )
    _changed(common, found, f"Decided: {decision}; the run is {found.state}.")


@app.command
def watch(run: Id, /, *, common: Common = EVERYWHERE) -> int | None:
    """Print a run whenever it changes, until it is finished. Ends with 1 when it did not complete."""
    with common.connect() as plane:
        found = plane.runs.get(run)
        while True:
            if common.json:
                common.out.line(found)
            else:
                percent = f"  {found.percent:.0f} %" if found.percent is not None else ""
                text = found.error or found.progress or found.reason
                common.out.say(
                    f"{stamp(found.updated_at)}  {found.state}  {found.steps} steps{percent}  {text}".rstrip()
                )
                common.out.flush()
            if found.state in FINISHED:
                return int(found.state != "completed")
            seen = found
            while found.updated_at == seen.updated_at and found.state not in FINISHED:
                found = plane.runs.get(seen.id, after=seen, wait_seconds=WATCH_SECONDS)


@app.command
def start(
    task: str,
    inputs: Json = "null",
    /,
    *,
    run_key: RunKey = None,
    at: Annotated[str | None, Parameter(help="Start at this UTC time; also 15m, 2h, 7d from now.")] = None,
    cron: Annotated[str | None, Parameter(help="Start again and again, by this cron expression in UTC.")] = None,
    steps: Steps = None,
    seconds: Seconds = None,
    tokens: Tokens = None,
    nanousd: Nanousd = None,
    max_attempts: Annotated[int, Parameter(help="Attempts before it has failed.")] = 3,
    priority: Annotated[int, Parameter(help="Higher is claimed first.")] = 0,
    common: Common = EVERYWHERE,
) -> None:
    """Start a run of registered code; a process that works on this task claims it."""
    given = read_value(inputs)
    with common.connect() as plane:
        made = plane.start(
            task,
            given,
            key=run_key,
            at=read_time(at, ahead=True),
            cron=cron,
            budget=budget_of(steps, seconds, tokens, nanousd),
            max_attempts=max_attempts,
            priority=priority,
        )
    if isinstance(made, Schedule):
        _scheduled(common, made, f"Runs of {made.name} start by {made.cron!r}, next at {iso(made.next_at)}.")
    else:
        _changed(common, made, f"Run of {made.name}; it is {made.state}.")


@app.command
def schedules(*, common: Common = EVERYWHERE) -> None:
    """List the cron schedules."""
    with common.connect() as plane:
        found = list(plane.runs.schedules())
    if common.json:
        common.out.page(found, None)
        return
    rows = [(each.id, each.name, each.cron, stamp(each.next_at), brief(each.inputs)) for each in found]
    common.out.table(("schedule", "task", "cron", "next", "inputs…"), rows, empty="No schedules.")


@app.command
def unschedule(schedule: str, /, *, common: Common = EVERYWHERE) -> None:
    """Delete a cron schedule; runs it made go on."""
    with common.connect() as plane:
        _scheduled(common, plane.runs.unschedule(schedule), "Deleted.")


def _show(common: Common, run: Run) -> None:
    if common.json:
        common.out.document(run)
        return
    pairs = (
        ("run", run.id),
        ("name", _title(run)),
        ("state", run.state),
        ("agent", run.agent),
        ("attempt", f"{run.attempt} of {run.max_attempts}"),
        ("moves by", _wakes(run)),
        ("wakes", stamp_ago(run.wake_at)),
        ("deadline", stamp_ago(run.deadline)),
        ("worker", run.worker or ""),
        ("created", stamp(run.created_at)),
        ("updated", stamp_ago(run.updated_at)),
        ("steps", str(run.steps) + (f", now at {run.current_step}" if run.current_step else "")),
        ("progress", (f"{run.percent:.0f} % " if run.percent is not None else "") + run.progress),
        ("budget", _bounds(run)),
        ("parent", run.parent or ""),
        ("forked from", run.forked_from or ""),
        ("reason", run.reason),
        ("error", run.error or ""),
        ("inputs", "" if run.inputs is None else pretty(run.inputs)),
        ("result", "" if run.result is None else pretty(run.result)),
    )
    common.out.fields(pairs)


def _changed(common: Common, run: Run, text: str) -> None:
    if common.json:
        common.out.document(run)
    else:
        common.out.say(f"{run.id}  {text}")


def _scheduled(common: Common, schedule: Schedule, text: str) -> None:
    if common.json:
        common.out.document(schedule)
    else:
        common.out.say(f"{schedule.id}  {text}")


def _title(run: Run) -> str:
    return f"{run.name}/{run.key}" if run.key is not None else run.name


def _wakes(run: Run) -> str:
    return " ".join(filter(None, (run.wake, run.waiting_for)))


def _bounds(run: Run) -> str:
    """`steps 3 of 10, tokens 900 of 5000`; only what is bounded."""
    bounds: dict[str, Any] = {name: getattr(run.budget, name) for name in ("steps", "seconds", "tokens", "nanousd")}
    return ", ".join(f"{name} {getattr(run.spent, name):g} of {most:g}" for name, most in bounds.items() if most)
