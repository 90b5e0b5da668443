"""One run: why it is where it is, its steps, notes and events, and the question a person must decide."""

from __future__ import annotations

from typing import Any

from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import is_escalation, run_title, said, then
from agentmemo.model.audit import Event
from agentmemo.model.escalations import UNDECIDED
from agentmemo.model.runs import CANCELLED, COMPLETED, FINISHED, IN_DOUBT, Explanation, Note, Run, Step

STEPS = 200
EVENTS = 20
TURNS = 100
CLAIMS = ("run.claim", "run.takeover")
BAR = 100.0
BAR_LEAST = 0.8
NOTE_LOOKS = {
    "decision": ("completed", "Decided"),
    "finding": ("high", "Found"),
    "tried": ("failed", "Tried, failed"),
}


async def run(visit: Visit) -> Page:
    runs = visit.connection.runs
    found = await runs.get(visit.request.path_params["run"])
    steps = await runs.steps(found.id, cursor=visit.asked("steps"), limit=STEPS)
    listed = list(steps.items)
    explanation = await runs.explain(found.id)
    notes = list((await runs.notes(found.id)).items)
    turns, events = await trail(visit, found.id)
    quoted = last_words(found, turns)
    data = {
        "run": found,
        "explanation": explanation,
        "why": why(found, explanation, quoted),
        "said": quoted,
        "steps": rows(found, listed, turns, visit.now),
        "last_turn": last_turn(listed, turns) if steps.cursor is None else None,
        "steps_done": sum(step.state == COMPLETED for step in listed),
        "more_steps": steps.cursor,
        "span": span(found, visit.now),
        "asks": await asks(visit, found),
        "question": question(visit, found, explanation.in_doubt, listed, turns),
        "notes": [note_row(note) for note in notes],
        "events": events,
        "newest": events[0].revision if events else 0,
        "finished": found.state in FINISHED,
        "live": bool(events) and found.state not in FINISHED,
        "budget": budget_rows(found),
    }
    return Page(template="run.html", title=run_title(found), section="Runs", data=data)


async def trail(visit: Visit, handle: str) -> tuple[list[Event], list[Event] | None]:
    """The run's own turns (claims, questions, decisions) and its newest events; None when not readable."""
    if not visit.may("audit:read"):
        return [], None
    audit = visit.connection.audit
    turns = await audit.events(run=handle, type="run.*", newest_first=True, limit=TURNS)
    events = await audit.events(run=handle, newest_first=True, limit=EVENTS)
    return list(turns.items), list(events.items)


def last_words(found: Run, turns: list[Event]) -> dict[str, str] | None:
    """The error a run ended or paused with, or the reason of who cancelled it: somebody's words, with their name."""
    if found.error:
        return {"text": found.error, "author": found.agent, "trust": "agent"}
    if found.state != CANCELLED or not found.reason:
        return None
    by = next((event.actor for event in turns if event.operation == "run.cancel"), found.agent)
    return {"text": found.reason, "author": by, "trust": "verified" if by.startswith("person:") else "agent"}


def why(found: Run, explanation: Explanation, quoted: dict[str, str] | None) -> str:
    """The plane's explanation, without the title above it and without the words that are quoted below it."""
    title = f"{found.name}{'/' + found.key if found.key else ''} is {found.state}."
    text = explanation.text.removeprefix(title)
    if quoted:
        text = text.replace(quoted["text"], "")
    if found.state in FINISHED:
        text = f"It is {found.state}. {text}"
    return " ".join(text.split())


def span(found: Run, now: int) -> tuple[int, int]:
    """The time that the bars of the steps stand in."""
    return found.created_at, max(found.finished_at or now, found.created_at + 1)


def rows(found: Run, steps: list[Step], turns: list[Event], now: int) -> list[dict[str, Any]]:
    """Steps with their bars; where the run changed hands in between, the turn comes first."""
    start, end = span(found, now)
    claims = {event.to_version: event for event in turns if event.operation in CLAIMS}
    made: list[dict[str, Any]] = []
    epoch = steps[0].epoch if steps else 0
    for step in steps:
        turn = claims.get(step.epoch) if step.epoch > epoch else None
        epoch = max(epoch, step.epoch)
        done = sum(row["step"].state == COMPLETED for row in made)
        until = step.finished_at or (end if step.state != IN_DOUBT else now)
        left = BAR * max(step.started_at - start, 0) / (end - start)
        width = max(BAR * max(until - step.started_at, 0) / (end - start), BAR_LEAST)
        made.append(
            {
                "step": step,
                "turn": turn,
                "kept": done,
                "left": f"{min(left, BAR - BAR_LEAST):.1f}",
                "width": f"{min(width, BAR):.1f}",
                "until": until,
            }
        )
    return made


def last_turn(steps: list[Step], turns: list[Event]) -> Event | None:
    """The newest change of hands, while no step has been recorded after it."""
    newest = next((event for event in turns if event.operation in CLAIMS), None)
    after = max((step.epoch for step in steps), default=0)
    return newest if newest and (newest.to_version or 0) > max(after, 1) else None


def question(
    visit: Visit, found: Run, in_doubt: list[str], steps: list[Step], turns: list[Event]
) -> dict[str, Any] | None:
    """What a person must decide, about which step, since when; None when the run asks nothing."""
    if found.wake != "person" or is_escalation(found.waiting_for):
        return None
    ask = next((event for event in turns if event.operation == "run.ask"), None)
    named = ask.step if ask and ask.step else (in_doubt[0] if len(in_doubt) == 1 else None)
    step = next((step for step in steps if f"{step.name}/{step.key}" == named), None)
    return {
        "kind": found.waiting_for,
        "detail": found.reason,
        "author": ask.actor if ask else found.agent,
        "step": step,
        "named": named,
        "idempotency_key": f"{found.id}/{named}" if named else None,
        "since": ask.at if ask else found.updated_at,
        "asked": found.updated_at,
        "may_decide": visit.may("runs:decide"),
    }


async def asks(visit: Visit, found: Run) -> dict[str, Any] | None:
    """The question of the inbox whose answer it waits for, or has not gone on with yet."""
    if not is_escalation(found.waiting_for):
        return None
    handle = found.waiting_for or ""
    if not visit.may("escalations:read"):
        return {"id": handle, "reason": "", "undecided": found.wake == "person"}
    asked = await visit.connection.inbox.get(handle)
    kept = ("id", "reason", "severity", "asker", "deadline", "lapsed_at", "holder")
    answer = asked.answer
    return {
        **{name: getattr(asked, name) for name in kept},
        "undecided": asked.state in UNDECIDED,
        "then": then(asked),
        "said": said(asked, answer.decision, answer.choice) if answer else asked.state,
        "by": answer.by if answer else "",
    }


def note_row(note: Note) -> dict[str, Any]:
    icon, verb = NOTE_LOOKS.get(note.kind, ("low", note.kind))
    return {"note": note, "icon": icon, "verb": verb}


def budget_rows(found: Run) -> list[dict[str, Any]]:
    """Each bound that is set, with what is spent of it; used by About and by the form that raises it."""
    made = []
    for name, unit in (
        ("steps", "steps"),
        ("seconds", "seconds of work"),
        ("tokens", "tokens"),
        ("nanousd", "dollars"),
    ):
        bound = getattr(found.budget, name)
        if bound is not None:
            made.append({"name": name, "unit": unit, "bound": bound, "spent": getattr(found.spent, name)})
    return made
