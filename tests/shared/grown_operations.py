"""What is measured in a store that grows, by name: operations that may be called any number of times."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import growing
from growing import PAGE, USED

from agentmemo import ids

RUN_STATES = ("pending", "running", "waiting", "completed", "failed", "cancelled", "unfinished")
HANDOFF_STATES = ("pending", "claimed", "submitted", "completed", "dead", "unfinished", "escalated")
Operations = dict[str, Callable[[], Any]]
_numbers = itertools.count()


def operations(agent: Any, person: Any) -> Operations:
    """Of a plane with what `growing.sample` leaves there."""
    done = _run(agent)
    return {
        **_of_state(agent),
        **_of_runs(agent, done),
        "briefing": agent.briefing,
        "briefing of another": lambda: person.briefing("person:ana"),
        "status": agent.status,
        **_of_handoffs(agent),
        **_of_questions(agent, person, done),
        **_of_trail(agent, done),
        **_of_ledger(agent, done),
        "guard.check": lambda: agent.guards.check("tool", {"n": _fresh()}, annotations={"reversible": True}),
        **_of_workflows(agent),
    }


def _of_state(agent: Any) -> Operations:
    *_, oldest = agent.state.history("grown", "many versions")
    revision = agent.state.set("grown", "many versions", "the newest").revision
    return {
        "state.set": lambda: agent.state.set("grown", "key-1", {"text": "a value"}),
        "state.set, a new key": lambda: agent.state.set("grown", _fresh(), {"text": "a value"}),
        "state.get": lambda: agent.state.get("grown", "key-2"),
        "state.get, as of a revision": lambda: agent.state.get("grown", "many versions", as_of=revision),
        "state.get, as of long ago": lambda: agent.state.get("grown", "many versions", as_of=oldest.revision),
        "state.list, a page": lambda: agent.state.list("grown", limit=PAGE),
        "state.history, a page": lambda: agent.state.history("grown", "many versions", limit=PAGE),
        "state.watch, one change": lambda: _watch(agent),
        "state.diff, one change": lambda: _diff(agent),
    }


def _of_runs(agent: Any, done: Any) -> Operations:
    @agent.task("measured task")
    def task(run: Any) -> int:
        return 1

    long = agent.runs.find("long", "1")
    runs = agent.runs
    return {
        "run, a step": lambda: _run(agent),
        "task, start and claim": lambda: _claim(agent),
        "run.get": lambda: runs.get(done.id),
        "run.find": lambda: runs.find("grown", "done-1"),
        "run.explain": lambda: runs.explain(done.id),
        "run.steps": lambda: runs.steps(done.id),
        "run, resumed after long": lambda: _resume(agent),
        "run.steps of long, a page": lambda: runs.steps(long.id, limit=PAGE),
        "run.steps of long, in doubt": lambda: runs.steps(long.id, state="in_doubt", limit=PAGE),
        "run.notes of long": lambda: runs.notes(long.id),
        "run.explain long": lambda: runs.explain(long.id),
        "run.list, a page": lambda: runs.list(limit=PAGE),
        **{f"run.list, {state}": lambda state=state: runs.list(state=state, limit=PAGE) for state in RUN_STATES},
        "run.list, of a rare name": lambda: runs.list(name="measured", limit=PAGE),
        "run.list, of a name and state": lambda: runs.list(name="parked", state="waiting", limit=PAGE),
        "run.list, of a rare agent": lambda: runs.list(agent="person:ana", limit=PAGE),
    }


def _of_handoffs(agent: Any) -> Operations:
    given = agent.handoff.create(to_queue="other", context=1)
    listed = agent.handoff.list
    return {
        "handoff.create, claim, complete": lambda: _hand_over(agent),
        "handoff.get": lambda: agent.handoff.get(given.id),
        "handoff.list_pending": lambda: agent.handoff.list_pending(limit=PAGE),
        "handoff.list, a page": lambda: listed(limit=PAGE),
        **{f"handoff.list, {state}": lambda state=state: listed(state=state, limit=PAGE) for state in HANDOFF_STATES},
        "handoff.list, of a rare queue": lambda: listed(to="queue:other", limit=PAGE),
        "handoff.list, of a rare sender": lambda: listed(sender="person:ana", limit=PAGE),
    }


def _of_questions(agent: Any, person: Any, done: Any) -> Operations:
    asked = _ask(agent)
    listed = agent.escalations.list
    return {
        "escalation.create": lambda: _ask(agent),
        "escalation.get": lambda: agent.escalations.get(asked.id),
        "escalation.list, a page": lambda: listed(limit=PAGE),
        "escalation.list, open": lambda: listed(state="open", limit=PAGE),
        "escalation.list, decided": lambda: listed(state="decided", limit=PAGE),
        "escalation.list, rare": lambda: listed(state="withdrawn", limit=PAGE),
        "escalation.list, of a run": lambda: listed(run=done.id, limit=PAGE),
        "inbox, a page": lambda: person.inbox.list(limit=PAGE),
        "inbox, done": lambda: person.inbox.list(section="done", limit=PAGE),
        "inbox, mine": lambda: person.inbox.list(section="mine", limit=PAGE),
        "inbox, of a rare kind": lambda: person.inbox.list(kind="approval", limit=PAGE),
    }


def _of_trail(agent: Any, done: Any) -> Operations:
    revision = agent.status().revision
    return {
        "audit, a page": lambda: agent.audit.events(limit=PAGE),
        "audit, the newest": lambda: agent.audit.events(newest_first=True, limit=PAGE),
        "audit, since": lambda: agent.audit.events(after=revision, limit=PAGE),
        "audit, of a run": lambda: agent.audit.events(run=done.id, limit=PAGE),
    }


def _of_ledger(agent: Any, done: Any) -> Operations:
    return {
        "ledger.reserve": lambda: agent.ledger.reserve(growing.MODEL, input_tokens=9, max_output_tokens=9),
        "ledger.record": lambda: agent.ledger.record(USED, model=growing.MODEL),
        "ledger.list, a page": lambda: agent.ledger.list(limit=PAGE),
        "ledger.list, of a run": lambda: agent.ledger.list(run=done.id, limit=PAGE),
    }


def _of_workflows(agent: Any) -> Operations:
    return {
        "workflow.list, a page": lambda: agent.workflows.list(limit=PAGE),
        "workflow.get": lambda: agent.workflows.get("flow-1"),
        "workflow.search": lambda: agent.workflows.search("do number 3"),
        "workflow.executions, a page": lambda: agent.workflows.executions(limit=PAGE),
        "workflow.executions, of one": lambda: agent.workflows.executions(workflow="flow-1", limit=PAGE),
        "workflow.start": lambda: agent.workflows.start("flow-1", {"n": _fresh()}),
    }


def _fresh() -> str:
    return f"{ids.random_bytes(4).hex()}-{next(_numbers)}"


def _run(agent: Any) -> Any:
    with agent.run("measured", _fresh()) as run:
        run.step("step", lambda: 1)
        run.complete(1)
    return run


def _resume(agent: Any) -> None:
    with suppress(RuntimeError), agent.run("long", "1", max_attempts=1000) as run:
        run.step("step", lambda: 1)
        run.step("another", _fresh)
        raise RuntimeError("later")


def _claim(agent: Any) -> None:
    agent.start("measured task")
    agent.work(concurrency=1, until_idle=True)


def _hand_over(agent: Any) -> None:
    handoff = agent.handoff.create(to_queue="measured", context=1)
    agent.handoff.complete(agent.handoff.claim(handoff.id).id, 1)


def _ask(agent: Any) -> Any:
    return agent.escalations.create(severity="low", reason=_fresh(), wait=False)


def _watch(agent: Any) -> None:
    before = agent.state.set("grown", "key-1", 1)
    next(iter(agent.state.watch("grown", after=before.revision - 1)))


def _diff(agent: Any) -> None:
    after = agent.state.set("grown", "key-1", 1).revision
    agent.state.diff("grown", since=after - 1)
