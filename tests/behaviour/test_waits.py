"""Waits: sleeps, signals, children, people; schedules and tasks; everything that parks a run and wakes it."""

from __future__ import annotations

import datetime
import threading

import pytest

from agentmemo import (
    IdempotencyMismatch,
    InvalidInput,
    InvalidTransition,
    NotFound,
    PermissionDenied,
    StepFailed,
    TimedOut,
)
from agentmemo.clock import SECOND, iso
from agentmemo.testing import Crashed

promise = pytest.mark.promise


def crash(surface):
    surface.plane.crash()


def working(connection, name="job", version="1"):
    """Register code that hands its run to the test's function."""

    def register(function):
        connection.task(name, version)(function)
        return function

    return register


@promise("wait.sleep")
def test_a_sleep_is_durable_and_counts_from_its_first_call(surface, agent):
    began = surface.plane.clock.now_us()
    with agent.run("r", key="1") as run:
        run.sleep(3600)
        assert surface.plane.clock.now_us() == began + 3600 * SECOND
        assert run.epoch == 2
        run.step("after", lambda: 1)
    slept = surface.connect("other").runs.steps(run.id)[0]
    assert (slept.name, slept.effect, slept.state) == ("sleep", "wait", "completed")


@promise("wait.sleep")
def test_a_sleeping_run_holds_nothing(surface, agent):
    ran = []

    @working(agent)
    def job(run):
        ran.append("before")
        run.sleep(60)
        ran.append("after")

    started = agent.start("job", key="1")
    agent.work(concurrency=1, until_idle=True)
    waiting = agent.runs.get(started.id)
    assert (waiting.state, waiting.wake, waiting.worker) == ("waiting", "timer", None)
    assert waiting.wake_at == surface.plane.clock.now_us() + 60 * SECOND
    told = agent.runs.explain(started.id)
    assert f"A timer wakes it at {iso(waiting.wake_at)}" in told.text
    surface.plane.advance(59)
    agent.work(concurrency=1, until_idle=True)
    assert ran == ["before"]
    surface.plane.advance(1)
    agent.work(concurrency=1, until_idle=True)
    assert ran == ["before", "before", "after"]
    assert agent.runs.get(started.id).state == "completed"


@promise("wait.sleep")
@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "long"])
def test_a_bad_sleep_is_refused(agent, seconds):
    with pytest.raises(InvalidInput), agent.run("r", key="1") as run:
        run.sleep(seconds)


@promise("wait.signal")
def test_a_signal_is_kept_until_the_run_waits_for_it(surface, agent):
    sender = surface.connect("sender")
    with agent.run("r", key="1") as run:
        sender.runs.signal(run.id, "go", {"n": 1})
        sender.runs.signal(run.id, "go", None)
        sender.runs.signal(run.id, "other", 3)
        assert run.wait("go") == {"n": 1}
        assert run.wait("go") is None
        assert run.wait("other") == 3
        assert run.epoch == 1  # nothing had to be waited for
    with pytest.raises(InvalidTransition):
        sender.runs.signal(run.id, "go", 4)


@promise("wait.signal")
def test_a_waiting_run_is_woken_by_its_signal(surface, agent):
    sender = surface.connect("sender")
    got = []

    def work():
        mine = surface.connect("worker")
        with mine.run("r", key="1") as run:
            got.append(run.wait("go"))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    run = None
    while run is None or run.state != "waiting":
        run = sender.runs.find("r", "1")
    assert (run.wake, run.waiting_for) == ("signal", "go")
    told = sender.runs.explain(run.id)
    assert "waits for the signal 'go'" in told.text
    assert told.next_call == f"agent.runs.signal('{run.id}', 'go', value)"
    sender.runs.signal(run.id, "unheard", 1)
    assert sender.runs.get(run.id).state == "waiting"
    sender.runs.signal(run.id, "go", 7)
    thread.join(60)
    assert got == [7]


