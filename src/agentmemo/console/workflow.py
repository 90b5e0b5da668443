"""One workflow: its document, its versions, what was shown of it, what it costs, and starting it."""

from __future__ import annotations

from typing import Any

from agentmemo.console import workflow_document, workflow_evidence
from agentmemo.console.charts import cumulative
from agentmemo.console.fields import fields_of, is_flat
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, money, preview
from agentmemo.console.workflows import ended
from agentmemo.errors import InvalidInput
from agentmemo.model.executions import Execution
from agentmemo.model.savings import Savings
from agentmemo.model.trials import Trial
from agentmemo.model.workflow_reports import ExecutionCount
from agentmemo.model.workflow_versions import Workflow, next_states
from agentmemo.model.workflows import RETIRED, TRANSITIONS, WorkflowDocument

VERSIONS = 50
TRIALS = 5
CASES = 100
BAR = 100.0
EXECUTIONS = 20
MOVES = {
    "draft": "Back to draft",
    "shadow": "Try it beside the others",
    "canary": "Give it a share of the runs",
    "active": "Make it active",
    "retired": "Retire it",
}


async def workflow(visit: Visit) -> Page:
    name = visit.request.path_params["name"]
    flows = visit.connection.workflows
    found = await flows.get(name, version=visit.asked("version"))
    document = workflow_document.read(found.document)
    versions = await flows.versions(name, limit=VERSIONS)
    counts = (await flows.counts(name)).counts
    executions = await flows.executions(name, cursor=visit.asked("executions"), limit=EXECUTIONS)
    newest = await newest_revision(visit)
    data = {
        "workflow": found,
        "document": workflow_document.summary(document),
        "why": why(found, counts, await savings_of(visit, name)),
        "versions": [version_row(each, counts) for each in versions.items],
        "versions_more": versions.cursor is not None,
        "executions": [await execution_row(visit, each) for each in executions.items],
        "executions_older": executions.cursor,
        "evidence": await workflow_evidence.panel(visit, found, document),
        "rates": await workflow_evidence.rates(visit, found, document),
        "savings": await savings_panel(visit, name),
        "moves": moves(found) if visit.may("workflows:move") else [],
        "trials": await trials(visit, name),
        "start": start_form(document) if visit.may("workflows:execute") and found.state != RETIRED else None,
        "newest": newest,
        "live": newest > 0,
    }
    return Page(template="workflow.html", title=name, section="Workflows", data=data)


async def newest_revision(visit: Visit) -> int:
    """Where the page's stream begins; 0 where the person may not read the trail."""
    if not visit.may("audit:read"):
        return 0
    items = (await visit.connection.audit.events(newest_first=True, limit=1)).items
    return items[0].revision if items else 0


async def savings_of(visit: Visit, name: str) -> Savings | None:
    """What it saves; None where nothing was run yet, or the person may not read the ledger."""
    if not visit.may("ledger:read"):
        return None
    try:
        return await visit.connection.ledger.savings(name)
    except InvalidInput:
        return None


async def savings_panel(visit: Visit, name: str) -> dict[str, Any] | None:
    found = await savings_of(visit, name)
    return {"figures": found, "text": found.explain(), "chart": cumulative(found)} if found else None


def why(found: Workflow, counts: list[ExecutionCount], saved: Savings | None) -> str:
    """What the workflow has come to, in a sentence or two."""
    all_ended = ended(counts)
    if not all_ended["all"]:
        return "Nobody has executed it yet."
    said = f"Of {count(all_ended['all'], 'execution')}, {count(all_ended['completed'], 'was', 'were')} completed"
    if all_ended["failed"]:
        said += f" and {count(all_ended['failed'], 'failed', 'failed')}"
    if saved is not None and saved.per_accepted_nanousd is not None:
        said += f", at {money(saved.per_accepted_nanousd)} for each accepted result"
    mark = " Nothing has proven this version." if found.unproven and found.state != RETIRED else ""
    return f"{said}.{mark}"


def version_row(found: Workflow, counts: list[ExecutionCount]) -> dict[str, Any]:
    mine = ended([each for each in counts if each.version == found.version])
    return {"workflow": found, "executions": mine["all"], "success": mine["success"], "completed": mine["completed"]}


async def trials(visit: Visit, name: str) -> dict[str, Any]:
    """The newest trials with how far they are, and on how many cases the next could be."""
    flows = visit.connection.workflows
    cases = await flows.cases(name, limit=CASES)
    newest = (await flows.trials(name, limit=TRIALS)).items
    return {
        "cases": len(cases.items),
        "cases_more": cases.cursor is not None,
        "newest": [trial(each) for each in newest],
    }


def trial(found: Trial) -> dict[str, Any]:
    return {
        "id": found.id,
        "version": found.version,
        "state": found.state,
        "planned": found.planned,
        "done": found.done,
        "percent": BAR * found.done / found.planned if found.planned else BAR,
        "nanousd": found.cost_nanousd,
        "unpriced": found.unpriced,
        "tried": [
            {"step": each.step, "model": each.model, "decision": each.decision, "text": each.text}
            for each in found.tried
        ],
    }


async def execution_row(visit: Visit, found: Execution) -> dict[str, Any]:
    run = await visit.connection.runs.get(found.id) if visit.may("runs:read") else None
    return {
        "id": found.id,
        "key": run.key if run and not is_minted(run.key) else None,
        "inputs": preview(run.inputs) if run and run.inputs else "",
        "version": found.version,
        "state": found.state,
        "look": look(found),
        "unproven": found.unproven,
        "driver": found.driver,
        "steps": found.steps,
        "why": found.error or found.reason,
        "created_at": run.created_at if run else None,
        "finished_at": run.finished_at if run else None,
        "cost": await cost_of(visit, found.id),
    }


def is_minted(key: str | None) -> bool:
    """Whether the plane gave the run its key, as nobody else had."""
    return key is None or key.startswith("run_")


def look(found: Execution) -> str:
    """Which of the states of `words.STATES` it shows."""
    return "asks" if found.state == "waiting" and found.waiting_for else found.state


async def cost_of(visit: Visit, execution: str) -> dict[str, Any] | None:
    """What its model calls cost; None where the person may not know."""
    if not visit.may("ledger:read"):
        return None
    whole = (await visit.connection.ledger.totals("role", run=execution)).whole
    kept = ("calls", "nanousd", "open_nanousd", "unpriced")
    return {name: getattr(whole, name) for name in kept}


def moves(found: Workflow) -> list[dict[str, Any]]:
    """Where this version can go, and whether evidence must bear it."""
    return [{"to": to, "label": MOVES[to], "needs": TRANSITIONS[found.state, to]} for to in next_states(found.state)]


def start_form(document: WorkflowDocument) -> dict[str, Any]:
    """What is asked before it is executed: flat inputs as fields, others as JSON; none where it takes nothing."""
    if document.inputs is None:
        return {"fields": [], "json": True, "required": False}
    flat = is_flat(document.inputs)
    return {
        "fields": fields_of(document.inputs) if flat else [],
        "json": not flat,
        "required": True,
        "schema": document.inputs,
    }
