"""Evidence as people and agents see it: who does which step, why, and what would change it."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from agentmemo.engine import evidence, promotion, rungs, workflows
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.comparisons import check_person
from agentmemo.engine.evidence import Asked
from agentmemo.model import evidence_calls as model
from agentmemo.model.evidence import audit_share_now, judge, run_standard, run_success, step_standard
from agentmemo.model.evidence_bounds import jeffreys_interval
from agentmemo.model.workflows import ACTIVE, CANARY, LLM, Rung, Step, WorkflowDocument, step_hash, walk
from agentmemo.store import evidence as rows
from agentmemo.store.database import Transaction
from agentmemo.store.evidence import EvidenceRow


class _Version(NamedTuple):
    """A version that is looked at."""

    name: str
    version: str
    state: str
    document: WorkflowDocument


def get(tx: Transaction, call: Call, request: model.GetEvidence) -> model.WorkflowEvidence:
    return _evidence(tx, call, _find(tx, call, request.name, request.version))


def explain(tx: Transaction, call: Call, request: model.ExplainWorkflow) -> model.WorkflowExplanation:
    """Which model does which step, why, on what evidence, and what would change it."""
    found = _find(tx, call, request.name, request.version)
    known = _evidence(tx, call, found)
    lines = [f"{found.name} {found.version[:12]} is {found.state}.", *_of_state(tx, call, found)]
    lines += [_of_whole(row) for row in known.evidence if not row.step and row.source == model.PLANE]
    for choice in known.choices:
        lines.append(f"Step {choice.step}: {choice.why} {choice.would_change}".rstrip())
        lines += [_of_model(row) for row in known.evidence if row.step == choice.step]
    lines += _of_product(known)
    return model.WorkflowExplanation(text="\n".join(lines), evidence=known)


def demote(tx: Transaction, call: Call, request: model.DemoteModel) -> model.WorkflowEvidence:
    check_person(call, "take a model off a step")
    found = _find(tx, call, request.name, request.version)
    row = _candidate(tx, call, found, request.step, request.model)
    if row.standing != model.DEMOTED:
        reason = f"{call.caller.name} took it off{f': {request.reason}' if request.reason else ''}"
        rows.set_(tx, evidence.demote(tx, call, row, [reason]))
    return _evidence(tx, call, found)


def reset(tx: Transaction, call: Call, request: model.ResetModel) -> model.WorkflowEvidence:
    check_person(call, "let a model be tested anew")
    found = _find(tx, call, request.name, request.version)
    row = _candidate(tx, call, found, request.step, request.model)
    reason = f"{call.caller.name} lets it be tested anew{f': {request.reason}' if request.reason else ''}"
    rows.set_(tx, evidence.reset(tx, call, row, reason))
    return _evidence(tx, call, found)


def _evidence(tx: Transaction, call: Call, found: _Version) -> model.WorkflowEvidence:
    document = found.document
    shown = _rows(tx, call, found.version, "", Asked(run_standard(document.quality)))
    choices = []
    for step in walk(document.steps):
        if step.kind == LLM:
            shown += _rows(tx, call, _hash(document, step), step.id, _asked(document, step))
            choices.append(_choice(tx, call, found, step))
    return model.WorkflowEvidence(
        name=found.name, version=found.version, state=found.state, evidence=shown, choices=choices
    )


def _rows(tx: Transaction, call: Call, subject: str, step: str, asked: Asked) -> list[model.StepEvidence]:
    return [_shown(tx, row, step, asked) for row in rows.of_subject(tx, call.workspace, subject)]


def _shown(tx: Transaction, row: EvidenceRow, step: str, asked: Asked) -> model.StepEvidence:
    verdict = judge(evidence.evidence_of(tx, row, asked), asked.standard)
    reasons = msgspec.json.decode(row.reasons, type=list[str])
    is_open = row.standing == model.TESTING
    audits = evidence.watch_of(row).audits
    shown = jeffreys_interval(row.successes, row.successes + row.failures)
    return model.StepEvidence(
        step=step,
        step_hash=row.subject,
        model=row.model,
        served=row.served,
        source=row.source,
        status=verdict.status if is_open else row.standing,
        since=row.since,
        reasons=verdict.reasons + reasons if is_open else reasons,
        successes=row.successes,
        failures=row.failures,
        abstained=row.abstained,
        inputs=row.inputs,
        low=shown.low,
        high=shown.high,
        verdict=verdict,
        in_a_row=_in_a_row(tx, row),
        audits=audits.successes + audits.failures,
        trials=row.trials,
    )


def _in_a_row(tx: Transaction, row: EvidenceRow) -> float | None:
    """pass^4: of inputs that were met often enough, how likely four of their runs all succeeded, without bias."""
    kinds = tx.all("evidence_input_kinds", evidence=row.id)
    met = [(passed, passed + failed, count) for passed, failed, count in kinds if passed + failed >= model.IN_A_ROW]
    inputs = sum(count for *_, count in met)
    if not inputs:
        return None
    each = (
        (math.comb(passed, model.IN_A_ROW) / math.comb(runs, model.IN_A_ROW)) * count for passed, runs, count in met
    )
    return float(sum(each) / inputs)


def _choice(tx: Transaction, call: Call, found: _Version, step: Step) -> model.StepChoice:
    ladder = _ladder(found.document, step)
    known = evidence.current(tx, call, _hash(found.document, step))
    if not ladder:
        why = "the ladder of whoever executes does it, from the cheapest model that has qualified on."
        return model.StepChoice(step=step.id, model=None, tried=None, audited=0.0, why=why, would_change="")
    standard = step_standard(found.document.quality)
    top, (chosen, tried) = len(ladder) - 1, rungs.choose(ladder, known)
    if found.state not in (CANARY, ACTIVE):
        chosen, tried = top, None
    name = ladder[chosen].model
    row = known.get(name)
    share = audit_share_now(standard, evidence.watch_of(row) if row else None) if chosen != top else 0.0
    why = f"{name} does it, {_why(found, row, is_top=chosen == top)}"
    if share:
        why += f" {share:.0%} of the executions are audited by {ladder[top].model}."
    trial = ladder[tried].model if tried is not None else None
    return model.StepChoice(
        step=step.id,
        model=name,
        tried=trial,
        audited=share,
        why=why,
        would_change=_change(tx, found, step, known, trial),
    )


def _why(found: _Version, row: EvidenceRow | None, *, is_top: bool) -> str:
    if is_top and found.state not in (CANARY, ACTIVE):
        return f"as the top of its ladder: a {found.state} has shown nothing yet as a whole."
    if is_top:
        return "as the top of its ladder: nothing cheaper has qualified."
    return f"the cheapest that has qualified: {evidence.reasons_of(row) if row else ''}."


def _change(tx: Transaction, found: _Version, step: Step, known: dict[str, EvidenceRow], trial: str | None) -> str:
    """What would bring a cheaper model in, or take the one there is off."""
    if trial is None:
        return ""
    share = f"{found.document.quality.canary_share:.0%} of the executions try {trial}"
    row = known.get(trial)
    asked = _asked(found.document, step)
    shown = evidence.evidence_of(tx, row, asked) if row else evidence.nothing(asked)
    verdict = judge(shown, asked.standard)
    return f"{share}, which would take over after {', '.join(verdict.needs) or 'one more success'}."


def _of_state(tx: Transaction, call: Call, found: _Version) -> list[str]:
    if found.state == ACTIVE:
        return []
    missing = promotion.lacking(tx, call, found.document)
    if not missing:
        return ["What it needs to become active has been shown."]
    return ["To become active it needs:", *[f"- {each}" for each in missing]]


def _of_whole(row: model.StepEvidence) -> str:
    return f"Executions: {_figures(row)}."


def _of_model(row: model.StepEvidence) -> str:
    """One model at a step, with what it is worth knowing of it."""
    who = row.model if row.served in ("", row.model) else f"{row.model} (served {row.served})"
    if row.source == model.CALLER:
        who = f"{who}, as agents say of themselves, which promotes nothing"
    elif row.source == model.TRIAL:
        who = f"{who}, in {row.trials} trials"
    change = ", ".join(row.verdict.needs)
    if change and row.status != model.QUALIFIED:
        change = f"what would change it: {change}"
    return f"- {who}: {_figures(row)}{f'; {change}' if change else ''}."


def _figures(row: model.StepEvidence) -> str:
    said = [
        f"{row.status}, {row.successes} of {row.successes + row.failures} succeeded",
        f"95% interval {row.low:.3f} to {row.high:.3f}, e-value {row.verdict.e_value:.3g}",
    ]
    if row.abstained:
        said.append(f"{row.abstained} times it gave up")
    if row.audits:
        said.append(f"{row.audits} audits since it qualified")
    if row.in_a_row is not None:
        said.append(f"pass^{model.IN_A_ROW} {row.in_a_row:.3f}")
    if row.reasons:
        said.append("; ".join(row.reasons))
    return ", ".join(said)


def _of_product(known: model.WorkflowEvidence) -> list[str]:
    """A run is worse than its steps, which is easily forgotten."""
    used = {choice.step: choice.model for choice in known.choices}
    rates = [
        row.successes / (row.successes + row.failures)
        for row in known.evidence
        if row.step and row.model == used.get(row.step) and row.source == model.PLANE and row.successes
    ]
    if len(rates) < 2:  # noqa: PLR2004 - one step is the run
        return []
    return [
        f"Together, {len(rates)} steps at these rates make a run that succeeds {run_success(rates):.1%} of the time."
    ]


def _candidate(tx: Transaction, call: Call, found: _Version, step: str, name: str) -> EvidenceRow:
    """What answers under that name at a step now. Raises NotFound where it was never tried there."""
    wanted = next((each for each in walk(found.document.steps) if each.id == step and each.kind == LLM), None)
    row = evidence.current(tx, call, _hash(found.document, wanted)).get(name) if wanted else None
    if row is None:
        raise not_found(
            "evidence on", f"{name} at step {step} of {found.name}", f"agent.workflows.evidence({found.name!r})"
        )
    return row._replace(last_at=tx.now)


def _find(tx: Transaction, call: Call, name: str, version: str | None) -> _Version:
    row, document = workflows.find(tx, call, name, version)
    return _Version(row.name, row.version, row.state, document)


def _hash(document: WorkflowDocument, step: Step) -> str:
    return step_hash(step, document.edge_cases)


def _ladder(document: WorkflowDocument, step: Step) -> list[Rung]:
    return step.ladder or document.ladder


def _asked(document: WorkflowDocument, step: Step) -> Asked:
    return evidence.asked_by(document, step, _ladder(document, step))