@promise("wait.signal")
def test_a_wait_times_out_and_says_so_again_on_replay(surface, agent):
    outcomes = []

    @working(agent)
    def job(run):
        try:
            run.wait("go", timeout_seconds=30)
        except TimedOut as error:
            outcomes.append(str(error))
        run.sleep(10)

    started = agent.start("job", key="1")
    agent.work(concurrency=1, until_idle=True)
    told = agent.runs.explain(started.id)
    assert f"'go' or {iso(agent.runs.get(started.id).wake_at)}" in told.text
    surface.plane.advance(31)
    agent.work(concurrency=1, until_idle=True)
    surface.plane.advance(11)
    agent.work(concurrency=1, until_idle=True)
    assert agent.runs.get(started.id).state == "completed"
    assert len(outcomes) == 2
    assert outcomes[0] == outcomes[1]
    assert "within 30 s" in outcomes[0]


@promise("wait.signal")
def test_a_signal_is_delivered_once_whatever_dies(surface, agent):
    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        agent.runs.signal(run.id, "go", 1)
        assert run.wait("go") == 1
        crash(surface)
    agent = surface.connect()
    with agent.run("r", key="1") as run:
        agent.runs.signal(run.id, "go", 2)
        assert run.wait("go") == 1
        assert run.wait("go") == 2


@promise("wait.child")
def test_a_child_runs_under_its_parent(surface, agent):
    with agent.run("parent", key="1") as parent:
        with parent.child("child", key="c", inputs=[1]) as child:
            child.complete("from the child")
        assert parent.join(child.id) == "from the child"
    assert agent.runs.get(child.id).parent == parent.id
    assert [run.id for run in agent.runs.list(parent=parent.id)] == [child.id]


@promise("wait.child")
def test_a_parent_waits_for_its_child_holding_nothing(surface, agent):
    @working(agent, "child")
    def child(run, fail):
        run.sleep(10)
        if fail:
            run.fail("no luck")
        return "result"

    @working(agent, "parent")
    def parent(run, fail):
        return run.join(run.start_child("child", {"fail": fail}))

    good = agent.start("parent", {"fail": False})
    bad = agent.start("parent", {"fail": True}, max_attempts=1)
    agent.work(concurrency=1, until_idle=True)
    waiting = agent.runs.get(good.id)
    assert (waiting.state, waiting.wake) == ("waiting", "child")
    assert f"waits for its child {waiting.waiting_for}" in agent.runs.explain(good.id).text
    surface.plane.advance(10)
    agent.work(concurrency=1, until_idle=True)
    assert agent.runs.get(good.id).result == "result"
    failed = agent.runs.get(bad.id)
    assert failed.state == "failed"
    assert failed.error.startswith("StepFailed: The child")
    assert len(agent.runs.list(name="child")) == 2


@promise("wait.child")
def test_waiting_for_a_child_may_time_out(surface, agent):
    errors = []

    @working(agent, "parent")
    def parent(run):
        handle = run.start_child("nobody")
        try:
            run.join(handle, timeout_seconds=5)
        except TimedOut as error:
            errors.append(error)

    started = agent.start("parent")
    agent.work(concurrency=1, until_idle=True)
    surface.plane.advance(6)
    agent.work(concurrency=1, until_idle=True)
    assert agent.runs.get(started.id).state == "completed"
    assert len(errors) == 1
    with pytest.raises(StepFailed), agent.run("p", key="1") as run:
        orphan = run.start_child("nobody")
        agent.runs.cancel(orphan, "not needed")
        run.join(orphan)


@promise("wait.child")
def test_whoever_waits_for_a_run_is_woken_by_its_end(surface, agent):
    """Not its parent alone, nor by its whole handle alone: a fork waits for what the first run had started."""

    @working(agent, "child")
    def child(run):
        run.sleep(10)

    @working(agent, "waits")
    def waits(run, handle):
        run.join(handle)

    started = agent.start("child")
    surface.plane.advance(1)  # so that what it begins with is its own
    waiting = [agent.start("waits", {"handle": handle}) for handle in (started.id, started.id[:-1])]
    agent.work(concurrency=1, until_idle=True)
    assert [agent.runs.get(run.id).waiting_for for run in waiting] == [started.id, started.id]
    surface.plane.advance(10)
    agent.work(concurrency=1, until_idle=True)
    assert [agent.runs.get(run.id).state for run in waiting] == ["completed", "completed"]


