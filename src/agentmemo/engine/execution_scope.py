"""What expressions and conditions of a document can see: inputs, outputs of earlier steps, the item at hand."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from agentmemo.engine.call import Call
from agentmemo.errors import InvalidInput
from agentmemo.model import executions as model
from agentmemo.model.values import decode
from agentmemo.model.workflow_expressions import Scope as View
from agentmemo.model.workflow_expressions import resolve, split
from agentmemo.model.workflows import ITEMS_MAX, LLM, Rung, WorkflowDocument
from agentmemo.store import blobs
from agentmemo.store import executions as rows
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Transaction
from agentmemo.store.runs import RunRow


class Unclear(Exception):
    """A condition or an expression that cannot be evaluated, with what there is. A person looks at it."""


class Scope:
    """The view from where an execution stands. Only what is mentioned is read; `new` is what is not stored yet."""

    def __init__(self, tx: Transaction, call: Call, run: int | None, inputs: Any, documents: model.Documents) -> None:
        self._tx = tx
        self._call = call
        self._run = run
        self.inputs = inputs
        self._documents = documents
        self.new: dict[str, Any] = {}
        self.new_inputs: dict[str, Any] = {}

    def resolve(self, progress: model.Progress, given: Any, depth: int | None = None) -> Any:
        """The expressions in a value, or in a text, as what they stand for. Raises Unclear."""
        try:
            return resolve(given, self._view(progress, text_of(given), depth))
        except InvalidInput as error:
            raise Unclear(error.message) from None

    def split(self, progress: model.Progress, text: str) -> tuple[str, dict[str, Any]]:
        """A text without what comes from elsewhere, and that by its expression. Raises Unclear."""
        try:
            return split(text, self._view(progress, text))
        except InvalidInput as error:
            raise Unclear(error.message) from None

    def holds(self, progress: model.Progress, condition: str, depth: int | None = None) -> bool:
        """Whether a condition is true. Raises Unclear for one that is neither true nor false."""
        ((value, why),) = self._call.engine.judge.evaluate([condition], self.variables(progress, condition, depth))
        if not isinstance(value, bool):
            raise Unclear(f"the condition {condition!r} is neither true nor false: {why or value!r}")
        return value

    def variables(self, progress: model.Progress, mention: str, depth: int | None = None) -> dict[str, Any]:
        """By name, as far as the text mentions it. `depth` is the number of frames to see from; all by default."""
        depth = len(progress.frames) if depth is None else depth
        found: dict[str, Any] = {"steps": {}}
        for number in range(depth - 1, -1, -1):
            frame = progress.frames[number]
            for step in model.steps_of(progress, self._documents, number):
                if step.id in mention and step.id not in found["steps"]:
                    found["steps"][step.id] = {"output": self.output(frame.prefix + step.id)}
            if frame.index is None:
                found["inputs"] = self._inputs_of(progress, number)
                break
            if "item" not in found and "item" in mention:
                found["item"] = self.items(progress, number)[frame.index]
            found.setdefault("index", frame.index)
        return found

    def given(self, progress: model.Progress, found: model.Moment) -> Any:
        """What a step works on: its input; for a model that has none said, the inputs and all outputs so far.

        Raises Unclear.
        """
        if found.step.input is not None or found.step.kind != LLM:
            return self.resolve(progress, found.step.input)
        earlier = model.steps_of(progress, self._documents, len(progress.frames) - 1)[: found.frame.at]
        seen = self.variables(progress, " ".join(["item", *(step.id for step in earlier)]))
        outputs = {name: step["output"] for name, step in seen["steps"].items() if step["output"] is not None}
        parts = {"inputs": seen["inputs"], "outputs": outputs, "item": seen.get("item")}
        return {name: part for name, part in parts.items() if part not in (None, {})} or None

    def items(self, progress: model.Progress, depth: int) -> list[Any]:
        """What the `foreach` around the frame at that depth goes through. Raises Unclear for what is no short list."""
        outer = depth - 1
        step = model.steps_of(progress, self._documents, outer)[progress.frames[outer].at]
        found = self.resolve(progress, step.items, depth)
        if not isinstance(found, list) or len(found) > ITEMS_MAX:
            raise Unclear(f"the items of {step.id} are not a list of at most {ITEMS_MAX}")
        return found

    def output(self, path: str) -> Any:
        """What a step gave; None where it was passed over."""
        if path in self.new or self._run is None:
            return self.new.get(path)
        return self._value(rows.output(self._tx, self._run, path))

    def _view(self, progress: model.Progress, mention: str, depth: int | None = None) -> View:
        seen = self.variables(progress, mention, depth)
        return View(seen["inputs"], seen["steps"], seen.get("item"), seen.get("index"))

    def _inputs_of(self, progress: model.Progress, number: int) -> Any:
        path = progress.frames[number].prefix.removesuffix("/")
        if not path:
            return self.inputs
        if path in self.new_inputs or self._run is None:
            return self.new_inputs.get(path)
        return self._value(rows.inputs(self._tx, self._run, path))

    def _value(self, packed: Packed | None) -> Any:
        if packed is None:
            return None
        content = blobs.unpack(self._tx, self._call.workspace, packed.codec, packed.value, packed.blob)
        return decode(content) if content else None


class Standing(Protocol):
    """What a course shows of itself to those who help it: where it stands, and what can be seen from there."""

    tx: Transaction
    call: Call
    row: rows.ExecutionRow
    run: RunRow | None
    progress: model.Progress
    scope: Scope
    documents: dict[str, WorkflowDocument]

    def document_of(self, workflow: str, version: str) -> WorkflowDocument: ...

    def ladder(self, found: model.Moment) -> list[Rung]: ...


def text_of(given: Any) -> str:
    """Everything that may mention a step, as one text."""
    return given if isinstance(given, str) else msgspec.json.encode(given).decode()
