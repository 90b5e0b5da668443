"""What an agent needs to know when it starts, in about 300 tokens."""

from __future__ import annotations

from typing import Any

from agentmemo import clock
from agentmemo.engine import liveness
from agentmemo.engine.call import Call
from agentmemo.engine.handoff_views import view as handoff_view
from agentmemo.engine.run_reads import note_view, trust_of_actor
from agentmemo.engine.run_views import view
from agentmemo.model import runs as model
from agentmemo.model.executions import is_execution
from agentmemo.model.handoffs import Handoff
from agentmemo.model.values import encode_sorted
from agentmemo.store import handoffs as handoff_rows
from agentmemo.store import runs as rows
from agentmemo.store.database import Transaction

RUNS_SHOWN = 2
NOTES_SHOWN = 3
STEPS_SHOWN = 3
HANDOFFS_SHOWN = 2
NOBODY = 0  # the number of no actor
TEXT_SHOWN = 110
# About four characters make a token of English.
CHARACTERS_MAX = 1200
EVER = 1 << 60


def get(tx: Transaction, call: Call, request: model.GetBriefing) -> model.Briefing:
    """What an agent (the caller, when none is named) left unfinished, is offered, and has to hear about."""
    name = request.agent or call.caller.actor
    agent = call.engine.names.find_actor(tx, call.workspace, name)
    found: list[rows.RunRow] = []
    if agent is not None:
        found = rows.listed(tx, call.workspace, EVER, RUNS_SHOWN + 1, state="unfinished", agent=agent)
    runs = [_describe(tx, call, row) for row in found[:RUNS_SHOWN]]
    more = len(found) > RUNS_SHOWN
    data = {"agent": name, "at": clock.iso(tx.now), "runs": runs, "more_runs": more, **_handoffs(tx, call, name, agent)}
    return model.Briefing(text=_text(data), data=data)


def _handoffs(tx: Transaction, call: Call, name: str, agent: int | None) -> dict[str, Any]:
    """What is offered to the agent, and what it handed over and has not heard of yet. Reading this receives nothing."""
    offered, told = [], []
    held: list[dict[str, Any]] = []
    if call.may("handoffs:read"):
        addresses = [f"agent:{name.removeprefix('agent:')}"]
        if agent is not None:
            addresses += handoff_rows.addresses(tx, call.workspace, agent)
            found = tx.all(
                "handoff_notices", workspace=call.workspace, sender=agent, at=0, after=0, limit=HANDOFFS_SHOWN + 1
            )
            told = [handoff_view(tx, call, handoff_rows.HandoffRow(*row)) for row in found]
            held = _held(tx, call, agent)
        waiting = handoff_rows.offered(tx, call.workspace, addresses, agent or NOBODY, HANDOFFS_SHOWN + 1)
        offered = [handoff_view(tx, call, row) for row in waiting]
    return {
        "held": held[:HANDOFFS_SHOWN],
        "more_held": len(held) > HANDOFFS_SHOWN,
        "handoffs": [_offer(handoff) for handoff in offered[:HANDOFFS_SHOWN]],
        "more_handoffs": len(offered) > HANDOFFS_SHOWN,
        "notices": [_notice(handoff) for handoff in told[:HANDOFFS_SHOWN]],
        "more_notices": len(told) > HANDOFFS_SHOWN,
    }


def _held(tx: Transaction, call: Call, agent: int) -> list[dict[str, Any]]:
    """What the agent holds, longest first. A claim that somebody forgot is found here."""
    found = tx.all("handoff_held", workspace=call.workspace, actor=agent, limit=HANDOFFS_SHOWN + 1)
    clock_ = call.engine.clock
    held = []
    for handle, boot_id, lease_until in found:
        row = handoff_rows.get(tx, call.workspace, handle)
        if row is not None:
            left = (lease_until - clock_.boot_us()) / clock.SECOND if boot_id == clock_.boot_id else 0.0
            silent_at = row.progress_at + row.progress_us if row.progress_at and row.progress_us else None
            held.append(_claim(handoff_view(tx, call, row), max(0.0, left), silent_at))
    return held


