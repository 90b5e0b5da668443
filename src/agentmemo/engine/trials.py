"""Trials: planned, tried case by case under a claim, and ended once all of the plan is decided. A trial is a run."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Any, NamedTuple

import msgspec

from agentmemo.engine import audit, cases, evidence, model_calls, runs, trial_evidence
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.claims import held
from agentmemo.engine.execution_course import document as document_by_version
from agentmemo.engine.handoff_ends import end_run
from agentmemo.engine.past_executions import Past
from agentmemo.engine.run_views import changed
from agentmemo.engine.state import check_limit
from agentmemo.engine.trial_steps import OneStep, Verdict, rungs_of
from agentmemo.engine.workflows import find
from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model import cases as case_model
from agentmemo.model import executions, workflows
from agentmemo.model import runs as run_model
from agentmemo.model import trials as model
from agentmemo.model.cases import NewCase
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.trials import Outcome, Plan, Unit
from agentmemo.model.values import encode_sorted
from agentmemo.model.workflows import NO_MODEL, Step, WorkflowDocument, walk
from agentmemo.store import cases as rows
from agentmemo.store import evidence as evidence_rows
from agentmemo.store import runs as run_rows
from agentmemo.store.blobs import NOTHING
from agentmemo.store.database import Transaction

ATTEMPTS_MAX = 1000
KEY_SHOWN = 32
WHOLE = ""
_plan = msgspec.json.Decoder(Plan)
_texts = msgspec.json.Decoder(list[str])


class Opening(NamedTuple):
    """A trial as it would begin."""

    version: str
    plan: Plan
    key: str


class Subject(NamedTuple):
    """What is tried: a step of a version, or the whole of it."""

    document: WorkflowDocument
    version: str
    step: Step | None


class Tried(NamedTuple):
    """What came of a case, judged before the transaction."""

    unit: Unit
    input_hash: str
    verdict: Verdict
    edge_cases: list[str]


def consider_opening(call: Call, request: model.OpenTrial) -> None:
    """Before the transaction: the plan, and whether every case of it can be tried."""
    call.decisions[request.name] = call.engine.database.read(lambda tx: _opening(tx, call, request))


def consider_case(call: Call, request: model.TryCase) -> None:
    """Before the transaction: judge what came of a case."""
    call.decisions[request.trial] = call.engine.database.read(lambda tx: _judged(tx, call, request))


def open_(tx: Transaction, call: Call, request: model.OpenTrial) -> model.Trial:
    """Begin one, or go on with the one of this key. Idempotent by key."""
    opening: Opening = call.decisions[request.name]
    name = model.RUN_PREFIX + request.name
    lease = request.lease_seconds or call.engine.settings.lease_seconds
    found = run_rows.find(tx, call.workspace, name, opening.key)
    if found is None:
        return _begin(tx, call, request, opening, name)
    is_own = found.state == run_model.RUNNING and found.worker == request.worker and found.holder == call.actor
    if not is_own and found.state not in run_model.FINISHED:
        runs.reopen(tx, call, found, request.worker, lease)
    return msgspec.structs.replace(view(tx, call, existing(tx, call, found.handle)), lease_seconds=lease)


def get(tx: Transaction, call: Call, request: model.GetTrial) -> model.Trial:
    return view(tx, call, existing(tx, call, request.trial))


def list_(tx: Transaction, call: Call, request: model.ListTrials) -> Page:
    limit = check_limit(request.limit)
    before = read_cursor(request.cursor, "workflow.trials", request.workflow, rows.NEWEST)
    found = rows.trials(tx, call.workspace, request.workflow, before=before, limit=limit + 1)
    cursor = make_cursor("workflow.trials", request.workflow, found[limit - 1].run) if len(found) > limit else None
    return Page(items=[view(tx, call, row) for row in found[:limit]], cursor=cursor)


def step(tx: Transaction, call: Call, request: model.GetTrialStep) -> executions.NextStep:
    trial = existing(tx, call, request.trial)
    _unit(_plan.decode(trial.plan), request.step, request.model, request.case, trial.handle)
    return _one_step(tx, call, trial, request.case, request.model).next_step()


def try_case(tx: Transaction, call: Call, request: model.TryCase) -> model.Trial:
    """One commit: the settlement, the verdict, and the end of the trial where this was the last case."""
    run = held(tx, call, request.trial)
    trial = existing(tx, call, request.trial)
    tried: Tried | None = call.decisions[request.trial]
    if tried is None or _is_tried(tx, trial, tried.unit, request.case):
        return view(tx, call, trial)  # it was told before
    cost, called = _settled(tx, call, request)
    tx.write(
        "trial_case_add",
        run=trial.run,
        workspace=call.workspace,
        workflow=trial.workflow,
        version=trial.version,
        step=tried.unit.step or WHOLE,
        step_hash=tried.unit.step_hash,
        model=request.model,
        served_model=request.served_model or called or request.model,
        digest=request.case,
        input_hash=tried.input_hash,
        verdict=tried.verdict.verdict,
        failed_check=tried.verdict.failed_check,
        problems=msgspec.json.encode(tried.verdict.problems[: executions.PROBLEMS_SHOWN]).decode(),
        edge_cases=msgspec.json.encode(tried.edge_cases).decode(),
        nanousd=cost,
        execution=request.execution,
        now=tx.now,
    )
    subject = {"kind": "trial", "id": trial.handle, "case": request.case, "verdict": tried.verdict.verdict}
    audit.record(tx, call, "workflow.try_case", subject, stream=trial.handle, epoch=run.epoch)
    _end_if_over(tx, call, trial, run)
    return view(tx, call, trial)


def existing(tx: Transaction, call: Call, handle: str) -> rows.TrialRow:
    found = rows.trial(tx, call.workspace, handle)
    if found is None:
        raise not_found("trial", handle)
    return found


def outcomes_of(tx: Transaction, run: int) -> list[Outcome]:
    return [
        Outcome(
            row.step or None,
            row.model,
            row.digest,
            row.input_hash,
            row.verdict,
            _texts.decode(row.problems),
            row.nanousd,
            tuple(_texts.decode(row.edge_cases)),
        )
        for row in rows.tried(tx, run)
    ]


def view(tx: Transaction, call: Call, trial: rows.TrialRow) -> model.Trial:
    """With what it has shown so far, and what to try next while somebody holds it."""
    row = run_rows.get(tx, call.workspace, trial.handle)
    assert row is not None  # noqa: S101 - a trial is a run
    run = changed(tx, call, row)
    plan = _plan.decode(trial.plan)
    found = model.standings(plan, outcomes_of(tx, trial.run))
    tried = [model.report(plan, standing) for standing in found]
    cost, unpriced = sum(each.cost_nanousd for each in tried), sum(each.unpriced for each in tried)
    return model.Trial(
        id=trial.handle,
        workflow=trial.workflow,
        version=trial.version,
        state=run.state,
        epoch=run.epoch,
        planned=sum(each.n if standing.is_over else each.planned for each, standing in zip(tried, found, strict=True)),
        done=sum(each.n for each in tried),
        tried=tried,
        text="\n".join([*(each.text for each in tried), f"It cost {model.dollars(cost, unpriced)}."]),
        cost_nanousd=cost,
        unpriced=unpriced,
        next=_due(tx, call, trial, found) if run.state == run_model.RUNNING else None,
        lease_seconds=call.engine.settings.lease_seconds,
    )


# Planning


def _opening(tx: Transaction, call: Call, request: model.OpenTrial) -> Opening:
    found = find(tx, call, request.name, request.version)
    document = found.document
    grouped: dict[str | None, list[str]] = defaultdict(list)
    for digest, case in _cases(tx, call, request, document):
        grouped[case.step].append(digest)
    if not grouped:
        raise InvalidInput(
            f"{document.name} has no cases to be tried on.",
            next_call=f"Keep some: agent.workflows.add_cases('{document.name}', [{{'input': ..., 'expected': ...}}]).",
        )
    tried: list[Step | None] = [each for each in walk(document.steps) if each.id in grouped]
    units: list[Unit] = []
    for each in [*tried, *([None] if None in grouped else [])]:
        mine = sorted(grouped[each.id if each else None])
        units += _units(request, Subject(document, found.row.version, each), mine, _trials_of(tx, call, document, each))
    plan = Plan(units=units, min_runs=document.quality.min_runs, thorough=request.thorough)
    same = [found.row.version, request.thorough, [[unit.step, unit.model, unit.cases] for unit in units]]
    key = request.key or hashlib.sha256(encode_sorted(same)).hexdigest()[:KEY_SHOWN]
    return Opening(found.row.version, plan, key)


def _cases(
    tx: Transaction, call: Call, request: model.OpenTrial, document: WorkflowDocument
) -> list[tuple[str, NewCase]]:
    """Those that are named, else all whose step the document still has; each is one that shows something."""
    ids = {each.id for each in walk(document.steps)}
    if request.cases is None:
        known = rows.known(tx, call.workspace, request.name)
        wanted = [row.digest for row in known if row.step is None or row.step in ids]
    else:
        wanted = list(dict.fromkeys(request.cases))
    found = []
    for digits in wanted:
        row = cases.existing(tx, call, request.name, digits)
        case = cases.content_of(tx, call, row)
        case_model.check_case(case, document, f"case {row.digest[: case_model.DIGITS_MIN]}")
        if case.step is not None:
            OneStep(tx, call, document, case, rung=NO_MODEL).check_input()
        found.append((row.digest, case))
    return found


def _units(request: model.OpenTrial, subject: Subject, found: list[str], trials: dict[str, int]) -> list[Unit]:
    """One per model, cheapest first. The n-th trial of the same has half the alpha of the one before."""
    document, version, tried = subject
    ladder = _ladder(request, document, tried)
    models = list(dict.fromkeys(ladder if request.models is None else request.models))
    _check_models(request, models, document)
    planned = len(found) if request.planned is None else request.planned
    if not 0 < planned <= len(found):
        raise InvalidInput(
            f"{planned} cases are planned, and there are {len(found)} for {tried.id if tried else 'the whole'}.",
            next_call="Plan fewer, or add cases: agent.workflows.add_cases(name, cases).",
        )
    quality = document.quality
    edges = [evidence.edge_key(edge) for edge in evidence.recognised(tried, document)] if tried else []
    return [
        Unit(
            step=tried.id if tried else None,
            step_hash=workflows.step_hash(tried, document.edge_cases) if tried else version,
            model=name,
            cases=found[:planned],
            bar=quality.step_bar if tried else quality.run_bar,
            alpha=quality.alpha / 2 ** trials.get(name if tried else WHOLE, 0),
            candidates=max(1, len(ladder) - 1, len(models) - 1),
            edge_cases=edges,
            above=ladder[-1] if ladder else "",
        )
        for name in models
    ]


def _ladder(request: model.OpenTrial, document: WorkflowDocument, tried: Step | None) -> list[str]:
    """The ladder of what is tried, as far as it can be asked here."""
    here = request.models_here
    return [rung.model for rung in rungs_of(tried, document, [*here.models, NO_MODEL])] or here.ladder


def _check_models(request: model.OpenTrial, models: list[str], document: WorkflowDocument) -> None:
    askable = [*request.models_here.models, NO_MODEL]
    unknown = [name for name in models if name not in askable]
    if unknown or not models:
        raise InvalidInput(
            f"There is no model {unknown[0]!r} here." if unknown else f"No model is there to try {document.name} with.",
            next_call=f"Name some of: {', '.join(askable)}; more are configured in models.toml.",
        )


def _trials_of(tx: Transaction, call: Call, document: WorkflowDocument, tried: Step | None) -> dict[str, int]:
    """By model, how many trials of it there were."""
    subject = workflows.step_hash(tried, document.edge_cases) if tried else workflows.version_of(document)
    found: dict[str, int] = {}
    for row in evidence_rows.of_subject(tx, call.workspace, subject):
        found[row.model] = max(found.get(row.model, 0), row.trials)
    return found


def _begin(tx: Transaction, call: Call, request: model.OpenTrial, opening: Opening, name: str) -> model.Trial:
    run = runs.create(
        tx,
        call,
        name=name,
        key=opening.key,
        inputs=NOTHING,
        budget=None,
        max_attempts=ATTEMPTS_MAX,
        worker=request.worker,
    )
    row = run_rows.get(tx, call.workspace, run.id)
    assert row is not None  # noqa: S101 - it was just made
    plan = msgspec.json.encode(opening.plan).decode()
    tx.write(
        "trial_add",
        run=row.id,
        workspace=call.workspace,
        workflow=request.name,
        version=opening.version,
        plan=plan,
    )
    subject = {"kind": "trial", "id": run.id, "workflow": request.name, "version": opening.version}
    audit.record(tx, call, "workflow.open_trial", subject, stream=run.id, epoch=row.epoch)
    return view(tx, call, existing(tx, call, run.id))


# Trying


def _judged(tx: Transaction, call: Call, request: model.TryCase) -> Tried | None:
    """None where it was told before."""
    trial = existing(tx, call, request.trial)
    unit = _unit(_plan.decode(trial.plan), request.step, request.model, request.case, trial.handle)
    if _is_tried(tx, trial, unit, request.case):
        return None
    run_model.check_choice(request.outcome, executions.OUTCOMES, "outcome")
    case = cases.content_of(tx, call, cases.existing(tx, call, trial.workflow, request.case))
    edge_cases: list[str] = []
    if unit.step is None:
        verdict = _whole_verdict(tx, call, trial, request, case)
    else:
        one = _one_step(tx, call, trial, request.case, request.model)
        edge_cases = one.edge_cases()
        if request.outcome == "output":
            verdict = one.judge(request.result.original, request.checks)
        else:
            verdict = Verdict(request.outcome, request.outcome, [request.reason or request.outcome])
    return Tried(unit, case_model.input_hash_of(case), verdict, edge_cases)


def _whole_verdict(tx: Transaction, call: Call, trial: rows.TrialRow, request: model.TryCase, case: NewCase) -> Verdict:
    """Whether the execution came to its end, gave what was expected, and would have done what is right."""
    past = Past(tx, call, request.execution or "")
    if past.row.driver != executions.TRIAL or past.run.key != model.execution_key(
        trial.handle, request.model, request.case
    ):
        raise InvalidInput(
            f"Execution {request.execution} is none of this trial's on this case.",
            next_call="Start it with `trial`, and its key: the trial, the model and the case.",
        )
    if past.run.state != run_model.COMPLETED:
        said = request.reason or past.run.error or past.run.reason or f"it is {past.run.state}"
        return Verdict(executions.FAILED, "completed", [f"it did not come to its end: {said}"])
    if case.expected is not None and not case_model.agrees(case.expected, past.result):
        said = f"the result is {_shown(past.result)}, and {_shown(case.expected)} was expected"
        return Verdict(executions.FAILED, case_model.EXPECTED, [said])
    differ = case_model.effects_differ(case.effects, past.effects()) if case.effects is not None else None
    if differ is not None:
        return Verdict(executions.FAILED, case_model.EFFECTS, [differ])
    return Verdict(executions.PASSED, None, [])


def _settled(tx: Transaction, call: Call, request: model.TryCase) -> tuple[int | None, str | None]:
    """What the case cost, None where a price is missing; and what the model is called by its provider."""
    if request.execution is not None:
        return rows.cost(tx, call.workspace, request.execution), None
    if request.reservation is None:
        return 0, None
    settled = model_calls.settle(tx, call, request.reservation, request)
    if not request.billed:
        return 0, None
    return settled.counted_nanousd, settled.model


def _end_if_over(tx: Transaction, call: Call, trial: rows.TrialRow, run: run_rows.RunRow) -> None:
    plan = _plan.decode(trial.plan)
    found = model.standings(plan, outcomes_of(tx, trial.run))
    if model.due(found) is not None:
        return
    document = document_by_version(tx, call, trial.workflow, trial.version)
    trial_evidence.hand_on(tx, call, trial, document, found)
    end_run(tx, call, run, run_model.COMPLETED, percent=100.0)


def _due(tx: Transaction, call: Call, trial: rows.TrialRow, found: list[model.Standing]) -> model.Due | None:
    due = model.due(found)
    if due is None:
        return None
    unit, digest = due
    if unit.step is not None:
        return model.Due(model=unit.model, case=digest, step=unit.step)
    case = cases.content_of(tx, call, cases.existing(tx, call, trial.workflow, digest))
    return model.Due(model=unit.model, case=digest, input=case.input, effects=case.effects or [])


def _one_step(tx: Transaction, call: Call, trial: rows.TrialRow, digest: str, rung: str) -> OneStep:
    document = document_by_version(tx, call, trial.workflow, trial.version)
    case = cases.content_of(tx, call, cases.existing(tx, call, trial.workflow, digest))
    return OneStep(tx, call, document, case, rung=rung, trial=trial.handle, version=trial.version)


def _unit(plan: Plan, tried: str | None, model_name: str, digest: str, handle: str) -> Unit:
    for unit in plan.units:
        if (unit.step, unit.model) == (tried, model_name) and digest in unit.cases:
            return unit
    raise InvalidTransition(
        f"The trial {handle} does not try {model_name} on this case of {tried or 'the whole workflow'}.",
        why="What is tried is fixed before the first case.",
        next_call=f"Try what is `next`: agent.workflows.get_trial('{handle}').",
    )


def _is_tried(tx: Transaction, trial: rows.TrialRow, unit: Unit, digest: str) -> bool:
    found = tx.one("trial_case_find", run=trial.run, step=unit.step or WHOLE, model=unit.model, digest=digest)
    return found is not None


def _shown(value: Any) -> str:
    return encode_sorted(value).decode(errors="replace")[: executions.TEXT_SHOWN // 4]
