"""Executing workflow documents: by the plane's ladder and tools, and step by step by the caller."""

from __future__ import annotations

import pytest

from agentmemo import InvalidInput, InvalidTransition, StepFailed, Unavailable
from agentmemo.testing.models import ScriptedModels

promise = pytest.mark.promise

REVIEW = {
    "steps": [
        {"id": "fetch", "kind": "tool", "tool": "fetch_diff", "input": {"number": "$inputs.number"}, "effect": "read"},
        {
            "id": "look",
            "instruction": "Review {$inputs.number}: {$steps.fetch.output}",
            "input": {"diff": "$steps.fetch.output"},
            "output_schema": {"type": "object", "required": ["risk"], "properties": {"risk": {"enum": ["low", "high"]}}},
            "ladder": [{"model": "small"}, {"model": "large"}],
        },
        {"id": "done", "kind": "assert", "checks": [{"kind": "expression", "expression": "steps.look.output.risk != ''"}]},
    ],
    "output": {"risk": "$steps.look.output.risk", "of": "$inputs.number"},
}


def made(agent, name="review", **document):
    return agent.workflows.create(name=name, designed_by="opus-4", **(REVIEW | document))


def with_models(agent, **scripts):
    models = ScriptedModels(scripts)
    agent.workflows.use(models)
    return models


def test_a_workflow_is_executed_by_tools_and_models(agent):
    made(agent)
    models = with_models(agent, small=lambda step: {"risk": "low"}, large=lambda step: {"risk": step.input["diff"]})

    @agent.tool(effect="read")
    def fetch_diff(number: int) -> str:
        return "high" if number == 7 else "low"

    done = agent.workflows.execute("review", number=7)
    assert (done.state, done.result, done.unproven) == ("completed", {"risk": "high", "of": 7}, True)
    assert models.asked == [("large", "look")]
    assert [(step.name, step.state) for step in agent.runs.steps(done.id)] == [
        ("fetch", "completed"), ("look", "completed"), ("done", "completed"),
    ]  # fmt: skip
