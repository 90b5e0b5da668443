"""What a trial has shown, handed to the evidence that decides which rung a step begins on."""

from __future__ import annotations

from agentmemo.engine import evidence
from agentmemo.engine.call import Call
from agentmemo.engine.evidence import Candidate, TrialCase
from agentmemo.model.evidence import run_standard, step_standard
from agentmemo.model.executions import ABSTAINED
from agentmemo.model.trials import QUALIFIED, Standing
from agentmemo.model.workflows import WorkflowDocument
from agentmemo.store import cases as rows
from agentmemo.store.cases import TrialRow
from agentmemo.store.database import Transaction


def hand_on(tx: Transaction, call: Call, trial: TrialRow, document: WorkflowDocument, found: list[Standing]) -> None:
    """What each model showed at each step, and what the whole did; once, now that the plan is over.

    Where a provider served different models under one name, nobody can say which of them showed it, and nothing counts.
    """
    served: dict[tuple[str, str], set[str]] = {}
    for row in rows.tried(tx, trial.run):
        served.setdefault((row.step, row.model), set()).add(row.served_model or row.model)
    for standing in found:
        unit = standing.unit
        names = served.get((unit.step or "", unit.model), set())
        if unit.step is not None and len(names) == 1:
            candidate = Candidate(unit.step_hash, unit.model, names.pop(), trial.workflow, unit.step)
            _record(tx, call, candidate, document, standing)
    whole = [standing for standing in found if standing.unit.step is None and standing.outcomes]
    if whole:
        best = next((each for each in whole if each.decision == QUALIFIED), whole[-1])
        _record(tx, call, Candidate(trial.version, workflow=trial.workflow), document, best)


def _record(tx: Transaction, call: Call, candidate: Candidate, document: WorkflowDocument, standing: Standing) -> None:
    unit, outcomes = standing.unit, standing.outcomes
    counted = [outcome for outcome in outcomes if outcome.verdict != ABSTAINED]
    if not counted:
        return
    standard = step_standard(document.quality) if unit.step is not None else run_standard(document.quality)
    evidence.record_trial(
        tx,
        call,
        candidate,
        planned=len(unit.cases) - standing.abstained,
        cases=[TrialCase(outcome.input_hash, outcome.passed, outcome.edge_cases) for outcome in counted],
        standard=standard,
        edge_cases=unit.edge_cases,
        candidates=unit.candidates,
        abstained=standing.abstained,
        above=unit.above,
    )
