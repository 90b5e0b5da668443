"""Runs: opened by key, continued, replayed, held, taken over, failed, cancelled, forked, pruned."""

from __future__ import annotations

import pytest

import agentmemo
from agentmemo import (
    IdempotencyMismatch,
    InvalidInput,
    InvalidTransition,
    LeaseLost,
    NotFound,
    RunHeld,
    Unavailable,
    ids,
)
from agentmemo.api.operations import BY_NAME
from agentmemo.clock import monotonic
from agentmemo.model.access import EVERYTHING, Caller
from agentmemo.model.runs import ClaimTask, StartRun
from agentmemo.testing import Crashed

promise = pytest.mark.promise


def crash(surface):
    """The process dies here; use it inside `pytest.raises(Crashed)`."""
    surface.plane.crash()


@promise("run.key")
def test_a_run_is_created_worked_on_and_completed(surface, agent):
    with agent.run("import", key="2026-11", inputs={"rows": 3}) as run:
        assert not run.resumed
        assert run.record.state == "running"
        assert agent.runs.get(run.id).epoch == run.epoch == 1
        assert run.step("load", lambda: 3) == 3
        run.complete({"rows": 3})
    record = agent.runs.find("import", "2026-11")
    assert (record.state, record.result, record.steps, record.percent) == ("completed", {"rows": 3}, 1, 100.0)
    assert (record.inputs, record.agent, record.wake) == ({"rows": 3}, "agent:agent", None)
    assert record.finished_at == surface.plane.clock.now_us()
    with agent.run("import") as other:
        pass
    assert other.record.state == "completed"
    assert other.id != run.id
    assert agent.runs.find("import", "2027") is None


@promise("run.replay")
def test_a_completed_run_replays_its_results(agent):
    calls = []

    def work():
        calls.append(1)
        return {"n": len(calls)}

    for _ in range(2):
        with agent.run("r", key="1") as run:
            assert run.step("a", work) == {"n": 1}
            run.sleep(5)
            run.finding("said once")
            run.progress(50)
            run.complete("done")
        assert run.result == "done"
    assert run.completed
    assert run.resumed
    assert calls == [1]
    assert len(agent.runs.notes(run.id)) == 1
    with pytest.raises(InvalidTransition, match="holds no step"), agent.run("r", key="1") as run:
        run.step("another", work)
    assert agent.runs.get(run.id).state == "completed"


@promise("run.continue")
def test_kill_it_start_it_again_it_continues(surface, agent):
    done = []
    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        run.step("one", lambda: done.append("one"))
        run.step("two", lambda: done.append("two"))
        crash(surface)
    agent = surface.connect()
    with agent.run("r", key="1") as again:
        assert again.resumed
        assert again.id == run.id
        assert again.epoch == 2
        for name in ("one", "two", "three"):
            again.step(name, lambda name=name: done.append(name))
    assert done == ["one", "two", "three"]
    assert agent.runs.get(run.id).state == "completed"


@promise("run.inputs")
def test_other_inputs_under_a_key_are_refused_with_both_shown(agent):
    with agent.run("r", key="1", inputs={"a": 1, "b": 2}):
        pass
    with agent.run("r", key="1", inputs={"b": 2, "a": 1}) as run:
        assert run.completed
    with pytest.raises(IdempotencyMismatch) as caught, agent.run("r", key="1", inputs={"a": 2}):
        pass
    assert (caught.value.details["first"], caught.value.details["now"]) == ('{"a":1,"b":2}', '{"a":2}')


@promise("run.held")
def test_a_run_held_by_a_live_worker_names_it(surface, agent):
    with agent.run("r", key="1") as run:
        with pytest.raises(RunHeld) as caught, surface.connect("other").run("r", key="1"):
            pass
        assert "agent:agent" in caught.value.message
        assert caught.value.retry_safe
        assert caught.value.details["run"] == run.id
        # However long it takes: its heart beats.
        surface.plane.advance(9)
        surface.plane.advance(9)
        with pytest.raises(RunHeld), surface.connect("other").run("r", key="1"):
            pass


