"""What a person does to a run or a handoff. Each is one POST, then a look at what came of it."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from agentmemo.console.frame import Visit, segment
from agentmemo.console.words import NANO, is_escalation
from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model.handoffs import read_address
from agentmemo.model.runs import Budget, Run
from agentmemo.model.values import NOT_JSON


async def answer(visit: Visit) -> str:
    """Decide the question that was shown. Raises InvalidTransition when the run asks another one by now."""
    form = visit.form
    runs = visit.connection.runs
    run = await runs.get(visit.request.path_params["run"])
    if run.wake != "person" or is_escalation(run.waiting_for) or form.get("asked") != str(run.updated_at):
        raise await answered(visit, run)
    decision = form.get("decision", "")
    if not decision:
        raise InvalidInput("No answer was chosen.", next_call="Choose one of the answers, then send.")
    await runs.resolve(
        run.id,
        decision,
        result=stored_result(form.get("result", "")) if decision == "happened" else None,
        budget=raised(form, run) if run.waiting_for == "budget" else None,
        comment=form.get("comment", "").strip(),
        asked=run,
    )
    return f"/runs/{segment(run.id)}"


async def cancel(visit: Visit) -> str:
    reason = visit.form.get("reason", "").strip()
    if not reason:
        raise InvalidInput("A run is cancelled with a reason.", next_call="Say why; the agent and the trail get it.")
    run = await visit.connection.runs.cancel(visit.request.path_params["run"], reason)
    return f"/runs/{segment(run.id)}"


async def fork(visit: Visit) -> str:
    """A new run from the finished steps before one of them; the browser goes to the new run."""
    form = visit.form
    made = await visit.connection.runs.fork(
        visit.request.path_params["run"],
        from_step=form.get("from_step") or None,
        key=form.get("key", "").strip() or None,
        reason=form.get("reason", "").strip(),
    )
    return f"/runs/{segment(made.id)}"


async def cancel_handoff(visit: Visit) -> str:
    reason = visit.form.get("reason", "").strip()
    if not reason:
        raise InvalidInput(
            "A handoff is cancelled with a reason.", next_call="Say why; its holder and its sender get it."
        )
    found = await visit.connection.handoff.cancel(visit.request.path_params["handoff"], reason)
    return f"/handoffs/{segment(found.id)}"


async def requeue(visit: Visit) -> str:
    """Offer it again, as it was shown. Raises InvalidTransition when something has happened to it since."""
    form = visit.form
    handoffs = visit.connection.handoff
    found = await handoffs.get(visit.request.path_params["handoff"])
    if form.get("asked") != str(found.updated_at):
        raise InvalidTransition(
            f"The handoff has moved on since you looked at it: it is {found.state}.",
            why="You decided about the handoff as it was when you loaded the page.",
            next_call="Look at the handoff again.",
            details={"handoff": found.id, "state": found.state},
        )
    kind, name = None, ""
    if to := form.get("to", "").strip():
        kind, _, name = read_address(to).partition(":")
    await handoffs.requeue(
        found.id,
        reason=form.get("reason", "").strip(),
        to_agent=name if kind == "agent" else None,
        to_capability=name if kind == "capability" else None,
        to_queue=name if kind == "queue" else None,
    )
    return f"/handoffs/{segment(found.id)}"


async def answered(visit: Visit, run: Run) -> InvalidTransition:
    """Why the answer comes too late, with the name of who was faster where that may be known."""
    if is_escalation(run.waiting_for):
        return InvalidTransition(
            f"Run {run.name} asks nothing about itself: it waits for an answer from the inbox.",
            why="A question of the inbox is answered there.",
            next_call="Go to the question.",
            details={"run": run.id, "escalation": run.waiting_for},
        )
    message = (
        f"Run {run.name} asks something else by now." if run.wake == "person" else f"Run {run.name} asks nothing now."
    )
    if visit.may("audit:read"):
        page = await visit.connection.audit.events(run=run.id, type="run.resolve", newest_first=True, limit=1)
        if page.items:
            last = page.items[0]
            message = f"{last.actor.partition(':')[2]} answered before you: {last.subject.get('decision', '')}."
    return InvalidTransition(
        message,
        why="Your answer was for the question as it was when you loaded the page; it was not saved.",
        next_call="Look at the run again.",
        details={"run": run.id, "state": run.state},
    )


def stored_result(text: str) -> Any:
    """What the step returned, as JSON; plain words count as a string, nothing as null."""
    if not text.strip():
        return None
    with contextlib.suppress(*NOT_JSON):
        return msgspec.json.decode(text)
    if text.lstrip()[0] in '[{"':
        raise InvalidInput("What it returned is not valid JSON.", next_call="Correct it, or write plain words.")
    return text.strip()


def raised(form: Any, run: Run) -> Budget:
    """The new bounds. Raises InvalidInput for one that does not lie above what is spent."""
    bounds: dict[str, Any] = {}
    for name in ("steps", "seconds", "tokens", "nanousd"):
        text = form.get(name, "").strip()
        if not text:
            continue
        try:
            number = float(text.lstrip("$"))
        except ValueError:
            raise InvalidInput(f"{text!r} is not a number.", next_call="Give the new bound as a number.") from None
        spent = getattr(run.spent, name)
        number = number * NANO if name == "nanousd" else number
        if not spent < number < float(1 << 53):
            raise InvalidInput(
                f"The new bound for {name} must lie above what is spent already.",
                next_call="Give a larger number, or cancel the run.",
                details={"spent": spent},
            )
        bounds[name] = number if name == "seconds" else round(number)
    if not bounds:
        raise InvalidInput("No bound was given.", next_call="Give the bound that is spent a larger number.")
    return Budget(**bounds)
