"""What models say that are asked beside a step: the stronger one, to audit it, or a candidate version's.

It is compared with what was kept, counts as evidence, and never moves an execution: that is over by then, mostly.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from agentmemo import ids
from agentmemo.engine import audit, escalations, evidence, ledger, model_calls, next_steps
from agentmemo.engine.attempts import Attempted
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.evidence import Asked, Candidate, Seen
from agentmemo.engine.execution_scope import Standing, Unclear
from agentmemo.engine.output_checks import judge
from agentmemo.engine.workflows import find
from agentmemo.errors import InvalidTransition, PermissionDenied
from agentmemo.model import escalations as escalation_model
from agentmemo.model import evidence_calls as model
from agentmemo.model import executions, runs
from agentmemo.model import ledger as ledger_model
from agentmemo.model.evidence import in_share, step_standard
from agentmemo.model.executions import Moment
from agentmemo.model.values import encode_sorted
from agentmemo.model.workflows import LLM, Rung, Step, step_hash, walk
from agentmemo.store import evidence as rows
from agentmemo.store import executions as execution_rows
from agentmemo.store.database import Transaction

# Of what nothing but a person can compare, people are shown so much.
PERSON_SHARE = 0.2
TEXT_SHOWN = 2000
_CLOSED = ("boolean", "integer", "number", "null")
_frames = msgspec.json.Decoder(list[executions.Frame])


class Compared(NamedTuple):
    """What is to be written of a comparison: the verdict on `candidate`, which is judged by `asked`."""

    row: rows.ComparisonRow
    verdict: str
    reason: str
    candidate: Candidate
    asked: Asked
    texts: tuple[str, str] = ("", "")


def beside(course: Standing, found: Moment, ladder: list[Rung]) -> list[executions.Beside]:
    """Who is asked as well, when the step is handed in."""
    progress, top = course.progress, ladder[-1] if ladder else None
    if top is None or progress.tries or progress.rung != progress.first_rung:
        return []
    asked = []
    if progress.audit:
        asked.append(executions.Beside(role=model.AUDIT, model=top.model, max_output_tokens=top.max_output_tokens))
    candidate = shadow_of(course, found, progress.shadow)
    if candidate is not None:
        rung = (course.ladder(candidate) or ladder)[-1]
        # Where it needs what only its own version makes, it cannot be tried beside this one.
        with suppress(Unclear):
            step = msgspec.to_builtins(next_steps.for_driver(course, candidate, rung))
            asked.append(executions.Beside(role=model.SHADOW, model=rung.model, asked=step))
    return asked


def shadow_of(course: Standing, found: Moment, version: str) -> Moment | None:
    """The same step of a candidate version, where it asks something else and has no effect."""
    if not version:
        return None
    document = course.document_of(found.frame.workflow, version)
    step = next((step for step in document.steps if step.id == found.step.id), None)
    if step is None or step.kind != LLM or step.effect in runs.ANNOUNCED_EFFECTS:
        return None
    candidate = Moment(step, document, found.frame, found.path)
    return None if candidate.hash == found.hash else candidate


def owe(
    tx: Transaction,
    call: Call,
    row: execution_rows.ExecutionRow,
    attempted: Attempted,
    about: rows.EvidenceRow,
) -> None:
    """Remember what is to be compared: only that is taken in later."""
    tried = attempted.tried
    assert tried is not None  # noqa: S101 - a model did it
    for role, version in ((model.AUDIT, tried.audit and row.version), (model.SHADOW, tried.shadow)):
        if version:
            tx.write(
                "comparison_add",
                workspace=call.workspace,
                run=row.run,
                path=attempted.path,
                role=role,
                number=attempted.number,
                evidence=about.id,
                model=tried.audit if role == model.AUDIT else "",
                version=version,
                frames=tried.frames,
                input_hash=attempted.input_hash,
                verdict=model.DUE,
                reason="",
                at=tx.now,
            )


def reserve(tx: Transaction, call: Call, request: executions.BeginStep, course: Standing) -> ledger_model.LedgerRow:
    """Set aside what is asked beside a step, under the same caps as the step. Raises LimitExceeded."""
    row = _due(tx, call, request.execution, request.step, request.role or "")
    return ledger.reserve(
        tx,
        call,
        ledger_model.ReserveUsage(
            id=ids.mint("use", tx.now),
            model=request.model or "",
            input_tokens=request.input_tokens,
            max_output_tokens=request.max_output_tokens,
            role="audit" if row.role == model.AUDIT else "shadow",
            workflow=course.row.workflow,
            version=row.version,
            run=request.execution,
            step=request.step,
            attempt=request.attempt,
            caps=model_calls.caps_of(course.documents[course.progress.frames[0].document]),
        ),
    )


def consider(call: Call, request: model.CompareStep, course_of: Any) -> None:
    """Before the transaction: judge and compare, which takes as long as it takes."""
    found = call.engine.database.read(lambda tx: _look(tx, call, request, course_of(tx, call, request.execution)))
    if found is not None:
        call.decisions[request.execution] = found


def compare(tx: Transaction, call: Call, request: model.CompareStep) -> model.Comparison:
    """Write what was found, and count it. What was compared before stays as it is."""
    row = _due(tx, call, request.execution, request.step, request.role)
    compared: Compared | None = call.decisions.get(request.execution)
    if compared is None or row.verdict != model.DUE:
        return _view(request.execution, row)
    model_calls.settle_of_step(tx, call, request)
    _end(tx, call, row, compared.verdict, compared.reason, request.execution)
    if compared.verdict in (model.SAME, model.DIFFERENT):
        same = compared.verdict == model.SAME
        seen = Seen(same, row.input_hash, by="audit", overturns=not same)
        if row.role == model.SHADOW:
            seen = Seen(same, row.input_hash)
        evidence.observe(tx, call, compared.candidate, compared.asked, seen)
    elif any(compared.texts) and in_share(f"{row.run}\0{row.path}", "person", PERSON_SHARE):
        _ask_people(tx, call, request, compared)
    return _view(request.execution, row._replace(verdict=compared.verdict, reason=compared.reason))


def judge_step(tx: Transaction, call: Call, request: model.JudgeStep) -> model.Comparison:
    """A person's word on what a step gave. Raises PermissionDenied for anybody else."""
    check_person(call, "say whether a step was done right")
    run = execution_rows.get(tx, call.workspace, request.execution)
    kept = _kept_attempt(tx, run.run, request.step) if run else None
    if run is None or kept is None:
        raise not_found(
            "step that a model did",
            f"{request.step} of {request.execution}",
            f"agent.workflows.attempts({request.execution!r})",
        )
    known = rows.comparison(tx, run.run, request.step, model.PERSON)
    if known is not None:
        return _view(request.execution, known)
    about = evidence.current(tx, call, kept.step_hash).get(kept.model or "")
    if about is None:
        raise not_found("evidence on the model", str(kept.model), "agent.workflows.evidence(name)")
    verdict = model.SAME if request.right else model.DIFFERENT
    asked = _asked_of(tx, call, run, kept, about)
    tx.write(
        "comparison_add",
        workspace=call.workspace,
        run=run.run,
        path=request.step,
        role=model.PERSON,
        number=kept.number,
        evidence=about.id,
        model="",
        version=run.version,
        frames="[]",
        input_hash=kept.input_hash,
        verdict=verdict,
        reason=request.reason,
        at=tx.now,
    )
    subject = {"kind": "execution", "id": request.execution, "step": request.step, "verdict": verdict}
    audit.record(tx, call, "workflow.judge", subject, stream=request.execution, reason=request.reason)
    candidate = Candidate(about.subject, about.model, about.served, about.workflow, about.step)
    evidence.observe(
        tx, call, candidate, asked, Seen(request.right, kept.input_hash, by="person", overturns=not request.right)
    )
    made = rows.comparison(tx, run.run, request.step, model.PERSON)
    assert made is not None  # noqa: S101 - it was just written
    return _view(request.execution, made)


