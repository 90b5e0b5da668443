"""The step that somebody must do now, with everything it takes; and what a person said about one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agentmemo.engine.call import Call
from agentmemo.engine.execution_scope import Standing, text_of
from agentmemo.engine.output_checks import checks_of
from agentmemo.engine.workflows import is_untrusted
from agentmemo.model import executions as model
from agentmemo.model import runs as run_model
from agentmemo.model.escalations import REASON_MAX, Answer, SuggestedAction, action_called
from agentmemo.model.executions import Moment
from agentmemo.model.kinds import described
from agentmemo.model.nearest import Nearest
from agentmemo.model.values import NOT_JSON, encode_sorted
from agentmemo.model.workflows import HUMAN, TOOL, EdgeCase, Example, Rung, WorkflowDocument
from agentmemo.store import blobs
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction

INDEXES_KEPT = 32
LIKENESS_DIGITS = 4
_progress = msgspec.json.Decoder(model.Progress)
_models = msgspec.json.Decoder(model.Askable)
_WAYS_OUT = (
    {
        "id": model.RETRY, "label": "Try again", "reversible": True,
        "effect": "The step is done again, from its first rung.",
    },
    {
        "id": model.SUPPLY, "label": "Give the output", "reversible": True,
        "effect": "What you write as `output` (JSON, or plain text) is kept as the step's output.",
    },
    {"id": model.STOP, "label": "Stop", "effect": "The execution fails with what was said here.", "reversible": False},
)  # fmt: skip
_CONTINUE = {"id": model.CONTINUE, "label": "Go on", "effect": "The step is done all the same.", "reversible": True}
_OUTPUT = {"type": "object", "properties": {"output": {"type": "string", "title": "Output"}}}


def read_progress(text: str) -> model.Progress:
    return _progress.decode(text)


def read_models(text: str) -> model.Askable:
    return _models.decode(text)


def shown(output: Any) -> str:
    """An output as whoever tries again sees it."""
    return text_of(output)[: model.TEXT_SHOWN]


def for_driver(course: Standing, found: Moment, rung: Rung | None, *, resumed: bool = False) -> model.NextStep:
    """A tool to be called or an instruction to be followed. Raises Unclear where an expression stands for nothing."""
    step, progress = found.step, course.progress
    given = course.scope.given(progress, found)
    instruction = course.scope.resolve(progress, step.instruction or "")
    # Only models need it apart: whoever else does a step knows an instruction from what it speaks of.
    template, values = course.scope.split(progress, step.instruction or "") if rung else ("", {})
    announced = step.effect in run_model.ANNOUNCED_EFFECTS
    return model.NextStep(
        step=found.path,
        kind=step.kind,
        attempt=progress.attempt + 1,
        title=step.title,
        instruction=str(instruction),
        template=template,
        values=values,
        input=given,
        tool=step.tool,
        tools=list(step.tools or found.document.tools) if step.kind != TOOL else [],
        output_schema=step.output_schema,
        checks=[msgspec.to_builtins(check) for check in checks_of(found)],
        edge_cases=[f"{edge.when} -> {edge.then}" for edge in edge_cases(course, found)],
        examples=examples(found, given, instruction, without=_answers(course, given, instruction)),
        likeness=rung.likeness if rung else 0.0,
        effect=step.effect,
        idempotency_key=f"{course.row.handle}:{found.path}" if announced else None,
        in_doubt=announced and _is_in_doubt(course, found, resumed=resumed),
        in_doubt_policy=step.in_doubt,
        rung=progress.rung,
        model=rung.model if rung else None,
        max_output_tokens=rung.max_output_tokens if rung else None,
        max_tokens=step.context.max_tokens,
        problems=progress.problems,
        last=progress.last,
        timeout_seconds=step.timeout_seconds,
        untrusted=is_untrusted(course.tx, course.call, found.frame.workflow, found.frame.document),
        next_call=f"Do it, then agent.workflows.submit('{course.row.handle}', '{found.path}', output).",
    )


def for_person(course: Standing, found: Moment) -> model.NextStep:
    """A question: the step's own, or what to do about a step that nobody could do."""
    step, progress = found.step, course.progress
    asked = _own_question(course, found) if step.kind == HUMAN and not progress.person else _ways_out(course, found)
    handle, attempt = course.row.handle, progress.attempt + 1
    return model.NextStep(
        step=found.path,
        kind=HUMAN,
        attempt=attempt,
        title=step.title,
        question=asked,
        problems=progress.problems,
        next_call=f"Ask it as step ({found.path!r}, '{attempt}') of run {handle}, "
        f"then agent.workflows.resume('{handle}').",
    )


