"""What a person does with a workflow: start it, compare versions, or move one, after a look at the evidence."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.console import workflow_document, workflow_evidence
from agentmemo.console.fields import is_flat, values_in
from agentmemo.console.frame import Page, Visit, segment
from agentmemo.console.workflow import MOVES, version_row
from agentmemo.console.workflows import ended
from agentmemo.errors import InvalidInput, InvalidTransition, PermissionDenied
from agentmemo.model.executions import PLANE
from agentmemo.model.values import NOT_JSON
from agentmemo.model.workflow_versions import Workflow, check_state
from agentmemo.model.workflows import ACTIVE, TRANSITIONS

EFFECTS = {
    "draft": "It is found, and executed only where nothing is active, by the top of its ladder.",
    "shadow": "It is tried beside what is active. Nothing that it says is used.",
    "canary": "A share of the executions is done by it.",
    "active": "Every execution that names no version follows it.",
    "retired": "Nothing starts with it any more. What has begun goes on to its end.",
}


async def start(visit: Visit) -> str:
    """Leave an execution to the plane's workers; the browser goes to it. The same key again is the same execution."""
    name, form = _name(visit), visit.form
    flows = visit.connection.workflows
    version = form.get("version") or None
    document = workflow_document.read((await flows.get(name, version=version)).document)
    made = await flows.start(
        name,
        given(form, document.inputs),
        key=form.get("key", "").strip() or None,
        version=version,
        driver=PLANE,
    )
    return f"/executions/{segment(made.id)}"


def given(form: Any, schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """The inputs: fields of the form where they are flat, else one text of JSON."""
    if schema is not None and is_flat(schema):
        return values_in(form, schema)
    text = form.get("inputs", "").strip()
    if not text:
        return None
    try:
        value = msgspec.json.decode(text)
    except NOT_JSON as error:
        raise InvalidInput("The inputs are no JSON.", why=str(error), next_call="Go back and correct them.") from None
    if not isinstance(value, dict):
        raise InvalidInput("The inputs are no JSON object.", next_call='Write them as {"name": value}.')
    return value


async def confirm(visit: Visit) -> Page:
    """Before a move: what it changes, and what evidence there is."""
    name, flows = _name(visit), visit.connection.workflows
    to = _to(visit.asked("to"))
    found = await flows.get(name, version=visit.asked("version"))
    needs = TRANSITIONS.get((found.state, to))
    if needs is None:
        raise InvalidTransition(
            f"Number {found.number} of {name} is {found.state}; it cannot become {to}.",
            next_call="Choose one of the moves on its page.",
        )
    if not visit.may("workflows:move"):
        raise PermissionDenied(
            "Your key may not move versions.",
            why="It lacks the right workflows:move.",
            next_call="Ask whoever has it; nothing was moved.",
        )
    document = workflow_document.read(found.document)
    counts = (await flows.counts(name)).counts
    data = {
        "workflow": found,
        "to": to,
        "label": MOVES[to],
        "needs": needs,
        "effect": EFFECTS[to],
        "active": await _active(visit, name) if to == ACTIVE else None,
        "shown": version_row(found, counts),
        "ended": ended([each for each in counts if each.version == found.version]),
        "quality": workflow_document.quality(document),
        "evidence": await workflow_evidence.panel(visit, found, document),
    }
    return Page(template="workflow_move.html", title=f"{MOVES[to]}: {name}", section="Workflows", data=data)


async def move(visit: Visit) -> str:
    """Move the version that was shown. Raises InvalidTransition when somebody moved it, Conflict without evidence."""
    name, form, flows = _name(visit), visit.form, visit.connection.workflows
    to, reason = _to(form.get("to")), form.get("reason", "").strip()
    if not reason:
        raise InvalidInput("A version is moved with a reason.", next_call="Say why; the trail keeps it.")
    found = await flows.get(name, version=form.get("version"))
    if found.state != form.get("seen"):
        raise InvalidTransition(
            f"Number {found.number} of {name} is {found.state} by now.",
            why="You decided about it as it was when you loaded the page.",
            next_call="Look at it again.",
        )
    await flows.promote(name, found.version, to, reason=reason)
    return f"/workflows/{segment(name)}?version={found.version}"


async def compare(visit: Visit) -> Page:
    """What is different between two versions, and which steps keep their evidence."""
    name, flows = _name(visit), visit.connection.workflows
    before, after = visit.asked("before"), visit.asked("after")
    if before is None or after is None:
        raise InvalidInput("Two versions are compared.", next_call="Choose both among the versions of the workflow.")
    difference = await flows.diff(name, before, after)
    data = {
        "name": name,
        "before": _without_document(await flows.get(name, version=difference.before)),
        "after": _without_document(await flows.get(name, version=difference.after)),
        "difference": difference,
        "same": difference.before == difference.after,
    }
    return Page(template="workflow_compare.html", title=f"{name}, compared", section="Workflows", data=data)


async def _active(visit: Visit, name: str) -> Workflow | None:
    """The version that would be retired."""
    found = await visit.connection.workflows.get(name)
    return _without_document(found) if found.state == ACTIVE else None


def _without_document(found: Workflow) -> Workflow:
    return msgspec.structs.replace(found, document=None)


def _name(visit: Visit) -> str:
    name: str = visit.request.path_params["name"]
    return name


def _to(state: str | None) -> str:
    if not state:
        raise InvalidInput("Where should it be moved?", next_call="Choose one of the moves on its page.")
    check_state(state)
    return state
