"""The list of workflows, and the search for one by what somebody wants done."""

from __future__ import annotations

from typing import Any

from agentmemo.clock import SECOND
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, number_word, sentence
from agentmemo.errors import InvalidInput
from agentmemo.model.workflow_reports import ExecutionCount
from agentmemo.model.workflow_versions import Workflow, check_state
from agentmemo.model.workflows import STATES

PAGE = 50
FOUND = 20
DAYS = 30
DAY = 86_400 * SECOND


async def workflows(visit: Visit) -> Page:
    text, state, cursor = (visit.asked(field) for field in ("text", "state", "cursor"))
    if state is not None:
        check_state(state)
    found, older = await _found(visit, text, state, cursor)
    since = visit.now - DAYS * DAY
    counts = (await visit.connection.workflows.counts(since=since)).counts
    costs = await costs_since(visit, since)
    going = (await visit.connection.audit.events(newest_first=True, limit=1)).items if visit.may("audit:read") else []
    data = {
        "headline": headline(found, text=text, state=state, more=older is not None),
        "workflows": [row(each, counts, costs) for each in found],
        "text": text or "",
        "state": state,
        "choices": STATES,
        "filtered": bool(text or state or cursor),
        "cursor": older,
        "older": older and {"state": state, "cursor": older},
        "days": DAYS,
        "priced": costs is not None,
        "newest": going[0].revision if going else 0,
        "live": bool(going),
    }
    return Page(template="workflows.html", title="Workflows", section="Workflows", data=data)


async def _found(
    visit: Visit, text: str | None, state: str | None, cursor: str | None
) -> tuple[list[Workflow], str | None]:
    """What fits, and the cursor behind it; what is searched for comes best first, and has no second page."""
    if text is None:
        page = await visit.connection.workflows.list(state=state, cursor=cursor, limit=PAGE)
        return list(page.items), page.cursor
    try:
        matches = (await visit.connection.workflows.search(text, limit=FOUND)).items
    except InvalidInput:  # no word in it
        return [], None
    return [each.workflow for each in matches if state in (None, each.workflow.state)], None


async def costs_since(visit: Visit, since: int) -> dict[str, dict[str, int]] | None:
    """What each workflow cost; None where the person may not read the ledger."""
    if not visit.may("ledger:read"):
        return None
    totals = await visit.connection.ledger.totals("workflow", since=since)
    return {
        each.name: {
            "calls": each.calls,
            "nanousd": each.nanousd,
            "open_nanousd": each.open_nanousd,
            "unpriced": each.unpriced,
        }
        for each in totals.groups
    }


def row(found: Workflow, counts: list[ExecutionCount], costs: dict[str, dict[str, int]] | None) -> dict[str, Any]:
    mine = [each for each in counts if each.workflow == found.name]
    return {
        "workflow": found,
        "ended": ended(mine),
        "cost": (costs or {}).get(found.name),
    }


def ended(counts: list[ExecutionCount]) -> dict[str, Any]:
    """How executions ended, of all versions together. `success` is None where none has ended by itself."""
    completed, failed = (sum(getattr(each, name) for each in counts) for name in ("completed", "failed"))
    return {
        "completed": completed,
        "failed": failed,
        "cancelled": sum(each.cancelled for each in counts),
        "unfinished": sum(each.unfinished for each in counts),
        "all": sum(each.completed + each.failed + each.cancelled + each.unfinished for each in counts),
        "success": completed / (completed + failed) if completed + failed else None,
        "last_at": max((each.last_at for each in counts), default=None),
    }


def headline(found: list[Workflow], *, text: str | None, state: str | None, more: bool) -> str:
    if text:
        said = sentence(count(len(found), "workflow fits", "workflows fit"))
        return f"{said} “{text}”."
    if not found:
        return f"No workflow is {state}." if state else "Nothing was designed yet."
    if more:
        return f"The first {len(found)} workflows."
    proven = sum(not each.unproven for each in found)
    said = sentence(count(len(found), f"{state} workflow" if state else "workflow"))
    return f"{said}." if state else f"{said}, {number_word(proven) if proven else 'none'} proven."