@promise("run.takeover")
@pytest.mark.surfaces("sync", "async")
def test_the_dead_are_taken_over_at_once(surface, agent):
    with pytest.raises(Unavailable), agent.run("r", key="1") as run:
        run.step("a", lambda: 1)
        surface.kill(agent)
        with surface.connect("other").run("r", key="1") as heir:
            assert heir.epoch == 2
            assert heir.step("a", lambda: 2) == 1
        run.step("b", lambda: 2)
    taken = surface.connect("third").audit.events(type="run.takeover")[0]
    assert (taken.run, taken.epoch, taken.from_version, taken.to_version) == (run.id, 2, 1, 2)


@promise("run.lease")
def test_a_silent_worker_loses_its_lease_with_time(surface, agent):
    other = surface.connect("other")
    with pytest.raises(LeaseLost), agent.run("r", key="1") as run:
        surface.pause(agent)
        surface.plane.advance(9.9)
        with pytest.raises(RunHeld), other.run("r", key="1"):
            pass
        surface.plane.advance(0.2)
        with other.run("r", key="1") as heir:
            assert heir.epoch == 2
        run.step("late", lambda: 1)
    assert other.runs.steps(run.id).items == []


@promise("run.lease")
def test_a_clock_that_jumps_back_extends_no_lease(surface, agent):
    with pytest.raises(LeaseLost), agent.run("r", key="1") as run:
        surface.pause(agent)
        surface.plane.clock.step(-86_400)
        surface.plane.advance(11)
        with surface.connect("other").run("r", key="1") as heir:
            assert heir.epoch == 2
        run.complete()


@promise("run.progress")
def test_a_change_is_seen_at_once_where_the_wall_clock_was_set_back(surface, agent):
    with agent.run("r", key="1") as run:
        seen = agent.runs.get(run.id)
        surface.plane.clock.step(-86_400)
        run.progress(50)
        began = monotonic()
        assert agent.runs.get(run.id, after=seen, wait_seconds=60).percent == 50
        assert monotonic() - began < 50


@promise("run.epoch")
def test_a_stale_holder_can_write_nothing(surface, agent):
    other = surface.connect("other")
    with pytest.raises(LeaseLost), agent.run("r", key="1") as run:
        run.step("before", lambda: 1)
        surface.pause(agent)
        surface.plane.advance(11)
        before = other.status().revision
        with other.run("r", key="1") as heir:
            attempts = {
                "step": lambda: run.step("s", lambda: 1),
                "write step": lambda: run.step("s", lambda: 1, effect="write"),
                "failing step": lambda: run.step("s", _raise),
                "sleep": lambda: run.sleep(1),
                "wait": lambda: run.wait("x"),
                "progress": lambda: run.progress(5),
                "decide": lambda: run.decide("x"),
                "finding": lambda: run.finding("x"),
                "tried": lambda: run.tried("x", why_failed="y"),
                "complete": lambda: run.complete(1),
                "fail": lambda: run.fail("x"),
                "state.set": lambda: agent.state.set("n", "k", 1),
                "state.delete": lambda: agent.state.delete("n", "k"),
                "transaction": lambda: _transact(agent),
            }
            after_claim = other.status().revision
            for name, attempt in attempts.items():
                with pytest.raises(LeaseLost):
                    attempt()
                assert other.status().revision == after_claim, name
            assert before < after_claim
        run.step("again", lambda: 1)
    assert other.runs.get(heir.id).state == "completed"
    assert other.state.get("n", "k") is None
    # Outside the run the connection is as good as before.
    agent.state.set("n", "k", 2)


def _raise():
    raise ValueError("as a user's function does")


def _transact(agent):
    with agent.transaction() as tx:
        tx.state.set("n", "k", 1)


@promise("run.attempts")
def test_an_exception_gives_the_run_back_until_attempts_are_spent(agent):
    for attempt in (1, 2):
        with pytest.raises(ValueError, match="as a user"), agent.run("r", key="1", max_attempts=2) as run:
            assert run.record.attempt == attempt
            _raise()
    failed = agent.runs.get(run.id)
    assert (failed.state, failed.attempt, failed.wake) == ("failed", 2, None)
    assert failed.error.startswith("ValueError: as a user's function does (test_runs.py:")
    with pytest.raises(InvalidTransition) as caught, agent.run("r", key="1"):
        pass
    assert "fork" in caught.value.next_call


@promise("run.attempts")
def test_fail_fails_at_once(agent):
    with agent.run("r", key="1") as run:
        run.fail("no such customer")
        with pytest.raises(InvalidTransition):
            run.step("a", lambda: 1)
    assert (run.record.state, run.record.error) == ("failed", "no such customer")


