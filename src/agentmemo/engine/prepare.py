"""Work done on the caller's thread before the transaction: values encoded, large ones stored, names interned.

The writer thread then only moves ready columns, and a refusal here costs no commit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from agentmemo.api.operations import BY_NAME
from agentmemo.engine import acceptance, cases, execution_decisions, guards, repairs, trials, workflows
from agentmemo.engine.handoff_moves import find, package_of
from agentmemo.engine.packing import ALWAYS_STORED, pack, packed_content, stored
from agentmemo.errors import InvalidInput, LimitExceeded
from agentmemo.model import cases as case_model
from agentmemo.model import escalation_rules, escalations, handoffs, runs, state, system, workflow_versions
from agentmemo.model import repairs as repair_model
from agentmemo.model import trials as trial_model
from agentmemo.model.state import KEY_MAX, NAMESPACE_MAX, check_name
from agentmemo.model.values import encode, encode_result, encode_sorted
from agentmemo.model.wire import Request, as_request
from agentmemo.model.workflow_rules import compile_document
from agentmemo.model.workflows import canonical
from agentmemo.store import blobs
from agentmemo.store.database import Transaction

if TYPE_CHECKING:
    from agentmemo.engine.call import Call

VALUE_FIELDS = ("value", "inputs", "result")
TEXT_MAX = 16 * 1024
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
CALLS_MAX = 1000
INTEGER_MAX = 2**53 - 1
# Every float of a request is a time, a percentage or hours; thirty years fit.
SECONDS_MAX = 10**9


def prepare(call: Call, request: Request) -> Request:
    """The request with its values packed. Raises InvalidInput or LimitExceeded before anything is written."""
    if isinstance(request, state.SetEntry | state.DeleteEntry):
        check_name(request.namespace, "namespace", NAMESPACE_MAX)
        check_name(request.key, "key", KEY_MAX)
        if isinstance(request, state.SetEntry):
            call.engine.names.intern_namespace(call.workspace, request.namespace)
    _check_texts(request)
    if isinstance(request, runs.ResolveRun):
        _check_resolution(request)
    changed: dict[str, Any] = {}
    if (whole := _packed_whole(call, request)) is not None:
        return whole
    for field in _value_fields(type(request)):
        value = getattr(request, field)
        empty = (value is None or value is UNSET) and field != ALWAYS_STORED
        changed[field] = blobs.NOTHING if empty else pack(call, value, field)
    if isinstance(request, runs.CompleteStep | system.RunTransaction) and request.calls:
        changed["calls"] = [_prepare_buffered(call, *numbered) for numbered in enumerate(request.calls)]
    if isinstance(request, handoffs.CompleteHandoff):
        _check_result(call, request, changed["result"].original)
    request = msgspec.structs.replace(request, **changed) if changed else request
    for consider in _considerations(type(request)):
        consider(call, request)
    return request


def _check_resolution(request: runs.ResolveRun) -> None:
    """Whoever waits for the step's result would get null, and nobody would have said so."""
    if request.decision == "happened" and request.result is UNSET:
        raise InvalidInput(
            "What happened comes with its result.",
            why="The step is not made again, so the run goes on with the result that you give.",
            next_call="Send what the step returned as `result`; null where it returned nothing.",
        )


def _packed_whole(call: Call, request: Request) -> Request | None:
    """With several fields packed as one value, or several values in one field; None for what has single ones."""
    if isinstance(request, handoffs.CreateHandoff):
        return msgspec.structs.replace(request, context=_pack_package(call, request))
    if isinstance(request, escalations.CreateEscalation):
        request = guards.bind(call, request)
        return msgspec.structs.replace(request, context=_pack_question(call, request))
    if isinstance(request, workflow_versions.CreateWorkflow):
        return msgspec.structs.replace(request, document=_pack_document(call, request.document))
    if isinstance(request, case_model.AddCases):
        return msgspec.structs.replace(request, cases=cases.prepare(call, request))
    return None


# What is looked at, judged and decided before its transaction.
_CONSIDERED: tuple[tuple[Any, Any], ...] = (
    (execution_decisions.Asked, execution_decisions.consider),
    (case_model.KeepCase, cases.consider),
    (trial_model.OpenTrial, trials.consider_opening),
    (trial_model.TryCase, trials.consider_case),
    (repair_model.Propose, repairs.consider),
)


def _pack_package(call: Call, request: handoffs.CreateHandoff) -> blobs.Packed:
    """Everything the receiver gets to know as one value. What can be refused is refused here."""
    package = handoffs.package_of(request)
    if request.acceptance is not None:
        acceptance.check_bounds(request.acceptance)
        if acceptance.needs_judge(request.acceptance):
            call.engine.judge.check_definition(request.acceptance)
    if request.id is not None:
        call.drafts[request.id] = package
    encode(request.context)  # names the path of what JSON cannot say
    encode(request.artifacts)
    try:
        content = msgspec.json.encode(package)
    except UnicodeEncodeError:
        raise InvalidInput("A text of the package holds a lone surrogate.", next_call="Replace or remove it.") from None
    packed = packed_content(call, content, package, "package")
    # The same package is the same handoff, in whatever order somebody writes its fields.
    return msgspec.structs.replace(packed, source=hashlib.sha256(encode_sorted(package)).digest())


