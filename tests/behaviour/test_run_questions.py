"""What a run asks about itself is in the inbox, and is answered there as well as where the run is."""

from __future__ import annotations

import pytest

from agentmemo import Budget, InvalidInput, InvalidTransition, Unavailable

promise = pytest.mark.promise


@pytest.fixture
def ana(surface):
    return surface.connect(person="ana")


def over_budget(surface, agent):
    """A run that has spent what it may, and waits."""

    @agent.task("job")
    def job(run):
        run.step("first", lambda: 1)
        return run.step("second", lambda: 2)

    started = agent.start("job", key="1", budget={"steps": 1})
    agent.work(until_idle=True)
    return started.id


@promise("run.budget")
def test_a_larger_budget_is_given_in_the_inbox(surface, agent, ana):
    run = over_budget(surface, agent)
    (asked,) = ana.inbox.list()
    assert (asked.run, asked.kind, asked.default, asked.detail) == (
        run,
        "question",
        "pause",
        {"run_question": "budget"},
    )
    assert "job/1" in asked.reason
    for decision, options in (("approve", {}), ("answer", {"comment": "more"}), ("answer", {"values": {"pages": 2}})):
        with pytest.raises(InvalidInput):
            ana.inbox.answer(asked.id, decision, **options)
    ana.inbox.answer(asked.id, "answer", values={"steps": 10}, comment="go on")
    agent.work(until_idle=True)
    found = agent.runs.get(run)
    assert (found.state, found.result, found.budget.steps) == ("completed", 2, 10)
    assert list(ana.inbox.list()) == []


@promise("run.budget")
def test_a_no_in_the_inbox_cancels_the_run(surface, agent, ana):
    run = over_budget(surface, agent)
    (asked,) = ana.inbox.list()
    ana.inbox.answer(asked.id, "reject", comment="it costs too much")
    found = agent.runs.get(run)
    assert (found.state, found.reason) == ("cancelled", "it costs too much")


@promise("step.doubt")
@pytest.mark.parametrize(("choice", "made"), [("happened", 1), ("retry", 2)])
def test_whether_a_step_happened_is_said_in_the_inbox(surface, plane, agent, ana, choice, made):
    posted = []

    def job(agent):
        with agent.run("publish", "1") as run:

            def post():
                posted.append(1)
                if len(posted) == 1:
                    surface.kill(agent)
                    raise ConnectionError("the process dies")
                return {"id": 8}

            return run.step("post", post, effect="write")

    with pytest.raises((ConnectionError, Unavailable)):
        job(agent)
    plane.person("ana").will_answer("choose", choice=choice, values={"id": 7}, kind="failure")
    assert job(surface.connect()) == ({"id": 7} if choice == "happened" else {"id": 8})
    assert len(posted) == made
    (asked,) = ana.inbox.list(section="done")
    assert (asked.answer.choice, asked.answer.by) == (choice, "person:ana")
    assert asked.context["step"] == "post/1"


@promise("run.budget")
def test_it_ends_with_what_becomes_of_the_run(surface, plane, agent, ana):
    run = over_budget(surface, agent)
    (asked,) = ana.inbox.list()
    with pytest.raises(InvalidTransition, match="about itself"):
        agent.escalations.withdraw(asked.id, "no matter")
    plane.advance(86_401)
    assert agent.escalations.get(asked.id).lapsed_at is not None
    ana.runs.resolve(run, "continue", budget=Budget(steps=2), comment="once")
    ended = agent.escalations.get(asked.id)
    assert (ended.state, ended.answer.choice, ended.answer.by) == ("decided", "continue", "person:ana")
    agent.start("job", key="2", budget={"steps": 1})
    agent.work(until_idle=True)
    (second,) = ana.inbox.list()
    agent.runs.cancel(second.run, "not needed")
    assert agent.escalations.get(second.id).state == "withdrawn"
