"""Each noun against a small model, in random order, on clocks that jump, embedded and over HTTP."""

from __future__ import annotations

import pytest
from machines.budgets import BudgetMachine
from machines.handoffs import HandoffMachine
from machines.leases import LeaseMachine
from machines.machine import check
from machines.runs import RunMachine
from machines.states import StateMachine

from agentmemo import Error
from agentmemo.client._sync.run import Run
from agentmemo.engine import ledger, ledger_caps, liveness, runs, state, workers
from agentmemo.store import queries

promise = pytest.mark.promise


@promise("state.model")
def test_state(make_surface):
    check(StateMachine, make_surface, examples=8, steps=25)


@promise("step.once", "step.doubt", "run.continue")
def test_runs(make_surface):
    check(RunMachine, make_surface, examples=12, steps=15)


@promise("run.budget", "ledger.cap", "ledger.run")
def test_budgets(make_surface):
    check(BudgetMachine, make_surface, examples=8, steps=20)


@promise("run.lease", "run.epoch")
def test_leases(make_surface):
    check(LeaseMachine, make_surface, examples=10, steps=25)


@promise("handoff.claim", "handoff.epoch")
def test_handoffs(make_surface):
    check(HandoffMachine, make_surface, examples=8, steps=25)


def never_compared(patch, *names):
    """The epoch of a write under a claim."""
    known = queries.load("sqlite")
    for name in names:
        patch.setitem(known, name, known[name]._replace(sql=known[name].sql.replace("epoch = :epoch", "0 < :epoch")))


def by_the_wall_clock(engine, worker, boot_id, lease_until):
    del worker, boot_id
    return lease_until <= engine.clock.now_us()


FAULTS = {
    "an epoch is not compared": (LeaseMachine, lambda patch: never_compared(patch, "run_held", "run_count_step")),
    "a lease ends by the wall clock": (
        LeaseMachine, lambda patch: patch.setattr(liveness, "is_dead", by_the_wall_clock),
    ),
    "a lease never ends": (LeaseMachine, lambda patch: patch.setattr(liveness, "is_dead", lambda *_: False)),
    "what has expired is live": (
        StateMachine, lambda patch: patch.setattr(state, "_is_live", lambda _, found: bool(found.live)),
    ),
    "a finished step is run again": (RunMachine, lambda patch: patch.setattr(Run, "_from_store", lambda *_: None)),
    "what is in doubt is repeated": (RunMachine, lambda patch: patch.setattr(Run, "_doubtful", lambda *_: None)),
    "work is counted by the wall clock": (
        BudgetMachine,
        lambda patch: patch.setattr(runs, "worked_us", lambda tx, _, run, **__: tx.now - (run.claimed_at or tx.now)),
    ),
    "a run is not charged": (BudgetMachine, lambda patch: patch.setattr(ledger, "_charge", lambda *_: None)),
    "a sum does not run along": (BudgetMachine, lambda patch: patch.setattr(ledger_caps, "change", lambda *_: None)),
    "the dead keep their handoffs": (
        HandoffMachine, lambda patch: patch.setattr(workers.handoff_ends, "of_worker", lambda *_, **__: []),
    ),
}  # fmt: skip


@promise("state.model")
@pytest.mark.parametrize("make_surface", ["sync"], indirect=True)
@pytest.mark.parametrize(("machine", "plant"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(make_surface, monkeypatch, machine, plant):
    plant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception, Error)):
        check(machine, make_surface, examples=60, steps=25)
