"""What workflows save: what was measured and what is estimated, never mixed, with everything that they cost."""

from __future__ import annotations

from typing import Any

from agentmemo.console.charts import cumulative, pairs_missing
from agentmemo.console.frame import Page, Visit
from agentmemo.console.workflow import savings_of
from agentmemo.model.savings import Savings

PAGE = 100


async def savings(visit: Visit) -> Page:
    """Every workflow with what it saves."""
    page = await visit.connection.workflows.list(cursor=visit.asked("cursor"), limit=PAGE)
    found = [(each, await savings_of(visit, each.name)) for each in page.items]
    rows = [{"name": each.name, "figures": saved} for each, saved in found if saved is not None]
    data = {
        "headline": headline(rows),
        "rows": rows,
        "unused": [each.name for each, saved in found if saved is None],
        "readable": visit.may("ledger:read"),
        "older": page.cursor and {"cursor": page.cursor},
    }
    return Page(template="savings.html", title="Savings", section="Workflows", data=data)


def headline(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "Nothing was executed yet, so nothing was saved."
    measured = sum(row["figures"].headline == "measured" for row in rows)
    estimated = sum(row["figures"].headline == "list" for row in rows)
    said = [
        f"{measured} measured" if measured else "",
        f"{estimated} estimated" if estimated else "",
        f"{len(rows) - measured - estimated} unknown" if len(rows) > measured + estimated else "",
    ]
    return f"Savings of {len(rows)} {'workflow' if len(rows) == 1 else 'workflows'}: {', '.join(filter(None, said))}."


async def of_workflow(visit: Visit) -> Page:
    """One workflow's savings with the chart and all terms."""
    name = visit.request.path_params["name"]
    found = await visit.connection.ledger.savings(
        name, version=visit.asked("version"), smart_model=visit.asked("smart")
    )
    data = {
        "name": name,
        "smart": visit.asked("smart") or "",
        "figures": found,
        "text": found.explain(),
        "chart": cumulative(found),
        "costs": costs(found),
        "pairs_missing": pairs_missing(found),
    }
    return Page(template="savings_workflow.html", title=f"Savings of {name}", section="Workflows", data=data)


def costs(found: Savings) -> list[dict[str, Any]]:
    """Every part of what was spent, and when it is paid."""
    once = (("Design", found.design_nanousd), ("Shadow runs", found.shadow_nanousd), ("Repairs", found.repair_nanousd))
    each = (
        ("Execution", found.execute_nanousd),
        ("Verification", found.verify_nanousd),
        ("Escalation to stronger models", found.escalate_nanousd),
        ("Audits", found.audit_nanousd),
    )
    return [
        *({"name": name, "nanousd": nanousd, "once": True} for name, nanousd in once),
        *({"name": name, "nanousd": nanousd, "once": False} for name, nanousd in each),
    ]
