"""Executing workflow documents: by the plane's ladder and tools from here, or step by step by whoever calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from agentmemo import ids
from agentmemo.client._async.escalations import say_where
from agentmemo.client._async.pages import AsyncPage
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client.driving import (
    Asking,
    StepExecutor,
    Told,
    Tool,
    ToolSource,
    agreed,
    arguments_for,
    asks_models,
    calls_for_model,
    check_effect,
    no_models,
    no_tools_for,
    opinion_of,
    tool_of,
    unknown_tool,
    usage_of,
)
from agentmemo.client.step_call import summary_of
from agentmemo.crashpoints import reach
from agentmemo.errors import Error, InvalidInput, LeaseLost, LimitExceeded, NotFound, StepFailed, TimedOut
from agentmemo.model import executions as model
from agentmemo.model.access import Claim
from agentmemo.model.escalations import CreateEscalation
from agentmemo.model.evidence_calls import CompareStep
from agentmemo.model.kinds import described
from agentmemo.model.ledger import ReserveUsage, SettleUsage, VoidUsage
from agentmemo.model.runs import (
    ANNOUNCED_EFFECTS,
    COMPLETED,
    FINISHED,
    RUNNING,
    WAITING,
    ParkRun,
    ReleaseRun,
    ResumeRun,
)
from agentmemo.model.wire import Request, as_request
from agentmemo.model.workflow_versions import GetWorkflow
from agentmemo.model.workflows import HUMAN, LLM, NO_MODEL, TOOL, WorkflowDocument

F = TypeVar("F", bound=Callable[..., Any])
WAIT_SECONDS = 30.0
# What no worker can do is not tried again at once: a tool or a model may be missing everywhere.
AGAIN_SECONDS = 10.0
# A tool's program has its own, shorter time to start in.
FIND_SECONDS = 600.0


class AsyncExecutions:
    """The part of `agent.workflows` that executes."""

    def __init__(self, plane: AsyncPlane) -> None:
        self._plane = plane
        self._tools: dict[str, Tool] = {}
        self._load = plane.equipment.executor if plane.equipment else None
        self._asks: StepExecutor | None = None
        self._load_tools = plane.equipment.tools if plane.equipment else None
        self._more_tools: ToolSource | None = None
        # By execution that is held here: the epoch of its claim.
        self._epochs: dict[str, int] = {}

    def use(self, executor: StepExecutor | Callable[[], StepExecutor | None]) -> None:
        """Whoever asks models for this connection, or a function that makes one when it is needed first."""
        if callable(executor):
            self._asks, self._load = None, executor
        else:
            self._asks, self._load = executor, None

    def use_tools(self, source: Callable[[], ToolSource | None]) -> None:
        """Where tools are looked for that are no functions here; made when one is needed first, closed with this."""
        self._load_tools = source

    def register(self, function: F, name: str | None, effect: str) -> F:
        """A function as a tool that steps may call by name."""
        tool = tool_of(function, name, effect)
        self._tools[tool.name] = tool
        return function

    async def execute(self, name: str, /, **inputs: Any) -> model.Execution:
        """Execute a workflow with the models and tools of this connection, and return it completed.

        Each step is reserved, done, checked and kept in commits of its own, so that another process goes on where this
        one is killed: `resume`. A check that fails is tried again with the failure shown, then on the next rung, then
        put to a person; this call waits for the answer. Raises Unavailable without any model to ask, StepFailed where
        the execution failed, InvalidInput for inputs that the document does not take.
        """
        return await self.drive(await self.open(name, inputs))

    async def start(
        self,
        name: str,
        inputs: Any = None,
        *,
        key: str | None = None,
        version: str | int | None = None,
        driver: str = "caller",
        lease_seconds: float | None = None,
    ) -> model.Execution:
        """Begin to execute it yourself: `next_step` says what to do now, and `submit` hands in what came of it.

        Idempotent by key. `version` pins one; else the active one, or the newest draft, marked `unproven`. With
        `driver="plane"` it is left to any worker that drives workflows (`agentmemo work`). With `lease_seconds` nothing
        beats for it here: this agent holds it until so long after its last call, from whichever process.
        """
        if driver == model.PLANE or lease_seconds is not None:
            return await self._plane.call(
                model.StartExecution(
                    name=name,
                    inputs=inputs,
                    key=key,
                    version=_version(version),
                    driver=driver,
                    lease_seconds=lease_seconds,
                )
            )
        return await self.open(name, inputs, key=key, version=version, driver=model.CALLER)

    async def submit(
        self,
        execution: str | model.Execution,
        step: str,
        result: Any = None,
        *,
        outcome: str = "output",
        reason: str = "",
        attempt: int | None = None,
        model_name: str | None = None,
    ) -> model.Execution:
        """Hand in a step's output, to be checked and kept. The answer has the next step, or the same with its problems.

        `outcome` may be abstained or error, with the `reason`. Raises InvalidTransition for another step.
        """
        handle = _handle(execution)
        request = model.SubmitStep(
            execution=handle,
            step=step,
            result=result,
            outcome=outcome,
            reason=reason,
            attempt=attempt,
            model=model_name,
        )
        if handle not in self._epochs:
            return await self._plane.call(request)
        return self._met(await self._under_claim(handle, request))

    async def resume(self, execution: str | model.Execution, *, lease_seconds: float | None = None) -> model.Execution:
        """Go on with an execution that was left: claim it, and get its next step; none while a person is asked.

        `lease_seconds` is as with `start`. Raises RunHeld where somebody else is at it.
        """
        handle = _handle(execution)
        if lease_seconds is not None:
            return await self._plane.call(model.ResumeExecution(execution=handle, lease_seconds=lease_seconds))
        worker = await self._plane.worker()
        request = model.ResumeExecution(execution=handle, worker=worker, models=self._models())
        return self._met(await self._plane.call(request))

    async def execution(self, execution: str) -> model.Execution:
        """As it is now."""
        return await self._plane.call(model.GetExecution(execution=execution))

    async def executions(
        self,
        workflow: str | None = None,
        *,
        version: str | int | None = None,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> AsyncPage[model.Execution]:
        """Newest first. `state` may be `unfinished`."""
        return await self._plane.page(
            model.ListExecutions(workflow=workflow, version=_version(version), state=state, cursor=cursor, limit=limit)
        )

    async def attempts(self, execution: str | model.Execution) -> AsyncPage[model.StepAttempt]:
        """What became of each attempt at its steps, in their order."""
        return await self._plane.page(model.ListAttempts(execution=_handle(execution)))

    async def drive(self, execution: model.Execution, *, wait: bool = True) -> model.Execution:
        """Do its steps with the models and tools of this connection until it has ended.

        Waits while a person is asked; without `wait` it returns then, holding nothing. Raises StepFailed where it
        failed, LeaseLost where somebody else goes on with it.
        """
        owed: list[tuple[model.NextStep, model.Beside]] = []
        try:
            while execution.state not in FINISHED:
                if execution.state == WAITING and not wait:
                    break
                step = execution.next_step
                execution = await self._move(execution)
                if step is not None and step.beside and _has_passed(step, execution):
                    owed += [(step, each) for each in step.beside]
        except BaseException as error:
            await self._give_back(execution.id, error)
            raise
        await self._ask_beside(execution, owed)
        if execution.state not in FINISHED:
            return execution
        if execution.state != COMPLETED:
            raise StepFailed(
                f"Execution {execution.id} of {execution.workflow} is {execution.state}: "
                f"{execution.error or execution.reason}",
                next_call=f"See what it did: agent.runs.steps('{execution.id}').",
                details={"execution": execution.id, "workflow": execution.workflow, "state": execution.state},
            )
        return execution

    async def open(
        self,
        name: str,
        inputs: Any = None,
        *,
        key: str | None = None,
        version: str | int | None = None,
        driver: str = model.PLANE,
    ) -> model.Execution:
        """Begin what `drive` then does: `execute` with a key, or a version. Idempotent by key."""
        if driver == model.PLANE and self._executor() is None:
            await self._refuse_without_models(name, version)
        worker = await self._plane.worker()
        request = model.StartExecution(
            name=name,
            inputs=inputs,
            key=key,
            version=_version(version),
            driver=driver,
            worker=worker,
            lease_seconds=self._plane.lease_seconds,
            models=self._models(),
        )
        return self._met(await self._plane.call(request))

    async def _move(self, execution: model.Execution) -> model.Execution:
        """One step of it, whatever that takes."""
        step = execution.next_step
        if step is None:
            if execution.state == WAITING:
                await self._wait_for_person(execution)
            return await self.resume(execution)
        if step.kind == HUMAN:
            return await self._ask_person(execution, step)
        if step.in_doubt and step.in_doubt_policy == "ask":
            return await self._ask_in_doubt(execution, step, "an earlier holder may have done it already")
        if step.kind == TOOL:
            return await self._call_tool(execution, step)
        if step.kind == LLM:
            return await self._ask_model(execution, step)
        raise InvalidInput(f"A step of kind {step.kind!r} cannot be done here.", next_call="Upgrade agentmemo.")

    async def _call_tool(self, execution: model.Execution, step: model.NextStep) -> model.Execution:
        tool = await self._tool(step.tool or "", step)
        check_effect(tool, step.effect)
        await self._find_checks(step)
        arguments = arguments_for(tool, step.input, step.idempotency_key)
        announced = step.effect in ANNOUNCED_EFFECTS
        if announced:
            await self._begin(execution, step, None)
        reach("execution.before_tool")
        try:
            output = await self._plane.flow.run_function(tool.function, (), arguments, step.timeout_seconds)
        except Exception as error:  # noqa: BLE001 - whatever the tool raises, the step has failed
            if announced and not (step.effect == "write" and step.in_doubt_policy == "retry"):
                return await self._ask_in_doubt(execution, step, f"the tool did not say that it failed: {error}")
            outcome = model.TIMED_OUT if isinstance(error, TimedOut) else model.ERROR
            return await self._submit(execution, step, Told(outcome=outcome, reason=summary_of(error)), None)
        reach("execution.after_tool")
        return await self._submit(execution, step, Told(output=output), None)

    async def _ask_model(
        self, execution: model.Execution, step: model.NextStep, *, parks: bool = True
    ) -> model.Execution:
        """Where a cap holds, a person is asked; without `parks` LimitExceeded is raised."""
        executor = self._executor()
        if executor is None or step.model is None:
            raise no_models(execution.workflow)
        if step.model == NO_MODEL:
            return await self._submit(execution, step, agreed(step), None)
        tools = [await self._tool(name, step) for name in step.tools]
        await self._find_checks(step)
        asking = executor.prepare(step, tools)
        try:
            reservation = await self._begin(execution, step, asking)
        except LimitExceeded as error:
            if not parks:
                raise
            return await self._park(execution, step, "budget", f"{error.message} {error.next_call}")
        reach("execution.before_model")
        told = await self._asked(executor, asking, tools, step.timeout_seconds)
        reach("execution.after_model")
        return await self._submit(execution, step, told, reservation)

    async def _ask_beside(self, execution: model.Execution, owed: list[tuple[model.NextStep, model.Beside]]) -> None:
        """Ask the models that are to be compared, once the execution needs nothing more: it is never theirs to fail."""
        for step, beside in owed:
            with suppress(Exception):
                await self._ask_one_beside(execution, step, beside)

    async def _ask_one_beside(self, execution: model.Execution, step: model.NextStep, beside: model.Beside) -> None:
        executor = self._executor()
        if executor is None:
            return
        asked = msgspec.convert(beside.asked, described(model.NextStep)) if beside.asked else step
        asked = msgspec.structs.replace(
            asked, model=beside.model, rung=None, max_output_tokens=beside.max_output_tokens, beside=[]
        )
        if beside.model == NO_MODEL:
            told, reservation = agreed(asked), None
        else:
            tools = [await self._tool(name, asked) for name in asked.tools]
            asking = executor.prepare(asked, tools)
            request = _begin_request(execution.id, asked, asking, beside.role)
            reservation = (await self._plane.call(request)).reservation
            told = await self._asked(executor, asking, tools, asked.timeout_seconds)
        checks = [] if told.outcome != "output" else await self._checked(execution, asked, told.output, by_tools=True)
        await self._plane.call(
            CompareStep(
                execution=execution.id,
                step=step.step,
                role=beside.role,
                result=told.output,
                outcome=told.outcome,
                reason=told.reason,
                checks=checks,
                served_model=told.served_model,
                reservation=reservation,
                billed=told.billed,
                usage=usage_of(told),
                provider_nanousd=told.provider_nanousd,
                request_id=told.request_id,
            )
        )

    async def _begin(self, execution: model.Execution, step: model.NextStep, asking: Asking | None) -> str | None:
        """Commit that it is about to be done. Returns what was reserved for it."""
        request = _begin_request(execution.id, step, asking, None)
        begun: model.Begun = await self._under_claim(execution.id, request)
        return begun.reservation

    async def _submit(
        self, execution: model.Execution, step: model.NextStep, told: Told, reservation: str | None
    ) -> model.Execution:
        """What came of a step, with the checks that only this side can make."""
        checks = [] if told.outcome != "output" else await self._checked(execution, step, told.output)
        request = model.SubmitStep(
            execution=execution.id,
            step=step.step,
            attempt=step.attempt,
            result=told.output,
            outcome=told.outcome,
            reason=told.reason,
            checks=checks,
            model=step.model,
            served_model=told.served_model,
            reservation=reservation,
            billed=told.billed,
            usage=usage_of(told),
            provider_nanousd=told.provider_nanousd,
            request_id=told.request_id,
        )
        return self._met(await self._under_claim(execution.id, request))

    async def _checked(
        self, execution: model.Execution, step: model.NextStep, output: Any, *, by_tools: bool = False
    ) -> list[model.ReportedCheck]:
        """What the checks found that only this side can make; `by_tools` leaves out what other models think."""
        found = []
        for check in step.checks:
            if check["kind"] == "tool":
                found.append(await self._checked_by_tool(step, check, output))
            elif check["kind"] == "second_model" and not by_tools and (executor := self._executor()) is not None:
                found.append(await self._checked_by_model(executor, execution, step, check, output))
        return found

    async def _checked_by_model(
        self,
        executor: StepExecutor,
        execution: model.Execution,
        step: model.NextStep,
        check: dict[str, Any],
        output: Any,
    ) -> model.ReportedCheck:
        """A hint that cannot be had, for want of money or of the model, costs the step nothing that was paid for."""
        try:
            asking = executor.prepare_opinion(step, check, output)
            return opinion_of(check, await self._opinion(executor, asking, execution, step))
        except (LimitExceeded, NotFound) as error:
            return model.ReportedCheck(check=check["id"], passed=False, detail=error.message)

    async def _opinion(
        self, executor: StepExecutor, asking: Asking, execution: model.Execution, step: model.NextStep
    ) -> Told:
        """Another model's opinion, reserved and settled as every call is."""
        use = ReserveUsage(
            id=ids.mint("use", self._plane.clock.now_us()),
            model=asking.called,
            input_tokens=asking.input_tokens,
            max_output_tokens=asking.max_output_tokens,
            role="verify",
            workflow=execution.workflow,
            version=execution.version,
            run=execution.id,
            step=step.step,
            attempt=step.attempt,
        )
        await self._under_claim(execution.id, use)
        told = await self._asked(executor, asking, [], step.timeout_seconds)
        if not told.billed:
            await self._under_claim(execution.id, VoidUsage(id=use.id, reason=told.reason))
        else:
            settled = SettleUsage(
                id=use.id,
                usage=usage_of(told),
                model_served=told.served_model,
                request_id=told.request_id,
                provider_nanousd=told.provider_nanousd,
            )
            await self._under_claim(execution.id, settled)
        return told

    async def _asked(self, executor: StepExecutor, asking: Asking, tools: list[Tool], seconds: float) -> Told:
        """One that is late may have been billed, and nobody knows for how much."""
        call = (asking, calls_for_model(tools))
        try:
            return await self._plane.flow.run_function(executor.ask, call, {}, seconds)
        except TimedOut as error:
            return Told(outcome=model.TIMED_OUT, reason=error.message)

    async def _find_checks(self, step: model.NextStep) -> None:
        """Before anything is paid for or done: what could not be checked afterwards would be lost."""
        for check in step.checks:
            if check["kind"] == "tool":
                check_effect(await self._tool(check.get("tool", ""), step), "read")

    async def _checked_by_tool(self, step: model.NextStep, check: dict[str, Any], output: Any) -> model.ReportedCheck:
        """A check that fails to run did not pass."""
        tool = await self._tool(check.get("tool", ""), step)
        check_effect(tool, "read")
        try:
            arguments = arguments_for(tool, {"output": output, "input": step.input}, None)
            said = await self._plane.flow.run_function(tool.function, (), arguments, step.timeout_seconds)
        except Exception as error:  # noqa: BLE001 - whatever the tool raises, the check did not hold
            return model.ReportedCheck(check=check["id"], passed=False, detail=summary_of(error))
        passed = said is True or (isinstance(said, dict) and said.get("passed") is True)
        detail = str(said.get("detail", "")) if isinstance(said, dict) else ""
        return model.ReportedCheck(check=check["id"], passed=passed, detail=detail)

    async def _ask_person(self, execution: model.Execution, step: model.NextStep) -> model.Execution:
        """Put the step's question, and go on once it is answered; meanwhile nothing is held."""
        question = msgspec.structs.replace(
            as_request(step.question or {}, CreateEscalation), run=execution.id, name=step.step, key=str(step.attempt)
        )
        made = await self._under_claim(execution.id, question)
        if made.answer is None:
            say_where(made)
            return self._parked(execution)
        return await self.resume(execution)

    async def _ask_in_doubt(self, execution: model.Execution, step: model.NextStep, why: str) -> model.Execution:
        return await self._park(execution, step, "in_doubt", f"Step {step.step} is in doubt: {why}")

    async def _park(self, execution: model.Execution, step: model.NextStep, question: str, why: str) -> model.Execution:
        """A question of the run itself: about an effect that may have happened, or about money."""
        request = ParkRun(
            run=execution.id, name=step.step, key=str(step.attempt), kind="person", question=question, detail=why
        )
        await self._under_claim(execution.id, request)
        return self._parked(execution)

    def _parked(self, execution: model.Execution) -> model.Execution:
        self._let_go(execution.id)
        return msgspec.structs.replace(execution, state=WAITING, next_step=None)

    async def _wait_for_person(self, execution: model.Execution) -> None:
        """Until the run may move again, and is claimed."""
        worker = await self._plane.worker()
        request = ResumeRun(run=execution.id, epoch=execution.epoch, worker=worker, wait_seconds=WAIT_SECONDS)
        while (await self._plane.call(request)).outcome == "waiting":
            if self._plane.flow.stopping:
                raise LeaseLost(
                    f"The connection was closed while execution {execution.id} waited; it goes on waiting.",
                    next_call=f"agent.workflows.resume('{execution.id}') on a new connection.",
                )

    async def _give_back(self, handle: str, error: BaseException) -> None:
        """So that others may go on with it at once. What it waits for, or has lost, is not held here."""
        epoch = self._epochs.get(handle)
        if epoch is None or isinstance(error, LeaseLost):
            self._let_go(handle)
            return
        said = summary_of(error) if isinstance(error, Exception) else None
        request = ReleaseRun(run=handle, error=said, retry_after_seconds=AGAIN_SECONDS if said else 0.0)
        with suppress(Error):
            await self._under_claim(handle, request)
        self._let_go(handle)

    async def _under_claim(self, handle: str, request: Request) -> Any:
        """An operation of this connection as the holder of an execution."""
        claim = Claim(run=handle, epoch=self._epochs.get(handle, 0))
        return await self._plane.call(request, claim=claim, as_worker=await self._plane.worker())

    async def _refuse_without_models(self, name: str, version: str | int | None) -> None:
        """A workflow of tools alone needs no model. Raises Unavailable for any other."""
        found = await self._plane.call(GetWorkflow(name=name, version=_version(version)))
        if asks_models(msgspec.convert(found.document, described(WorkflowDocument))):
            raise no_models(name)

    def _met(self, execution: model.Execution) -> model.Execution:
        """Hold what was claimed, and let go of what is over."""
        if execution.state == RUNNING and execution.next_step is not None:
            if self._epochs.get(execution.id) != execution.epoch:
                self._epochs[execution.id] = execution.epoch
                self._plane.heart().hold(execution.id, execution.epoch)
        else:
            self._let_go(execution.id)
        return execution

    def _let_go(self, handle: str) -> None:
        epoch = self._epochs.pop(handle, None)
        if epoch is not None:
            self._plane.let_go(handle, epoch)

    def _models(self) -> model.Askable:
        executor = self._executor()
        return (
            model.Askable(models=list(executor.models), ladder=list(executor.ladder)) if executor else model.Askable()
        )

    def _executor(self) -> StepExecutor | None:
        if self._asks is None and self._load is not None:
            self._asks, self._load = self._load(), None
        return self._asks

    async def _tool(self, name: str, step: model.NextStep | None = None) -> Tool:
        """A function from here, or a tool of a configured program; none at all for what no person has looked at."""
        if step is not None and step.untrusted:
            raise no_tools_for(step.step, name)
        if name in self._tools:
            return self._tools[name]
        source = self._source()
        found = await self._plane.flow.run_function(source.find, (name,), {}, FIND_SECONDS) if source else None
        if found is None:
            raise unknown_tool(name, sorted([*self._tools, *(source.names() if source else ())]))
        return found

    def _source(self) -> ToolSource | None:
        if self._more_tools is None and self._load_tools is not None:
            self._more_tools, self._load_tools = self._load_tools(), None
        return self._more_tools

    async def close_tools(self) -> None:
        """End what was started for tools; the connection does it when it is closed."""
        source, self._more_tools = self._more_tools, None
        if source is not None:
            await self._plane.flow.run_function(source.close, (), {}, FIND_SECONDS)


def _has_passed(step: model.NextStep, execution: model.Execution) -> bool:
    """Whether what was handed in for a step was taken, and it is not the step's turn again."""
    now = execution.next_step
    return now is None or (now.step, now.attempt) != (step.step, step.attempt + 1)


def _begin_request(execution: str, step: model.NextStep, asking: Asking | None, role: str | None) -> model.BeginStep:
    return model.BeginStep(
        execution=execution,
        step=step.step,
        attempt=step.attempt,
        model=asking.called if asking else None,
        input_tokens=asking.input_tokens if asking else 0,
        max_output_tokens=asking.max_output_tokens if asking else 0,
        role=role,
    )


def _handle(execution: str | model.Execution) -> str:
    return execution if isinstance(execution, str) else execution.id


def _version(version: str | int | None) -> str | None:
    return None if version is None else str(version)
