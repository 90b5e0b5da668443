"""State, runs and steps against a small model, in random order, with processes that die in between."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentmemo import NotFound, RunHeld, VersionConflict
from agentmemo.testing import Crashed, ManualPlane

NAMESPACES = st.sampled_from(["a", "b"])
KEYS = st.sampled_from(["k1", "k2", "k3"])
RUNS = st.sampled_from(["r1", "r2"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=3))
STEPS = st.lists(st.sampled_from(["s1", "s2", "s3", "s4"]), min_size=1, max_size=4, unique=True)


class PlaneMachine(RuleBasedStateMachine):
    """`entries` and `runs` are what the plane has to hold; every rule does the same to both."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.plane = ManualPlane(self.folder / "plane.db")
        self.agent = self.plane.connect()
        self.entries = {}  # (namespace, key) -> [value or None for an end, ...]; version is the length
        self.live = {}  # (namespace, key) -> value
        self.ends = {}  # (namespace, key) -> when it expires
        self.runs = {}  # key -> [state, {step: result}, attempts failed]
        self.executed = []

    def teardown(self):
        if hasattr(self, "plane"):
            self.plane.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def expire(self):
        now = self.plane.clock.now_us()
        for place, end in list(self.ends.items()):
            if end <= now:
                self.live.pop(place, None)

    def settle(self):
        """Expired entries get the version that ends them once upkeep has been there."""
        now = self.plane.clock.now_us()
        for place, end in list(self.ends.items()):
            if end <= now:
                self.entries[place] += 1
                del self.ends[place]
                self.live.pop(place, None)

    @rule(namespace=NAMESPACES, key=KEYS, value=VALUES, seconds=st.sampled_from([None, None, 10, 100]))
    def set_value(self, namespace, key, value, seconds):
        entry = self.agent.state.set(namespace, key, value, ttl_seconds=seconds)
        self.wrote((namespace, key), value, entry, seconds)

    def wrote(self, place, value, entry, seconds=None):
        self.entries[place] = self.entries.get(place, 0) + 1
        assert entry.version == self.entries[place]
        self.live[place] = value
        self.ends.pop(place, None)
        if seconds:
            self.ends[place] = self.plane.clock.now_us() + seconds * 1_000_000

    @rule(namespace=NAMESPACES, key=KEYS, value=VALUES, guess=st.integers(0, 4))
    def set_if(self, namespace, key, value, guess):
        place = (namespace, key)
        current = self.entries.get(place, 0) if place in self.live else 0
        if guess == current:
            self.wrote(place, value, self.agent.state.set(namespace, key, value, if_version=guess))
        else:
            with pytest.raises(VersionConflict):
                self.agent.state.set(namespace, key, value, if_version=guess)

    @rule(namespace=NAMESPACES, key=KEYS)
    def delete_value(self, namespace, key):
        place = (namespace, key)
        if place in self.live:
            self.entries[place] += 1
            assert self.agent.state.delete(namespace, key).version == self.entries[place]
            del self.live[place]
            self.ends.pop(place, None)
        else:
            with pytest.raises(NotFound):
                self.agent.state.delete(namespace, key)

    @rule(writes=st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=3), fails=st.booleans())
    def transact(self, writes, fails):
        if fails:
            with pytest.raises(VersionConflict), self.agent.transaction() as tx:
                for key, value in writes:
                    tx.state.set("a", key, value)
                tx.state.set("b", "k1", 1, if_version=10_000)
            return
        with self.agent.transaction() as tx:
            for key, value in writes:
                tx.state.set("a", key, value)
        for key, value in writes:
            place = ("a", key)
            self.entries[place] = self.entries.get(place, 0) + 1
            self.live[place] = value
            self.ends.pop(place, None)

    @rule(seconds=st.sampled_from([1, 11, 101]))
    def pass_time(self, seconds):
        self.plane.advance(seconds)
        self.settle()

    @rule()
    def die_and_start_again(self):
        self.plane.restart()
        self.agent = self.plane.connect()

    @rule(key=RUNS, steps=STEPS, ending=st.sampled_from(["complete", "crash", "raise", "crash in step"]))
    def work_on_a_run(self, key, steps, ending):
        model = self.runs.setdefault(key, ["pending", {}, 0])
        before = model[0]
        if before == "failed":
            return
        with contextlib.suppress(Crashed, ZeroDivisionError), self.agent.run("job", key=key, max_attempts=3) as run:
            assert run.completed == (before == "completed")
            for name in [step for step in steps if before != "completed" or step in model[1]]:
                result = run.step(name, self.perform, key, name, key="1")
                assert result == model[1].setdefault(name, result)
            if before == "completed":
                return
            if ending == "crash in step":
                run.step("fatal", self.plane.crash, key=str(len(self.executed)))
            if ending == "crash":
                self.plane.crash()
            if ending == "raise":
                _ = 1 / 0
        self.ended(model, ending)

    def perform(self, key, name):
        self.executed.append((key, name))
        return len(self.executed)

    def ended(self, model, ending):
        if ending == "complete":
            model[0] = "completed"
        elif ending == "raise":
            model[2] += 1
            model[0] = "failed" if model[2] == 3 else "pending"
        else:
            model[0] = "running"
            self.agent = self.plane.connect()
            self.plane.upkeep()
            self.settle()
            model[0] = "pending"

    @precondition(lambda self: self.runs)
    @rule(key=RUNS)
    def only_one_holds_a_run(self, key):
        if self.runs.get(key, ["failed"])[0] != "pending":
            return
        other = self.plane.connect("other")
        with contextlib.suppress(ZeroDivisionError), self.agent.run("job", key=key, max_attempts=3):
            with pytest.raises(RunHeld), other.run("job", key=key, max_attempts=3):
                pass
            _ = 1 / 0
        self.ended(self.runs[key], "raise")

    @invariant()
    def the_plane_holds_what_the_model_holds(self):
        if not hasattr(self, "plane"):
            return
        self.expire()
        for namespace in ("a", "b"):
            found = {(namespace, e.key): (e.value, e.version) for e in self.agent.state.list(namespace)}
            expected = {p: (v, self.entries[p]) for p, v in self.live.items() if p[0] == namespace}
            assert found == expected
        for key, (state, steps, failures) in self.runs.items():
            run = self.agent.runs.find("job", key)
            if run is None:
                continue
            assert run.state == state
            assert run.attempt == min(failures + 1, 3)
            kept = {s.name: s.result for s in self.agent.runs.steps(run.id, state="completed")}
            assert kept == steps
        assert len(self.executed) == len(set(self.executed))

    @invariant()
    def the_trail_is_whole(self):
        if hasattr(self, "plane"):
            check = self.agent.audit.verify()
            assert check.intact, check.first_fault
            assert self.agent.status().revision == check.events


@pytest.mark.promise("state.model")
class TestPlane(PlaneMachine.TestCase):
    settings = settings(
        max_examples=40,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),  # a failure is reported as found; shrinking it would take minutes
        suppress_health_check=list(HealthCheck),
    )
