"""How an execution goes on: what can be done without anybody is done, until there is a step for a driver or a person.

Everything here looks and decides, on the caller's thread; `engine/executions.py` writes it, if nobody else moved it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from agentmemo.engine import comparisons, evidence, next_steps, rungs
from agentmemo.engine.call import Call
from agentmemo.engine.execution_scope import Scope, Unclear
from agentmemo.engine.output_checks import Judgement, judge
from agentmemo.engine.waits import WAIT_EFFECT
from agentmemo.engine.workflows import find
from agentmemo.errors import InvalidTransition, NotFound
from agentmemo.model import executions as model
from agentmemo.model import runs as run_model
from agentmemo.model.escalations import NEGATIVE, Answer
from agentmemo.model.executions import Moment
from agentmemo.model.workflows import (
    ASSERT,
    BRANCH,
    DEPTH_MAX,
    FOREACH,
    HUMAN,
    LLM,
    NO_MODEL,
    TOOL,
    WORKFLOW,
    Rung,
    WorkflowDocument,
)  # fmt: skip
from agentmemo.store import executions as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction

DOCUMENTS_KEPT = 64
_TOO_DEEP = f"its path has more than {run_model.NAME_MAX} characters. Give it, and what is around it, shorter ids."


class Made(NamedTuple):
    """A step that is done: what it gave, and under which key it is kept. `hash` is what was asked."""

    path: str
    key: str
    output: Any
    hash: str
    effect: str = "none"


class Ending(NamedTuple):
    """`counts` is False where the document itself said that this is nothing to go on with."""

    result: Any
    error: str | None = None
    counts: bool = True


class Course:
    """One look at an execution, and how it goes on from there. Nothing is written."""

    def __init__(
        self, tx: Transaction, call: Call, row: rows.ExecutionRow, run: run_rows.RunRow | None, inputs: Any
    ) -> None:
        self.tx = tx
        self.call = call
        self.row = row
        self.run = run
        self.progress = next_steps.read_progress(row.progress)
        self.documents: dict[str, WorkflowDocument] = {}
        for frame in self.progress.frames:
            self.documents[frame.document] = document(tx, call, frame.workflow, frame.document)
        self.scope = Scope(tx, call, run.id if run else None, inputs, self.documents)
        self.made: list[Made] = []
        self.supplied: list[tuple[Moment, list[Rung]]] = []
        self.ending: Ending | None = None
        self.models = next_steps.read_models(row.models)

    def advance(self, *, resumed: bool = False) -> model.NextStep | None:
        """Up to the next step that somebody must do; None where the execution has ended."""
        while self.ending is None:
            found = model.moment(self.progress, self.documents)
            if found is None:
                self._close()
                continue
            if len(found.path) > run_model.NAME_MAX:
                self.ending = Ending(None, f"Step {found.step.id} is too deep inside others: {_TOO_DEEP}", counts=False)
                continue
            try:
                waits = self._arrive(found)
            except Unclear as error:
                self.progress.person = f"Step {found.step.id}: {error}"
                waits = True
            if waits:
                return self._next(found, resumed=resumed)
        return None

    def accept(self, found: Moment, output: Any, reported: list[model.ReportedCheck]) -> Judgement:
        """Judge what came back for the current step, and move on, or back to do it better."""
        judgement = judge(self, found, output, reported)
        if judgement.problems:
            self.refuse(found, model.Failure(model.FAILED, judgement.problems, next_steps.shown(output)))
        else:
            self._keep(found, str(self.progress.attempt + 1), output)
            self._tell(found)
            model.pass_on(self.progress)
        return judgement

    def _tell(self, found: Moment) -> None:
        """Whether checks say that what was made so far is right: a model's output without any makes it open again."""
        if evidence.is_telling(found.step):
            self.progress.told = True
        elif found.step.kind == LLM:
            self.progress.told = False

    def refuse(self, found: Moment, failure: model.Failure) -> None:
        """It was not done, or not well: once more, the next rung, or a person."""
        model.after_failure(self.progress, found.step, len(self.ladder(found)), failure)

    def document_of(self, workflow: str, version: str) -> WorkflowDocument:
        """Another document that is looked at: where it stands, or a candidate."""
        known = self.documents[version] = document(self.tx, self.call, workflow, version)
        return known

    def ladder(self, found: Moment) -> list[Rung]:
        """The rungs of a step that its driver can climb, cheapest first; none where the caller executes it."""
        if found.step.kind != LLM or self.row.driver == model.CALLER:
            return []
        wanted = found.step.ladder or found.document.ladder or [Rung(model=name) for name in self.models.ladder]
        askable = [rung for rung in wanted if rung.model in (*self.models.models, NO_MODEL)]
        if self.row.driver == model.TRIAL:  # by the model that is tried, where it may do the step at all
            return [rung for rung in askable if rung.model in self.models.ladder] or askable
        return askable

    def _arrive(self, found: Moment) -> bool:
        """Do what takes nobody. True where the step waits for its driver or for a person."""
        if self._answered(found):
            return False
        if self.progress.person:
            return True
        fresh = self.progress.attempt == 0 and not self.progress.allowed
        if fresh and found.step.when is not None and not self.scope.holds(self.progress, found.step.when):
            model.pass_on(self.progress)
            return False
        if fresh and self._warned(found):
            return self.ending is None
        return _WAYS[found.step.kind](self, found)

    def _warned(self, found: Moment) -> bool:
        """Whether an edge case says that this is nothing to go on with."""
        for edge in found.document.edge_cases:
            if edge.action == "tell" or edge.matches is None or edge.step not in (None, found.step.id):
                continue
            if self.scope.holds(self.progress, edge.matches):
                if edge.action == "stop":
                    self.ending = Ending(None, f"Edge case {edge.id}: {edge.when}: {edge.then}", counts=False)
                else:
                    self.progress.person = f"Edge case {edge.id}: {edge.when}: {edge.then}"
                return True
        return False

    def _answered(self, found: Moment) -> bool:
        """Take what a person said, or what an effect gave that a person knows of. True where that moved it."""
        if self.run is None:
            return False
        key = str(self.progress.attempt + 1)
        stored = run_rows.get_step(self.tx, self.run.id, found.path, key)
        if stored is None or stored.state != run_model.COMPLETED:
            return False
        if stored.effect != WAIT_EFFECT:
            model.pass_on(self.progress)
            return True
        answer = next_steps.read_answer(self.tx, self.call, stored)
        if found.step.kind == HUMAN and not self.progress.person:
            self._take(found, answer)
            return True
        self.progress.helped = True
        self.progress.attempt += 1
        if answer.choice == model.SUPPLY:
            self.supplied.append((found, self.ladder(found)))
            self._keep(found, str(self.progress.attempt + 1), next_steps.supplied(answer))
            model.pass_on(self.progress)
        elif answer.choice in (model.RETRY, model.CONTINUE):
            self.progress.person, self.progress.allowed = "", True
            self.progress.tries, self.progress.rung = 0, None
        else:
            said = f": {answer.comment}" if answer.comment else ""
            self.ending = Ending(None, f"{self.progress.person} A person stopped it{said}.")
        return True

    def _take(self, found: Moment, answer: Answer) -> None:
        """The answer to a step's own question is its output. A refusal, or a question taken back, is none."""
        if answer.decision in NEGATIVE:
            said = f": {answer.comment}" if answer.comment else ""
            self.ending = Ending(None, f"Step {found.step.id} was answered with {answer.decision}{said}.", counts=False)
        else:
            model.pass_on(self.progress)

    def await_driver(self, found: Moment) -> bool:
        if self.progress.rung is None and (ladder := self.ladder(found)):
            rungs.begin(self, found, ladder)
        return True

    def check(self, found: Moment) -> bool:
        """Its checks must hold; nobody can do better, so a person is asked, who may let it go on all the same."""
        problems = judge(self, found, None, []).problems
        if problems and not self.progress.allowed:
            self.progress.person = f"Step {found.step.id}: {'; '.join(problems)}"
            return True
        self._keep(found, str(self.progress.attempt + 1), output=not problems)
        self._tell(found)
        model.pass_on(self.progress)
        return False

    def branch(self, found: Moment) -> bool:
        for case in found.step.cases:
            if self.scope.holds(self.progress, case.when):
                self._keep(found, "1", case.goto)
                model.pass_on(self.progress, model.goto(self.progress, self.documents, case.goto))
                return False
        model.pass_on(self.progress)
        return False

    def each(self, found: Moment) -> bool:
        count = len(self.scope.items(self.progress, len(self.progress.frames)))
        if count == 0:
            self._keep(found, "1", [])
            model.pass_on(self.progress)
        else:
            model.enter_loop(self.progress, found, count)
        return False

    def descend(self, found: Moment) -> bool:
        if len(self.progress.frames) >= DEPTH_MAX:
            raise Unclear(f"more than {DEPTH_MAX} workflows and loops inside each other")
        try:
            pinned = find(self.tx, self.call, found.step.workflow or "", found.step.version)
        except NotFound as error:
            raise Unclear(error.message) from None
        version = pinned.row.version
        self.documents[version] = pinned.document
        given = self.scope.resolve(self.progress, found.step.input or {})
        self.scope.new_inputs[found.path] = given
        self.made.append(Made(found.path, model.INPUTS_KEY, given, ""))
        model.enter_document(self.progress, found, version)
        return False

    def _close(self) -> None:
        """The innermost list is done: the next item, the step around it, or the whole."""
        progress, frame = self.progress, self.progress.frames[-1]
        last = len(progress.frames) == 1
        if frame.index is not None and frame.index + 1 < frame.count:
            model.leave(progress)
            return
        try:
            output = self._collected(frame) if frame.index is not None else self._outcome(frame)
        except Unclear as error:
            self.ending = Ending(None, f"The result cannot be made: {error}")
            return
        if last:
            self.ending = Ending(output)
            return
        model.leave(progress)
        found = model.moment(progress, self.documents)
        assert found is not None  # noqa: S101 - the step around a list is there
        self._keep(found, "1", output)
        model.pass_on(progress)

    def _collected(self, frame: model.Frame) -> list[Any]:
        """What the last step gave for each item."""
        steps = model.steps_of(self.progress, self.documents, len(self.progress.frames) - 1)
        outer = frame.prefix[: frame.prefix.rindex("[")]
        return [self.scope.output(f"{outer}[{number}]/{steps[-1].id}") for number in range(frame.count)]

    def _outcome(self, frame: model.Frame) -> Any:
        document = self.documents[frame.document]
        if document.output is not None:
            return self.scope.resolve(self.progress, document.output)
        return self.scope.output(frame.prefix + document.steps[-1].id)

    def _keep(self, found: Moment, key: str, output: Any) -> None:
        self.made.append(Made(found.path, key, output, found.hash, found.step.effect))
        self.scope.new[found.path] = output

    def _next(self, found: Moment, *, resumed: bool) -> model.NextStep:
        asks_person = bool(self.progress.person) or found.step.kind == HUMAN
        try:
            return next_steps.for_person(self, found) if asks_person else self._for_driver(found, resumed=resumed)
        except Unclear as error:
            self.progress.person = f"Step {found.step.id}: {error}"
            return next_steps.for_person(self, found)

    def _for_driver(self, found: Moment, *, resumed: bool) -> model.NextStep:
        ladder, place = self.ladder(found), self.progress.rung
        rung = ladder[place] if place is not None and ladder else None
        step = next_steps.for_driver(self, found, rung, resumed=resumed)
        return msgspec.structs.replace(step, beside=comparisons.beside(self, found, ladder))


