"""Models that answer by a script: for tests of workflow documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentmemo.client.driving import Asking, CallTool, Told, Tool
from agentmemo.model.executions import ERROR, NextStep, ReportedCheck

Script = Callable[[NextStep], Any]
TOKENS = 100


class ScriptedModels:
    """Made of a function per model, cheapest first: it gets the step, and returns the output, or a `Told`.

    `asked` lists (model, step) in the order of the calls. Use it: `agent.workflows.use(ScriptedModels(small=...))`.
    """

    def __init__(self, scripts: dict[str, Script]) -> None:
        self._scripts = scripts
        self.models = list(scripts)
        self.asked: list[tuple[str, str]] = []

    def prepare(self, step: NextStep, tools: list[Tool]) -> Asking:  # noqa: ARG002 - what a model may call is up to it
        return Asking(step.model or "", TOKENS, TOKENS, step)

    def ask(self, asking: Asking, call_tool: CallTool) -> Told:  # noqa: ARG002 - as above
        self.asked.append((asking.model, asking.request.step))
        try:
            said = self._scripts[asking.model](asking.request)
        except Exception as error:  # noqa: BLE001 - as a provider's failure is
            return Told(outcome=ERROR, reason=str(error), billed=False)
        if isinstance(said, Told):
            return said
        return Told(output=said, served_model=asking.model, input_tokens=TOKENS, output_tokens=TOKENS)

    def answer_from_examples(self, step: NextStep) -> Told:
        """As the plane does it: what all the nearest examples agree on."""
        outputs = [example["output"] for example in step.examples]
        if outputs and all(output == outputs[0] for output in outputs):
            return Told(output=outputs[0])
        return Told(outcome="abstained", reason="the nearest examples do not agree")

    def judge(self, step: NextStep, check: dict[str, Any], output: Any) -> ReportedCheck:  # noqa: ARG002 - no opinion
        return ReportedCheck(check=check["id"], passed=True)