@promise("run.cancel")
def test_a_cancelled_run_is_told_at_its_next_call_and_cancels_its_children(surface, agent):
    operator = surface.connect(person="dana")
    with pytest.raises(LeaseLost, match="wrong customer") as caught, agent.run("r", key="1") as run:
        with pytest.raises(LeaseLost), run.child("sub", key="1") as child:
            grandchild = child.start_child("nobody-works-on-it")
            operator.runs.cancel(run.id, "wrong customer")
            child.step("a", lambda: 1)
        run.step("a", lambda: 1)
    assert caught.value.details["state"] == "cancelled"
    for handle in (run.id, child.id, grandchild):
        assert agent.runs.get(handle).state == "cancelled"
    assert "its parent" in agent.runs.get(grandchild).reason
    with pytest.raises(InvalidTransition):
        operator.runs.cancel(run.id, "again")
    with pytest.raises(InvalidTransition), agent.run("r", key="1"):
        pass


@promise("run.tombstone")
def test_a_pruned_run_leaves_a_tombstone(surface, agent):
    with agent.run("r", key="1", inputs={"a": 1}) as run:
        run.step("a", lambda: "x" * 10_000)
        run.finding("f")
        run.complete("kept")
    surface.plane.advance(31 * 86400)
    pruned = agent.runs.get(run.id)
    assert (pruned.pruned, pruned.state, pruned.result, pruned.inputs) == (True, "completed", "kept", None)
    assert len(agent.runs.steps(run.id)) == len(agent.runs.notes(run.id)) == 0
    with pytest.raises(InvalidTransition, match="pruned"), agent.run("r", key="1", inputs={"a": 1}):
        pass
    with pytest.raises(InvalidTransition):
        agent.runs.fork(run.id)
    assert agent.audit.events(type="run.prune")[0].run == run.id


@promise("run.notes")
def test_notes_are_kept_once(surface, agent):
    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        run.decide("use B", because="A is slow")
        run.finding("the API is paged")
        run.tried("bulk call", why_failed="413")
        run.finding("a second one")
        crash(surface)
    agent = surface.connect()
    with agent.run("r", key="1") as run:
        run.decide("use B", because="A is slow")
        run.finding("the API is paged")
        run.tried("bulk call", why_failed="413")
        run.finding("a second one")
        run.finding("a third one")
    notes = [(n.kind, n.text, n.because) for n in agent.runs.notes(run.id)]
    assert notes == [
        ("decision", "use B", "A is slow"),
        ("finding", "the API is paged", ""),
        ("tried", "bulk call", "413"),
        ("finding", "a second one", ""),
        ("finding", "a third one", ""),
    ]
    assert [n.text for n in agent.runs.notes(run.id, kind="tried")] == ["bulk call"]
    with pytest.raises(InvalidInput), agent.run("r2") as run:
        run.finding("")


@promise("run.progress")
def test_progress_is_seen_by_others(surface, agent):
    with agent.run("r", key="1") as run:
        run.progress(30, "a third")
        seen = surface.connect("other").runs.get(run.id)
        assert (seen.percent, seen.progress) == (30, "a third")
        for percent in (-1, 101, float("nan")):
            with pytest.raises(InvalidInput):
                run.progress(percent)


@promise("run.fork")
def test_a_rewind_is_a_fork(agent):
    ran = []

    def work(name):
        return lambda: ran.append(name) or name

    def job(key):
        with agent.run("r", key=key, inputs=[1]) as run:
            return run.id, [run.step(name, work(name)) for name in ("a", "b", "c")]

    first, _ = job("1")
    fork = agent.runs.fork(first, from_step="b", key="2", reason="b was wrong")
    assert (fork.state, fork.forked_from, fork.inputs, fork.steps) == ("pending", first, [1], 1)
    second, results = job("2")
    assert (second, results) == (fork.id, ["a", "b", "c"])
    assert ran == ["a", "b", "c", "b", "c"]
    whole = agent.runs.fork(first)
    assert whole.steps == 3
    assert whole.key.startswith("1~")
    with pytest.raises(NotFound):
        agent.runs.fork(first, from_step="never")
    with pytest.raises(InvalidTransition):
        agent.runs.fork(first, key="2")


