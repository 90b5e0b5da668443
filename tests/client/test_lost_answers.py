"""A change that was committed while its answer got lost on the way back."""

from __future__ import annotations

import threading

import pytest

import agentmemo
from agentmemo.errors import InvalidTransition, Unavailable
from agentmemo.model.runs import CompleteStep, FailStep
from agentmemo.settings import Settings
from agentmemo.store.database import wait_for
from agentmemo.testing import ManualPlane


class Losing:
    """A transport that performs a call and then loses its answer, once."""

    def __init__(self, inner, operation):
        self._inner = inner
        self._operation = operation

    def call(self, operation, request, *, claim=None, worker=None):
        answer = self._inner.call(operation, request, claim=claim, worker=worker)
        if operation.name == self._operation:
            self._operation = None
            raise Unavailable("The connection was lost.", retry_safe=False)
        return answer

    def __getattr__(self, name):
        return getattr(self._inner, name)


class Away:
    """A transport that cannot reach the plane while it is `away`."""

    def __init__(self, inner):
        self._inner = inner
        self.away = False
        self.told = Unavailable("Nobody is there.")

    def call(self, operation, request, *, claim=None, worker=None):
        if self.away:
            raise self.told
        return self._inner.call(operation, request, claim=claim, worker=worker)

    def __getattr__(self, name):
        return getattr(self._inner, name)


@pytest.mark.parametrize("block", ["fails", "completes"])
def test_a_run_that_could_not_be_given_back_is_given_back_later(tmp_path, block):
    """Its worker lives on and works, so nobody would ever take the run over."""
    plane = ManualPlane(tmp_path / "plane.db", settings=Settings(lease_seconds=0.1))
    agent = plane.connect()
    away = agent._plane.transport = Away(agent._plane.transport)
    with agent.run("other", "1") as other:
        with pytest.raises(Unavailable), agent.run("job", "1") as run:
            run.step("work", lambda: 1)
            away.away = True
            if block == "fails":
                run.step("more", lambda: 2)
        away.away = False
        other.progress(1, "the same worker is alive")
        assert wait_for(plane.engine.database, lambda: agent.runs.get(run.id).state == "pending" or None, 60)
        with agent.run("job", "1") as again:
            assert again.step("work", lambda: pytest.fail("it is done")) == 1
    assert agent.runs.get(run.id).state == "completed"
    plane.close()


def test_a_worker_outlives_the_absence_of_its_plane(plane):
    agent = plane.connect()
    away = agent._plane.transport = Away(agent._plane.transport)
    agent.task("job")(lambda run: run.step("work", lambda: 1))
    agent._plane.worker()
    away.away = True
    with pytest.raises(Unavailable):
        agent.work(until_idle=True)
    worker = threading.Thread(target=agent.work)
    worker.start()
    run = plane.connect("asker").start("job")
    away.away = False
    assert wait_for(plane.engine.database, lambda: agent.runs.get(run.id).state == "completed" or None, 60)
    agent.stop()
    worker.join()


def _with_a_worker(plane):
    agent = plane.connect()
    away = agent._plane.transport = Away(agent._plane.transport)
    agent._plane.worker()
    return agent, away


def test_leaving_while_the_plane_is_away_raises_nothing_of_its_own(plane, caplog):
    agent, away = _with_a_worker(plane)
    with agent:
        away.away = True
    assert "when its lease ends: Nobody is there." in caplog.text
    agent.close()


@pytest.mark.parametrize("told", [Unavailable("Nobody is there."), Unavailable("It is damaged.", retry_safe=False)])
def test_the_exception_of_the_block_is_the_news(plane, caplog, told):
    agent, away = _with_a_worker(plane)
    with pytest.raises(ValueError, match="mine"), agent, agent.run("job", "1"):
        away.away, away.told = True, told
        raise ValueError("mine")
    assert told.message in caplog.text


def test_what_the_plane_itself_says_at_the_end_is_told(plane):
    agent, away = _with_a_worker(plane)
    with pytest.raises(Unavailable, match="damaged"), agent:
        away.away, away.told = True, Unavailable("It is damaged.", retry_safe=False)


@pytest.mark.parametrize("retry", [None, 3])
def test_a_step_whose_answer_was_lost_is_finished_once(plane, retry):
    ran = []
    agent = plane.connect()

    def work():
        ran.append(1)
        agentmemo.current_step().state.set("facts", "done", len(ran))
        return {"ran": len(ran)}

    agent._plane.transport = Losing(agent._plane.transport, "step.complete")
    with agent.run("job", "1") as run:
        assert run.step("work", work, retry=retry) == {"ran": 1}
        assert run.step("next", lambda: 2) == 2
    assert ran == [1]
    assert agent.state.entry("facts", "done").version == 1
    assert [step.state for step in agent.runs.steps(run.id)] == ["completed", "completed"]


def test_the_attempt_that_made_the_result_cannot_fail_afterwards(plane):
    agent = plane.connect()
    with agent.run("job", "1") as run:
        run.step("work", lambda given: given, 1)
        done = agent.runs.steps(run.id)[0]
        late = FailStep(run=run.id, name="work", key="1", error="lost", fingerprint=done.fingerprint, attempt=1)
        with pytest.raises(InvalidTransition, match="its result stands"):
            run._call(late)
        # A rerun with other inputs is another attempt: it may fail.
        run._call(FailStep(run=run.id, name="work", key="1", error="new", fingerprint="other", attempt=1))
        assert agent.runs.steps(run.id)[0].state == "failed"
        run._call(CompleteStep(run=run.id, name="work", key="1", result=2, fingerprint="other", attempt=2))
