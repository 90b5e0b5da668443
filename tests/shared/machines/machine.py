"""What all machines share: a plane of their own, a clock that jumps, and what must hold whatever happened.

A machine does the same to a plane and to a small model of it, in random order, and compares the two after each rule.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from list_prices import ListPrices

from agentmemo.clock import SECOND
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane

HOUR, DAY = 3600, 86_400
RESTARTS = 2  # of one history: each is dear, and what it does to what is held it shows at once
# Read with the module: no test sees such variables.
TORTURE = int(os.environ.get("AGENTMEMO_TORTURE_MACHINES", "0"))
SEED = int(os.environ.get("AGENTMEMO_CRASH_SEED", "0"))
PICK = st.integers(min_value=0, max_value=1 << 16)


def check(machine, make_surface, *, examples, steps):
    """Run a machine over one way to call a plane: the same few examples each time, or as many as torture asks for."""

    class Factory:
        def __new__(cls):
            return machine(make_surface)

    if TORTURE:
        seed(SEED)(Factory)  # it would go before `derandomize`
    chosen = settings(
        max_examples=TORTURE or examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not TORTURE,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate,),  # a failure is reported as found; shrinking it would take minutes
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Factory, settings=chosen)


class Machine(RuleBasedStateMachine):
    """Real clocks: the boot clock only goes on, the wall clock is set by people and time servers, back as well."""

    settings = Settings()

    def __init__(self, make_surface):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.plane = ManualPlane(self.folder / "plane.db", settings=self.settings, prices=ListPrices())
        self.surface = make_surface(self.plane)
        self.clock = self.plane.clock
        self.witness = self.plane.connect("witness")
        self.epochs, self.restarts = {}, 0
        self.begin()

    def begin(self):
        """Make the model, and what is there from the start."""
        raise NotImplementedError

    def upkeep_came(self):
        """What upkeep does to the model."""

    def teardown(self):
        try:
            assert self.witness.audit.verify().intact
        finally:
            self.surface.close()
            self.plane.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def now(self):
        return self.clock.now_us()

    def pass_time(self, seconds, *, upkeep=True):
        """As `plane.advance`, where upkeep may be late: the hearts of the living beat all the while."""
        self.clock.advance(seconds)
        self.plane.beat()
        if upkeep:
            self.plane.upkeep()
            self.upkeep_came()

    def kill(self, connection):
        """Its process dies. Over HTTP the plane notices it by the end of a lease."""
        self.surface.kill(connection)
        if self.surface.kind == "http":
            self.upkeep_came()

    @rule(seconds=st.sampled_from([1, 4, 11, 101, HOUR]), upkeep=st.booleans())
    def time_passes(self, seconds, upkeep):
        self.pass_time(seconds, upkeep=upkeep)

    @rule(days=st.sampled_from([1, 10, 40]))
    def days_pass(self, days):
        self.pass_time(days * DAY)

    @rule(seconds=st.sampled_from([-400 * DAY, -DAY, -HOUR, -3, HOUR, DAY, 10 * DAY]), upkeep=st.booleans())
    def the_wall_clock_is_set(self, seconds, upkeep):
        self.clock.step(seconds)
        self.pass_time(0, upkeep=upkeep)

    @precondition(lambda self: self.restarts < RESTARTS)
    @rule()
    def the_plane_starts_again(self):
        self.restarts += 1
        self.plane.restart()
        self.witness = self.plane.connect("witness")
        self.pass_time(0)
        self.restarted()

    def restarted(self):
        """Everything that was connected is gone, and what was due meanwhile is done."""
        raise NotImplementedError

    @invariant()
    def the_trail_is_whole(self):
        """Also in its order: what came later has the higher revision, whatever the clocks said."""
        checked = self.witness.audit.verify()
        assert checked.intact, checked.first_fault
        assert self.witness.status().revision == checked.events

    @invariant()
    def what_is_unfinished_has_one_cause_to_wake(self):
        for run in self.witness.runs.list(limit=1000):
            assert (run.wake is None) == (run.state in ("completed", "failed", "cancelled"))
            assert (run.worker is None) == (run.state != "running")
            assert run.epoch >= self.epochs.get(run.id, 0)
            self.epochs[run.id] = run.epoch


def after(now, seconds):
    return now + round(seconds * SECOND)
