"""What became of executions: counts, and what passed over time."""

from __future__ import annotations

import pytest

from agentmemo import NotFound
from agentmemo.testing.models import ScriptedModels

promise = pytest.mark.promise

SAY = {"id": "say", "instruction": "Say it.", "ladder": ["small", "large"]}


@promise("execution.counted")
def test_counts_and_rates_tell_what_became_of_executions(agent, monkeypatch):
    monkeypatch.setattr("agentmemo.engine.rungs.first", lambda *_: 0)
    agent.workflows.create(name="one", designed_by="opus-4", steps=[SAY])
    answers = iter(["", "", "fine"])
    agent.workflows.use(ScriptedModels({"small": lambda _: next(answers), "large": lambda _: "done"}))
    first = agent.workflows.execute("one")
    agent.workflows.execute("one")
    agent.workflows.start("one", driver="plane")

    made = agent.workflows.attempts(first.id).items
    assert [(each.step, each.number, each.model, each.rung, each.verdict) for each in made] == [
        ("say", 1, "small", 0, "failed"),
        ("say", 2, "small", 0, "failed"),
        ("say", 3, "large", 1, "passed"),
    ]
    assert made[0].problems
    assert made[2].served_model == "large"

    (counted,) = agent.workflows.counts().counts
    assert (counted.workflow, counted.completed, counted.failed, counted.unfinished) == ("one", 2, 0, 1)
    assert agent.workflows.counts("one", since=counted.last_at + 1).counts == []

    found = agent.workflows.rates("one", parts=1)
    assert [(each.step, each.model, each.passed, each.failed) for each in found.rates] == [
        ("say", "large", 1, 0),
        ("say", "small", 1, 2),
    ]
    assert agent.workflows.rates("one", since=made[2].at + 1).rates == []


@promise("execution.counted")
def test_what_is_not_there_has_no_reports(agent):
    with pytest.raises(NotFound):
        agent.workflows.rates("none")
    assert agent.workflows.counts("none").counts == []
