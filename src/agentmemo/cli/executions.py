"""`agentmemo workflow run|start|next|submit`: executing documents, by the ladder or step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Json, Limit, flag
from agentmemo.cli.output import pretty
from agentmemo.cli.values import read_value
from agentmemo.cli.work import register_tool
from agentmemo.errors import InvalidInput
from agentmemo.model.executions import Execution

# A shell does not heartbeat: so long after its last call an execution that it holds is given up.
LEASE_SECONDS = 600.0
EXAMPLE = "agentmemo workflow run review --inputs '{\"number\": 7}' --tool my_tools:fetch_diff:read"

Name = Annotated[str, Parameter(help="Of the workflow.")]
Handle = Annotated[str, Parameter(name="EXECUTION", help="Its handle, as `start` printed it.")]
Inputs = Annotated[Json | None, Parameter(help="Its inputs: a JSON object, @FILE, or - for standard input.")]
Key = Annotated[str | None, Parameter(help="The same key again is the same execution.")]
Version = Annotated[str | None, Parameter(help="Of this version: digits of its hash, its number, or a state.")]
Output = Annotated[Json | None, Parameter(help="Its output: JSON, or plain text; @FILE; - for standard input.")]
Tools = Annotated[
    Sequence[str], flag("A tool: MODULE:FUNCTION, or MODULE:FUNCTION:EFFECT (none, read, write, irreversible).")
]


def register(app: App) -> None:
    for command in (run, start, next_, submit, execution, executions, attempts):
        app.command(command, name=command.__name__.rstrip("_"))


def run(
    name: Name,
    /,
    *,
    inputs: Inputs = None,
    run_key: Key = None,
    version: Version = None,
    tool: Tools = (),
    common: Common = EVERYWHERE,
) -> None:
    """Execute a workflow with the models of models.toml and the tools named here, and print its result.

    Waits while a person is asked. Killed and started again with the same --run-key, it goes on where it was.
    """
    with common.connect() as plane:
        for each in tool:
            register_tool(plane, each)
        started = plane.workflows.open(name, _inputs(inputs), key=run_key, version=version)
        _say(common, plane.workflows.drive(started))


def start(
    name: Name,
    /,
    *,
    inputs: Inputs = None,
    run_key: Key = None,
    version: Version = None,
    driver: Annotated[str, Parameter(help="caller: you do it, step by step. plane: any worker does it.")] = "caller",
    lease_seconds: Annotated[float, Parameter(help="You hold it so long after your last call.")] = LEASE_SECONDS,
    common: Common = EVERYWHERE,
) -> None:
    """Begin to execute a workflow yourself, and print the first step; or leave it to the plane."""
    with common.connect() as plane:
        made = plane.workflows.start(
            name, _inputs(inputs), key=run_key, version=version, driver=driver, lease_seconds=lease_seconds
        )
        _say(common, made)


def next_(
    execution: Handle,
    /,
    *,
    lease_seconds: Annotated[float, Parameter(help="You hold it so long after your last call.")] = LEASE_SECONDS,
    common: Common = EVERYWHERE,
) -> None:
    """Go on with an execution that was left, and print the step to be done now."""
    with common.connect() as plane:
        _say(common, plane.workflows.resume(execution, lease_seconds=lease_seconds))


def submit(
    execution: Handle,
    step: Annotated[str, Parameter(help="The step, as `next_step` names it.")],
    result: Output = None,
    /,
    *,
    attempt: Annotated[int | None, Parameter(help="Which attempt it is; the current one without.")] = None,
    outcome: Annotated[str, Parameter(help="output, abstained, timeout or error.")] = "output",
    reason: Annotated[str, flag("Why there is no output.")] = "",
    model: Annotated[str | None, Parameter(help="Who did it.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Hand in what a step gave. It is checked and kept; prints the next step, or this one again with its problems."""
    value = None if result is None else read_value(result, text=True)
    with common.connect() as plane:
        done = plane.workflows.submit(
            execution, step, value, attempt=attempt, outcome=outcome, reason=reason, model_name=model
        )
        _say(common, done)


def execution(execution: Handle, /, *, common: Common = EVERYWHERE) -> None:
    """Print an execution as it is: its state, its next step or its result."""
    with common.connect() as plane:
        _say(common, plane.workflows.execution(execution))


def executions(
    workflow: Annotated[str | None, Parameter(help="Of this workflow only.")] = None,
    /,
    *,
    version: Annotated[str | None, Parameter(help="Of this version only, by its whole hash.")] = None,
    state: Annotated[str | None, Parameter(help="Only these: unfinished, or a state of runs.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List executions, newest first."""
    with common.connect() as plane:
        page = plane.workflows.executions(workflow, version=version, state=state, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [(each.id, each.workflow, each.state, str(each.steps), each.error or each.reason) for each in page.items]
    common.out.table(("execution", "workflow", "state", "steps", "reason…"), rows, empty="No executions.")
    common.out.more(page.cursor)


def attempts(execution: Handle, /, *, common: Common = EVERYWHERE) -> None:
    """List what became of each attempt at the steps of an execution."""
    with common.connect() as plane:
        page = plane.workflows.attempts(execution)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (each.step, str(each.number), each.verdict, each.served_model or each.model or "", "; ".join(each.problems))
        for each in page.items
    ]
    common.out.table(("step", "no", "verdict", "model", "problems…"), rows, empty="No attempts.")


def _inputs(given: str | None) -> dict[str, Any] | None:
    value = None if given is None else read_value(given)
    if value is not None and not isinstance(value, dict):
        raise InvalidInput("The inputs of a workflow are a JSON object.", next_call=EXAMPLE)
    return value


def _say(common: Common, found: Execution) -> None:
    if common.json:
        common.out.document(found)
        return
    common.out.remark(f"{found.id}  {found.workflow} {found.version[:12]}  {found.state}")
    step = found.next_step
    if step is None:
        common.out.say(pretty(found.result) if found.state == "completed" else found.error or found.reason)
        return
    common.out.say(f"{step.step} ({step.kind}, attempt {step.attempt}): {step.instruction or step.title}")
    for problem in step.problems:
        common.out.say(f"- {problem}")
    common.out.remark(step.next_call)
