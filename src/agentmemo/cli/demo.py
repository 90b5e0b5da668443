"""`agentmemo demo`: five steps that go on where you stop them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, Common, flag
from agentmemo.cli.output import Output, working
from agentmemo.client._sync.connection import Connection
from agentmemo.client.current import current_step
from agentmemo.clock import SystemClock, iso
from agentmemo.errors import Conflict, InvalidInput
from agentmemo.model.runs import COMPLETED, FINISHED, Run

NAME = "agentmemo-demo"
NAMESPACE = "agentmemo-demo"
STEPS = (
    ("read", "read the pull request"),
    ("plan", "ask a model for a plan"),
    ("edit", "make the change"),
    ("test", "run the tests"),
    ("report", "write the report"),
)
SECONDS_MAX = 600.0


def demo(
    *,
    seconds: Annotated[float, Parameter(help="How long the five steps take together.")] = 10.0,
    again: Annotated[bool, flag("Start a new run when the last one is finished.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """Run five steps in ten seconds. Stop it with Ctrl-C or kill -9, start it again: it goes on at the next step.

    Each step pretends to work for two seconds; its result and one value under agentmemo-demo commit together.
    """
    if not 0 <= seconds <= SECONDS_MAX:
        raise InvalidInput(f"--seconds is 0 to {SECONDS_MAX:.0f}, not {seconds}.", next_call="Try --seconds 10.")
    out = common.out
    with common.connect(begins=True) as plane:
        run, outcome = _perform(plane, _key(plane, again=again), seconds / len(STEPS), out)
        entry = plane.state.get(NAMESPACE, run.id)
    if out.json:
        out.document({"run": run.id, "key": run.key, "state": COMPLETED, "steps": outcome, "stored": entry})
        return
    ran = sum(not step["from_store"] for step in outcome)
    out.say(f"Finished. Steps run now: {ran}; results taken from the store: {len(outcome) - ran}.")
    out.say(f"  agentmemo runs steps {run.id}     what is stored of it")
    out.say(f"  agentmemo events list --run {run.id}     the trail of it")
    if not ran:
        out.say("  agentmemo demo --again     a new run")


def _perform(plane: Connection, key: str, pause: float, out: Output) -> tuple[Run, list[dict[str, Any]]]:
    """The run from wherever it is to its end; the second is what each step returned and where that came from."""
    process = os.getpid()
    outcome: list[dict[str, Any]] = []
    with plane.run(NAME, key=key) as run:
        if not out.json:
            out.say(f"Run {run.id}, key {key!r}, in process {process}.")
            out.say(_opening(run.record))
            out.flush()
        for number, (name, what) in enumerate(STEPS, start=1):
            label = f"  {number} of {len(STEPS)}  {what}"
            ran: list[int] = []
            with working(f"{label} ...", out):
                result = run.step(name, _work(pause, ran), number, key="1")
            outcome.append({"step": name, "from_store": not ran, **result})
            if not out.json:
                since = f"from the store: process {result['process']} did it at {result['at'][11:19]}Z"
                out.say(f"{label}: {'done' if ran else since}")
                out.flush()
        run.complete({"steps": len(outcome)})
        return run.record, outcome


def _work(pause: float, ran: list[int]) -> Callable[[int], dict[str, Any]]:
    """A step's function: a pause for the work, and a value that commits with the result. `ran` sees that it ran."""

    def work(number: int) -> dict[str, Any]:
        clock = SystemClock()
        clock.sleep(pause)
        ran.append(number)
        step = current_step()
        if step is not None:
            step.state.set(NAMESPACE, step.run, {"steps_done": number})
        return {"process": os.getpid(), "at": iso(clock.now_us())}

    return work


def _key(plane: Connection, *, again: bool) -> str:
    """The key of the newest demo run; a new one when that has failed, or is finished and `again` is wished."""
    numbered = [run for run in plane.runs.list(name=NAME) if (run.key or "").isdecimal()]
    if not numbered:
        return "1"
    newest = max(numbered, key=lambda run: int(run.key or "0"))
    if newest.wake == "person":
        raise Conflict(
            f"Run {newest.id} waits for a person: {newest.waiting_for}.",
            why=newest.reason,
            next_call=f"agentmemo runs resolve {newest.id} continue",
        )
    if newest.state in FINISHED and (again or newest.state != COMPLETED):
        return str(int(newest.key or "0") + 1)
    return newest.key or "1"


def _opening(run: Run) -> str:
    if run.state == COMPLETED:
        return "It is finished; nothing runs again, every result comes from the store:"
    if run.steps:
        return f"{run.steps} of its steps are in the store; it goes on after them:"
    return "Stop it with Ctrl-C or kill -9 whenever you like, and start it again:"
