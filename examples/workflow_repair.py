"""A workflow that fails is tried, mended by a few edits, and replayed on what failed and on what had worked."""

from __future__ import annotations

from typing import Any

import agentmemo
from agentmemo.client.driving import Told
from agentmemo.testing.models import ScriptedModels

GREETING = "the text asks for nothing"


def small(step: Any) -> Any:
    """Stands for a small model: it does what it is told, and no more."""
    if "card" in step.instruction:
        return "card"
    return "other" if any(GREETING in case for case in step.edge_cases) else "card"


def opus(step: Any) -> Any:
    """Stands for a large one, which is asked once: it gets the document and the failures, and answers with edits."""
    worst = step.input["failures"][0]
    print(f"the designer sees: {worst['count']} failures of {worst['step']}, check {worst['check']}")
    edit = {"edit": "add_edge_case", "step": worst["step"], "when": GREETING, "then": "Answer other."}
    answer = {"edits": [edit], "reason": "Greetings were nobody's."}
    return Told(output=answer, served_model="opus", input_tokens=2000, output_tokens=80)


bot = agentmemo.connect(agent="mender")
bot.workflows.use(ScriptedModels({"small": small, "opus": opus}))
step = {"id": "route", "instruction": "Route {$inputs.text}", "output_schema": {"enum": ["card", "other"]}}
bot.workflows.create(name="route-mail", designed_by="opus", steps=[step], ladder=["small"])


def case(text: str, right: str) -> dict[str, Any]:
    return {"step": "route", "input": {"inputs": {"text": text}}, "expected": right}


cases = [case(f"my card {number} is lost", "card") for number in range(30)]
cases += [case(f"good morning, bot {number}", "other") for number in range(30)]
print(bot.workflows.trial("route-mail", cases, thorough=True).tried[0].text)

repaired = bot.workflows.repair("route-mail", designer="opus")
print(repaired.workflow.changes)
print(repaired.trial.tried[0].text)
print(repaired.regressions.text.partition(": ")[2])
