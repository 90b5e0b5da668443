"""Runs that go in circles are told so, refused, and in the end put before a person."""

from __future__ import annotations

import pytest

from agentmemo import PermissionDenied

promise = pytest.mark.promise


@promise("stuck.ladder")
def test_the_same_call_with_the_same_result_climbs_the_ladder_and_ends_before_a_person(plane, agent):
    ana = plane.person("ana").will_answer("choose", choice="way-1", kind="stuck")
    with agent.run("agent", "1") as run:
        rungs = [run.observe("read_file", {"path": "a.py"}, "x = 1").rung for _ in range(4)]
        assert rungs == ["ok", "observe", "nudge", "block"]
        seen = run.observe("read_file", {"path": "a.py"}, "x = 1")
    assert (seen.rung, seen.answer.choice) == ("escalate", "way-1")
    (asked,) = ana.answered
    assert (asked.kind, asked.run, len(asked.suggested_actions)) == ("stuck", run.id, 3)
    assert len(asked.context["repeats"]) >= 4


@promise("stuck.ladder")
def test_polling_with_a_declared_wait_and_calls_that_change_something_are_no_loop(plane, agent):
    minute = 60 * 1_000_000
    with agent.run("agent", "1") as run:
        until = plane.clock.now_us() + 30 * minute
        for _ in range(8):
            assert run.observe("ci", {"build": 7}, "running", poll=True, until=until).rung == "ok"
            plane.advance(60)
        for number in range(12):
            assert run.observe("edit", {"file": f"{number}.py"}, {"lines": number}).rung == "ok"


@promise("stuck.replay")
def test_what_is_told_again_after_a_restart_is_no_repetition_and_asks_nobody_again(surface, plane, agent):
    looks = []

    def work(agent):
        with agent.run("agent", "1") as run:
            looks.append([run.observe("ls", ".", "same").rung for _ in range(3)])
            if len(looks) == 1:
                surface.kill(agent)
                raise ConnectionError("the process dies")
            # How soon depends on the pause that the takeover took: growing pauses get more patience.
            rungs = []
            while len(rungs) < 6 and "escalate" not in rungs:
                rungs.append(run.observe("ls", ".", "same").rung)
            return rungs

    with pytest.raises(ConnectionError):
        work(agent)
    plane.person("ana").will_answer("choose", choice="way-2")
    assert work(surface.connect())[-2:] == ["block", "escalate"]
    assert looks == [["ok", "observe", "nudge"], ["ok", "ok", "ok"]]
    successor = surface.connect()
    assert set(work(successor)) == {"ok"}  # the completed run replays
    assert len(successor.escalations.list()) == 1


@promise("stuck.steps")
def test_the_steps_of_a_run_are_watched_where_it_says_so(plane, agent):
    ana = plane.person("ana").will_answer("choose", choice="way-1")
    with agent.run("agent", "1", watch_steps=True) as run:
        for _ in range(4):
            run.step("search", lambda: "nothing found")
        with pytest.raises(PermissionDenied, match="blocked") as refused:
            run.step("search", lambda: pytest.fail("it is blocked"))
        assert "way-1" in refused.value.why
        # A person has spoken: the streak is over.
        assert run.step("search", lambda: "nothing found") == "nothing found"
    assert [asked.kind for asked in ana.answered] == ["stuck"]
    with agent.run("agent", "2") as run:
        for _ in range(9):
            run.step("search", lambda: "nothing found")
    assert len(ana.answered) == 1


@promise("stuck.steps")
def test_a_blocked_step_is_refused_to_the_successor_too_and_its_answer_is_not_asked_for_again(surface, plane, agent):
    made = []

    def search():
        made.append(1)
        return "nothing found"

    def work(agent, dies):
        with agent.run("agent", "1", watch_steps=True) as run:
            for _ in range(4):
                run.step("search", search)
            if dies:
                surface.kill(agent)
                raise ConnectionError("the process dies")
            with pytest.raises(PermissionDenied, match="blocked"):
                run.step("search", search)
            return run.step("other", lambda: "found")

    plane.person("ana").will_answer("reject", comment="look elsewhere")
    with pytest.raises(ConnectionError):
        work(agent, dies=True)
    successor = surface.connect()
    assert work(successor, dies=False) == "found"
    assert len(made) == 4
    assert len(successor.escalations.list()) == 1


@promise("stuck.steps")
def test_a_person_may_say_that_a_blocked_step_goes_on(plane, agent):
    plane.person("ana").will_answer("approve")
    with agent.run("agent", "1", watch_steps=True) as run:
        assert [run.step("search", lambda: "nothing found") for _ in range(5)][-1] == "nothing found"


@promise("stuck.failures")
def test_the_same_failure_in_three_runs_is_one_question(plane, agent):
    def fail(number, error):
        with agent.run("import", str(number)) as run:
            run.fail(error)

    fail(0, "KeyError: 'price' in row 17")
    fail(1, "KeyError: 'price' in row 2044")
    assert len(agent.inbox.list()) == 0
    fail(2, "KeyError: 'price' in row 9")
    fail(3, "KeyError: 'price' in row 10")
    (asked,) = agent.inbox.list()
    assert (asked.kind, asked.occurrences, len(asked.context["runs"])) == ("failure", 2, 3)
    fail(4, "TimeoutError: the server did not answer")
    assert len(agent.inbox.list()) == 1


@promise("stuck.ladder")
def test_numbers_of_observations_only_rise(plane, agent):
    with agent.run("agent", "1") as run:
        first = [run.observe("ls", ".", "same").replayed for _ in range(2)]
    assert first == [False, False]
    assert [event.operation for event in agent.audit.events(run=run.id)].count("run.observe") == 2