@promise("task.claim")
def test_registered_code_is_claimed_by_priority_then_age(surface, agent):
    ran = []

    @working(agent)
    def job(run, n):
        ran.append(n)
        return n

    for n, priority in ((1, 0), (2, 5), (3, 0), (4, -1), (5, 5)):
        agent.start("job", {"n": n}, priority=priority)
        surface.plane.clock.advance(1)
    agent.start("unknown", {"n": 0}, priority=9)
    agent.work(concurrency=1, until_idle=True)
    assert ran == [2, 5, 1, 3, 4]
    with pytest.raises(InvalidInput):
        agent.start("job", {"n": 1}, priority=1001)
    assert [r.name for r in agent.runs.list(state="unfinished")] == ["unknown"]


@promise("task.claim")
def test_work_without_a_task_is_refused(agent):
    with pytest.raises(InvalidInput):
        agent.work(until_idle=True)


@promise("task.start")
def test_starting_is_idempotent_by_key_and_can_be_later(surface, agent):
    ran = []
    working(agent)(lambda _run, **inputs: ran.append(inputs))
    first = agent.start("job", {"a": 1}, key="k")
    assert agent.start("job", {"a": 1}, key="k").id == first.id
    at = surface.plane.clock.now_us() + 60 * SECOND
    agent.start("job", {"later": True}, at=at)
    moment = datetime.datetime.fromtimestamp(at / SECOND + 60, tz=datetime.UTC)
    agent.start("job", {"later": "still"}, at=moment)
    agent.work(concurrency=1, until_idle=True)
    assert ran == [{"a": 1}]
    surface.plane.advance(60)
    agent.work(concurrency=1, until_idle=True)
    assert ran == [{"a": 1}, {"later": True}]
    surface.plane.advance(60)
    agent.work(concurrency=1, until_idle=True)
    assert ran[2:] == [{"later": "still"}]
    assert agent.start("job", {"a": 1}, key="k").state == "completed"


@promise("task.takeover")
@pytest.mark.surfaces("sync", "async")
def test_registered_runs_of_the_dead_are_done_by_others(surface, agent):
    ran = []

    def job(run):
        run.step("once", lambda: ran.append("once"))
        ran.append(run.epoch)
        if run.epoch == 1:
            surface.plane.kill(surface.raw(agent))
            run.step("never", lambda: 1)
        return "done"

    agent.task("job")(job)
    other = surface.connect("other")
    other.task("job")(job)
    started = other.start("job")
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the death of its process looks like
        agent.work(concurrency=1, until_idle=True)
    assert other.runs.get(started.id).state == "running"
    surface.plane.upkeep()
    other.work(concurrency=1, until_idle=True)
    assert other.runs.get(started.id).result == "done"
    assert ran == ["once", 1, 2]


@promise("task.attempts")
def test_a_failing_task_is_tried_again_until_its_attempts_are_spent(surface, agent):
    ran = []

    @working(agent)
    def job(run):
        ran.append(run.record.attempt)
        raise ValueError("no")

    started = agent.start("job", max_attempts=3)
    for _ in range(5):
        agent.work(concurrency=1, until_idle=True)
        surface.plane.advance(3600)
    assert ran == [1, 2, 3]
    assert agent.runs.get(started.id).error.startswith("ValueError: no")


@promise("task.cron")
def test_a_schedule_makes_runs(surface, agent):
    ran = []
    working(agent)(lambda run, **inputs: ran.append((run.record.key, inputs)))
    schedule = agent.start("job", {"a": 1}, cron="*/10 * * * *")
    assert [s.id for s in agent.runs.schedules()] == [schedule.id]
    first = schedule.next_at
    assert first % (600 * SECOND) == 0
    surface.plane.advance((first - surface.plane.clock.now_us()) / SECOND - 1)
    agent.work(concurrency=1, until_idle=True)
    assert ran == []
    surface.plane.advance(1)
    agent.work(concurrency=1, until_idle=True)
    assert ran == [(f"{schedule.id}@{first // SECOND}", {"a": 1})]
    # Missed times collapse into one run, and the next is in the future.
    surface.plane.advance(3 * 600)
    agent.work(concurrency=1, until_idle=True)
    assert len(ran) == 2
    assert agent.runs.schedules()[0].next_at == first + 4 * 600 * SECOND
    agent.runs.unschedule(schedule.id)
    surface.plane.advance(3600)
    agent.work(concurrency=1, until_idle=True)
    assert len(ran) == 2
    with pytest.raises(NotFound):
        agent.runs.unschedule(schedule.id)


