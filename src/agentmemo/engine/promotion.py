"""What must be shown before a version moves to the right."""

from __future__ import annotations

from agentmemo.engine.call import Call
from agentmemo.errors import Conflict
from agentmemo.model.workflows import WorkflowDocument, version_of
from agentmemo.store.database import Transaction


def check(tx: Transaction, call: Call, document: WorkflowDocument, to: str) -> None:
    """Raises Conflict where what has been shown does not bear a document's move to a state."""
    del tx, call
    quality = document.quality
    raise Conflict(
        f"Nothing has shown yet that {document.name} {version_of(document)[:12]} is good enough for {to}.",
        why=f"A run must succeed in {quality.run_bar:.0%} and a step in {quality.step_bar:.0%} of the cases, with "
        f"{quality.alpha:.0%} as the chance of being wrong about it, over {quality.min_runs} runs or more.",
        next_call=f"Let it be tried: agent.workflows.trial({document.name!r}, cases), or move it to shadow.",
        details={"to": to, "version": version_of(document)},
    )
