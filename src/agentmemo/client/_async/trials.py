"""Cases of workflows, and trials on them: each model, cheapest first, before anything depends on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from agentmemo import ids
from agentmemo.client._async.pages import AsyncPage
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client.driving import Asking, StepExecutor, Told, Tool, agreed, no_models, usage_of
from agentmemo.errors import InvalidInput
from agentmemo.model import cases as case_model
from agentmemo.model import executions, trials
from agentmemo.model.access import Claim
from agentmemo.model.cases import Case, CasesAdded, Failures, NewCase
from agentmemo.model.ledger import ReserveUsage
from agentmemo.model.runs import ANNOUNCED_EFFECTS, FINISHED, RUNNING, CancelRun
from agentmemo.model.trials import Due, Trial
from agentmemo.model.wire import Request
from agentmemo.model.workflows import HUMAN, LLM, NO_MODEL, TOOL

GivenCases = Sequence[NewCase | dict[str, Any]]


class AsyncTrials(ABC):
    """The part of `agent.workflows` that tries."""

    _plane: AsyncPlane
    _epochs: dict[str, int]

    async def add_cases(self, name: str, cases: GivenCases | None = None) -> CasesAdded:
        """Keep cases: `{"input": ..., "expected": ...}`, with `step` for those of one step; the same is kept once.

        A case of a step has what the step sees: `{"inputs": {...}, "steps": {"fetch": its output}}`. Without `expected`
        the hard checks decide; `effects` are what the workflow would do to the world. Without `cases`: the examples of
        the document that are of the whole workflow. Raises InvalidInput for a case that would show nothing.
        """
        given = None if cases is None else [msgspec.to_builtins(case) for case in cases]
        return await self._plane.call(case_model.AddCases(name=name, cases=given))

    async def cases(
        self, name: str, *, step: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> AsyncPage[Case]:
        """The cases of a workflow, newest first."""
        return await self._plane.page(case_model.ListCases(name=name, step=step, cursor=cursor, limit=limit))

    async def remove_case(self, name: str, case: str, *, reason: str = "") -> Case:
        """Try nothing on it any more; a person's call. `case` is its id, or six digits of it."""
        return await self._plane.call(case_model.RemoveCase(name=name, case=case, reason=reason))

    async def keep_case(
        self, execution: str | executions.Execution, *, step: str | None = None, expected: Any = None
    ) -> Case:
        """Make a case of an execution that happened, with what it would do to the world; or of one of its steps.

        `step` is its path. What came out is what is expected, unless `expected` says what would have been right.
        """
        handle = execution if isinstance(execution, str) else execution.id
        return await self._plane.call(case_model.KeepCase(execution=handle, step=step, expected=expected))

    async def failures(self, name: str, *, version: str | int | None = None, limit: int = 20) -> AsyncPage[Failures]:
        """What failed lately, in executions and in trials: by step and check, with counts, models and an example."""
        wanted = None if version is None else str(version)
        return await self._plane.page(case_model.ListFailures(name=name, version=wanted, limit=limit))

    async def trial(
        self,
        name: str,
        cases: GivenCases | None = None,
        *,
        version: str | int | None = None,
        models: Sequence[str] | None = None,
        planned: int | None = None,
        key: str | None = None,
        thorough: bool = False,
    ) -> Trial:
        """Try a version on its cases by each model, cheapest first, and say what that shows.

        `cases` are kept first; without them it is tried on all that are kept. Steps are tried one by one on their
        cases, the whole workflow on the others. Tools that read are called; what writes is compared, never done. A
        model that cannot pass any more is given up, and none is tried that is dearer than one that passed; `thorough`
        tries all.

        Killed and called again, it goes on where it was, and pays for nothing twice; the same trial again is the one
        there is, unless a `key` begins another. Raises LimitExceeded where a cap holds; call it again afterwards.
        """
        given = None if cases is None else (await self.add_cases(name, cases)).cases
        worker = await self._plane.worker()
        asked = trials.OpenTrial(
            name=name,
            worker=worker,
            cases=given,
            version=None if version is None else str(version),
            models=None if models is None else list(models),
            models_here=self._models(),
            planned=planned,
            key=key,
            thorough=thorough,
            lease_seconds=self._plane.lease_seconds,
        )
        return await self._try_all(await self._plane.call(asked))

    async def get_trial(self, trial: str) -> Trial:
        """A trial as it is now, also while it runs."""
        return await self._plane.call(trials.GetTrial(trial=trial))

    async def trials(
        self, workflow: str | None = None, *, cursor: str | None = None, limit: int = 20
    ) -> AsyncPage[Trial]:
        """Newest first."""
        return await self._plane.page(trials.ListTrials(workflow=workflow, cursor=cursor, limit=limit))

    async def _try_all(self, trial: Trial) -> Trial:
        """Case by case, holding it; given back where something goes wrong here."""
        if trial.state != RUNNING:
            return trial
        self._epochs[trial.id] = trial.epoch
        self._plane.heart().hold(trial.id, trial.epoch)
        try:
            while trial.next is not None:
                due = trial.next
                trial = await (self._try_step(trial, due) if due.step is not None else self._try_whole(trial, due))
        except BaseException as error:
            await self._give_back(trial.id, error)
            raise
        self._let_go(trial.id)
        return trial

    async def _try_step(self, trial: Trial, due: Due) -> Trial:
        wanted = trials.GetTrialStep(trial=trial.id, step=due.step or "", model=due.model, case=due.case)
        step: executions.NextStep = await self._plane.call(wanted)
        if due.model == NO_MODEL:
            return await self._tried(trial, due, step, agreed(step), None)
        executor = self._executor()
        if executor is None:
            raise no_models(trial.workflow)
        tools = [await self._tool(name, step) for name in step.tools]
        asking = executor.prepare(step, tools)
        use = ReserveUsage(
            id=ids.mint("use", self._plane.clock.now_us()),
            model=asking.called,
            input_tokens=asking.input_tokens,
            max_output_tokens=asking.max_output_tokens,
            role="verify",
            workflow=trial.workflow,
            version=trial.version,
            run=trial.id,
            step=due.step,
        )
        await self._under_claim(trial.id, use)
        told = await self._asked(executor, asking, tools, step.timeout_seconds)
        return await self._tried(trial, due, step, told, use.id)

    async def _tried(
        self, trial: Trial, due: Due, step: executions.NextStep, told: Told, reservation: str | None
    ) -> Trial:
        """Hand in what a model said. Another model's opinion is no evidence, so none is asked for it."""
        by_tool = [check for check in step.checks if check["kind"] == "tool" and told.outcome == "output"]
        request = trials.TryCase(
            trial=trial.id,
            step=due.step,
            model=due.model,
            case=due.case,
            result=told.output,
            outcome=told.outcome,
            reason=told.reason,
            checks=[await self._checked_by_tool(step, check, told.output) for check in by_tool],
            served_model=told.served_model,
            reservation=reservation,
            billed=told.billed,
            usage=usage_of(told),
            provider_nanousd=told.provider_nanousd,
            request_id=told.request_id,
        )
        return await self._under_claim(trial.id, request)

    async def _try_whole(self, trial: Trial, due: Due) -> Trial:
        """Execute it on the case's inputs, with what writes held back."""
        worker = await self._plane.worker()
        here = self._models()
        request = executions.StartExecution(
            name=trial.workflow,
            inputs=due.input,
            key=trials.execution_key(trial.id, due.model, due.case),
            version=trial.version,
            driver=executions.PLANE,
            worker=worker,
            lease_seconds=self._plane.lease_seconds,
            models=executions.Askable(models=here.models, ladder=[due.model]),
            trial=trial.id,
        )
        execution = self._met(await self._under_claim(trial.id, request))
        try:
            reason = await self._drive_held_back(execution, due)
        except BaseException as error:
            await self._give_back(execution.id, error)
            raise
        tried = trials.TryCase(trial=trial.id, model=due.model, case=due.case, execution=execution.id, reason=reason)
        return await self._under_claim(trial.id, tried)

    async def _drive_held_back(self, execution: executions.Execution, due: Due) -> str:
        """To its end, or to where a person would be asked, whom no trial asks; returns why it ended there."""
        while execution.state not in FINISHED:
            step = execution.next_step
            if step is None or step.kind == HUMAN:
                reason = "; ".join(step.problems) if step else ""
                await self._stop(execution, reason or "a person would be asked")
                return reason or "a person would be asked"
            if step.kind == TOOL and await self._writes(step):
                execution = await self._held_back(execution, step, due)
            elif step.kind == LLM:
                execution = await self._ask_model(execution, step, parks=False)
            else:
                execution = await self._move(execution)
        return ""

    async def _held_back(
        self, execution: executions.Execution, step: executions.NextStep, due: Due
    ) -> executions.Execution:
        """What would be done is noted by its step; what it would give is what the case says."""
        known = next((effect.output for effect in due.effects if effect.step == step.step), None)
        return await self._submit(execution, step, Told(output=known), None)

    async def _stop(self, execution: executions.Execution, reason: str) -> None:
        claim = Claim(run=execution.id, epoch=execution.epoch)
        self._let_go(execution.id)
        await self._plane.call(CancelRun(run=execution.id, reason=f"in a trial: {reason}"), claim=claim)

    async def _writes(self, step: executions.NextStep) -> bool:
        """Whether a step would change something. Raises InvalidInput where the document says no, and the tool yes."""
        if step.effect in ANNOUNCED_EFFECTS:
            return True
        tool = await self._tool(step.tool or "", step)
        if tool.effect in ANNOUNCED_EFFECTS:
            raise InvalidInput(
                f"Step {step.step} calls {tool.name} as {step.effect}, and the tool is registered as {tool.effect}.",
                why="A trial performs what only reads.",
                next_call=f"Say so in the document: effect {tool.effect!r} of that step.",
            )
        return False

    # What executing does.

    @abstractmethod
    async def _ask_model(
        self, execution: executions.Execution, step: executions.NextStep, *, parks: bool = True
    ) -> executions.Execution: ...

    @abstractmethod
    async def _asked(self, executor: StepExecutor, asking: Asking, tools: list[Tool], seconds: float) -> Told: ...

    @abstractmethod
    async def _checked_by_tool(
        self, step: executions.NextStep, check: dict[str, Any], output: Any
    ) -> executions.ReportedCheck: ...

    @abstractmethod
    def _executor(self) -> StepExecutor | None: ...

    @abstractmethod
    async def _give_back(self, handle: str, error: BaseException) -> None: ...

    @abstractmethod
    def _let_go(self, handle: str) -> None: ...

    @abstractmethod
    def _met(self, execution: executions.Execution) -> executions.Execution: ...

    @abstractmethod
    def _models(self) -> executions.Askable: ...

    @abstractmethod
    async def _move(self, execution: executions.Execution) -> executions.Execution: ...

    @abstractmethod
    async def _submit(
        self, execution: executions.Execution, step: executions.NextStep, told: Told, reservation: str | None
    ) -> executions.Execution: ...

    @abstractmethod
    async def _tool(self, name: str, step: executions.NextStep | None = None) -> Tool: ...

    @abstractmethod
    async def _under_claim(self, handle: str, request: Request) -> Any: ...