@promise("run.list")
def test_runs_are_listed_newest_first(surface, agent):
    for number in range(4):
        with agent.run("job", key=str(number)):
            pass
    with pytest.raises(ValueError, match="as a user"), surface.connect("other").run("other", key="x"):
        _raise()
    assert [run.key for run in agent.runs.list(name="job", limit=3)] == ["3", "2", "1", "0"]
    assert [run.key for run in agent.runs.list(state="unfinished")] == ["x"]
    assert [run.key for run in agent.runs.list(agent="other")] == ["x"]
    assert len(agent.runs.list(agent="nobody")) == 0
    cursor = agent.runs.list(limit=1).cursor
    with pytest.raises(InvalidInput):
        agent.runs.list(name="job", cursor=cursor)


@promise("handle.prefix")
def test_a_unique_prefix_of_a_handle_is_enough(surface, agent):
    with agent.run("r", key="1") as run:
        pass
    assert agent.runs.get(run.id[:12]).id == run.id
    assert agent.runs.get(run.id[4:14]).id == run.id
    with pytest.raises(NotFound):
        agent.runs.get(run.id[:9])
    with pytest.raises(NotFound):
        agent.runs.get("run_0000000000000000")
    with agent.run("r", key="2"):
        pass
    with pytest.raises(NotFound):  # two of the same moment begin alike
        agent.runs.get(run.id[:12])
    stranger = surface.connect("s", workspace="elsewhere")
    with pytest.raises(NotFound):
        stranger.runs.get(run.id)


@promise("run.takeovers")
def test_three_takeovers_without_a_step_ask_a_person(surface, agent):
    for _ in range(4):
        with pytest.raises(Crashed), surface.connect().run("r", key="1"):
            crash(surface)
    dana = surface.plane.person("dana")
    agent = surface.connect()
    found = agent.runs.find("r", "1")
    assert found.state in {"running", "pending"}
    surface.plane.upkeep()
    dana.will("takeovers", "continue")
    with agent.run("r", key="1") as run:
        pass
    assert [(r.name, r.key) for r in dana.decided] == [("r", "1")]
    assert run.record.state == "completed"
    asked = agent.audit.events(type="run.ask")[0]
    assert asked.subject["question"] == "takeovers"
    assert "without finishing a step" in asked.reason


@promise("run.takeovers")
def test_a_run_that_asks_a_person_does_not_keep_the_next_one_from_being_claimed(surface, agent):
    plane, first = surface.plane, agent.start("job", key="first", priority=1)
    caller = Caller(kind="agent", name="agent", grants=(EVERYTHING,))
    for _ in range(4):
        lost = ids.mint("wrk", plane.clock.now_us())
        taken = plane.engine.call(BY_NAME["task.claim"], caller, ClaimTask(worker=lost, tasks=["job"]))
        assert taken.claimed.run.id == first.id
        plane.advance(plane.settings.lease_seconds + 1)
    second = agent.start("job", key="second")
    agent.task("job")(lambda _run: "done")
    agent.work(concurrency=1, until_idle=True)
    assert agent.runs.get(first.id).waiting_for == "takeovers"
    assert agent.runs.get(second.id).result == "done"


@promise("run.overdue")
def test_a_question_that_an_overdue_run_comes_to_is_overdue_by_itself(surface, agent):
    for _ in range(4):
        with pytest.raises(Crashed), surface.connect().run("r", key="1"):
            crash(surface)
    agent = surface.connect()
    surface.plane.upkeep()
    surface.plane.advance(25 * 3600)
    assert surface.plane.engine.call(*_opening("r", "1")).outcome == "waiting"
    assert agent.status().overdue == []
    surface.plane.advance(25 * 3600)
    assert [event.subject["wake"] for event in agent.audit.events(type="run.overdue")] == ["caller", "person"]


def _opening(name, key):
    caller = Caller(kind="agent", name="agent", grants=(EVERYTHING,))
    return BY_NAME["run.start"], caller, StartRun(name=name, key=key, worker=ids.mint("wrk", 0))


@promise("run.takeovers")
def test_a_finished_step_forgives_takeovers(surface, agent):
    for number in range(6):
        with pytest.raises(Crashed), surface.connect().run("r", key="1") as run:
            run.step(f"s{number}", lambda: 1)
            crash(surface)
    with surface.connect().run("r", key="1") as run:
        pass
    assert (run.record.state, run.record.epoch) == ("completed", 7)


