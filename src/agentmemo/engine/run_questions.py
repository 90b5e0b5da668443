"""What a run asks about itself (in doubt, mismatch, budget, takeovers) is a question in the inbox as any other.

It ends with the run's own question, whichever way that is decided. Nobody waits for it but the run.
"""

from __future__ import annotations

from agentmemo.engine import escalation_delivery, escalations, waits
from agentmemo.engine.call import Call
from agentmemo.model import escalations as model
from agentmemo.model.escalations import SuggestedAction
from agentmemo.store import escalations as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction

OPTIONS = {
    "in_doubt": [
        SuggestedAction(id="happened", label="It happened", effect="The run goes on; values are what it returned."),
        SuggestedAction(id="retry", label="Do it once more", effect="The run makes the step again."),
    ],
    "mismatch": [
        SuggestedAction(id="reuse", label="Use the stored result", effect="The run goes on with what it has."),
        SuggestedAction(id="rerun", label="Run it again", effect="The run makes the step with its new inputs."),
    ],
    "budget": [],
    "takeovers": [SuggestedAction(id="continue", label="Go on", effect="The next worker takes the run.")],
}
KINDS = {"in_doubt": "failure", "mismatch": "question", "budget": "question", "takeovers": "failure"}
TITLES = {
    "in_doubt": "Did this step happen?",
    "mismatch": "Is the stored result still good?",
    "budget": "May it go on with a larger budget?",
    "takeovers": "Shall it go on?",
}
BOUNDS = {
    "steps": {"type": "integer", "minimum": 1},
    "seconds": {"type": "number", "minimum": 0},
    "tokens": {"type": "integer", "minimum": 1},
    "nanousd": {"type": "integer", "minimum": 1, "description": "In billionths of a dollar"},
}


def ask(
    tx: Transaction,
    call: Call,
    run: run_rows.RunRow,
    question: str,
    detail: str,
    step: tuple[str, str] | None = None,
) -> None:
    """Pause a run until a person decides, and have people told. It goes on waiting when its deadline passes."""
    waits.ask(tx, call, run, question, detail, step)
    name, key = step or (question, "")
    about = f"{run.name}/{run.key}" if run.key else run.name
    request = model.CreateEscalation(
        severity="medium",
        kind=KINDS[question],
        reason=f"{TITLES[question]} Run {about}"[: model.REASON_MAX],
        context={"why": detail, "step": f"{name}/{key}"} if step else {"why": detail},
        suggested_actions=OPTIONS[question],
        response_schema={"type": "object", "properties": BOUNDS} if question == "budget" else None,
        default="pause",
        collapse_key=model.RUN_KEY + run.handle,
        detail={model.RUN_QUESTION: question},
        run=run.handle,
        name=name,
        key=key,
    )
    escalations.raise_for(tx, call, request, model.question_of(request))


def decided(tx: Transaction, call: Call, run: str, answer: model.Answer) -> None:
    """The run's question was decided where the run is; whoever looks into the inbox sees by whom."""
    row = rows.same(tx, call.workspace, f"{model.GIVEN}{model.RUN_KEY}{run}")
    if row is not None:
        given = model.Answer(
            decision=answer.decision,
            choice=answer.choice,
            comment=answer.comment,
            by=answer.by,
            at=tx.now,
            via=answer.via,
            escalation=row.handle,
        )
        escalation_delivery.end(tx, call, row, model.DECIDED, given)
