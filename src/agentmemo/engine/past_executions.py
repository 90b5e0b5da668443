"""What an execution that happened holds: what a step could see then, and what the whole of it did to the world."""

from __future__ import annotations

import re
from typing import Any

from agentmemo.engine.call import Call
from agentmemo.engine.execution_course import Course
from agentmemo.engine.execution_decisions import course_of
from agentmemo.engine.execution_scope import text_of
from agentmemo.engine.run_views import view
from agentmemo.engine.workflows import find
from agentmemo.errors import InvalidInput
from agentmemo.model import executions as model
from agentmemo.model.cases import Effect
from agentmemo.model.executions import Frame, Moment, Progress
from agentmemo.model.runs import ANNOUNCED_EFFECTS, COMPLETED
from agentmemo.model.workflows import TOOL, WORKFLOW
from agentmemo.store import executions as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction

STEPS_READ = 10_000
_PART = re.compile(r"^(?P<id>[^\[\]]+)(?:\[(?P<index>\d+)\])?\Z")


class Past:
    """One look at an execution, from any of its steps."""

    def __init__(self, tx: Transaction, call: Call, handle: str) -> None:
        self.course: Course = course_of(tx, call, handle)
        self.row: rows.ExecutionRow = self.course.row
        assert self.course.run is not None  # noqa: S101 - an execution is a run
        self.run: run_rows.RunRow = self.course.run
        seen = view(tx, call, self.run)
        self.inputs: Any = seen.inputs or {}
        self.result: Any = seen.result
        self._tx = tx
        self._call = call

    def at(self, path: str) -> tuple[Moment, Progress]:
        """The step at a path, and where the execution stood there. Raises InvalidInput where there is none."""
        outermost = model.beginning(self.row.workflow, self.row.version).frames[0]
        progress = Progress(frames=[outermost])
        parts = path.split("/")
        for number, part in enumerate(parts):
            found = _PART.match(part)
            steps = model.steps_of(progress, self.course.documents, len(progress.frames) - 1)
            at = next((at for at, step in enumerate(steps) if found is not None and step.id == found["id"]), None)
            if found is None or at is None:
                raise self._nowhere(path)
            progress.frames[-1].at = at
            if number < len(parts) - 1:
                self._enter(progress, path, found["index"])
        moment = model.moment(progress, self.course.documents)
        assert moment is not None  # noqa: S101 - it was just found
        return moment, progress

    def seen(self, path: str) -> dict[str, Any]:
        """What the expressions and conditions of a step could see: the input of a case of it."""
        moment, progress = self.at(path)
        step = moment.step
        told = [edge.matches for edge in moment.document.edge_cases if edge.step in (None, step.id)]
        mentioned: list[Any] = [step.instruction, step.input, told, [check.expression for check in step.checks]]
        if step.input is None:  # it sees all that came before it
            earlier = model.steps_of(progress, self.course.documents, len(progress.frames) - 1)[: moment.frame.at]
            mentioned += ["item", *(each.id for each in earlier)]
        found = self.course.scope.variables(progress, text_of(mentioned))
        steps = {name: output["output"] for name, output in found["steps"].items()}
        return {**found, "steps": steps}

    def effects(self) -> list[Effect]:
        """What it did to the world, or would have done, in order."""
        done = self._tx.all("step_list", run=self.run.id, after=0, state=COMPLETED, limit=STEPS_READ)
        found = []
        for step in (run_rows.StepRow(*row) for row in done):
            if step.effect not in ANNOUNCED_EFFECTS:
                continue
            moment, progress = self.at(step.name)
            if moment.step.kind != TOOL:
                continue
            given = self.course.scope.resolve(progress, moment.step.input)
            output = self.course.scope.output(step.name)
            found.append(Effect(step=step.name, tool=moment.step.tool or "", input=given, output=output))
        return found

    def _enter(self, progress: Progress, path: str, index: str | None) -> None:
        """Into the step that the innermost frame is at: an item of a loop, or another workflow."""
        found = model.moment(progress, self.course.documents)
        assert found is not None  # noqa: S101 - the caller put it there
        if index is not None:
            model.enter_loop(progress, found, int(index) + 1)
            frame = progress.frames[-1]
            progress.frames[-1] = Frame(
                workflow=frame.workflow, document=frame.document, prefix=f"{found.path}[{index}]/",
                index=int(index), count=frame.count,
            )  # fmt: skip
        elif found.step.kind == WORKFLOW:
            pinned = find(self._tx, self._call, found.step.workflow or "", found.step.version)
            self.course.documents[pinned.row.version] = pinned.document
            model.enter_document(progress, found, pinned.row.version)
        else:
            raise self._nowhere(path)

    def _nowhere(self, path: str) -> InvalidInput:
        return InvalidInput(
            f"Execution {self.row.handle} has no step {path[:200]!r}.",
            next_call=f"See its steps: agent.runs.steps('{self.row.handle}').",
        )
