"""What a model call of a workflow may cost, and what it came to: the same for steps, comparisons and trials."""

from __future__ import annotations

from agentmemo.engine import ledger
from agentmemo.engine.call import Call
from agentmemo.engine.ledger_reads import existing_usage
from agentmemo.errors import InvalidInput
from agentmemo.model import ledger as model
from agentmemo.model.evidence_calls import CompareStep
from agentmemo.model.executions import SubmitStep
from agentmemo.model.trials import TryCase
from agentmemo.model.workflows import WorkflowDocument
from agentmemo.store.database import Transaction


def caps_of(document: WorkflowDocument) -> model.Caps:
    """The bounds of a document, as a reservation is held to them."""
    bounds = document.budget
    return model.Caps(run_nanousd=bounds.run_nanousd, step_nanousd=bounds.step_nanousd, run_tokens=bounds.run_tokens)


def settle_of_step(tx: Transaction, call: Call, request: SubmitStep | CompareStep) -> model.LedgerRow | None:
    """What a reserved call came to. One call is evidence of one step: raises InvalidInput for another's reservation."""
    if request.reservation is None:
        return None
    row = existing_usage(tx, call, request.reservation)
    if (row.run, row.step) != (request.execution, request.step):
        raise InvalidInput(
            f"{request.reservation} was reserved for something else than step {request.step} of {request.execution}.",
            next_call="Send the `reservation` that the begin of this step answered, or none.",
        )
    return settle(tx, call, request.reservation, request)


def settle(
    tx: Transaction, call: Call, reservation: str, request: SubmitStep | CompareStep | TryCase
) -> model.LedgerRow:
    """What the provider counted, or that it never came so far as to be billed."""
    if not request.billed:
        return ledger.void(tx, call, model.VoidUsage(id=reservation, reason=request.reason))
    return ledger.settle(
        tx,
        call,
        model.SettleUsage(
            id=reservation,
            usage=request.usage,
            model_served=request.served_model,
            request_id=request.request_id,
            provider_nanousd=request.provider_nanousd,
        ),
    )