def _pack_question(call: Call, request: escalations.CreateEscalation) -> blobs.Packed:
    """Everything the person gets to see as one value. What nobody could decide on is refused here."""
    escalation_rules.check_question(request)
    encode(request.context)  # names the path of what JSON cannot say
    if request.action is not None:
        encode(request.action.arguments)
    question = escalations.question_of(request, call.caller.on_behalf_of)
    try:
        content = msgspec.json.encode(question)
    except UnicodeEncodeError:
        raise InvalidInput(
            "A text of the question holds a lone surrogate.", next_call="Replace or remove it."
        ) from None
    return packed_content(call, content, question, "question")


def _pack_document(call: Call, given: Any) -> blobs.Packed:
    """A workflow document, compiled and checked: nothing that is refused comes as far as the store."""
    document = compile_document(given)
    workflows.check_definitions(call, document)
    return packed_content(call, canonical(document), document, "document")


def _check_result(call: Call, request: handoffs.CompleteHandoff, result: Any) -> None:
    """A result is checked on the caller's thread: how long that takes is up to the result and the checks.

    What its verifier will get is stored here too: it holds the result and the context, so it may be large.
    """
    if call.engine.carried.get(request.handoff, (1, None))[0] == 0:
        return

    def look(tx: Transaction) -> tuple[str, handoffs.Package] | None:
        row = find(tx, call, request.handoff)
        return (row.handle, package_of(tx, row)) if row is not None and row.checked else None

    draft = call.drafts.get(request.handoff)
    found = (request.handoff, draft) if draft is not None else call.engine.database.read(look)
    if found is None or (wanted := found[1].acceptance) is None:
        return
    handle, package = found
    call.problems[handle] = _problems(call, wanted, result, package.context)
    if wanted.verifier is not None and not call.problems[handle]:
        asked = handoffs.package_of(acceptance.verification(handle, wanted.verifier, package, result))
        call.verifications[handle] = stored(call, encode_result(asked), asked, "package")


def _problems(call: Call, wanted: handoffs.Acceptance, result: Any, context: Any) -> list[str]:
    if wanted == acceptance.VERDICT:
        return acceptance.verdict_problems(result)
    return call.engine.judge.problems(wanted, result, context) if acceptance.needs_judge(wanted) else []


class Prepared(msgspec.Struct, frozen=True):
    """A buffered call, checked and ready to run inside another's transaction."""

    operation: str
    request: Request


def _prepare_buffered(call: Call, number: int, buffered: runs.BufferedCall) -> Prepared:
    operation = BY_NAME.get(buffered.operation)
    allowed = [name for name, known in BY_NAME.items() if known.buffered]
    if operation is None or not operation.buffered:
        raise InvalidInput(
            f"{buffered.operation!r} cannot be part of a transaction.", next_call=f"Use: {', '.join(allowed)}."
        )
    try:
        request = as_request(buffered.request, operation.request)
        check_numbers(request)
        check_characters(request)
    except InvalidInput as error:
        # Else it would read as if the request around it did not fit.
        message = f"`calls[{number}]`, {operation.name}: {error.message}"
        raise InvalidInput(message, why=error.why, next_call=error.next_call, details=error.details) from None
    call.engine.authorize(call.caller, operation, request)
    return Prepared(buffered.operation, prepare(call, request))


def check_numbers(request: Request) -> None:
    """Numbers of a request: finite, and small enough for the store and for every JSON reader.

    Raises InvalidInput. Values are no part of this; they keep whatever JSON can say.
    """
    for field, limit in _number_fields(type(request)):
        number = getattr(request, field)
        if number is not None and not -limit <= number <= limit:
            raise InvalidInput(
                f"`{field}` is out of range.", next_call=f"Send a number between -{limit} and {limit}, or leave it out."
            )


def check_characters(request: Request) -> None:
    """Names and texts of a request: no lone surrogate, which nothing can encode, and no U+0000, which PostgreSQL lacks.

    Raises InvalidInput. Values are no part of this; they keep whatever JSON can say.
    """
    for field in _text_fields(type(request)):
        text = getattr(request, field)
        if not text or text.isprintable():
            continue
        found = _UNSTORABLE.search(text)
        if found is not None:
            what = "U+0000" if found[0] == "\0" else "a lone surrogate"
            raise InvalidInput(
                f"`{field}` holds {what} at position {found.start()}.", next_call="Replace or remove it."
            )


def _check_texts(request: Request) -> None:
    """Names and texts of a request are bounded."""
    for field in _text_fields(type(request)):
        text = getattr(request, field)
        if text is None:
            continue
        if len(text) > TEXT_MAX:
            raise LimitExceeded(
                f"`{field}` has {len(text)} characters; {TEXT_MAX} is the most.",
                next_call="Shorten it, or store it in state and refer to it.",
            )


@cache
def _considerations(kind: type[Request]) -> tuple[Callable[[Call, Any], None], ...]:
    return tuple(consider for known, consider in _CONSIDERED if issubclass(kind, known))


@cache
def _value_fields(kind: type[Request]) -> tuple[str, ...]:
    return tuple(field for field in kind.__struct_fields__ if field in VALUE_FIELDS)


@cache
def _number_fields(kind: type[Request]) -> tuple[tuple[str, int], ...]:
    limits = {int: INTEGER_MAX, int | None: INTEGER_MAX, float: SECONDS_MAX, float | None: SECONDS_MAX}
    return tuple((field.name, limits[field.type]) for field in msgspec.structs.fields(kind) if field.type in limits)


@cache
def _text_fields(kind: type[Request]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(kind) if field.type in (str, str | None))