@promise("task.cron")
def test_a_schedule_is_idempotent_by_key_and_begins_at_a_time(surface, agent):
    wanted = {"cron": "0 * * * *", "key": "hourly", "budget": {"steps": 7}}
    now = surface.plane.clock.now_us()
    made = agent.start("job", {"a": 1, "b": 2}, at=now + 7200 * SECOND, **wanted)
    assert agent.start("job", {"b": 2, "a": 1}, **wanted) == made
    assert [schedule.id for schedule in agent.runs.schedules()] == [made.id]
    assert now + 7200 * SECOND < made.next_at <= now + 10800 * SECOND
    for other in ({"cron": "1 * * * *"}, {"budget": None}, {"inputs": {"a": 2}}):
        with pytest.raises(IdempotencyMismatch, match="stands for another"):
            agent.start("job", **({"inputs": {"a": 1, "b": 2}} | wanted | other))
    surface.plane.advance(10800)
    assert [run.budget.steps for run in agent.runs.list(name="job")] == [7]
    agent.runs.unschedule(made.id)
    assert agent.start("job", cron="1 * * * *", key="hourly").id == made.id


@promise("task.cron")
@pytest.mark.parametrize("cron", ["", "every day", "61 * * * *", "* * * *", "\x00", "0 0 31 2 *"])
def test_a_bad_cron_expression_is_refused(agent, cron):
    with pytest.raises(InvalidInput):
        agent.start("job", cron=cron)
    assert len(agent.runs.schedules()) == 0


@promise("person.only")
def test_only_a_person_decides(surface, agent):
    with pytest.raises(Crashed), agent.run("r", key="1") as run:
        run.step("pay", surface.plane.crash, effect="irreversible")
    agent = surface.connect()

    def ask():
        with surface.connect("asker").run("r", key="1") as run:
            return run.step("pay", lambda: 1, effect="irreversible")

    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask()), daemon=True)
    thread.start()
    while agent.runs.get(run.id).wake != "person":
        pass
    told = agent.runs.explain(run.id)
    assert "A person must decide: in_doubt" in told.text
    with pytest.raises(PermissionDenied):
        agent.runs.resolve(run.id, "happened", result=5)
    dana = surface.connect(person="dana")
    with pytest.raises(InvalidInput):
        dana.runs.resolve(run.id, "continue")
    with pytest.raises(InvalidInput):
        dana.runs.resolve(run.id, "perhaps")
    assert f"{run.id} happened --result JSON" in told.next_call
    with pytest.raises(InvalidInput, match="comes with its result"):
        dana.runs.resolve(run.id, "happened")
    dana.runs.resolve(run.id, "happened", result=5)
    thread.join(60)
    assert answers == [5]
    with pytest.raises(InvalidTransition):
        dana.runs.resolve(run.id, "happened", result=6)
    denied = agent.audit.events(outcome="denied")[0]
    assert (denied.operation, denied.actor) == ("run.resolve", "agent:agent")


@promise("person.only")
def test_a_budget_is_raised_not_just_waved_through(surface, agent):
    person = surface.connect(person="dana")

    @working(agent)
    def job(run):
        run.step("s", lambda: surface.current_step().charge(tokens=9))

    started = agent.start("job", budget={"tokens": 1})
    agent.work(concurrency=1, until_idle=True)
    assert agent.runs.get(started.id).waiting_for == "budget"
    with pytest.raises(InvalidInput):
        person.runs.resolve(started.id, "continue")
    assert agent.runs.get(started.id).state == "waiting"


@promise("wait.child")
def test_a_cancelled_wait_wakes_nobody(surface, agent):
    @working(agent)
    def job(run):
        run.sleep(60)

    started = agent.start("job")
    agent.work(concurrency=1, until_idle=True)
    agent.runs.cancel(started.id, "not needed")
    surface.plane.advance(120)
    agent.work(concurrency=1, until_idle=True)
    assert agent.runs.get(started.id).state == "cancelled"
    assert [e.operation for e in agent.audit.events(run=started.id)][-1] == "run.cancel"