_WAYS = {
    TOOL: Course.await_driver,
    LLM: Course.await_driver,
    HUMAN: Course.await_driver,
    ASSERT: Course.check,
    BRANCH: Course.branch,
    FOREACH: Course.each,
    WORKFLOW: Course.descend,
}


_documents: dict[str, WorkflowDocument] = {}


def document(tx: Transaction, call: Call, workflow: str, version: str) -> WorkflowDocument:
    """A document by its whole hash, which stands for nothing else: it is read once in this process."""
    known = _documents.get(version)
    if known is None:
        if len(_documents) >= DOCUMENTS_KEPT:
            _documents.pop(next(iter(_documents)), None)
        known = _documents[version] = find(tx, call, workflow, version).document
    return known


def current(course: Course, path: str) -> Moment:
    """The current step, if it is the one of that path. Raises InvalidTransition, naming what is to be done."""
    found = model.moment(course.progress, course.documents)
    if found is None or found.path != path:
        now = found.path if found else "nothing"
        raise InvalidTransition(
            f"Execution {course.row.handle} is not at step {path!r}; it is at {now}.",
            why="Steps are done one at a time, in the order of the document.",
            next_call=f"Do its `next_step`: agent.workflows.execution('{course.row.handle}').",
            details={"step": path, "current": now},
        )
    return found
