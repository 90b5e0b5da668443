"""Cases of workflows: kept by whoever knows what is right, made of executions that happened; and what failed lately."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import msgspec

from agentmemo.engine import audit
from agentmemo.engine.call import Call, not_found
from agentmemo.engine.execution_scope import Unclear
from agentmemo.engine.packing import packed_content
from agentmemo.engine.past_executions import Past
from agentmemo.engine.state import check_limit
from agentmemo.engine.workflows import PERSON, find
from agentmemo.errors import Conflict, InvalidInput, InvalidTransition, PermissionDenied
from agentmemo.model import cases as model
from agentmemo.model import executions
from agentmemo.model.cases import NewCase
from agentmemo.model.documents import parse
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.runs import COMPLETED
from agentmemo.model.values import decode, encode_result
from agentmemo.model.workflows import WorkflowDocument, plain
from agentmemo.store import blobs
from agentmemo.store import cases as rows
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction

# So many failures are looked at; clusters of older ones are not news.
FAILURES_READ = 1000
_case = msgspec.json.Decoder(NewCase)
_texts = msgspec.json.Decoder(list[str])
EXAMPLE = {"input": {"text": "Where is my card?"}, "expected": "card_arrival"}


class Ready(NamedTuple):
    """A case that is checked, hashed and packed."""

    digest: str
    case: NewCase
    source: str
    packed: Packed


class Kept(NamedTuple):
    """What an execution gave: the workflow it belongs to, and the case."""

    workflow: str
    ready: Ready


def prepare(call: Call, request: model.AddCases) -> list[Ready]:
    """Before the transaction. Raises InvalidInput with the path of a case that could not be tried, or shows nothing."""
    document = call.engine.database.read(lambda tx: find(tx, call, request.name)).document
    given = _examples(document) if request.cases is None else request.cases
    if len(given) > model.CASES_MAX:
        raise InvalidInput(
            f"There are {len(given)} cases.", next_call=f"Send {model.CASES_MAX} at a time; the same is kept once."
        )
    found = []
    for number, each in enumerate(given):
        path = f"$.cases[{number}]"
        case = parse(NewCase, decode(encode_result(each)), "case", EXAMPLE, path)
        model.check_case(case, document, path)
        found.append(ready(call, case))
    return found


def consider(call: Call, request: model.KeepCase) -> None:
    """Before the transaction: read what happened."""
    call.decisions[request.execution] = call.engine.database.read(lambda tx: _from_execution(tx, call, request))


def add(tx: Transaction, call: Call, request: model.AddCases) -> model.CasesAdded:
    given: list[Ready] = request.cases or []
    added = keep_all(tx, call, request.name, given)
    return model.CasesAdded(workflow=request.name, cases=[each.digest for each in given], added=added)


def keep_all(tx: Transaction, call: Call, workflow: str, given: list[Ready]) -> int:
    """Keep those that are not kept yet; returns how many that were."""
    known = {row.digest for row in rows.known(tx, call.workspace, workflow)}
    new = {each.digest: each for each in given if each.digest not in known}
    for each in new.values():
        rows.add(
            tx,
            call.workspace,
            workflow,
            each.packed,
            digest=each.digest,
            step=each.case.step,
            source=each.source,
            author=call.actor,
        )
    if new:
        subject = {"kind": "workflow", "id": workflow, "cases": str(len(new)), "first": min(new)}
        audit.record(tx, call, "workflow.add_cases", subject)
    return len(new)


def list_(tx: Transaction, call: Call, request: model.ListCases) -> Page:
    limit = check_limit(request.limit)
    find(tx, call, request.name)
    bound = [request.name, request.step]
    before = read_cursor(request.cursor, "workflow.cases", bound, rows.NEWEST)
    found = rows.page(tx, call.workspace, request.name, step=request.step, before=before, limit=limit + 1)
    cursor = make_cursor("workflow.cases", bound, found[limit - 1].id) if len(found) > limit else None
    return Page(items=[view(tx, call, request.name, row) for row in found[:limit]], cursor=cursor)


def remove(tx: Transaction, call: Call, request: model.RemoveCase) -> model.Case:
    """Its row stays, so that trials on it can still be read. Again it does nothing."""
    if call.caller.kind != PERSON:
        raise PermissionDenied(
            "Only a person removes a case.",
            why="It may be what stands against a version.",
            next_call="Ask one: agentmemo workflow remove-case, with a person's key.",
        )
    row = existing(tx, call, request.name, request.case)
    if row.removed_at is None:
        subject = {"kind": "workflow", "id": request.name, "case": row.digest}
        audit.record(tx, call, "workflow.remove_case", subject, reason=request.reason)
        tx.write("case_remove", workspace=call.workspace, workflow=request.name, digest=row.digest, now=tx.now)
    return view(tx, call, request.name, existing(tx, call, request.name, row.digest))


def keep(tx: Transaction, call: Call, request: model.KeepCase) -> model.Case:
    kept: Kept = call.decisions[request.execution]
    keep_all(tx, call, kept.workflow, [kept.ready])
    return view(tx, call, kept.workflow, existing(tx, call, kept.workflow, kept.ready.digest))


def failures(tx: Transaction, call: Call, request: model.ListFailures) -> Page:
    """Clusters of what failed lately, in executions and in trials, newest first."""
    limit = check_limit(request.limit)
    version = find(tx, call, request.name, request.version).row.version if request.version is not None else None
    clusters: dict[tuple[str, str], list[_Failed]] = defaultdict(list)
    failed = [*_attempts(tx, call, request.name, version), *_cases(tx, call, request.name, version)]
    for each in sorted(failed, key=lambda each: -each.at):
        clusters[each.step, each.check].append(each)
    return Page(items=[_cluster(tx, call, request.name, found) for found in list(clusters.values())[:limit]])


# What the engine asks.


def existing(tx: Transaction, call: Call, workflow: str, digits: str) -> rows.CaseRow:
    """A case by its id or six digits of it, removed or not. Raises NotFound, or Conflict for too few digits."""
    found = rows.by_digest(tx, call.workspace, workflow, digits) if len(digits) >= model.DIGITS_MIN else []
    if not found:
        raise not_found("case", f"{workflow} {digits[:64]}", f"agent.workflows.cases({workflow!r})")
    if len(found) > 1:
        raise Conflict(
            f"{digits!r} is the beginning of several cases of {workflow}.",
            next_call=f"Send more of it, such as {found[0].digest[: len(digits) + 6]}.",
        )
    return found[0]


def content_of(tx: Transaction, call: Call, row: rows.CaseRow) -> NewCase:
    return _case.decode(blobs.unpack(tx, call.workspace, row.codec, row.value, row.blob))


def view(tx: Transaction, call: Call, workflow: str, row: rows.CaseRow) -> model.Case:
    case = content_of(tx, call, row)
    return model.Case(
        id=row.digest,
        workflow=workflow,
        step=row.step,
        input=case.input,
        expected=case.expected,
        effects=case.effects,
        source=row.source,
        author=call.engine.names.actor_name(tx, call.workspace, row.author),
        created_at=row.created_at,
        removed=row.removed_at is not None,
    )


def ready(call: Call, case: NewCase) -> Ready:
    source = case.source or (model.PERSON if call.caller.kind == PERSON else model.EXAMPLE)
    packed = packed_content(call, msgspec.json.encode(plain(case)), case, "case")
    return Ready(model.digest_of(case), case, source, packed)


def _examples(document: WorkflowDocument) -> list[dict[str, Any]]:
    """The document's examples of the whole workflow. Those of a step hold too little to do it again."""
    found = [
        {"input": example.input, "expected": example.output, "source": model.EXAMPLE}
        for example in document.examples
        if example.step is None
    ]
    if not found:
        raise InvalidInput(
            f"{document.name} has no examples of the whole workflow.", next_call="Send `cases`, each with its input."
        )
    return found


