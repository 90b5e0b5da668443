"""What a workflow saves, from the rows of the ledger: `model/savings.py` has the formula."""

from __future__ import annotations

from typing import Any

from agentmemo.engine.call import Call
from agentmemo.engine.workflows import Found, find
from agentmemo.errors import NotFound
from agentmemo.model import ledger as model
from agentmemo.model.prices import Usage, cost_nanousd
from agentmemo.model.savings import Pair, Savings, Spending, report
from agentmemo.model.workflows import DesignedBy
from agentmemo.store import ledger as rows
from agentmemo.store.database import Transaction

_DAY_US = 86_400_000_000


def savings(tx: Transaction, call: Call, request: model.GetSavings) -> Savings:
    """Both lines, and every overhead. Raises InvalidInput where nothing was run yet.

    What is unknown counts at the worst case; what has no price is in no sum, and is counted.
    """
    found = _document(tx, call, request)
    designed_by = found.document.designed_by if found else DesignedBy()
    window = {
        "workspace": call.workspace,
        "workflow": request.workflow,
        "version": found.row.version if found and request.version else request.version,
        "since": rows.SINCE_EVER if request.since is None else request.since,
        "until": rows.FOR_EVER if request.until is None else request.until,
    }
    spent, runs, unpriced = _by_role(tx, window | {"version": None}, window)
    made, accepted = tx.one("usage_runs", **window) or (0, 0)
    smart = request.smart_model or designed_by.model or _designer(tx, call, request.workflow)
    spending = Spending(
        runs=made,
        accepted=accepted,
        execute_nanousd=spent.get(model.EXECUTE, 0),
        counterfactual_nanousd=_at_list_price(tx, call, window, smart),
        design_nanousd=spent.get(model.DESIGN) or request.design_nanousd or designed_by.cost_nanousd or 0,
        verify_nanousd=spent.get(model.VERIFY, 0),
        escalate_nanousd=spent.get(model.ESCALATE, 0),
        audit_nanousd=spent.get(model.AUDIT, 0),
        shadow_nanousd=spent.get(model.SHADOW, 0),
        repair_nanousd=spent.get(model.REPAIR, 0),
        escalated_runs=runs.get(model.ESCALATE, 0),
        audited_runs=runs.get(model.AUDIT, 0),
        unpriced_calls=unpriced,
        smart_model=smart,
    )
    return report(spending, [Pair(*row) for row in tx.all("usage_pairs", **window)])


def _document(tx: Transaction, call: Call, request: model.GetSavings) -> Found | None:
    """The workflow's document, of the version that is asked for; agents also record calls of what is only a name."""
    try:
        return find(tx, call, request.workflow, request.version)
    except NotFound:
        return None


def _by_role(
    tx: Transaction, whole: dict[str, Any], window: dict[str, Any]
) -> tuple[dict[str, int], dict[str, int], int]:
    """(role -> nano-dollars, role -> runs, calls without a price).

    The design of a workflow was paid for whichever version of it one looks at.
    """
    found = {row[0]: row for row in tx.all("usage_by_role", **window)}
    found |= {row[0]: row for row in tx.all("usage_by_role", **whole) if row[0] == model.DESIGN}
    return (
        {role: row[1] for role, row in found.items()},
        {role: row[2] for role, row in found.items()},
        sum(row[3] for row in found.values()),
    )


def _designer(tx: Transaction, call: Call, workflow: str) -> str:
    """The model that designed it, as far as the ledger knows."""
    row = tx.one("usage_designer", workspace=call.workspace, workflow=workflow)
    return row[0] if row else ""


def _at_list_price(tx: Transaction, call: Call, window: dict[str, Any], smart: str) -> int | None:
    """What the same tokens would have cost at the smart model's price of then; None where that is not known."""
    total = 0
    found = tx.all("usage_of_execution", **window) if smart else []
    for day, whole, cached, written, output, calls in found:
        price = call.engine.prices.lookup(smart, day * _DAY_US)
        if price is None:
            return None
        usage = Usage(input_tokens=whole, cached_input_tokens=cached, cache_write_tokens=written, output_tokens=output)
        total += calls * cost_nanousd(price, usage)
    return total if found else None
