"""The ledger, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import ledger, savings
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    change("ledger.reserve", "POST /ledger/reservations", "ledger:write", ledger.ReserveUsage, ledger.LedgerRow,
            summary="Set aside the most that a model call can cost, before it is made"),
    change("ledger.settle", "POST /ledger/{id}/settlement", "ledger:write", ledger.SettleUsage, ledger.LedgerRow,
            buffered=True, summary="Say what a reserved call used"),
    change("ledger.void", "POST /ledger/{id}/void", "ledger:write", ledger.VoidUsage, ledger.LedgerRow,
            buffered=True, summary="Say that a reserved call was never made"),
    change("ledger.record", "PUT /ledger/{id}", "ledger:write", ledger.RecordUsage, ledger.LedgerRow,
            buffered=True, summary="Write down a model call that was made"),
    read("ledger.list", "/ledger", "ledger:read", ledger.ListUsage, Page, items=ledger.LedgerRow,
          summary="Model calls, newest first"),
    read("ledger.get", "/ledger/{id}", "ledger:read", ledger.GetUsage, ledger.LedgerRow,
          summary="One model call, with the unit prices of then"),
    read("ledger.totals", "/ledger-totals", "ledger:read", ledger.GetTotals, ledger.Totals,
          summary="What was spent, by model, workflow, agent, role or day"),
    read("ledger.savings", "/ledger-savings/{workflow}", "ledger:read", ledger.GetSavings, savings.Savings,
          summary="What a workflow saves against a smart model, with everything that it costs"),
    change("ledger.cap", "PUT /ledger-caps", "ledger:cap", ledger.SetCap, ledger.Cap,
            summary="Bound what may be spent, or lift the bound (a person's call)"),
    read("ledger.caps", "/ledger-caps", "ledger:read", ledger.ListCaps, Page, items=ledger.Cap,
          summary="The caps, and what counts against them"),
)  # fmt: skip