def _from_execution(tx: Transaction, call: Call, request: model.KeepCase) -> Kept:
    past = Past(tx, call, request.execution)
    try:
        case = _whole(past, request) if request.step is None else _of_step(past, request)
    except Unclear as error:
        raise InvalidInput(
            f"Execution {request.execution} does not hold what a case needs: {error}.",
            next_call="Write the case: agent.workflows.add_cases(name, cases).",
        ) from None
    model.check_case(case, past.course.documents[past.row.version], "$.case")
    return Kept(past.row.workflow, ready(call, case))


def _whole(past: Past, request: model.KeepCase) -> NewCase:
    if past.run.state != COMPLETED and request.expected is None:
        raise InvalidTransition(
            f"Execution {request.execution} is {past.run.state}; what came of it is not known to be right.",
            next_call="Say what would have been: agent.workflows.keep_case(execution, expected=...).",
        )
    is_success = past.run.state == COMPLETED and request.expected is None
    return NewCase(
        input=past.inputs,
        expected=past.result if is_success else request.expected,
        effects=past.effects() if is_success else None,
        source=f"{model.SUCCESS if is_success else model.FAILURE}:{request.execution}",
    )


def _of_step(past: Past, request: model.KeepCase) -> NewCase:
    """A step that came through gives what it gave as right; of one that failed the hard checks alone are known."""
    path = request.step or ""
    moment, _ = past.at(path)
    output = past.course.scope.output(path)
    is_success = output is not None and request.expected is None
    return NewCase(
        step=moment.step.id,
        input=past.seen(path),
        expected=output if is_success else request.expected,
        source=f"{model.SUCCESS if is_success else model.FAILURE}:{request.execution}",
    )


