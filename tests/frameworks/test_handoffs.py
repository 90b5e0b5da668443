"""A hands to B hands to C, each in another framework; whoever dies wherever, the work arrives once and whole."""

from __future__ import annotations

import signal

import pytest
from relays import STEPS, check

# Between two commits the store stays as it is. So a death before each step's function, after it, and inside each
# commit that moves a run or a handoff is a death at every boundary. `audit.before_event:3` is between the claim of a
# handoff and the beginning of its run.
POINTS = {
    "researcher": [
        "handoff.after_create",
        "wait.after_park",
        "run.after_claim",
        "run.before_complete",
        "run.after_complete",
    ],
    "engineer": [
        "handoff.after_claim",
        "audit.before_event:3",
        "handoff.after_create",
        "wait.after_park",
        "handoff.after_claim:2",
        "run.after_claim",
        "handoff.before_complete",
        "handoff.after_complete",
    ],
    "reviewer": ["handoff.after_claim", "audit.before_event:3", "handoff.before_complete", "handoff.after_complete"],
}
BOUNDARIES = [
    (agent, point)
    for agent, steps in STEPS.items()
    for point in [
        *(f"step.{side}_function:{number}" for number in range(1, len(steps) + 1) for side in ("before", "after")),
        *POINTS[agent],
    ]
]


def test_the_work_goes_through_all_three_and_comes_back(relay):
    relay.start_all()
    assert relay.wait_done() == 0, relay.shown()
    check(relay)


@pytest.mark.parametrize(("agent", "point"), BOUNDARIES)
def test_death_at_a_boundary(relay, agent, point):
    programs = relay.start_all({agent: point})
    assert programs[agent].wait() == -signal.SIGKILL, relay.shown()
    killed = relay.look()
    relay.start(agent)
    assert relay.wait_done() == 0, relay.shown()
    check(relay, {agent: killed})


@pytest.mark.parametrize(
    ("agent", "other", "step"),
    [
        ("researcher", "engineer", "plan"),
        ("engineer", "reviewer", "read"),
        ("engineer", "researcher", "conclude"),
        ("reviewer", "researcher", "conclude"),
    ],
)
def test_death_while_another_works(relay, agent, other, step):
    """It waits for a result, or has handed its own over: nothing of it begins again."""
    programs = relay.start_all()
    relay.wait_said(other, step)
    programs[agent].end()
    killed = relay.look()
    relay.start(agent)
    assert relay.wait_done() == 0, relay.shown()
    check(relay, {agent: killed})


def test_all_three_die(relay):
    points = {
        "researcher": "wait.after_park",
        "engineer": "step.after_function:4",
        "reviewer": "handoff.before_complete",
    }
    programs = relay.start_all(points)
    killed = {}
    for agent in points:
        assert programs[agent].wait() == -signal.SIGKILL, relay.shown()
        killed[agent] = relay.look()
        relay.start(agent)
    assert relay.wait_done() == 0, relay.shown()
    check(relay, killed)


def test_what_is_done_is_not_done_again(relay):
    for _ in range(2):
        relay.start_all()
        assert relay.wait_done() == 0, relay.shown()
        relay.end_all()
    check(relay)


def test_the_same_on_postgresql(make_relay, postgres_url):
    relay = make_relay(postgres_url)
    relay.start_all()
    assert relay.wait_done() == 0, relay.shown()
    check(relay)
