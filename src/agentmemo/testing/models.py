"""Models that answer by a script: for tests of workflow documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from agentmemo.client.driving import Asking, CallTool, Told, Tool
from agentmemo.executor import designers
from agentmemo.model.executions import ERROR, NextStep
from agentmemo.model.workflows import LLM

Script = Callable[[NextStep], Any]
TOKENS = 100


class ScriptedModels:
    """Made of a function per model, cheapest first: it gets the step, and returns the output, or a `Told`.

    `asked` lists (model, step) in the order of the calls. Use it: `agent.workflows.use(ScriptedModels(small=...))`.
    """

    def __init__(self, scripts: dict[str, Script]) -> None:
        self._scripts = scripts
        self.models = self.ladder = list(scripts)
        self.asked: list[tuple[str, str]] = []

    def prepare(self, step: NextStep, tools: list[Tool]) -> Asking:  # noqa: ARG002 - what a model may call is up to it
        return Asking(step.model or "", step.model or "", TOKENS, TOKENS, step)

    def ask(self, asking: Asking, call_tool: CallTool) -> Told:  # noqa: ARG002 - as above
        self.asked.append((asking.model, asking.request.step))
        try:
            said = self._scripts[asking.model](asking.request)
        except Exception as error:  # noqa: BLE001 - as a provider's failure is
            return Told(outcome=ERROR, reason=str(error), billed=False)
        if isinstance(said, Told):
            return said
        return Told(output=said, served_model=asking.model, input_tokens=TOKENS, output_tokens=TOKENS)

    def prepare_opinion(self, step: NextStep, check: dict[str, Any], output: Any) -> Asking:
        """Asked of the model that the check names, else of the last: its script gets {check, output} as input."""
        name = check.get("model") or self.models[-1]
        return Asking(
            name, name, TOKENS, TOKENS, msgspec.structs.replace(step, input={"check": check, "output": output})
        )

    def prepare_design(self, kind: str, model: str | None, given: dict[str, Any]) -> Asking:
        """Asked of that model, else of the last: its script gets a step called design or repair, with that input."""
        name, prompt = model or self.models[-1], designers.prompt(kind)
        step = NextStep(step=kind, kind=LLM, attempt=1, instruction=prompt, input=given, model=name)
        return Asking(name, name, TOKENS, TOKENS, step, designers.hash_of(prompt))
