"""Home: what waits for a person, what works, what is stuck, in one sentence and three tables."""

from __future__ import annotations

from collections.abc import Sequence

from agentmemo.console.events import names_of, names_of_work
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, handoff_look, handoff_title, is_escalation, is_told, sentence, then
from agentmemo.model.audit import Event
from agentmemo.model.escalations import Escalation, is_of_run
from agentmemo.model.handoffs import Handoff
from agentmemo.model.runs import RUNNING, Run
from agentmemo.model.workflows import ACTIVE

LOOKED_AT = 500
LATEST = 8
QUESTIONS_SHOWN = 20
TOLD_SHOWN = 20
REVIEWS_SHOWN = 50


async def home(visit: Visit) -> Page:
    runs = await visit.connection.runs.list(state="unfinished", limit=LOOKED_AT)
    unfinished = list(runs.items)
    questions, more_questions = await open_questions(visit)
    asking = sorted((run for run in unfinished if asks_itself(visit, run)), key=lambda run: run.updated_at)
    working = [run for run in unfinished if run.state == RUNNING]
    overdue = [run for run in unfinished if is_overdue(run, visit.now) and run.wake != "person"]
    busy = [*asking, *working, *overdue]
    resting = [run for run in unfinished if run not in busy and run.wake != "person"]
    totals = (await visit.connection.status()).runs if visit.may("system:read") else {}
    told, told_beyond = await told_handoffs(visit)
    ever = any((unfinished, totals, told, questions)) or bool((await visit.connection.runs.list(limit=1)).items)
    latest = await latest_events(visit)
    data = {
        "flows": await flows(visit),
        "headline": headline(asking, questions, ever=ever, more=more_questions),
        "context": second(working, overdue, [*asking, *questions], told, ever=ever),
        "escalations": [question_row(found) for found in questions],
        "more_escalations": more_questions,
        "asking": [asked(run) for run in asking],
        "working": working,
        "overdue": [stuck(run) for run in overdue],
        "told": [told_row(handoff) for handoff in told[:TOLD_SHOWN]],
        "told_more": len(told[TOLD_SHOWN:]),
        "told_beyond": told_beyond,
        "resting": len(resting),
        "next_wake": min((run.wake_at for run in resting if run.wake_at), default=None),
        "more": runs.cursor is not None,
        "ever": ever,
        "totals": totals,
        "latest": latest,
        "reviews": await unobjected(visit),
        "names": await names_of(visit, latest or []),
        "work": await names_of_work(visit, [*asking, *working, *overdue]),
    }
    return Page(template="home.html", title="Home", section="Home", data=data)


async def unobjected(visit: Visit) -> int:
    """How many of the newest decisions of rules nobody has objected to."""
    if not visit.may("escalations:read"):
        return 0
    found = await visit.connection.guards.reviews(limit=REVIEWS_SHOWN)
    return sum(each.objected_at is None for each in found.items)


def is_overdue(run: Run, now: int) -> bool:
    """Past the deadline after which somebody is told."""
    return run.deadline is not None and run.deadline <= now


def asks_itself(visit: Visit, run: Run) -> bool:
    """Whether it asks something about itself; what it asks in the inbox is shown as that question, where it may be."""
    return run.wake == "person" and not (is_escalation(run.waiting_for) and visit.may("escalations:read"))


async def open_questions(visit: Visit) -> tuple[list[Escalation], bool]:
    """The most urgent that nobody has put off, and whether there are more."""
    if not visit.may("escalations:read"):
        return [], False
    page = await visit.connection.inbox.list(limit=QUESTIONS_SHOWN)
    # What a run asks about itself stands here with the run.
    shown = [found for found in page.items if not found.snoozed and not is_of_run(found.collapse_key)]
    return shown, page.cursor is not None


def question_row(found: Escalation) -> dict[str, object]:
    kept = ("id", "severity", "kind", "reason", "asker", "waiting", "holder", "deadline", "lapsed_at", "run")
    return {**{name: getattr(found, name) for name in kept}, "then": then(found)}


def headline(asking: list[Run], questions: list[Escalation], *, ever: bool, more: bool) -> str:
    if not ever:
        return "Nothing has run here yet."
    if questions:
        number = len(asking) + len(questions)
        waits = count(number, "question waits", "questions wait")
        return sentence(("more than " if more else "") + waits) + " for you."
    if not asking:
        return "Nobody waits for you."
    return sentence(count(len(asking), "run waits", "runs wait")) + " for you."


def second(working: list[Run], overdue: list[Run], asking: Sequence[object], told: list[Handoff], *, ever: bool) -> str:
    """The context: what works, what is stuck."""
    if not ever:
        return "Your first run takes a minute."
    work = sentence(count(len(working), "run is working", "runs are working"))
    looks = f" {sentence(count(len(told), 'handoff needs', 'handoffs need'))} a look." if told else ""
    if overdue:
        return f"{work}, {count(len(overdue), 'is overdue', 'are overdue')}.{looks}"
    return f"{work}, {'no other' if asking else 'none'} is stuck.{looks}"


def asked(run: Run) -> dict[str, object]:
    """A run with its question, as a row."""
    return {"run": run, "question": run.waiting_for, "detail": run.reason}


def stuck(run: Run) -> dict[str, object]:
    """An overdue run and the reason it last gave."""
    return {"run": run, "why": run.error or run.reason}


async def told_handoffs(visit: Visit) -> tuple[list[Handoff], bool]:
    """What people were told about, the longest first, and whether there is more of it than was looked at.

    Nobody came, it is late, its holder is silent, or it is dead.
    """
    if not visit.may("handoffs:read"):
        return [], False
    page = await visit.connection.handoff.list(state="escalated", limit=LOOKED_AT)
    told = sorted((each for each in page.items if is_told(each)), key=lambda each: each.escalated_at or 0)
    return told, page.cursor is not None


def told_row(handoff: Handoff) -> dict[str, object]:
    """One of those with what was said about it; never its package, which may be large."""
    return {
        "id": handoff.id,
        "title": handoff_title(handoff),
        "look": handoff_look(handoff),
        "from_agent": handoff.from_agent,
        "to": handoff.to,
        "reason": handoff.reason,
        "since": handoff.escalated_at,
    }


async def flows(visit: Visit) -> dict[str, int] | None:
    """How many workflows there are, and how many of their executions are unfinished; None if not readable."""
    if not visit.may("workflows:read"):
        return None
    found = (await visit.connection.workflows.list(limit=LOOKED_AT)).items
    counts = (await visit.connection.workflows.counts()).counts
    return {
        "all": len(found),
        "active": sum(each.state == ACTIVE for each in found),
        "untrusted": sum(each.untrusted for each in found),
        "unfinished": sum(each.unfinished for each in counts),
    }


async def latest_events(visit: Visit) -> list[Event] | None:
    """The newest of the trail; None when the person may not read it."""
    if not visit.may("audit:read"):
        return None
    return list((await visit.connection.audit.events(newest_first=True, limit=LATEST)).items)