@promise("run.stop")
def test_a_clean_end_frees_at_once(surface, agent):
    run = agent.run("r", key="1")
    run.__enter__()
    agent.close()
    other = surface.connect("other")
    freed = other.runs.find("r", "1")
    assert (freed.state, freed.wake, freed.attempt) == ("pending", "caller", 1)
    with other.run("r", key="1") as heir:
        assert heir.epoch == 2


@promise("run.overdue")
def test_what_waits_too_long_is_told(surface, agent):
    with pytest.raises(ValueError, match="as a user"), agent.run("r", key="1") as run:
        _raise()
    surface.plane.advance(23 * 3600)
    assert agent.status().overdue == []
    surface.plane.advance(3601)
    assert agent.status().overdue == [f"{run.id} r"]
    told = agent.audit.events(type="run.overdue")
    assert [event.run for event in told] == [run.id]
    surface.plane.advance(100)
    assert len(agent.audit.events(type="run.overdue")) == 1
    with agent.run("r", key="1"):
        pass
    assert agent.status().overdue == []


@promise("run.overdue")
def test_overdue_duties_run_at_the_next_open(surface, agent):
    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        agent.state.set("n", "k", 1, ttl_seconds=60)
        crash(surface)
    surface.plane.clock.advance(3600)
    surface.plane.upkeep()
    agent = surface.connect()
    assert agent.audit.events(type="state.expire")[0].subject["key"] == "k"
    assert agent.runs.get(run.id).state == "pending"


@promise("explain")
def test_explain_says_what_moves_a_run(surface, agent):
    with agent.run("r", key="1") as run:
        run.step("first", lambda: 1)
        told = agent.runs.explain(run.id)
        assert told.wake == "lease"
        assert "held by agent" in told.text
        assert told.held_by.startswith("agent:agent, process ")
    told = agent.runs.explain(run.id)
    assert (told.state, told.wake) == ("completed", None)
    with pytest.raises(ValueError, match="as a user"), agent.run("r", key="2") as run:
        _raise()
    told = agent.runs.explain(run.id)
    assert told.wake == "caller"
    assert told.next_call == "agent.run('r', key='2')"
    assert "as a user's function does" in told.text
    assert told.since == surface.plane.clock.now_us()
    started = agent.start("job")
    told = agent.runs.explain(started.id)
    assert told.wake == "ready"
    assert "registered the task 'job'" in told.text


@promise("run.budget")
def test_a_bad_budget_is_refused_before_it_is_stored(agent):
    for budget in ({"step": 1}, {"steps": "many"}, "large", agentmemo.Budget(steps="many")):
        with pytest.raises(InvalidInput), agent.run("r", key="1", budget=budget):
            pass
    assert len(agent.runs.list()) == 0


@promise("input.refused")
@pytest.mark.parametrize(
    "options",
    [{"name": ""}, {"name": "a\x00"}, {"key": ""}, {"key": "\ud800"}, {"key": "x" * 600}, {"max_attempts": 0}],
    ids=str,
)
def test_bad_runs_are_refused(agent, options):
    given = {"name": "r", "key": "1"} | options
    with pytest.raises(InvalidInput), agent.run(given.pop("name"), **given):
        pass
    assert len(agent.runs.list()) == 0


@promise("input.refused")
def test_a_text_that_not_every_database_can_hold_is_refused(agent):
    with agent.run("r", key="1") as run:
        with pytest.raises(InvalidInput, match=r"U\+0000 at position 1"):
            run.finding("a\0b")
        with pytest.raises(InvalidInput):
            run.progress(5, "\ud800")
        with pytest.raises(InvalidInput, match=r"U\+0000 at position 1"), agent.transaction() as tx:
            tx.runs.note(run.id, "finding", "a\0b")
        assert list(agent.runs.notes(run.id)) == []
        assert agent.state.set("n", "k", "a\0b").value == agent.state.get("n", "k")
    with pytest.raises(InvalidInput):
        agent.audit.events(text="a\0")


@promise("run.attempts")
def test_an_error_is_kept_whatever_its_text_holds(agent):
    with pytest.raises(ValueError, match="odd"), agent.run("r", key="1") as run:
        raise ValueError("odd \0 text \ud800")
    assert "odd \\0 text" in agent.runs.get(run.id).error
