"""An effect that may have happened is in doubt, also when no process died: its result was lost, or it was late."""

from __future__ import annotations

import threading

import pytest

from agentmemo import Budget, InvalidInput, InvalidTransition, TimedOut

promise = pytest.mark.promise
# Of real time: the function has to have begun by then, on a busy machine too.
LATE_SECONDS = 0.5


def reopened(surface, work, probed, **options):
    """What the step gives when the run is opened again, with a probe that finds the effect."""

    def probe(key):
        probed.append(key)
        return "found"

    with surface.connect().run("r", key="1") as run:
        return run.step("pay", work, in_doubt=probe, **options)


@promise("step.doubt")
@pytest.mark.parametrize("effect", ["write", "irreversible"])
def test_an_effect_whose_result_cannot_be_kept_is_not_repeated(surface, agent, effect):
    paid, probed = [], []

    def pay():
        paid.append(1)
        return float("nan")

    with pytest.raises(InvalidInput), agent.run("r", key="1") as run:
        run.step("pay", pay, effect=effect, retry=3)
    assert agent.runs.steps(run.id)[0].state == "started"
    assert reopened(surface, pay, probed, effect=effect) == "found"
    assert (paid, probed) == ([1], [f"{run.id}/pay/1"])
    assert agent.audit.events(type="step.doubt")[0].step == "pay/1"


@promise("step.doubt")
def test_an_effect_of_another_type_than_declared_is_not_repeated(surface, agent):
    paid, probed = [], []

    def pay() -> str:
        paid.append(1)
        return 7

    with pytest.raises(InvalidInput), agent.run("r", key="1") as run:
        run.step("pay", pay, effect="write")
    assert reopened(surface, pay, probed, effect="write") == "found"
    assert paid == [1]


@promise("step.doubt")
def test_an_effect_that_is_late_is_not_repeated(surface, agent):
    late, paid, probed = threading.Event(), [], []

    def pay():
        paid.append(1)
        late.wait(60)

    with pytest.raises(TimedOut), agent.run("r", key="1") as run:
        run.step("pay", pay, effect="write", retry=3, timeout_seconds=LATE_SECONDS)
    late.set()
    assert reopened(surface, pay, probed, effect="write") == "found"
    assert (paid, probed) == ([1], [f"{run.id}/pay/1"])


@promise("step.doubt")
def test_an_effect_that_may_be_repeated_under_its_key_is(surface, agent):
    keys = []

    def pay():
        keys.append(surface.current_step().idempotency_key)
        return float("nan") if len(keys) == 1 else "receipt"

    with pytest.raises(InvalidInput), agent.run("r", key="1") as run:
        run.step("pay", pay, effect="write", in_doubt="retry")
    with surface.connect().run("r", key="1") as again:
        assert again.step("pay", pay, effect="write", in_doubt="retry") == "receipt"
    assert keys == [f"{run.id}/pay/1"] * 2


@promise("step.retry")
def test_an_irreversible_step_that_failed_is_asked_about_in_the_next_attempt(surface, agent):
    sent, probed = [], []

    def send():
        sent.append(1)
        raise ConnectionError

    with pytest.raises(ConnectionError), agent.run("r", key="1") as run:
        run.step("pay", send, effect="irreversible", retry=3)
    assert agent.runs.steps(run.id)[0].state == "failed"
    assert reopened(surface, send, probed, effect="irreversible") == "found"
    assert (sent, len(probed)) == ([1], 1)


@promise("step.retry")
def test_a_write_that_failed_is_tried_again(surface, agent):
    sent = []

    def send():
        sent.append(1)
        if len(sent) == 1:
            raise ConnectionError
        return "sent"

    with pytest.raises(ConnectionError), agent.run("r", key="1") as run:
        run.step("send", send, effect="write")
    assert agent.runs.steps(run.id)[0].state == "failed"
    with surface.connect().run("r", key="1") as run:
        assert run.step("send", send, effect="write") == "sent"


@promise("step.doubt")
def test_the_same_process_does_not_repeat_an_irreversible_step_either(plane, agent):
    """A loop that catches the timeout meets the doubt, as it would after a restart."""
    charged, release = [], threading.Event()

    def charge():
        charged.append(1)
        release.wait(60)

    plane.person("ada").will("in_doubt", "happened", result="receipt")
    with agent.run("r", key="1") as run:
        with pytest.raises(TimedOut):
            run.step("charge", charge, key="c", effect="irreversible", timeout_seconds=LATE_SECONDS)
        release.set()
        assert run.step("charge", charge, key="c", effect="irreversible", timeout_seconds=LATE_SECONDS) == "receipt"
    assert charged == [1]


@promise("step.doubt")
def test_a_decision_never_lands_on_a_later_question(plane):
    agent, ada = plane.connect("worker"), plane.connect(person="ada")

    @agent.task("job")
    def job(run):
        for number in range(9):
            run.step("spend", lambda number=number: number)

    run = agent.start("job", budget={"steps": 1})
    agent.work(concurrency=1, until_idle=True)
    first = ada.runs.get(run.id)
    plane.advance(1)
    ada.runs.resolve(run.id, "continue", budget=Budget(steps=3), asked=first)
    agent.work(concurrency=1, until_idle=True)
    second = ada.runs.get(run.id)
    assert (first.wake, second.wake, second.spent.steps) == ("person", "person", 4)
    with pytest.raises(InvalidTransition, match="something else"):
        ada.runs.resolve(run.id, "continue", budget=Budget(steps=99), asked=first)
    assert ada.runs.get(run.id).budget.steps == 3
