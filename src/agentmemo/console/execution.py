"""One execution: every attempt at its steps, what is done next, what it waits for."""

from __future__ import annotations

from typing import Any

from agentmemo.console.frame import Page, Visit
from agentmemo.console.run import asks
from agentmemo.console.words import count
from agentmemo.console.workflow import cost_of, is_minted, look, newest_revision
from agentmemo.model.executions import PLANE, Execution, StepAttempt
from agentmemo.model.ledger import LedgerRow
from agentmemo.model.runs import FINISHED, Run
from agentmemo.model.workflow_versions import Workflow

CALLS = 500
VERDICTS = {
    "passed": ("completed", "completed", "Passed"),
    "failed": ("failed", "failed", "Failed its checks"),
    "abstained": ("waiting", "declined", "Gave it up"),
    "timeout": ("failed", "expired", "Took too long"),
    "error": ("failed", "high", "Failed"),
}


async def execution(visit: Visit) -> Page:
    flows = visit.connection.workflows
    found = await flows.execution(visit.request.path_params["execution"])
    attempts = await flows.attempts(found.id)
    version = await flows.get(found.workflow, version=found.version)
    run = await visit.connection.runs.get(found.id) if visit.may("runs:read") else None
    calls = await calls_of(visit, found.id)
    newest = await newest_revision(visit)
    data = {
        "execution": found,
        "version": version_of(version),
        "look": look(found),
        "why": why(found, run),
        "groups": groups(list(attempts.items), calls),
        "attempts": len(attempts.items),
        "next": found.next_step,
        "run": run,
        "key": run.key if run and not is_minted(run.key) else None,
        "asks": await asks(visit, run) if run else None,
        "cost": await cost_of(visit, found.id),
        "finished": found.state in FINISHED,
        "newest": newest,
        "live": newest > 0 and found.state not in FINISHED,
    }
    return Page(template="execution.html", title=f"{found.workflow}, {found.id}", section="Workflows", data=data)


def version_of(found: Workflow) -> dict[str, Any]:
    """The version it follows, without its document."""
    return {"number": found.number, "version": found.version, "state": found.state}


async def calls_of(visit: Visit, execution: str) -> dict[str, LedgerRow]:
    """Its model calls by their handles; none where the person may not read the ledger."""
    if not visit.may("ledger:read"):
        return {}
    return {row.id: row for row in (await visit.connection.ledger.list(run=execution, limit=CALLS)).items}


def groups(attempts: list[StepAttempt], calls: dict[str, LedgerRow]) -> list[dict[str, Any]]:
    """Attempts by the step they were at, in the order in which the steps were reached."""
    made: dict[str, list[dict[str, Any]]] = {}
    for each in attempts:
        made.setdefault(each.step, []).append(attempt_row(each, calls))
    return [{"step": step, "attempts": rows} for step, rows in made.items()]


def attempt_row(found: StepAttempt, calls: dict[str, LedgerRow]) -> dict[str, Any]:
    call = calls.get(found.reservation or "")
    served = found.served_model if found.served_model != found.model else None
    return {
        "attempt": found,
        "look": VERDICTS.get(found.verdict, ("pending", "low", found.verdict)),
        "served": served,
        "nanousd": call.counted_nanousd if call else None,
        "is_call": call is not None,
        "is_open": call is not None and call.nanousd is None,
    }


def why(found: Execution, run: Run | None) -> str:
    """Where it stands, and what moves it."""
    steps = count(found.steps, "step is", "steps are")
    if found.state == "completed":
        return f"It is completed; {count(found.steps, 'step was', 'steps were')} done."
    if found.state in FINISHED:
        return f"It is {found.state}. {found.error or found.reason}".strip()
    if found.waiting_for:
        return f"It waits for a person; {steps} done. It holds nothing meanwhile."
    if run is not None and run.wake == "ready" and found.driver == PLANE:
        return (
            f"It waits for a worker that drives workflows; {steps} done. "
            "Start one where the models and tools are: agentmemo work --workflows"
        )
    who = "by a worker of the plane" if found.driver == PLANE else "by whoever started it"
    return f"It is done {who}; {steps} done."
