"""One step on one case: what a model is asked in a trial, and whether what it answers is right."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from agentmemo.engine import evidence, next_steps
from agentmemo.engine.call import Call
from agentmemo.engine.execution_scope import Scope, Unclear
from agentmemo.engine.output_checks import HARD, judge
from agentmemo.errors import InvalidInput
from agentmemo.model import cases as case_model
from agentmemo.model import executions as model
from agentmemo.model.cases import NewCase
from agentmemo.model.executions import Frame, Moment, Progress
from agentmemo.model.workflows import Rung, Step, WorkflowDocument, walk
from agentmemo.store.database import Transaction
from agentmemo.store.executions import ExecutionRow
from agentmemo.store.runs import RunRow


class Verdict(NamedTuple):
    """What came of a case. `failed_check` is the id of what it did not pass."""

    verdict: str
    failed_check: str | None
    problems: list[str]


class CaseScope(Scope):
    """What the expressions of a step see where a case says it."""

    def __init__(self, tx: Transaction, call: Call, seen: dict[str, Any]) -> None:
        super().__init__(tx, call, None, seen.get("inputs"), {})
        self._seen = {**seen, "inputs": seen.get("inputs") or {}}
        self._seen["steps"] = {name: {"output": output} for name, output in (seen.get("steps") or {}).items()}

    def variables(self, progress: Progress, mention: str, depth: int | None = None) -> dict[str, Any]:
        del progress, mention, depth
        return dict(self._seen)

    def given(self, progress: Progress, found: Moment) -> Any:
        """What the step works on: without an input of its own, all that the case holds."""
        if found.step.input is not None:
            return self.resolve(progress, found.step.input)
        outputs = {name: step["output"] for name, step in self._seen["steps"].items()}
        parts = {"inputs": self._seen["inputs"], "outputs": outputs, "item": self._seen.get("item")}
        return {name: part for name, part in parts.items() if part not in (None, {})} or None


class OneStep:
    """Stands at the step of a case, as an execution would by one model, once."""

    def __init__(
        self,
        tx: Transaction,
        call: Call,
        document: WorkflowDocument,
        case: NewCase,
        *,
        rung: str,
        trial: str = "",
        version: str = "",
    ) -> None:
        self.tx = tx
        self.call = call
        self.run: RunRow | None = None
        self.row = ExecutionRow(0, trial, document.name, version, 0, model.TRIAL, "{}", "{}", 0)
        self.progress = Progress(frames=[Frame(workflow=document.name, document=version)], rung=0, first_rung=0)
        self.scope: Scope = CaseScope(tx, call, case.input)
        self.documents = {version: document}
        self._document = document
        self._case = case
        self._step = next(step for step in walk(document.steps) if step.id == case.step)
        self._rung = next((each for each in rungs_of(self._step, document, [rung])), Rung(model=rung))

    @property
    def moment(self) -> Moment:
        return Moment(self._step, self._document, self.progress.frames[0], self._step.id)

    def document_of(self, workflow: str, version: str) -> WorkflowDocument:
        del workflow, version
        return self._document

    def ladder(self, found: Moment) -> list[Rung]:
        del found
        return [self._rung]

    def next_step(self) -> model.NextStep:
        """The step as the model is to do it. Raises InvalidInput where the case does not hold what it looks at."""
        try:
            asked = next_steps.for_driver(self, self.moment, self._rung)
        except Unclear as error:
            raise self._unclear(error) from None
        return msgspec.structs.replace(asked, next_call="")

    def check_input(self) -> None:
        """Raises InvalidInput where the case does not hold what the step's instruction and input look at."""
        try:
            self.scope.resolve(self.progress, [self._step.instruction, self._step.input])
        except Unclear as error:
            raise self._unclear(error) from None

    def edge_cases(self) -> list[str]:
        """The keys of those that this case meets, of which a machine can say so."""
        try:
            cases = evidence.recognised(self._step, self._document)
            return [evidence.edge_key(each) for each in cases if self.scope.holds(self.progress, each.matches or "")]
        except Unclear as error:
            raise self._unclear(error) from None

    def judge(self, output: Any, reported: list[model.ReportedCheck]) -> Verdict:
        """Every hard check, and then whether it is what was expected."""
        try:
            judgement = judge(self, self.moment, output, reported)
        except Unclear as error:
            raise self._unclear(error) from None
        if judgement.problems:
            failed = (each.id for each in judgement.outcomes if each.severity == HARD and not each.passed)
            return Verdict(model.FAILED, next(failed, case_model.EMPTY), judgement.problems)
        expected = self._case.expected
        if expected is None or case_model.agrees(expected, output):
            return Verdict(model.PASSED, None, [])
        said = f"the output is {next_steps.shown(output)!r}, and {next_steps.shown(expected)!r} was expected"
        return Verdict(model.FAILED, case_model.EXPECTED, [said])

    def _unclear(self, error: Unclear) -> InvalidInput:
        return InvalidInput(
            f"The case of step {self._step.id} does not hold what the step looks at: {error}.",
            next_call='Give it as `input`: {"inputs": {...}, "steps": {"fetch": its output}}.',
        )


def rungs_of(step: Step | None, document: WorkflowDocument, askable: list[str]) -> list[Rung]:
    """The ladder of a step, or of a whole document, as far as it can be asked."""
    wanted = (step.ladder if step is not None else []) or document.ladder
    return [rung for rung in wanted if rung.model in askable]