def check_person(call: Call, what: str) -> None:
    if call.caller.kind != "person":
        raise PermissionDenied(
            f"Only a person may {what}.",
            why="An agent can claim anything.",
            next_call="Ask one, or let runs and audits show it: agent.workflows.evidence(name).",
        )


def _look(tx: Transaction, call: Call, request: model.CompareStep, course: Standing) -> Compared | None:
    """None where it was compared before."""
    row = _due(tx, call, request.execution, request.step, request.role)
    if row.verdict != model.DUE:
        return None
    found = _moment(course, row)
    about = rows.by_id(tx, row.evidence)
    if row.role == model.SHADOW:
        candidate = shadow_of(course, found, row.version)
        return _of_shadow(course, row, found, candidate, request) if candidate else None
    asked = evidence.asked_of(found, course.ladder(found))
    who = Candidate(about.subject, about.model, about.served, about.workflow, about.step)
    if request.outcome != "output":
        return Compared(row, model.UNCLEAR, f"{row.model}: {request.reason or request.outcome}", who, asked)
    other, kept = request.result.original, course.scope.output(row.path)
    problems = judge(course, found, other, request.checks).problems
    if problems:
        return Compared(row, model.UNCLEAR, f"{row.model} did not do it right: {'; '.join(problems)}", who, asked)
    verdict, reason = _verdict(course, found.step, kept, other)
    texts = (next_steps.shown(kept), next_steps.shown(other)) if verdict == model.UNCLEAR else ("", "")
    return Compared(row, verdict, reason, who, asked, texts)


def _of_shadow(
    course: Standing, row: rows.ComparisonRow, found: Moment, candidate: Moment, request: model.CompareStep
) -> Compared:
    """A candidate's step on the same inputs: by its own checks, else compared with what was kept."""
    ladder = course.ladder(candidate) or course.ladder(found)
    top = ladder[-1].model if ladder else ""
    asked = evidence.asked_of(candidate, ladder)
    who = Candidate(candidate.hash, top, request.served_model or top, course.row.workflow, candidate.step.id)
    if request.outcome != "output":
        return Compared(row, model.UNCLEAR, request.reason or request.outcome, who, asked)
    given = request.result.original
    problems = judge(course, candidate, given, request.checks).problems
    if problems:
        return Compared(row, model.DIFFERENT, "; ".join(problems), who, asked)
    if asked.telling:
        return Compared(row, model.SAME, "its checks hold", who, asked)
    verdict, reason = _verdict(course, candidate.step, given, course.scope.output(row.path))
    return Compared(row, verdict, reason, who, asked)