def _claim(handoff: Handoff, lease_left: float, silent_at: int | None) -> dict[str, Any]:
    return {
        "handoff": handoff.id,
        "from": handoff.from_agent,
        "trust": trust_of_actor(handoff.from_agent.partition(":")[0]),
        "goal": _goal(handoff),
        "epoch": handoff.epoch,
        "since": clock.iso(handoff.claimed_at or 0),
        "lease_seconds_left": round(lease_left, 1),
        "percent": handoff.percent,
        "progress_by": clock.iso(silent_at) if silent_at is not None else None,
        "next_call": f"handoff.complete('{handoff.id}', result, epoch={handoff.epoch}), or handoff.release",
    }


def _goal(handoff: Handoff) -> str:
    return handoff.goal or handoff.workflow or encode_sorted(handoff.context).decode()


def _offer(handoff: Handoff) -> dict[str, Any]:
    return {
        "handoff": handoff.id,
        "from": handoff.from_agent,
        "trust": trust_of_actor(handoff.from_agent.partition(":")[0]),
        "to": handoff.to,
        "goal": _goal(handoff),
        "attempt": f"{handoff.attempt} of {handoff.max_attempts}",
        "since": clock.iso(handoff.available_at),
        "next_call": f"handoff.claim('{handoff.id}')",
    }


def _notice(handoff: Handoff) -> dict[str, Any]:
    return {
        "handoff": handoff.id,
        "to": handoff.to,
        "state": handoff.state,
        "reason": handoff.reason,
        "result": handoff.result,
        "next_call": f"handoff.result('{handoff.id}')",
    }


def _describe(tx: Transaction, call: Call, row: rows.RunRow) -> dict[str, Any]:
    run = view(tx, call, row)
    steps = [
        rows.StepRow(*step) for step in tx.all("step_list", run=row.id, after=0, state=model.COMPLETED, limit=EVER)
    ]
    notes = {
        kind: [_note(found) for found in tx.all("note_newest", run=row.id, kind=kind, limit=NOTES_SHOWN)]
        for kind in ("finding", "tried", "decision")
    }
    doubtful = [f"{name}/{key}" for name, key in tx.all("step_in_doubt", run=row.id)]
    held = liveness.is_alive(tx, call.engine, call.workspace, run.worker)
    return {
        "run": run.id,
        "name": run.name,
        "key": run.key,
        "state": run.state,
        "held": held,
        "attempt": f"{run.attempt} of {run.max_attempts}",
        "goal": run.inputs,
        "percent": run.percent,
        "progress": run.progress,
        "steps_done": len(steps),
        "last_steps": [f"{step.name}/{step.key}" for step in steps[-STEPS_SHOWN:]],
        "in_doubt": doubtful,
        "findings": notes["finding"],
        "tried": notes["tried"],
        "decisions": notes["decision"],
        "last_error": run.error,
        "waits_for": f"{run.wake} {run.waiting_for or ''}".strip() if run.state == model.WAITING else None,
        "budget_left": _left(run),
        "next_call": _next_call(run, held=held),
    }


def _note(row: tuple[Any, ...]) -> dict[str, Any]:
    note = note_view(row)
    return {"text": note.text, "because": note.because, "author": note.author, "trust": note.trust}


def _left(run: model.Run) -> dict[str, float]:
    return {
        name: bound - getattr(run.spent, name)
        for name in ("steps", "seconds", "tokens", "nanousd")
        if (bound := getattr(run.budget, name)) is not None
    }


def _next_call(run: model.Run, *, held: bool) -> str:
    # A holder that died a moment ago is still in the row; whoever reads this may take the run over at once.
    if held:
        return f"runs.explain('{run.id}')"
    if run.wake == "person":
        return f"wait: a person decides {run.waiting_for} ({model.how_to_decide(run.id, run.waiting_for)})"
    if is_execution(run.name):
        return f"agent.workflows.resume('{run.id}') gives the step that is to be done now"
    if run.key is None:
        return f"runs.explain('{run.id}')"
    return f"agent.run('{run.name}', key='{run.key}') continues at the first step that is not done"


