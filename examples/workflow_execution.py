"""A workflow is executed twice: by the plane with a model and a tool, and step by step by whoever calls.

python examples/workflow_execution.py

The model here is a function, so that the example needs none. With a models.toml it is left out.
"""

from __future__ import annotations

import agentmemo
from agentmemo.testing.models import ScriptedModels

STEPS = [
    {"id": "fetch", "kind": "tool", "tool": "fetch_diff", "input": {"number": "$inputs.number"}, "effect": "read"},
    {
        "id": "judge",
        "instruction": "Is this change risky? Answer low or high.\n{$steps.fetch.output}",
        "output_schema": {"enum": ["low", "high"]},
    },
]


def main() -> None:
    with agentmemo.connect() as agent:
        agent.workflows.create(name="risk", steps=STEPS, designed_by="opus-4", output={"risk": "$steps.judge.output"})

        @agent.tool(effect="read")
        def fetch_diff(number: int) -> str:
            return f"- password = read()\n+ password = 'secret-{number}'"

        # It begins with an answer that the check refuses, and is told so.
        agent.workflows.use(ScriptedModels({"cheap": lambda step: "high" if step.problems else "very risky"}))
        done = agent.workflows.execute("risk", number=7)
        for each in agent.workflows.attempts(done):
            print(f"{each.step} {each.number}: {each.verdict}")
        print(f"the plane says {done.result}")

        now = agent.workflows.start("risk", {"number": 8})
        while now.next_step is not None:
            step = now.next_step
            output = fetch_diff(**step.input) if step.tool else "low"
            now = agent.workflows.submit(now, step.step, output)
        print(f"the caller says {now.result}")


if __name__ == "__main__":
    main()