class _Failed(NamedTuple):
    """One failure, whether in an execution or in a trial."""

    step: str
    check: str
    at: int
    model: str | None
    problems: list[str]
    execution: str | None = None
    path: str | None = None
    number: int | None = None
    trial: str | None = None
    case: str | None = None


def _attempts(tx: Transaction, call: Call, workflow: str, version: str | None) -> list[_Failed]:
    found = rows.failed_attempts(tx, call.workspace, workflow, version, FAILURES_READ)
    return [
        _Failed(
            row.step,
            failed_check(row.verdict, msgspec.json.decode(row.checks)),
            row.at,
            row.model,
            _texts.decode(row.problems),
            execution=row.execution,
            path=row.path,
            number=row.number,
        )
        for row in found
    ]


def _cases(tx: Transaction, call: Call, workflow: str, version: str | None) -> list[_Failed]:
    found = rows.failed_cases(tx, call.workspace, workflow, version, FAILURES_READ)
    return [
        _Failed(
            row.step,
            row.failed_check or row.verdict,
            row.at,
            row.model,
            _texts.decode(row.problems),
            trial=row.trial,
            case=row.digest,
        )
        for row in found
    ]


def failed_check(verdict: str, checks: list[Any]) -> str:
    """The hard check that failed first; else what it was instead."""
    if verdict != executions.FAILED:
        return verdict
    return next((name for name, _, severity, passed in checks if severity == "hard" and not passed), model.EMPTY)


def _cluster(tx: Transaction, call: Call, workflow: str, found: list[_Failed]) -> model.Failures:
    newest = found[0]
    counts: dict[str, int] = defaultdict(int)
    for each in found:
        counts[each.model or "tool"] += 1
    return model.Failures(
        step=newest.step,
        check=newest.check,
        count=len(found),
        executions=len({each.execution or each.trial for each in found}),
        models=dict(sorted(counts.items())),
        first_at=found[-1].at,
        last_at=newest.at,
        example=model.FailureExample(
            model=newest.model,
            problems=newest.problems,
            execution=newest.execution,
            step=newest.path or newest.step,
            attempt=newest.number,
            trial=newest.trial,
            case=newest.case,
            input=_input(tx, call, workflow, newest),
        ),
    )


def _input(tx: Transaction, call: Call, workflow: str, failed: _Failed) -> Any:
    """What there was to see; None where that is not kept any more."""
    if failed.case is not None:
        return content_of(tx, call, existing(tx, call, workflow, failed.case)).input
    try:
        return Past(tx, call, failed.execution or "").seen(failed.path or "")
    except (InvalidInput, Unclear):
        return None
