# Generated from client/_async by scripts/generate_sync.py; edit there.
"""Designing workflow documents, and repairing them from their failures: by a model, or by a person part by part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from agentmemo import ids
from agentmemo.client import designing
from agentmemo.client._sync.pages import Page
from agentmemo.client._sync.plane import Plane
from agentmemo.client.designing import DESIGN, REFUSALS, REPAIR, TRIES, Designed
from agentmemo.client.driving import Asking, StepExecutor, Told, Tool, usage_of
from agentmemo.errors import Error, InvalidInput, StepFailed
from agentmemo.model import executions
from agentmemo.model.cases import Case, Failures, NewCase
from agentmemo.model.ledger import LedgerRow, ReserveUsage, SettleUsage, VoidUsage
from agentmemo.model.repairs import GetRegressions, Propose, Regressions, Repaired
from agentmemo.model.trials import Trial
from agentmemo.model.workflow_edits import Edit
from agentmemo.model.workflow_versions import CreateWorkflow, GetWorkflow, Workflow
from agentmemo.model.workflows import DesignedBy, Example

DESIGN_SECONDS = 600.0


class Repairs(ABC):
    """The part of `agent.workflows` that designs and repairs."""

    _plane: Plane

    def propose(
        self,
        name: str,
        edits: Sequence[Edit | dict[str, Any]],
        reason: str = "",
        *,
        version: str | int | None = None,
        source: str = "designed",
        tools: Sequence[str] = (),
        designed_by: DesignedBy | dict[str, Any] | str | None = None,
    ) -> Workflow:
        """A new draft: a version with a few edits made, which are `reason` and `changes` of it.

        What is not edited keeps its hash, and so what was shown about it. Edits: add_edge_case, change_edge_case,
        add_example, change_step, split_step. Only a person takes a check away; `tools` names those that it may have
        beside its parent's. Raises InvalidInput with the path of what does not fit.
        """
        return self._plane.call(
            Propose(
                name=name,
                edits=[msgspec.to_builtins(edit) for edit in edits],
                reason=reason,
                version=None if version is None else str(version),
                designed_by=None if designed_by is None else msgspec.to_builtins(designed_by),
                source=source,
                tools=list(tools),
            )
        )

    def regressions(self, name: str, *, version: str | int | None = None) -> Regressions:
        """What worked before and does not in a version, or was not replayed on it yet."""
        wanted = None if version is None else str(version)
        return self._plane.call(GetRegressions(name=name, version=wanted))

    def design(
        self,
        goal: str,
        *,
        name: str | None = None,
        examples: Sequence[Example | dict[str, Any]] = (),
        model: str | None = None,
        tools: Sequence[str] = (),
    ) -> Workflow:
        """Have a model write a first draft for a goal: the top of the ladder, or the one named.

        `examples` are inputs with their right outputs; they go into the document as they are. It gets no tools but
        those of this connection that are named in `tools`. What does not fit is shown to the designer, three tries in
        all. Raises StepFailed where none fits, Unavailable without a model.
        """
        called = name or designing.name_of(goal)
        allowed = {each: self._tool(each) for each in tools}
        shown = [msgspec.to_builtins(example) for example in examples]
        given: dict[str, Any] = {"goal": goal, "name": called, "examples": shown}
        given["tools"] = designing.shown_tools(allowed.values())
        spent: list[int | None] = []
        for _ in range(TRIES):
            designed = self._designed(DESIGN, model, given, spent, workflow=called)
            try:
                answer = designing.answer_of(designed.output)
                document = designing.document_of(answer, name=called, by=designed.by, examples=examples, tools=allowed)
                return self._plane.call(CreateWorkflow(document=msgspec.to_builtins(document)))
            except REFUSALS as error:
                given, refused = designing.again(given, designed.output, error), error
        raise self._in_vain(DESIGN, refused)

    def repair(
        self,
        name: str,
        *,
        designer: str | None = None,
        version: str | int | None = None,
        models: Sequence[str] | None = None,
        limit: int = 5,
    ) -> Repaired:
        """Have a designer mend what fails: a few edits as a new draft, replayed on what failed and on what had worked.

        Shown are the `limit` newest clusters of failures; the designer is the top of the ladder, or the model named.
        The draft is replayed by each model of its ladder, or by `models`, on every case that is kept. What worked
        before and fails now is in `regressions`; while it does, evidence does not move the draft on. Raises
        InvalidInput where nothing failed, or nothing can be replayed; StepFailed where the designer's edits do not fit.
        """
        failures = (self.failures(name, version=version, limit=limit)).items
        if not failures:
            raise InvalidInput(
                f"Nothing of {name} has failed lately.",
                next_call=f"Nothing is to be done; see what it was tried on: agent.workflows.trials('{name}').",
            )
        for failure in failures:
            self._keep(failure)
        self._check_there_are_cases(name)
        wanted = None if version is None else str(version)
        parent: Workflow = self._plane.call(GetWorkflow(name=name, version=wanted))
        draft, edits, spent = self._proposed(parent, failures, designer)
        trial = self.trial(name, version=draft.version, models=models, thorough=True)
        return Repaired(
            workflow=draft,
            edits=edits,
            trial=trial,
            regressions=self.regressions(name, version=draft.version),
            attempts=len(spent),
            cost_nanousd=_sum(spent),
        )

    def _proposed(
        self, parent: Workflow, failures: list[Failures], designer: str | None
    ) -> tuple[Workflow, list[Any], list[int | None]]:
        """The draft, the edits that made it, and what each try cost."""
        given: dict[str, Any] = {
            "document": parent.document,
            "failures": [designing.shown_failure(failure) for failure in failures],
        }
        spent: list[int | None] = []
        for _ in range(TRIES):
            designed = self._designed(REPAIR, designer, given, spent, workflow=parent.name, version=parent.version)
            try:
                edits, reason = designing.edits_of(designing.answer_of(designed.output))
                draft = self.propose(
                    parent.name,
                    edits,
                    reason,
                    version=parent.version,
                    source=designing.source_of(failures[0]),
                    designed_by=designed.by,
                )
            except REFUSALS as error:
                given, refused = designing.again(given, designed.output, error), error
            else:
                return draft, edits, spent
        raise self._in_vain(REPAIR, refused)

    def _designed(
        self,
        kind: str,
        model: str | None,
        given: dict[str, Any],
        spent: list[int | None],
        *,
        workflow: str,
        version: str | None = None,
    ) -> Designed:
        """Ask a designer, reserved before and settled after; `spent` grows by what it cost."""
        executor = self._executor()
        if executor is None:
            raise designing.no_designer()
        asking = executor.prepare_design(kind, model, given)
        use = ReserveUsage(
            id=ids.mint("use", self._plane.clock.now_us()),
            model=asking.called,
            input_tokens=asking.input_tokens,
            max_output_tokens=asking.max_output_tokens,
            role="design" if kind == DESIGN else "repair",
            workflow=workflow,
            version=version,
        )
        self._plane.call(use)
        told = self._asked(executor, asking, [], DESIGN_SECONDS)
        if not told.billed:
            self._plane.call(VoidUsage(id=use.id, reason=told.reason))
            spent.append(0)
        else:
            settled = SettleUsage(
                id=use.id,
                usage=usage_of(told),
                model_served=told.served_model,
                request_id=told.request_id,
                provider_nanousd=told.provider_nanousd,
            )
            row: LedgerRow = self._plane.call(settled)
            spent.append(row.counted_nanousd)
        if told.outcome != "output":
            raise StepFailed(
                f"{asking.model} did not {kind}: {told.reason or told.outcome}.",
                next_call="Try another model, or propose edits yourself: agent.workflows.propose(name, edits, reason).",
            )
        by = DesignedBy(
            model=asking.model,
            model_version=told.served_model,
            prompt_hash=asking.prompt_hash,
            cost_nanousd=_sum(spent),
        )
        return Designed(told.output, by)

    def _keep(self, failure: Failures) -> None:
        """A failure as a case, where it holds enough to be one."""
        example = failure.example
        if example.execution is None:
            return  # it was a case already
        try:
            self.keep_case(example.execution, step=example.step)
        except REFUSALS:
            return

    def _check_there_are_cases(self, name: str) -> None:
        if not (self.cases(name, limit=1)).items:
            raise InvalidInput(
                f"{name} has no cases, and its failures hold too little to make some.",
                why="What a repair makes is replayed on what failed and on what worked, or nobody knows what it broke.",
                next_call="Keep some: agent.workflows.keep_case(execution), "
                f"or agent.workflows.add_cases('{name}', [...]).",
            )

    def _in_vain(self, kind: str, error: Error) -> StepFailed:
        return StepFailed(
            f"The designer did not {kind} it in {TRIES} tries: {error.message}",
            next_call="Try another model, or write it yourself: workflows.create, workflows.propose.",
        )

    # What executing and trying do.

    @abstractmethod
    def _asked(self, executor: StepExecutor, asking: Asking, tools: list[Tool], seconds: float) -> Told: ...

    @abstractmethod
    def _executor(self) -> StepExecutor | None: ...

    @abstractmethod
    def _tool(self, name: str, step: executions.NextStep | None = None) -> Tool: ...

    @abstractmethod
    def cases(
        self, name: str, *, step: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[Case]: ...

    @abstractmethod
    def failures(self, name: str, *, version: str | int | None = None, limit: int = 20) -> Page[Failures]: ...

    @abstractmethod
    def keep_case(
        self, execution: str | executions.Execution, *, step: str | None = None, expected: Any = None
    ) -> Case: ...

    @abstractmethod
    def trial(
        self,
        name: str,
        cases: Sequence[NewCase | dict[str, Any]] | None = None,
        *,
        version: str | int | None = None,
        models: Sequence[str] | None = None,
        planned: int | None = None,
        key: str | None = None,
        thorough: bool = False,
    ) -> Trial: ...


def _sum(spent: Sequence[int | None]) -> int | None:
    """What is known of what was spent; None where a price is missing."""
    known = [each for each in spent if each is not None]
    return sum(known) if len(known) == len(spent) else None
