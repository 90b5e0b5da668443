"""Evidence: what is seen of a model at a step, or of a version, is counted, and decides where it stands.

A candidate is tested, then qualified or rejected; what is qualified is watched, and demoted. The last two stay until
a person resets them. Everything costs the same however much was seen before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec

from agentmemo.engine import audit, escalations
from agentmemo.engine.call import Call
from agentmemo.model import escalations as escalation_model
from agentmemo.model import evidence as model
from agentmemo.model.evidence_calls import DEMOTED, PLANE, QUALIFIED, REJECTED, TESTING, TRIAL
from agentmemo.model.executions import Moment
from agentmemo.model.ledger import LedgerRow
from agentmemo.model.prices import Usage, cost_nanousd
from agentmemo.model.savings import Worth, terms, worth_promoting
from agentmemo.model.workflow_rules import NOT_EMPTY
from agentmemo.model.workflows import NO_MODEL, EdgeCase, Quality, Rung, Step, WorkflowDocument, is_told
from agentmemo.store import evidence as rows
from agentmemo.store.database import Transaction
from agentmemo.store.evidence import EvidenceRow

TELLING = ("schema", "expression", "regex", "tool")
KEY_DIGITS = 16
# A saving has to come within so many runs.
FORECAST_RUNS = 100
_watch = msgspec.json.Decoder(model.Watch)


class Candidate(NamedTuple):
    """Whom evidence is about: `subject` is what a step asks (its hash), or a version; then `model` is empty."""

    subject: str
    model: str = ""
    served: str = ""
    workflow: str = ""
    step: str = ""
    source: str = PLANE


class Asked(NamedTuple):
    """What a candidate is held to. `candidates` share one alpha; `above` is the model of the top rung."""

    standard: model.Standard
    candidates: int = 1
    edge_cases: tuple[str, ...] = ()
    above: str = ""
    telling: bool = True


class Seen(NamedTuple):
    """One thing that was seen. `by` says who judged: a hard check, an audit or a person.

    `overturns` says that a check had passed what now counts as a failure.
    """

    passed: bool
    input_hash: str
    edge_cases: tuple[str, ...] = ()
    by: Literal["check", "audit", "person"] = "check"
    overturns: bool = False


class TrialCase(NamedTuple):
    input_hash: str
    passed: bool
    edge_cases: tuple[str, ...] = ()


def is_telling(step: Step) -> bool:
    """Whether a hard check can tell a right output from a wrong one; that it is not empty says too little."""
    hard = [check for check in step.checks if check.severity == "hard" and check.kind in TELLING]
    return step.output_schema is not None or any(check.expression != NOT_EMPTY["expression"] for check in hard)


def asked_of(found: Moment, ladder: list[Rung]) -> Asked:
    return asked_by(found.document, found.step, ladder)


def asked_by(document: WorkflowDocument, step: Step, ladder: list[Rung]) -> Asked:
    """What a model at this step is held to, on this ladder."""
    return Asked(
        standard=model.step_standard(document.quality),
        candidates=max(1, len(ladder) - 1),
        edge_cases=tuple(edge_key(edge) for edge in recognised(step, document)),
        above=ladder[-1].model if ladder else "",
        telling=is_telling(step),
    )


def recognised(step: Step, document: WorkflowDocument) -> list[EdgeCase]:
    """The edge cases of a step of which a machine can say whether they were met."""
    cases = document.edge_cases
    return [edge for edge in cases if edge.matches and edge.action == "tell" and is_told(step, edge)]


def edge_key(edge: EdgeCase) -> str:
    """An edge case by its condition: what it is called changes nothing."""
    return hashlib.sha256((edge.matches or "").encode()).hexdigest()[:KEY_DIGITS]


def chance(call: Call, execution: str) -> str:
    """What chance is made of: the same on every machine, and nothing that an agent could choose or foresee."""
    _, secret = call.engine.names.workspace(call.caller.workspace)
    return f"{secret.hex()}\0{execution}"


def observe(tx: Transaction, call: Call, candidate: Candidate, asked: Asked, seen: Seen) -> EvidenceRow:
    """Count it, and decide anew."""
    row = met(tx, call, candidate, asked)
    if seen.by != "check" and asked.telling:
        # A check has counted it already, so this only puts it right.
        row = _overturned(tx, row, seen) if seen.overturns else row
    else:
        row = row._replace(successes=row.successes + seen.passed, failures=row.failures + (not seen.passed))
        row = _count(tx, row, seen) if row.standing == TESTING else row
    if row.standing == QUALIFIED:
        row = _watched(tx, call, row, asked, seen)
    elif row.standing == TESTING and row.source == PLANE:
        row = _decided(tx, call, row, asked)
    return rows.set_(tx, row)


def note_abstained(tx: Transaction, call: Call, candidate: Candidate, asked: Asked) -> None:
    """It knew that it could not: an escalation, and neither a success nor a failure."""
    row = met(tx, call, candidate, asked)
    rows.set_(tx, row._replace(abstained=row.abstained + 1))


def note_usage(tx: Transaction, row: EvidenceRow, used: LedgerRow) -> None:
    """What a call took, so that its price can be compared with that of the top rung."""
    if used.usage is not None:
        rows.set_(
            tx,
            row._replace(
                called=used.model,
                calls=row.calls + 1,
                input_tokens=row.input_tokens + used.usage.input_tokens,
                output_tokens=row.output_tokens + used.usage.output_tokens,
            ),
        )


def current(tx: Transaction, call: Call, subject: str) -> dict[str, EvidenceRow]:
    """By model, what is known of what answers under its name now. What callers say of themselves is left out."""
    found: dict[str, EvidenceRow] = {}
    for row in rows.of_subject(tx, call.workspace, subject):
        if row.source == PLANE:
            found.setdefault(row.model, row)
    return found


def met(tx: Transaction, call: Call, candidate: Candidate, asked: Asked) -> EvidenceRow:
    """The row of a candidate. One that is served now, where another had qualified, demotes that one at once."""
    if candidate.source == PLANE and candidate.served:
        known = current(tx, call, candidate.subject).get(candidate.model)
        if known is not None and known.served != candidate.served and known.standing == QUALIFIED:
            watch = msgspec.structs.replace(watch_of(known), served_model=candidate.served)
            verdict = model.judge(model.Evidence(watch=watch), asked.standard)
            rows.set_(tx, demote(tx, call, known._replace(watch=_encoded(watch)), verdict.reasons))
    row = rows.get(tx, call.workspace, candidate.subject, candidate.source, candidate.model, candidate.served)
    row = row or rows.add(tx, call.workspace, _new(tx, candidate, asked))
    return row._replace(last_at=tx.now, workflow=candidate.workflow, step=candidate.step, above=asked.above)


def watch_of(row: EvidenceRow) -> model.Watch:
    return _watch.decode(row.watch) if row.watch else model.Watch()


def evidence_of(tx: Transaction, row: EvidenceRow, asked: Asked) -> model.Evidence:
    """What `judge` takes: sums are enough, since no input is counted more often than it may be."""
    if row.standing == QUALIFIED or (row.standing == DEMOTED and row.watch):
        return model.Evidence(watch=watch_of(row))
    known: dict[str, int] = dict(tx.all("evidence_edges", evidence=row.id)) if asked.edge_cases else {}
    return model.Evidence(
        inputs=model.spread(row.inputs, row.tested_successes, row.tested_failures),
        edge_cases={key: known.get(key, 0) for key in asked.edge_cases},
        candidates=asked.candidates,
        planned=row.planned,
    )


def nothing(asked: Asked) -> model.Evidence:
    """Before the first that counts."""
    return model.Evidence(edge_cases=dict.fromkeys(asked.edge_cases, 0), candidates=asked.candidates)


def reasons_of(row: EvidenceRow) -> str:
    return "; ".join(msgspec.json.decode(row.reasons, type=list[str]))


def demote(tx: Transaction, call: Call, row: EvidenceRow, reasons: Sequence[str]) -> EvidenceRow:
    """It is qualified no more: in the trail, and told to people. The caller keeps the row."""
    row = _set(tx, call, row, DEMOTED, reasons, "evidence.demote")
    _tell(tx, call, row, reasons)
    return row


def promote(tx: Transaction, call: Call, row: EvidenceRow, reasons: Sequence[str]) -> EvidenceRow:
    """It has shown it: from now on it is watched, and its single inputs are not needed any more."""
    return _set(tx, call, row, QUALIFIED, reasons, "evidence.promote")._replace(watch=_encoded(model.Watch()))


def reset(tx: Transaction, call: Call, row: EvidenceRow, reason: str) -> EvidenceRow:
    """Tested anew, from nothing."""
    tx.write("evidence_input_remove", evidence=row.id)
    tx.write("evidence_edge_remove", evidence=row.id)
    row = _set(tx, call, row, TESTING, [reason] if reason else [], "evidence.reset")
    return row._replace(watch=None, inputs=0, tested_successes=0, tested_failures=0)


def worth(tx: Transaction, call: Call, row: EvidenceRow, audited: float) -> Worth | None:
    """Whether it pays at today's prices to let it do the step; None where some price or usage is not known."""
    top = current(tx, call, row.subject).get(row.above) if row.above else None
    used = row if row.calls else top
    if top is None or used is None or not used.calls or not top.called:
        return None
    usage = Usage(input_tokens=used.input_tokens // used.calls, output_tokens=used.output_tokens // used.calls)
    dear = call.engine.prices.lookup(top.called, tx.now)
    own = call.engine.prices.lookup(row.called, tx.now) if row.calls else None
    if dear is None or (own is None and row.model != NO_MODEL) or not (smart := cost_nanousd(dear, usage)):
        return None
    cheap = cost_nanousd(own, usage) if own is not None else 0
    escalated, observed = row.failures + row.abstained, row.successes + row.failures + row.abstained
    return worth_promoting(
        terms(smart, cheap, audited=Fraction(str(audited))), FORECAST_RUNS, escalations=escalated, observed=observed
    )


def review_price(tx: Transaction, call: Call, number: int) -> bool:
    """Demote what would not be promoted at today's prices. Whether it was."""
    row = rows.by_id(tx, number)
    pays = worth(tx, call, row, Quality().audit_share) if row.standing == QUALIFIED else None
    if pays is None or pays.holds:
        return False
    rows.set_(tx, demote(tx, call, row, [f"at today's prices it does not pay any more: {pays.reason}"]))
    return True


def record_trial(
    tx: Transaction,
    call: Call,
    candidate: Candidate,
    *,
    planned: int,
    cases: Sequence[TrialCase],
    standard: model.Standard,
    edge_cases: Sequence[str] = (),
    candidates: int = 1,
    abstained: int = 0,
    above: str = "",
) -> model.Verdict:
    """Take in a replay of stored cases whose number was fixed beforehand, once, at its end.

    What it shows holds as if runs had shown it. The n-th trial of a candidate has alpha / 2 ** (n - 1), so that trying
    again until it fits does not help. What was rejected, or demoted, stays so until a person resets it.
    """
    asked = Asked(standard, candidates, tuple(edge_cases), above)
    trial = met(tx, call, candidate._replace(source=TRIAL), asked)
    each = msgspec.structs.replace(standard, alpha=standard.alpha / 2**trial.trials)
    evidence = _of_cases(cases, asked, planned)
    verdict = model.judge(evidence, each)
    counts, _ = model.effective(evidence.inputs)
    passed = sum(case.passed for case in cases)
    trial = trial._replace(
        trials=trial.trials + 1,
        planned=planned,
        successes=trial.successes + passed,
        failures=trial.failures + len(cases) - passed,
        abstained=trial.abstained + abstained,
        inputs=len(evidence.inputs),
        tested_successes=counts.successes,
        tested_failures=counts.failures,
    )
    rows.set_(tx, _set(tx, call, trial, verdict.status, verdict.reasons, "evidence.trial"))
    row = met(tx, call, candidate, asked)
    said = [f"a trial of {planned} cases: {reason}" for reason in verdict.reasons]
    if row.standing == TESTING and verdict.status == QUALIFIED:
        row = promote(tx, call, row, said)
    elif row.standing == TESTING and verdict.status == REJECTED:
        row = _set(tx, call, row, REJECTED, said, "evidence.reject")
    rows.set_(tx, row)
    return verdict


def _of_cases(cases: Sequence[TrialCase], asked: Asked, planned: int) -> model.Evidence:
    inputs: dict[str, model.Counts] = {}
    edges = dict.fromkeys(asked.edge_cases, 0)
    for case in cases:
        known = inputs.get(case.input_hash, model.Counts())
        inputs[case.input_hash] = model.Counts(known.successes + case.passed, known.failures + (not case.passed))
        for key in case.edge_cases:
            if key in edges:
                edges[key] += 1
    return model.Evidence(inputs=inputs, edge_cases=edges, planned=planned, candidates=asked.candidates)


def _count(tx: Transaction, row: EvidenceRow, seen: Seen) -> EvidenceRow:
    """One more of its kind of input, if that has not been seen often enough."""
    known = tx.one("evidence_input_get", evidence=row.id, input_hash=seen.input_hash)
    if known is not None and known[0] + known[1] >= model.RUNS_PER_INPUT:
        return row
    success, failure = int(seen.passed), int(not seen.passed)
    tx.write("evidence_input_add", evidence=row.id, input_hash=seen.input_hash, successes=success, failures=failure)
    for key in seen.edge_cases:
        tx.write("evidence_edge_add", evidence=row.id, edge=key)
    return row._replace(
        inputs=row.inputs + (known is None),
        tested_successes=row.tested_successes + success,
        tested_failures=row.tested_failures + failure,
    )


def _overturned(tx: Transaction, row: EvidenceRow, seen: Seen) -> EvidenceRow:
    """A success that a better judge calls a failure."""
    row = row._replace(successes=row.successes - 1, failures=row.failures + 1)
    known = tx.one("evidence_input_get", evidence=row.id, input_hash=seen.input_hash)
    if row.standing != TESTING or known is None or not known[0]:
        return row
    tx.write("evidence_input_add", evidence=row.id, input_hash=seen.input_hash, successes=-1, failures=1)
    return row._replace(tested_successes=row.tested_successes - 1, tested_failures=row.tested_failures + 1)


def _watched(tx: Transaction, call: Call, row: EvidenceRow, asked: Asked, seen: Seen) -> EvidenceRow:
    follow = model.observe_check if seen.by == "check" else model.observe_audit
    watch = follow(watch_of(row), asked.standard, failed=not seen.passed)
    row = row._replace(watch=_encoded(watch))
    if not model.is_demoted(watch, asked.standard):
        return row
    return demote(tx, call, row, model.judge(model.Evidence(watch=watch), asked.standard).reasons)


def _decided(tx: Transaction, call: Call, row: EvidenceRow, asked: Asked) -> EvidenceRow:
    found = evidence_of(tx, row, asked)
    status = model.status_of(found, asked.standard)
    if status == REJECTED:
        return _set(tx, call, row, REJECTED, model.judge(found, asked.standard).reasons, "evidence.reject")
    if status != QUALIFIED:
        return row
    pays = worth(tx, call, row, asked.standard.audit_share)
    if pays is not None and not pays.holds:
        return row._replace(reasons=_encoded([pays.reason]))
    return promote(tx, call, row, model.judge(found, asked.standard).reasons)


def _set(
    tx: Transaction, call: Call, row: EvidenceRow, standing: str, reasons: Sequence[str], operation: str
) -> EvidenceRow:
    subject = {"kind": "evidence", "id": row.subject[:KEY_DIGITS], "workflow": row.workflow, "standing": standing}
    subject |= {"step": row.step, "model": row.model, "served": row.served} if row.model else {}
    audit.record(tx, call, operation, subject, reason="; ".join(reasons))
    return row._replace(standing=standing, reasons=_encoded(list(reasons)), since=tx.now)


def _tell(tx: Transaction, call: Call, row: EvidenceRow, reasons: Sequence[str]) -> None:
    """People hear of it; nobody waits for them."""
    what = f"{row.model} at step {row.step} of {row.workflow}" if row.model else f"{row.workflow} {row.subject[:12]}"
    then = (
        "The next model up the ladder does the step; to test it anew, reset it: "
        f"agentmemo workflow reset-model {row.workflow} {row.step} {row.model}."
        if row.model
        else "It stays where it is; a person may take it back: "
        f"agentmemo workflow demote {row.workflow} {row.subject[:12]}."
    )
    escalations.raise_for(
        tx,
        call,
        escalation_model.CreateEscalation(
            severity="low",
            kind="info",
            reason=f"{what} is not good enough any more: {'; '.join(reasons)}"[: escalation_model.REASON_MAX],
            collapse_key=f"evidence:{row.subject[:KEY_DIGITS]}:{row.model}:{row.served}",
        ),
        escalation_model.Question(context={"what_happens": then}, detail={"reasons": list(reasons)}),
    )


def _new(tx: Transaction, candidate: Candidate, asked: Asked) -> EvidenceRow:
    return EvidenceRow(
        id=0,
        **candidate._asdict(),
        standing=TESTING,
        reasons="[]",
        since=tx.now,
        last_at=tx.now,
        successes=0,
        failures=0,
        abstained=0,
        inputs=0,
        tested_successes=0,
        tested_failures=0,
        trials=0,
        planned=None,
        watch=None,
        above=asked.above,
        called="",
        calls=0,
        input_tokens=0,
        output_tokens=0,
    )


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()