def edge_cases(course: Standing, found: Moment) -> list[EdgeCase]:
    """Those to be minded at a step: all, or those whose condition holds or that are words only."""
    wanted = found.step.context.edge_cases
    if wanted == "none":
        return []
    mine = [edge for edge in found.document.edge_cases if edge.step in (None, found.step.id)]
    if wanted == "all":
        return mine
    return [edge for edge in mine if edge.matches is None or course.scope.holds(course.progress, edge.matches)]


def examples(found: Moment, given: Any, instruction: Any, *, without: Sequence[bytes] = ()) -> list[dict[str, Any]]:
    """The worked cases nearest to this one, nearest first; none with an input of `without`, in canonical JSON."""
    mine = _examples_of(found.document, found.step.id)
    count = found.step.context.examples
    if not mine or not count:
        return []
    wanted = 2 * count if without else count
    near = _index(found.frame.document, found.step.id, found.document).top(text_of(given or instruction), wanted)
    shown = [(mine[place], likeness) for place, likeness in near if encode_sorted(mine[place].input) not in without]
    return [
        {"input": example.input, "output": example.output, "likeness": round(likeness, LIKENESS_DIGITS)}
        for example, likeness in shown[:count]
    ]


def _answers(course: Standing, given: Any, instruction: Any) -> list[bytes]:
    """In a trial nobody is shown the answer: the input of an example that is the case itself."""
    if course.row.driver != model.TRIAL:
        return []
    return [encode_sorted(each) for each in (given, instruction, course.scope.inputs)]


def read_answer(tx: Transaction, call: Call, step: run_rows.StepRow) -> Answer:
    content = blobs.unpack(tx, call.workspace, step.codec, step.value, step.blob)
    return msgspec.json.decode(content, type=described(Answer))


def supplied(answer: Answer) -> Any:
    """What a person gave as the output: JSON where it is some, else the text as it is."""
    text = (answer.values or {}).get("output", "")
    try:
        return msgspec.json.decode(text)
    except NOT_JSON:
        return text


def _own_question(course: Standing, found: Moment) -> dict[str, Any]:
    step = found.step
    actions: list[SuggestedAction] = []
    for label in step.suggested_actions:
        actions.append(action_called(label, actions))
    asked = {
        "kind": "question",
        "severity": step.severity,
        "reason": str(course.scope.resolve(course.progress, step.instruction or step.title))[:REASON_MAX],
        "context": course.scope.resolve(course.progress, step.input),
        "suggested_actions": [msgspec.to_builtins(action) for action in actions],
    }
    return asked | ({"response_schema": step.output_schema} if step.output_schema else {})


def _ways_out(course: Standing, found: Moment) -> dict[str, Any]:
    progress = course.progress
    ways = [_CONTINUE, *_WAYS_OUT] if progress.attempt == 0 else list(_WAYS_OUT)
    return {
        "kind": "stuck",
        "severity": found.step.severity,
        "reason": progress.person[:REASON_MAX],
        "context": {
            "workflow": course.row.workflow,
            "version": course.row.version,
            "step": found.path,
            "instruction": found.step.instruction or found.step.title,
            "attempts": progress.attempt,
            "problems": progress.problems,
            "last_output": progress.last,
        },
        "suggested_actions": ways,
        "response_schema": _OUTPUT,
    }


def _is_in_doubt(course: Standing, found: Moment, *, resumed: bool) -> bool:
    """Whether an attempt was announced by a holder that is gone, and nobody has said what became of it."""
    if course.run is None:
        return False
    stored = run_rows.get_step(course.tx, course.run.id, found.path, str(course.progress.attempt + 1))
    if stored is None or stored.decision == model.RETRY:
        return False
    gone = stored.state == run_model.STARTED and (resumed or stored.epoch < course.run.epoch)
    return gone or stored.state == run_model.IN_DOUBT


def _examples_of(document: WorkflowDocument, step: str) -> list[Example]:
    return [example for example in document.examples if example.step in (None, step)]


_indexes: dict[tuple[str, str], Nearest] = {}


def _index(version: str, step: str, document: WorkflowDocument) -> Nearest:
    """Of the examples of a step; a version never changes, so it is made once."""
    known = _indexes.get((version, step))
    if known is None:
        if len(_indexes) >= INDEXES_KEPT:
            _indexes.pop(next(iter(_indexes)), None)
        known = Nearest([text_of(example.input) for example in _examples_of(document, step)])
        _indexes[version, step] = known
    return known
