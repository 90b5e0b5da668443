"""Steps and budgets: what cannot be is refused before anything runs, and what is spent pauses."""

from __future__ import annotations

import math

import pytest

from agentmemo import Budget, InvalidInput, Retry

promise = pytest.mark.promise


@promise("step.timeout", "step.retry")
@pytest.mark.parametrize(
    "options",
    [
        *({"timeout_seconds": seconds} for seconds in (0, -1, math.inf, math.nan)),
        *({"retry": Retry(factor=factor)} for factor in (-2.0, math.inf, math.nan)),
        {"retry": Retry(first_delay_seconds=-1)},
        {"retry": Retry(max_delay_seconds=math.inf)},
    ],
)
def test_a_time_that_cannot_be_counted_is_refused_before_the_step_runs(agent, options):
    ran = []
    with agent.run("r", key="1") as run, pytest.raises(InvalidInput):
        run.step("s", lambda: ran.append(1), effect="write", **options)
    assert ran == []
    assert len(agent.runs.steps(run.id)) == 0


@promise("step.concurrent")
def test_a_step_with_a_key_is_done_by_one_at_a_time(agent):
    """Both would do its effect, under one idempotency key."""
    ran = []

    with agent.run("r", key="1") as run:

        def pay():
            ran.append(1)
            with pytest.raises(InvalidInput, match="run at once with the key 'k'"):
                run.step("pay", pay, key="k", effect="write")
            return "paid"

        assert run.step("pay", pay, key="k", effect="write") == "paid"
    assert ran == [1]


@promise("run.budget")
@pytest.mark.parametrize("seconds", [math.nan, math.inf])
def test_what_is_no_number_is_refused_and_not_taken_for_no_bound(agent, seconds):
    with pytest.raises(InvalidInput, match="finite"):
        agent.start("job", budget={"seconds": seconds})
    with agent.run("r", key="1") as run, pytest.raises(InvalidInput, match="finite"):
        run.wait("go", timeout_seconds=seconds)
    assert len(agent.runs.list()) == 1


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