def _text(data: dict[str, Any]) -> str:
    lines = [f"Briefing for {data['agent']} at {data['at'][:19]}Z."]
    if not any(data[part] for part in ("runs", "held", "handoffs", "notices")):
        lines.append("No unfinished runs, no handoffs, no answers waiting. Start with agent.run(name, key=...).")
    lines += _handoff_lines(data)
    for run in data["runs"]:
        lines += _run_lines(run)
    if data["more_runs"]:
        lines.append("More unfinished runs: runs.list(state='unfinished').")
    # Whatever names and texts hold, each line stays one: nobody's words begin a line of their own.
    text = "\n".join(" ".join(line.split()) for line in lines)
    return text if len(text) <= CHARACTERS_MAX else text[: CHARACTERS_MAX - 1] + "…"


def _handoff_lines(data: dict[str, Any]) -> list[str]:
    lines = [_held_line(each) for each in data["held"]]
    if data["more_held"]:
        lines.append("You hold more: handoff.list(to=..., state='claimed').")
    lines += [
        f"Handed to you ({each['handoff']}) <{each['from']}, trust: {each['trust']}>: "
        f'"{_short(each["goal"])}", since {each["since"][:19]}Z. Next: {each["next_call"]}.'
        for each in data["handoffs"]
    ]
    if data["more_handoffs"]:
        lines.append("More is offered to you: handoff.list_pending().")
    for each in data["notices"]:
        said = encode_sorted(each["result"]).decode() if each["state"] == "completed" else each["reason"]
        lines.append(
            f"What you handed to {each['to']} ({each['handoff']}) is {each['state']}: "
            f'"{_short(said)}". Next: {each["next_call"]}.'
        )
    if data["more_notices"]:
        lines.append("More came of what you handed over: handoff.notices().")
    return lines


def _held_line(each: dict[str, Any]) -> str:
    asked = f", progress is asked for by {each['progress_by'][:19]}Z" if each["progress_by"] else ""
    return (
        f"You hold {each['handoff']} <{each['from']}, trust: {each['trust']}>: "
        f'"{_short(each["goal"])}", since {each["since"][:19]}Z, lease left {each["lease_seconds_left"]:.0f} s{asked}. '
        f"Next: {each['next_call']}."
    )


def _run_lines(run: dict[str, Any]) -> list[str]:
    title = f"{run['name']}/{run['key']}" if run["key"] else run["name"]
    gone = ", its holder is gone" if run["state"] == model.RUNNING and not run["held"] else ""
    lines = [f"Run {title} ({run['run']}): {run['state']}{gone}, attempt {run['attempt']}."]
    if run["goal"] is not None:
        lines.append(f"Goal: {_short(encode_sorted(run['goal']).decode())}")
    done = f"Done: {run['steps_done']} steps, stored and not to be repeated"
    last = f"; last: {', '.join(run['last_steps'])}" if run["last_steps"] else ""
    percent = f" ({run['percent']:.0f} %: {_short(run['progress'])})" if run["percent"] is not None else ""
    lines.append(done + last + percent + ".")
    if run["in_doubt"]:
        lines.append(f"In doubt: {', '.join(run['in_doubt'])}.")
    # What others wrote is data, never an instruction: it is fenced, with its author and trust.
    for label, kind in (("Found", "findings"), ("Tried and failed", "tried"), ("Decided", "decisions")):
        lines += [
            f'{label} <{note["author"]}, trust: {note["trust"]}>: "{_short(note["text"])}"'
            + (f' because "{_short(note["because"])}"' if note["because"] else "")
            for note in run[kind]
        ]
    if run["last_error"]:
        lines.append(f'Last attempt ended with: "{_short(run["last_error"])}"')
    if run["waits_for"]:
        lines.append(f"Waits for: {run['waits_for']}.")
    if run["budget_left"]:
        left = ", ".join(f"{value:g} {name}" for name, value in run["budget_left"].items())
        lines.append(f"Budget left: {left}.")
    lines.append(f"Next: {run['next_call']}.")
    return lines


def _short(text: str) -> str:
    flat = " ".join(text.split()).replace('"', "'")
    return flat if len(flat) <= TEXT_SHOWN else flat[: TEXT_SHOWN - 1] + "…"
