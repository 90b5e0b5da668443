"""What must be shown before a version moves to the right."""

from __future__ import annotations

from agentmemo.engine import evidence
from agentmemo.engine.call import Call
from agentmemo.errors import InvalidTransition
from agentmemo.model.evidence import judge, run_standard
from agentmemo.model.evidence_calls import DEMOTED, QUALIFIED, REJECTED, TESTING
from agentmemo.model.workflows import LLM, Rung, Step, WorkflowDocument, step_hash, version_of, walk
from agentmemo.store.database import Transaction
from agentmemo.store.evidence import EvidenceRow


def check(tx: Transaction, call: Call, document: WorkflowDocument, to: str) -> None:
    """Raises InvalidTransition where what has been shown does not bear a document's move to a state."""
    missing = lacking(tx, call, document)
    if not missing:
        return
    quality = document.quality
    raise InvalidTransition(
        f"Nothing has shown yet that {document.name} {version_of(document)[:12]} is fit to be {to}: {missing[0]}.",
        why=f"A run must succeed in more than {quality.run_bar:.4g} and a step in {quality.step_bar:.4g} of the cases, "
        f"with {quality.alpha:.4g} as the chance of being wrong about it.",
        next_call=f"Let it be tried: agent.workflows.trial({document.name!r}, cases), or execute it; then see "
        f"agent.workflows.explain({document.name!r}).",
        details={"to": to, "version": version_of(document), "missing": missing},
    )


def lacking(tx: Transaction, call: Call, document: WorkflowDocument) -> list[str]:
    """What has not been shown yet, of the whole and of each step a model does, in plain words and numbers."""
    found = _of_runs(tx, call, document)
    for step in walk(document.steps):
        if step.kind == LLM and (gap := _of_step(tx, call, document, step)):
            found.append(f"step {step.id}: {gap}")
    return found


def _of_runs(tx: Transaction, call: Call, document: WorkflowDocument) -> list[str]:
    """Whole executions without help, whose end was checked; a document without models needs them as well."""
    asked = evidence.Asked(run_standard(document.quality))
    row = evidence.current(tx, call, version_of(document)).get("")
    if row is not None and row.standing == QUALIFIED:
        return []
    if row is not None and row.standing in (REJECTED, DEMOTED):
        return [f"its executions were {row.standing}: {evidence.reasons_of(row)}"]
    found = evidence.evidence_of(tx, row, asked) if row else evidence.nothing(asked)
    verdict = judge(found, asked.standard)
    seen = (
        "" if row is None else f"; {row.successes} of {row.successes + row.failures} executions succeeded by themselves"
    )
    unchecked = "" if any(evidence.is_telling(step) for step in walk(document.steps)) else (
        "; no step has a hard check that can tell whether its end is right, so executions show nothing: add one"
    )  # fmt: skip
    return [f"executions: {', '.join(verdict.needs)}{seen}{unchecked}"]


def _of_step(tx: Transaction, call: Call, document: WorkflowDocument, step: Step) -> str:
    """Some rung has qualified, or the top does not fall short of the bar; empty where that is so.

    Where no check of the step can tell, the end of the executions speaks for it.
    """
    known = evidence.current(tx, call, step_hash(step, document.edge_cases))
    if any(row.standing == QUALIFIED for row in known.values()) or not evidence.is_telling(step):
        return ""
    top = _top(step.ladder or document.ladder, known)
    if top is None:
        return "no model has been tried at it"
    if top.standing != TESTING:
        return f"{top.model} was {top.standing}: {evidence.reasons_of(top)}"
    quality = document.quality
    counted = top.tested_successes + top.tested_failures
    if top.inputs < quality.min_runs:
        return f"{top.model} was tried on {top.inputs} distinct inputs, of at least {quality.min_runs}"
    if top.tested_successes < quality.step_bar * counted:
        return f"{top.model} succeeded in {top.tested_successes} of {counted}, and {quality.step_bar:.4g} are asked"
    return ""


def _top(ladder: list[Rung], known: dict[str, EvidenceRow]) -> EvidenceRow | None:
    """The dearest that has been tried; whose ladder it was does not matter where the document has none."""
    if ladder:
        return known.get(ladder[-1].model)
    return max(known.values(), key=lambda row: row.model == row.above, default=None)
