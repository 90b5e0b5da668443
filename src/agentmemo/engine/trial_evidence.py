"""What a trial has shown, handed to the evidence that decides which rung a step begins on."""

from __future__ import annotations

from agentmemo.engine.call import Call
from agentmemo.model.trials import Plan, Standing
from agentmemo.model.workflows import WorkflowDocument
from agentmemo.store.cases import TrialRow
from agentmemo.store.database import Transaction


def hand_on(
    tx: Transaction, call: Call, trial: TrialRow, document: WorkflowDocument, plan: Plan, found: list[Standing]
) -> None:
    """Each model's outcomes, once, now that the plan is over."""
    del tx, call, trial, document, plan, found
