"""Runs: programs of steps, waits and children that are begun, killed, cancelled, and continued by others."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from machines.machine import DAY, PICK, Machine, after

import agentmemo
from agentmemo import InvalidTransition, LeaseLost, Retry, RunHeld, TimedOut
from agentmemo.clock import SECOND
from agentmemo.settings import Settings
from agentmemo.testing import Crashed

AGENTS = ("a", "b")
KEYS = ("r1", "r2")
KEY, AGENT = st.sampled_from(KEYS), st.sampled_from(AGENTS)
# What a program is made of. A step with an effect says what is to be done when it is in doubt.
PLAIN, FLAKY, CHILD, SLEEP, SIGNAL = "plain", "flaky", "child", "sleep", "signal"
RETRY, PROBE, ASK = "write retry", "write probe", "irreversible ask"
PROGRAMS = st.lists(st.sampled_from([PLAIN, FLAKY, CHILD, SLEEP, SIGNAL, RETRY, PROBE, ASK]), min_size=2, max_size=5)
# What comes in the way of a visit at one place: before it, or inside its function before or after the effect.
FAULTS = ("die", "raise", "raise before", "rival", "ahead", "back", "cancel")
MOOD = st.sampled_from(["patient", "signalled", "dies"])  # of who has to wait
SLEEP_SECONDS, TIMEOUT_SECONDS = 50, 500
MAX_ATTEMPTS, TAKEOVERS_MAX = 3, 3
FINISHED = ("completed", "failed", "cancelled")
TIMED_OUT = "timed out"


class Broken(Exception):
    """What a program raises."""


@dataclass
class Work:
    """What the model knows of a run. Places count the acts of its program, from `first` on."""

    name: str
    key: str
    program: list[str]
    first: int = 0
    id: str | None = None
    state: str = "absent"
    epoch: int = 0
    attempt: int = 1
    takeovers: int = 0
    done: dict[int, object] = field(default_factory=dict)
    written: dict[int, object] = field(default_factory=dict)  # what steps wrote with their results
    announced: set[int] = field(default_factory=set)  # their functions run, or ran when somebody died
    doubt: dict[int, str] = field(default_factory=dict)  # in doubt, and what a person decided
    since: dict[int, int] = field(default_factory=dict)  # when a wait began
    waits: tuple[str, int] | None = None  # for what, at which place
    signals: list[int] = field(default_factory=list)
    children: dict[int, Work] = field(default_factory=dict)

    def opened(self):
        """By its key: it goes on, or waits for a person because too many died on it."""
        self.takeovers += self.state == "running"
        if self.takeovers > TAKEOVERS_MAX:
            self.state, self.waits = "waiting", ("takeovers", -1)
        else:
            self.claimed()

    def claimed(self):
        self.state, self.waits, self.epoch = "running", None, self.epoch + 1
        self.doubt |= dict.fromkeys(self.announced, "")
        self.announced.clear()

    def finished(self, place, result):
        self.done[place], self.takeovers = result, 0
        self.announced.discard(place)
        self.doubt.pop(place, None)

    def woken(self):
        self.state, self.waits, self.takeovers = "pending", None, 0

    def lost(self):
        """The plane has noticed that its holder is dead."""
        if self.state == "running":
            self.state, self.takeovers = "pending", self.takeovers + 1

    def gave_back(self):
        self.state = "failed" if self.attempt == MAX_ATTEMPTS else "pending"
        self.attempt = min(self.attempt + 1, MAX_ATTEMPTS)

    def cancelled(self):
        if self.state in ("pending", "running", "waiting"):
            self.state, self.waits = "cancelled", None
        for child in self.children.values():
            child.cancelled()

    def time_came(self, now):
        kind, place = self.waits or ("", 0)
        seconds = {SLEEP: SLEEP_SECONDS, SIGNAL: TIMEOUT_SECONDS}.get(kind)
        if seconds and after(self.since[place], seconds) <= now:
            self.done[place] = None if kind == SLEEP else TIMED_OUT
            self.woken()

    def places(self, *, announced):
        """Where a fault can come; one inside a function is sent to those with an effect, where there are any."""
        own = range(self.first, self.first + len(self.program))
        effects = [place for place in own if " " in self.program[place - self.first]]
        if announced and effects:
            return effects
        inner = [10 * (place + 1) for place in own if self.program[place - self.first] == CHILD]
        return [*own, *inner]

    def writes(self):
        """What its steps wrote, and those of its children: key -> (value, version)."""
        mine = {f"{self.id}/{place}": (value, 1) for place, value in self.written.items()}
        return mine | {key: value for child in self.children.values() for key, value in child.writes().items()}

    def step_of(self, place):
        """Under which name and key the plane keeps a place; waits count their occurrences."""
        act = self.program[place - self.first]
        number = self.program[: place - self.first + 1].count(act)
        return {SLEEP: ("sleep", str(number)), SIGNAL: ("wait:go", str(number))}.get(act, (act, str(place)))


class RunMachine(Machine):
    """Each visit opens a run and goes through its program from the start, until its end or a fault."""

    settings = Settings(finished_runs_days=100_000)

    def begin(self):
        self.works = {}
        self.past = {}  # what runs wrote that nobody looks at any more
        self.held = []  # by the one who visits now
        self.effects = {}  # idempotency key -> how often it was done outside
        self.number = 0  # no result is like another
        self.restarted()

    def restarted(self):
        self.agents = {name: self.surface.connect(name) for name in AGENTS}
        self.person = self.surface.connect(person="ana")
        self.plane.settle = self.block

    def everything(self):
        return [each for work in self.works.values() for each in (work, *work.children.values())]

    def upkeep_came(self):
        for work in self.everything():
            work.time_came(self.now)
            if work not in self.held:
                work.lost()

    def fresh(self):
        self.number += 1
        return self.number

    # A visit.

    @rule(key=KEY, program=PROGRAMS, agent=AGENT, fault=st.sampled_from(FAULTS), pick=PICK, mood=MOOD)
    def something_happens(self, key, program, agent, fault, pick, mood):
        self.visit(key, program, agent, fault, pick, mood)

    @rule(key=KEY, program=PROGRAMS, agent=AGENT, after=st.booleans(), pick=PICK, mood=MOOD)
    def somebody_dies(self, key, program, agent, after, pick, mood):
        """In the middle of a step's function, and somebody goes on: that is the point of it all."""
        self.visit(key, program, agent, "die after" if after else "die before", pick, mood)
        self.visit(key, program, agent, "none", pick, mood)

    @rule(key=KEY, program=PROGRAMS, agent=AGENT, mood=MOOD)
    def nothing_happens(self, key, program, agent, mood):
        self.visit(key, program, agent, "none", 0, mood)

    def visit(self, key, program, agent, fault, pick, mood):
        work = self.works.get(key)
        if work is None:
            work = self.works[key] = Work("job", f"{key}~{self.fresh()}", program)
        over = work.state in FINISHED
        places = work.places(announced=" " in fault)
        self.agent, self.fault, self.mood = agent, (fault, places[pick % len(places)]), mood
        with contextlib.suppress(Crashed, Broken):
            self.perform(work, self.agents[agent].run("job", work.key, max_attempts=MAX_ATTEMPTS))
        self.held.clear()
        if over:
            # Nothing comes after that; the next one is another.
            self.past |= work.writes()
            del self.works[key]

    def perform(self, work, run):
        if work.state in ("failed", "cancelled"):
            with pytest.raises(InvalidTransition), run:
                pass
            return
        replayed = work.state == "completed"
        if not replayed and not (work.waits and work.waits[0] in ("in_doubt", "takeovers")):
            work.opened()
        self.held.append(work)
        try:
            with run:
                assert run.completed == replayed
                work.id = run.id
                for place, act in enumerate(work.program, work.first):
                    self.go_on(work, run, place, act)
                if not replayed:
                    run.complete(work.key)
                    work.state = "completed"
                assert run.result == work.key
        except Broken:
            if work.state == "running":
                work.gave_back()
            raise
        self.held.remove(work)

    def strikes(self, work, place, fault):
        """Once in a visit, and only while there is something to hurt."""
        if self.fault != (fault, place) or work.state == "completed":
            return False
        self.fault = None
        return True

    def go_on(self, work, run, place, act):
        self.hurt(work, run, place)
        if act == CHILD:
            child = work.children.setdefault(place, Work("child", f"{run.id}/{place}", [PLAIN], 10 * (place + 1)))
            self.perform(child, run.child("child", child.key, max_attempts=MAX_ATTEMPTS))
        elif act == SLEEP:
            self.wait(work, place, SLEEP, lambda: run.sleep(SLEEP_SECONDS))
        elif act == SIGNAL:
            self.wait(work, place, SIGNAL, lambda: run.wait("go", timeout_seconds=TIMEOUT_SECONDS))
        else:
            self.step(work, run, place, act)

    def hurt(self, work, run, place):
        if self.strikes(work, place, "die"):
            self.die()
        if self.strikes(work, place, "raise"):
            raise Broken
        if self.strikes(work, place, "rival"):
            other = self.agents["b" if self.agent == "a" else "a"]
            with pytest.raises(RunHeld), other.run(work.name, work.key, max_attempts=MAX_ATTEMPTS):
                pass
        for fault, days in (("ahead", 10), ("back", -10)):
            if self.strikes(work, place, fault):
                self.clock.step(days * DAY)
                self.pass_time(0)
        if self.strikes(work, place, "cancel"):
            self.witness.runs.cancel(run.id, "no longer wanted")
            work.cancelled()
            with pytest.raises(LeaseLost):
                run.complete()
            raise Broken

    def step(self, work, run, place, act):
        """What the store holds is given; what is in doubt is done again, looked for or asked about."""
        effect, _, policy = act.partition(" ")
        if place not in work.done and policy == "ask" and work.doubt.get(place) == "":
            work.state, work.waits = "waiting", ("in_doubt", place)
        found = None
        if policy == "probe" and place in work.doubt:
            found = self.effects.get(f"{run.id}/{act}/{place}")
        result = run.step(
            act, self.do, work, place, act, key=str(place), effect=effect if policy else "none", on_mismatch="reuse",
            in_doubt=self.effects.get if policy == "probe" else policy or "ask",
            retry=Retry(max_attempts=3, first_delay_seconds=0.5) if act == FLAKY else None,
        )  # fmt: skip
        if place not in work.done:
            work.finished(place, found or self.number)
            if found is None:
                work.written[place] = result
        assert result == work.done[place]

    def do(self, work, place, act):
        """The function of a step. Nobody runs it once its result is kept."""
        step = agentmemo.current_step()
        assert place not in work.done
        assert work.state == "running"
        if " " in act:
            work.doubt.pop(place, None)
            work.announced.add(place)
        if act == FLAKY and step.attempt < 3:
            raise Broken
        self.hurt_inside(work, place, act, "before")
        number = self.fresh()
        if " " in act:
            self.effects[step.idempotency_key] = number
        self.hurt_inside(work, place, act, "after")
        step.state.set("written", f"{step.run}/{place}", number)
        return number

    def hurt_inside(self, work, place, act, when):
        if self.strikes(work, place, f"die {when}"):
            self.die()
        if self.strikes(work, place, f"raise {when}"):
            # It says that its effect did not happen. Of what cannot be undone a person is asked all the same.
            work.announced.discard(place)
            if act == ASK:
                work.doubt[place] = ""
            raise Broken

    def wait(self, work, place, kind, begin):
        """The time counts from the first call, whoever waits; what has come before is there at once."""
        if place not in work.done:
            since = work.since.setdefault(place, self.now)
            if kind == SIGNAL and work.signals:
                work.done[place] = work.signals.pop(0)
            elif kind == SLEEP and after(since, SLEEP_SECONDS) <= self.now:
                work.done[place] = None
            else:
                work.state, work.waits = "waiting", (kind, place)
        waited = work.state == "waiting"
        try:
            assert begin() == work.done[place]
        except TimedOut:
            assert work.done[place] == TIMED_OUT
        if waited:
            work.claimed()

    def block(self, run):
        """In place of waiting: what comes, comes. True where the run may have been woken."""
        work = next(each for each in self.everything() if each.id == run.id)
        if run.wake == "person" or self.mood == "dies":
            self.die()
        if run.wake == "signal" and self.mood == "signalled":
            self.send(work)
        else:
            self.pass_time(max(0.0, (run.wake_at - self.now) / SECOND))
        return True

    def die(self):
        self.held.clear()
        self.kill(self.agents[self.agent])
        self.agents[self.agent] = self.surface.connect(self.agent)
        raise Crashed

    # What others do meanwhile.

    def send(self, work):
        number = self.fresh()
        self.witness.runs.signal(work.id, "go", number)
        if work.waits and work.waits[0] == SIGNAL:
            work.done[work.waits[1]] = number
            work.woken()
        else:
            work.signals.append(number)

    @precondition(lambda self: any(work.id for work in self.works.values()))
    @rule(key=st.sampled_from(KEYS))
    def send_a_signal(self, key):
        work = self.works.get(key)
        if work is None or work.id is None:
            return
        if work.state in FINISHED:
            with pytest.raises(InvalidTransition):
                self.send(work)
        else:
            self.send(work)

    @rule(key=st.sampled_from(KEYS))
    def cancel(self, key):
        work = self.works.get(key)
        if work is None or work.id is None:
            return
        if work.state in FINISHED:
            with pytest.raises(InvalidTransition):
                self.witness.runs.cancel(work.id, "no longer wanted")
        else:
            self.witness.runs.cancel(work.id, "no longer wanted")
            work.cancelled()

    @precondition(lambda self: any((work.waits and work.waits[1] < 0) or work.doubt for work in self.everything()))
    @rule(happened=st.booleans())
    def decide(self, happened):
        """A person answers whatever is asked."""
        for work in self.everything():
            question, place = work.waits or ("", 0)
            if question == "takeovers":
                self.person.runs.resolve(work.id, "continue")
                work.woken()
            elif question == "in_doubt" and happened:
                number = self.fresh()
                self.person.runs.resolve(work.id, "happened", result=number)
                work.finished(place, number)
                work.woken()
            elif question == "in_doubt":
                self.person.runs.resolve(work.id, "retry")
                work.doubt[place] = "retry"
                work.woken()

    @invariant()
    def the_plane_knows_what_the_model_knows(self):
        for work in self.everything():
            if work.id is None:
                continue
            run = self.witness.runs.get(work.id)
            assert (run.state, run.epoch, run.attempt) == (work.state, work.epoch, work.attempt)
            kept = {
                (step.name, step.key): step.result for step in self.agents["a"].runs.steps(work.id, state="completed")
            }
            assert kept == {work.step_of(place): result for place, result in work.done.items() if result != TIMED_OUT}
            assert {step.state for step in self.witness.runs.steps(work.id)} <= {
                "completed", "failed", "in_doubt", "started"
            }  # fmt: skip

    @invariant()
    def steps_write_once(self):
        """With their results, or not at all: a second write would be a second version."""
        written = {entry.key: (entry.value, entry.version) for entry in self.witness.state.list("written")}
        expected = dict(self.past)
        for work in self.works.values():
            expected |= work.writes()
        assert written == expected