def _verdict(course: Standing, step: Step, output: Any, other: Any) -> tuple[str, str]:
    """Whether one output is as good as another: equal, or as the step's `compare` says."""
    if step.compare is not None:
        variables = course.scope.variables(course.progress, step.compare) | {"output": output, "other": other}
        ((value, why),) = course.call.engine.judge.evaluate([step.compare], variables)
        if not isinstance(value, bool):
            return model.UNCLEAR, f"{step.compare}: {why or 'neither true nor false'}"
        return (model.SAME if value else model.DIFFERENT), step.compare
    if step.output_schema is None or not is_closed(step.output_schema):
        return model.UNCLEAR, "two texts may be right in different words; give the step a `compare`"
    equal = encode_sorted(output) == encode_sorted(other)
    return (model.SAME, "equal") if equal else (model.DIFFERENT, "not equal")


def is_closed(schema: dict[str, Any]) -> bool:
    """Whether there is one right way to write an answer: labels and numbers, and what is made of them."""
    if "enum" in schema or "const" in schema or schema.get("type") in _CLOSED:
        return True
    if schema.get("type") == "array":
        return isinstance(schema.get("items"), dict) and is_closed(schema["items"])
    parts = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(parts, dict):
        return False
    return bool(parts) and all(isinstance(part, dict) and is_closed(part) for part in parts.values())


def _moment(course: Standing, row: rows.ComparisonRow) -> Moment:
    """The step as it was reached then; what it sees are the outputs that it saw."""
    course.progress = executions.Progress(frames=_frames.decode(row.frames))
    for frame in course.progress.frames:
        course.document_of(frame.workflow, frame.document)
    found = executions.moment(course.progress, course.documents)
    assert found is not None  # noqa: S101 - it was there when it was done
    return found


def _due(tx: Transaction, call: Call, execution: str, step: str, role: str) -> rows.ComparisonRow:
    """Raises InvalidTransition for what nobody asked for: an agent does not choose what is audited."""
    run = execution_rows.get(tx, call.workspace, execution)
    row = rows.comparison(tx, run.run, step, role) if run and role in (model.AUDIT, model.SHADOW) else None
    if row is None:
        raise InvalidTransition(
            f"No {role or 'comparison'} of step {step} of {execution} is due.",
            why="What is compared is chosen by the plane.",
            next_call="Ask what `next_step.beside` names, and nothing else.",
        )
    return row


def _kept_attempt(tx: Transaction, run: int, path: str) -> execution_rows.AttemptRow | None:
    found = [execution_rows.AttemptRow(*values) for values in tx.all("attempts_at", run=run, path=path)]
    return next((row for row in reversed(found) if row.verdict == executions.PASSED and row.model), None)


def _asked_of(
    tx: Transaction,
    call: Call,
    run: execution_rows.ExecutionRow,
    kept: execution_rows.AttemptRow,
    about: rows.EvidenceRow,
) -> Asked:
    """What a person's word is weighed by: what the document asks of the step that was done."""
    document = find(tx, call, run.workflow, run.version).document
    cases = document.edge_cases
    step = next((step for step in walk(document.steps) if step_hash(step, cases) == kept.step_hash), None)
    if step is None:  # of a workflow inside it
        return Asked(step_standard(document.quality), above=about.above)
    return evidence.asked_by(document, step, step.ladder or document.ladder)


def _end(tx: Transaction, call: Call, row: rows.ComparisonRow, verdict: str, reason: str, execution: str) -> None:
    tx.write("comparison_end", id=row.id, verdict=verdict, reason=reason, at=tx.now)
    subject = {"kind": "execution", "id": execution, "step": row.path, "role": row.role, "verdict": verdict}
    audit.record(tx, call, "workflow.compare", subject, stream=execution, reason=reason)


def _ask_people(tx: Transaction, call: Call, request: model.CompareStep, compared: Compared) -> None:
    who, (kept, other) = compared.candidate, compared.texts
    escalations.raise_for(
        tx,
        call,
        escalation_model.CreateEscalation(
            severity="low",
            kind="info",
            reason=f"Is what {who.model} gave at step {who.step} of {who.workflow} right? Only a person can tell.",
            collapse_key=f"compare:{who.subject[:16]}:{who.model}",
        ),
        escalation_model.Question(
            context={
                "execution": request.execution,
                "step": request.step,
                who.model: kept[:TEXT_SHOWN],
                compared.row.model: other[:TEXT_SHOWN],
                "say_so": f"agentmemo workflow judge {request.execution} {request.step} right (or wrong)",
            },
        ),
    )


def _view(execution: str, row: rows.ComparisonRow) -> model.Comparison:
    return model.Comparison(
        execution=execution, step=row.path, role=row.role, model=row.model, verdict=row.verdict, reason=row.reason
    )
