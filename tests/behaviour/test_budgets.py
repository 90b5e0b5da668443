"""Budgets of runs: what counts, what pauses, and who raises a bound."""

from __future__ import annotations

import math

import pytest

from agentmemo import Budget, InvalidInput
from agentmemo.testing import Crashed

promise = pytest.mark.promise


@promise("run.budget")
def test_a_spent_budget_pauses_until_a_person_raises_it(surface, agent):
    dana = surface.plane.person().will("budget", "continue", budget=Budget(tokens=1000), comment="go on")

    def think(tokens):
        surface.current_step().charge(tokens=tokens)
        return tokens

    with agent.run("r", key="1", budget={"tokens": 100, "steps": 10}) as run:
        run.step("a", think, 60)
        assert dana.decided == []
        run.step("b", think, 60)
        assert len(dana.decided) == 1
        run.step("c", think, 60)
    record = agent.runs.get(run.id)
    assert (record.state, record.spent.tokens, record.budget.tokens, record.budget.steps) == (
        "completed",
        180,
        1000,
        10,
    )
    asked = agent.audit.events(type="run.ask")[0]
    assert asked.reason == "The budget is spent: tokens 120 of 100."
    assert asked.subject["question"] == "budget"


@promise("run.budget")
@pytest.mark.parametrize("seconds", [math.nan, math.inf])
def test_what_is_no_number_is_refused_and_not_taken_for_no_bound(agent, seconds):
    with pytest.raises(InvalidInput, match="finite"):
        agent.start("job", budget={"seconds": seconds})
    with agent.run("r", key="1") as run, pytest.raises(InvalidInput, match="finite"):
        run.wait("go", timeout_seconds=seconds)
    assert len(agent.runs.list()) == 1


@promise("run.budget")
@pytest.mark.parametrize("budget", [{"steps": 1}, {"seconds": 5.0}, {"nanousd": 10}], ids=str)
def test_every_bound_pauses(surface, agent, budget):
    dana = surface.plane.person().will("budget", "continue", budget=Budget(**{k: v * 100 for k, v in budget.items()}))

    def work():
        surface.current_step().charge(nanousd=8)
        surface.plane.clock.advance(4)

    with agent.run("r", key="1", budget=budget) as run:
        for _ in range(3):
            run.step("s", work)
    assert len(dana.decided) == 1


@promise("run.budget")
def test_waiting_costs_no_working_time(surface, agent):
    with agent.run("r", key="1", budget={"seconds": 5.0}) as run:
        run.sleep(3600)
        run.step("s", lambda: surface.plane.clock.advance(4))
    assert agent.runs.get(run.id).spent.seconds == pytest.approx(4)


@promise("run.budget")
@pytest.mark.parametrize("jump", [-86_400, 86_400], ids=["back", "ahead"])
def test_setting_the_wall_clock_is_no_work(surface, agent, jump):
    with agent.run("r", key="1") as run:
        run.step("s", lambda: surface.plane.clock.advance(3))
        surface.plane.clock.step(jump)
        run.step("s", lambda: surface.plane.clock.advance(1))
        assert agent.runs.get(run.id).spent.seconds == pytest.approx(4)
    assert agent.runs.get(run.id).spent.seconds == pytest.approx(4)


@promise("run.budget")
@pytest.mark.parametrize("noticed", [True, False], ids=["by upkeep", "by its heir"])
def test_the_dead_worked_no_longer_than_their_lease(surface, agent, noticed):
    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        run.step("s", lambda: surface.plane.clock.advance(5))
        surface.plane.kill(surface.raw(agent))
        raise Crashed
    surface.plane.clock.advance(10 * 86_400)
    if noticed:
        surface.plane.upkeep()
    with surface.connect().run("r", key="1") as heir:
        heir.step("t", lambda: surface.plane.clock.advance(5))
    assert 10 <= heir.record.spent.seconds <= 20
