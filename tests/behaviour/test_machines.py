"""Each noun against a small model, in random order, on clocks that jump, embedded and over HTTP."""

from __future__ import annotations

import pytest
from machines.budgets import BudgetMachine
from machines.leases import LeaseMachine
from machines.machine import check
from machines.runs import RunMachine
from machines.states import StateMachine

promise = pytest.mark.promise


@promise("state.model")
def test_state(make_surface):
    check(StateMachine, make_surface, examples=12, steps=30)


@promise("step.once")
def test_runs(make_surface):
    check(RunMachine, make_surface, examples=12, steps=20)


@promise("run.lease", "run.epoch")
def test_leases(make_surface):
    check(LeaseMachine, make_surface, examples=12, steps=30)


@promise("run.budget", "ledger.cap")
def test_budgets(make_surface):
    check(BudgetMachine, make_surface, examples=12, steps=25)
