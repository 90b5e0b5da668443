"""What an attempt at a step, or a whole execution, is evidence of."""

from __future__ import annotations

import msgspec

from agentmemo.engine import comparisons, evidence
from agentmemo.engine.attempts import Attempted, Tried
from agentmemo.engine.call import Call
from agentmemo.engine.evidence import Asked, Candidate, Seen
from agentmemo.engine.execution_scope import Standing
from agentmemo.model import executions as model
from agentmemo.model.evidence import run_standard
from agentmemo.model.evidence_calls import CALLER, PLANE
from agentmemo.model.executions import Moment
from agentmemo.model.ledger import VOID, LedgerRow
from agentmemo.model.workflows import LLM, NO_MODEL, Quality, Rung
from agentmemo.store import executions as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction


def look(course: Standing, found: Moment, stated: str | None) -> Tried | None:
    """Before the attempt is judged, which moves the course on. None for what no model does."""
    if found.step.kind != LLM:
        return None
    progress, ladder = course.progress, course.ladder(found)
    rung = ladder[progress.rung] if progress.rung is not None and ladder else None
    name = rung.model if rung else stated
    if name is None:
        return None
    cases = evidence.recognised(found.step, found.document)
    met = [evidence.edge_key(edge) for edge in cases if course.scope.holds(progress, edge.matches or "")]
    is_first = progress.tries == 0 and progress.rung == progress.first_rung
    return Tried(
        model=name,
        asked=evidence.asked_of(found, ladder),
        fresh=progress.tries == 0,
        edge_cases=tuple(met),
        audit=progress.audit if is_first else "",
        shadow=progress.shadow if is_first else "",
        frames=msgspec.json.encode(progress.frames).decode(),
    )


def takes_model(course: Standing, found: Moment) -> bool:
    """Whether a model has to be asked for what the step gives: the rung without one answers from examples."""
    place, ladder = course.progress.rung, course.ladder(found)
    return found.step.kind == LLM and not (place is not None and ladder and ladder[place].model == NO_MODEL)


def note_attempt(
    tx: Transaction,
    call: Call,
    row: rows.ExecutionRow,
    request: model.SubmitStep,
    attempted: Attempted,
    used: LedgerRow | None,
) -> None:
    """Count an attempt for the model that was served, and owe what is to be compared with it."""
    tried = attempted.tried
    if tried is None:
        return
    source = CALLER if row.driver == model.CALLER else PLANE
    if source == PLANE and tried.model != NO_MODEL and used is None:
        return  # nobody can tell that the model was asked at all
    served = request.served_model or (used.model if used else tried.model)
    candidate = Candidate(attempted.step_hash, tried.model, served, row.workflow, attempted.step.id, source)
    if attempted.verdict == model.ABSTAINED:
        evidence.note_abstained(tx, call, candidate, tried.asked)
    elif attempted.verdict in (model.PASSED, model.FAILED) or request.billed:
        _note_judged(tx, call, candidate, attempted, tried)
    if used is not None and used.state != VOID:
        evidence.note_usage(tx, evidence.met(tx, call, candidate, tried.asked), used)
    if attempted.verdict == model.PASSED and (tried.audit or tried.shadow):
        about = evidence.met(tx, call, candidate, tried.asked)
        comparisons.owe(tx, call, row, attempted, about)


def _note_judged(tx: Transaction, call: Call, candidate: Candidate, attempted: Attempted, tried: Tried) -> None:
    passed = attempted.verdict == model.PASSED
    seen = Seen(passed, attempted.input_hash, tried.edge_cases)
    if tried.fresh and tried.asked.telling:
        evidence.observe(tx, call, candidate, tried.asked, seen)
    if tried.audit and not passed:
        # Whoever is audited by chance is so whatever the checks say; here there is nothing left to compare.
        evidence.observe(tx, call, candidate, tried.asked, seen._replace(by="audit"))


def note_supplied(tx: Transaction, call: Call, row: rows.ExecutionRow, found: Moment, ladder: list[Rung]) -> None:
    """A person did it after all: those who gave up could not, and that is a failure of theirs."""
    asked = evidence.asked_of(found, ladder)
    for values in tx.all("attempts_at", run=row.run, path=found.path):
        attempt = rows.AttemptRow(*values)
        if attempt.verdict != model.ABSTAINED or attempt.model is None or row.driver == model.CALLER:
            continue
        served = attempt.served_model or attempt.model
        known = evidence.current(tx, call, attempt.step_hash).get(attempt.model)
        candidate = Candidate(
            attempt.step_hash, attempt.model, known.served if known else served, row.workflow, attempt.step
        )
        evidence.observe(tx, call, candidate, asked, Seen(passed=False, input_hash=attempt.input_hash))


def note_run(
    tx: Transaction,
    call: Call,
    row: rows.ExecutionRow,
    run: run_rows.RunRow,
    progress: model.Progress,
    quality: Quality,
    *,
    failed: bool,
) -> None:
    """A whole execution counts where checks say that what it made is right, or where it could not do without help."""
    passed = not failed and not progress.helped
    if passed and not progress.told:
        return
    # What was handed in without a model having been asked for it says nothing of how the plane would do.
    source = CALLER if row.driver == model.CALLER or progress.unasked else PLANE
    candidate = Candidate(row.version, workflow=row.workflow, source=source)
    asked = Asked(run_standard(quality))
    evidence.observe(tx, call, candidate, asked, Seen(passed, run.inputs_hash))
