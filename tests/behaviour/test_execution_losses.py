"""What was paid for or done is not lost for what could have been known before."""

from __future__ import annotations

import pytest
from list_prices import CHEAP

from agentmemo import InvalidInput, StepFailed
from agentmemo.testing.models import ScriptedModels

promise = pytest.mark.promise


def with_check(agent, **check):
    step = {"id": "say", "instruction": "Say it.", "ladder": [CHEAP], "checks": [check]}
    agent.workflows.add({"name": "one", "designed_by": "m", "steps": [step]})
    models = ScriptedModels({CHEAP: lambda _: "it"})
    agent.workflows.use(models)
    return models


@promise("execution.checks")
def test_a_check_whose_tool_is_missing_is_noticed_before_a_model_is_paid(agent):
    models = with_check(agent, kind="tool", tool="nowhere")
    with pytest.raises(InvalidInput, match="nowhere"):
        agent.workflows.execute("one")
    assert models.asked == []
    assert list(agent.ledger.list()) == []


@promise("execution.checks")
def test_an_opinion_that_no_cap_lets_be_asked_loses_no_output(agent, surface):
    with_check(agent, kind="second_model", severity="soft", instruction="Is it?", model="home-grown")
    # Where there is a cap, a model without a price is refused.
    surface.connect(person="ana").ledger.cap("workspace", 10**12)
    done = agent.workflows.execute("one")
    assert (done.state, done.result) == ("completed", "it")
    (attempt,) = agent.workflows.attempts(done)
    assert attempt.checks == [["second_model_1", "second_model", "soft", False]]


@promise("execution.steps")
def test_a_path_that_is_too_long_ends_the_execution_before_anything_is_done(agent):
    step = {"id": "say", "kind": "tool", "tool": "say"}
    for number in range(5):
        step = {"id": f"each_{number}_{'x' * 50}", "kind": "foreach", "items": "$inputs.items", "steps": [step]}
    agent.workflows.add({"name": "deep", "designed_by": "m", "steps": [step]})
    agent.workflows.register(lambda: pytest.fail("it was called"), "say", "read")
    with pytest.raises(StepFailed, match="shorter ids"):
        agent.workflows.execute("deep", items=[1])
