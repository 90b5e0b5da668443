"""A Pydantic AI agent that reviews what it is handed and returns a typed verdict.

python examples/frameworks/reviewer.py        # stays until Ctrl-C

The model is a function in place of a model: no key and no network are needed.
"""

import difflib
import signal
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, ModelMessage, ModelResponse, ToolCallPart, models
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

import agentmemo


class Review(BaseModel):
    approved: bool
    remarks: list[str]


def read(before: str, after: str) -> str:
    print("reviewer: read", flush=True)
    changed = "\n".join(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))
    reader = Agent(TestModel(custom_output_text=f"One line differs.\n{changed}"))
    return reader.run_sync(f"Summarise this change:\n{changed}").output


def judge(summary: str, tested: str) -> Review:
    """What a step returns comes back as its annotated type, from the store as well."""
    print("reviewer: judge", flush=True)
    judging = Agent(FunctionModel(verdict), output_type=Review)
    return judging.run_sync(f"{summary}\nThe call printed {tested}.").output


def verdict(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """In place of a model: it approves what keeps its promise in what it was shown."""
    asked = str(messages[-1].parts[-1].content)
    approved = "+    return" in asked and "printed 0.0" in asked
    remarks = ["An empty list has its own case now."] if approved else ["The empty list is not covered."]
    return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, {"approved": approved, "remarks": remarks})])


def review(handoff: agentmemo.Handoff, run: agentmemo.Run) -> dict[str, Any]:
    change = handoff.context
    summary = run.step("read", read, change["before"], change["after"])
    return run.step("judge", judge, summary, change["tested"]).model_dump()


def main() -> None:
    models.ALLOW_MODEL_REQUESTS = False  # a real model here would be a mistake, so it is refused
    with agentmemo.connect(agent="reviewer") as agent:
        signal.signal(signal.SIGTERM, lambda *_: agent.stop())
        print("reviewer: ready", flush=True)
        agent.handoff.work(review)


if __name__ == "__main__":
    main()
