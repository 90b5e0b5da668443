"""The transition tables, exhaustively: what is not in them is refused."""

from __future__ import annotations

from itertools import product

import pytest

from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model import runs

RUN_STATES = ("pending", "running", "waiting", "completed", "failed", "cancelled")
RUN_ACTS = ("claim", "park", "wake", "release", "complete", "fail", "cancel", "start", "")
STEP_STATES = ("absent", "started", "completed", "failed", "in_doubt")
STEP_ACTS = ("start", "complete", "fail", "doubt", "cancel", "")

# The tables as the documentation draws them, written down a second time on purpose.
RUN_ARROWS = {
    "claim": {"pending": "running", "running": "running", "waiting": "running"},
    "park": {"running": "waiting"},
    "wake": {"waiting": "pending"},
    "release": {"running": "pending"},
    "complete": {"running": "completed"},
    "fail": {"pending": "failed", "running": "failed", "waiting": "failed"},
    "cancel": {"pending": "cancelled", "running": "cancelled", "waiting": "cancelled"},
}
STEP_ARROWS = {
    "start": dict.fromkeys(STEP_STATES, "started"),
    "complete": dict.fromkeys(STEP_STATES, "completed"),
    "fail": dict.fromkeys(STEP_STATES, "failed"),
    "doubt": {"started": "in_doubt"},
}


@pytest.mark.parametrize(("state", "act"), list(product(RUN_STATES, RUN_ACTS)))
def test_every_pair_of_a_run(state, act):
    expected = RUN_ARROWS.get(act, {}).get(state)
    if expected is None:
        with pytest.raises(InvalidTransition) as caught:
            runs.next_run_state(state, act, "run_x")
        assert caught.value.details == {"run": "run_x", "state": state, "act": act}
        assert "runs.explain('run_x')" in caught.value.next_call
    else:
        assert runs.next_run_state(state, act, "run_x") == expected


@pytest.mark.parametrize(("state", "act"), list(product(STEP_STATES, STEP_ACTS)))
def test_every_pair_of_a_step(state, act):
    expected = STEP_ARROWS.get(act, {}).get(state)
    if expected is None:
        with pytest.raises(InvalidTransition):
            runs.next_step_state(state, act, "s")
    else:
        assert runs.next_step_state(state, act, "s") == expected


def test_the_tables_hold_nothing_else():
    assert {(s, a) for a, arrows in RUN_ARROWS.items() for s in arrows} == set(runs.RUN_TRANSITIONS)
    assert {(s, a) for a, arrows in STEP_ARROWS.items() for s in arrows} == set(runs.STEP_TRANSITIONS)


def test_nothing_leaves_a_finished_run():
    assert not {state for state, _ in runs.RUN_TRANSITIONS} & set(runs.FINISHED)


def test_every_unfinished_run_can_still_end():
    for state in ("pending", "running", "waiting"):
        assert runs.RUN_TRANSITIONS[state, "cancel"] == "cancelled"


@pytest.mark.parametrize(
    ("budget", "spent", "expected"),
    [
        (runs.Budget(), runs.Spent(steps=10**6, seconds=1e9, tokens=10**12, nanousd=10**15), []),
        (runs.Budget(steps=2), runs.Spent(steps=2), []),
        (runs.Budget(steps=2), runs.Spent(steps=3), ["steps 3 of 2"]),
        (runs.Budget(steps=0, tokens=0), runs.Spent(steps=1, tokens=1), ["steps 1 of 0", "tokens 1 of 0"]),
        (runs.Budget(seconds=1.5, nanousd=5), runs.Spent(seconds=1.6, nanousd=5), ["seconds 1.6 of 1.5"]),
    ],
)
def test_what_is_overspent(budget, spent, expected):
    assert runs.overspent(budget, spent) == expected


def test_backoff():
    policy = runs.Retry(max_attempts=9, first_delay_seconds=1, factor=2, max_delay_seconds=10)
    assert [policy.delay_seconds(n) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_a_choice_names_the_choices():
    assert runs.check_choice("a", ("a", "b"), "letter") == "a"
    with pytest.raises(InvalidInput) as caught:
        runs.check_choice("c", ("a", "b"), "letter")
    assert caught.value.next_call == "Use one of: a, b."
