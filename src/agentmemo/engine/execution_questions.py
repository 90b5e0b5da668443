"""What an execution asks people is what its document says; whoever drives it only hands it on.

Another question in its place, or an answer for when nobody answers, would let a driver decide for a person.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.engine import escalations, next_steps
from agentmemo.engine.call import Call
from agentmemo.engine.execution_decisions import course_of
from agentmemo.errors import InvalidTransition
from agentmemo.model import escalations as asked_model
from agentmemo.model import executions as model
from agentmemo.model.values import encode_sorted
from agentmemo.model.wire import as_request
from agentmemo.model.workflows import HUMAN
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction


def create(tx: Transaction, call: Call, request: asked_model.CreateEscalation) -> asked_model.Escalation:
    """Ask. Raises InvalidTransition for what the execution that is named does not ask now."""
    run = run_rows.get(tx, call.workspace, request.run) if request.run is not None else None
    if run is not None and model.is_execution(run.name):
        _check(tx, call, request, run.handle)
    return escalations.create(tx, call, request)


def _check(tx: Transaction, call: Call, request: asked_model.CreateEscalation, execution: str) -> None:
    wanted = _wanted(tx, call, execution)
    if wanted is None or not _is_handed_on(call, request, wanted):
        now = f"the question of step {wanted.step!r}, attempt {wanted.attempt}" if wanted else "nothing"
        raise InvalidTransition(
            f"This is not what execution {execution} asks now; it asks {now}.",
            why="Its document says what people are asked, and no default stands for their answer.",
            next_call=f"Ask the `question` in `next_step` of agent.workflows.execution('{execution}') as it is, "
            "as its step and attempt; anything else outside the run.",
        )


def _wanted(tx: Transaction, call: Call, execution: str) -> model.NextStep | None:
    """The step that a person is to be asked about, if the execution is at one."""
    course = course_of(tx, call, execution)
    found = model.moment(course.progress, course.documents)
    if found is None or not (course.progress.person or found.step.kind == HUMAN):
        return None
    return next_steps.for_person(course, found)


def _is_handed_on(call: Call, request: asked_model.CreateEscalation, wanted: model.NextStep) -> bool:
    """Whether it is that question, all of it. How loud people are told is the asker's to say."""
    question: dict[str, Any] = dict(wanted.question or {})
    expected = msgspec.structs.replace(
        as_request(question, asked_model.CreateEscalation),
        run=request.run,
        name=wanted.step,
        key=str(wanted.attempt),
        wait=request.wait,
        route=request.route,
    )
    shown = asked_model.question_of(expected, call.caller.on_behalf_of)
    return msgspec.structs.replace(request, context=None) == msgspec.structs.replace(
        expected, context=None
    ) and encode_sorted(msgspec.to_builtins(request.context.original)) == encode_sorted(msgspec.to_builtins(shown))
