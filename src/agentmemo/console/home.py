"""Home: what waits for a person, what works, what is stuck, in one sentence and three tables."""

from __future__ import annotations

from agentmemo.console.events import run_names
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, sentence
from agentmemo.model.audit import Event
from agentmemo.model.runs import RUNNING, Run

LOOKED_AT = 500
LATEST = 8


async def home(visit: Visit) -> Page:
    runs = await visit.connection.runs.list(state="unfinished", limit=LOOKED_AT)
    unfinished = list(runs.items)
    asking = sorted((run for run in unfinished if run.wake == "person"), key=lambda run: run.updated_at)
    working = [run for run in unfinished if run.state == RUNNING]
    overdue = [run for run in unfinished if is_overdue(run, visit.now) and run.wake != "person"]
    resting = [run for run in unfinished if run not in asking and run not in working and run not in overdue]
    totals = (await visit.connection.status()).runs if visit.may("system:read") else {}
    ever = bool(unfinished) or bool(totals) or bool((await visit.connection.runs.list(limit=1)).items)
    latest = await latest_events(visit)
    data = {
        "headline": headline(asking, ever=ever),
        "context": second(working, overdue, asking, ever=ever),
        "asking": [asked(run) for run in asking],
        "working": working,
        "overdue": [stuck(run) for run in overdue],
        "resting": len(resting),
        "next_wake": min((run.wake_at for run in resting if run.wake_at), default=None),
        "more": runs.cursor is not None,
        "ever": ever,
        "totals": totals,
        "latest": latest,
        "names": await run_names(visit, latest or []),
    }
    return Page(template="home.html", title="Home", section="Home", data=data)


def is_overdue(run: Run, now: int) -> bool:
    """Past the deadline after which somebody is told."""
    return run.deadline is not None and run.deadline <= now


def headline(asking: list[Run], *, ever: bool) -> str:
    if not ever:
        return "Nothing has run here yet."
    if not asking:
        return "Nobody waits for you."
    return sentence(count(len(asking), "run waits", "runs wait")) + " for you."


def second(working: list[Run], overdue: list[Run], asking: list[Run], *, ever: bool) -> str:
    """The context: what works, what is stuck."""
    if not ever:
        return "Your first run takes a minute."
    work = sentence(count(len(working), "run is working", "runs are working"))
    if overdue:
        return f"{work}, {count(len(overdue), 'is overdue', 'are overdue')}."
    return f"{work}, {'no other' if asking else 'none'} is stuck."


def asked(run: Run) -> dict[str, object]:
    """A run with its question, as a row."""
    return {"run": run, "question": run.waiting_for, "detail": run.reason}


def stuck(run: Run) -> dict[str, object]:
    """An overdue run and the reason it last gave."""
    return {"run": run, "why": run.error or run.reason}


async def latest_events(visit: Visit) -> list[Event] | None:
    """The newest of the trail; None when the person may not read it."""
    if not visit.may("audit:read"):
        return None
    return list((await visit.connection.audit.events(newest_first=True, limit=LATEST)).items)
