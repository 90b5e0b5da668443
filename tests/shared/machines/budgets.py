"""Money: caps hold before it is spent, budgets pause a run, and sums are those of the rows in every order."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from list_prices import CHEAP, FREE, PRICES, SMART
from machines.machine import DAY, PICK, Machine

import agentmemo
from agentmemo import InvalidTransition, LimitExceeded
from agentmemo.clock import SECOND, utc
from agentmemo.model.ledger import tokens_of
from agentmemo.model.prices import Usage, cost_nanousd, worst_case_nanousd
from agentmemo.model.runs import Budget
from agentmemo.settings import Settings
from agentmemo.testing import Crashed

MODELS = st.sampled_from([CHEAP, SMART, FREE])
INPUT, OUTPUT = st.integers(0, 200_000), st.integers(0, 2000)
MONEY = st.integers(0, 10**9)
CAPS = (("workspace", "day"), ("workspace", "total"), ("agent:agent", "month"), ("workflow:w", "total"))
PERIODS = {"day": "%Y-%m-%d", "month": "%Y-%m", "total": ""}
KEYS = ("r1", "r2")
BUDGETS = st.fixed_dictionaries(
    {},
    optional={
        "steps": st.integers(1, 5),
        "seconds": st.sampled_from([10, 100]),
        "tokens": st.integers(1, 300_000),
        "nanousd": MONEY,
    },
)
# What is done in a run: so many tokens, nano-dollars and seconds in a step, a call set aside, clocks that jump.
STEP = st.tuples(st.just("step"), st.integers(0, 1000), st.integers(0, 10**8), st.sampled_from([0, 0, 2, 7, 300]))
RESERVE = st.tuples(st.just("reserve"), MODELS, INPUT, OUTPUT)
JUMP = st.tuples(st.just("jump"), st.sampled_from([-40 * DAY, -DAY, -30, 30, DAY]))
ACTS = st.lists(st.one_of(STEP, STEP, RESERVE, JUMP), min_size=1, max_size=4)
ENDS = st.sampled_from(["complete", "stop", "stop", "die"])


@dataclass(eq=False)
class Row:
    """A call in the ledger."""

    at: int
    model: str
    workflow: str | None
    run: Work | None
    bounds: tuple[int, int]
    counted: int
    tokens: int
    is_open: bool = True
    claimed: bool = False  # set aside under the claim of its run, and lost with it


@dataclass(eq=False)
class Work:
    key: str
    budget: dict
    id: str = ""
    state: str = "absent"
    steps: int = 0
    tokens: int = 0
    nanousd: int = 0
    worked: list[int] = field(default_factory=lambda: [0, 0])  # at least and at most, in microseconds
    claimed: int = 0  # by the boot clock

    def charge(self, tokens, nanousd):
        self.tokens += tokens
        self.nanousd += nanousd

    def is_over(self, now):
        """None where the promise leaves it open: of the dead nobody knows exactly how long they worked."""
        spent = {name: getattr(self, name) for name in ("steps", "tokens", "nanousd")}
        if any(spent[name] > bound for name, bound in self.budget.items() if name in spent):
            return True
        bound = self.budget.get("seconds")
        least, most = (bound is not None and each + now - self.claimed > bound * SECOND for each in self.worked)
        return least if least == most else None

    def let_go(self, now, *, unseen=0):
        """Whoever held it stops, or died: then it worked until now, or until it is missed."""
        self.worked[0] += now - self.claimed
        self.worked[1] += now - self.claimed + unseen


class BudgetMachine(Machine):
    settings = Settings(finished_runs_days=100_000)

    def begin(self):
        self.rows, self.caps, self.works = {}, {}, {}
        self.held = None
        self.number = 0
        self.restarted()

    def restarted(self):
        self.agent = self.surface.connect()
        self.person = self.surface.connect(person="ana")
        self.plane.settle = self.block

    def counted(self, scope, per):
        """What counts in the period of now."""
        period = utc(self.now).strftime(PERIODS[per])
        return sum(
            row.counted
            for row in self.rows.values()
            if scope != "workflow:w" or row.workflow == "w"
            if utc(row.at).strftime(PERIODS[per]) == period
        )

    def fits(self, worst, tokens, workflow, work):
        under_caps = all(
            self.counted(scope, per) + worst <= cap
            for (scope, per), cap in self.caps.items()
            if scope != "workflow:w" or workflow == "w"
        )
        mine = [row for row in self.rows.values() if work and row.run is work and row.is_open]
        budget = work.budget if work else {}
        return (
            under_caps
            and (
                "nanousd" not in budget or work.nanousd + sum(row.counted for row in mine) + worst <= budget["nanousd"]
            )
            and ("tokens" not in budget or work.tokens + sum(row.tokens for row in mine) + tokens <= budget["tokens"])
        )

    # Calls of models.

    @rule(model=MODELS, given=INPUT, output=OUTPUT, workflow=st.sampled_from([None, "w"]))
    def reserve(self, model, given, output, workflow):
        self.set_aside(None, model, given, output, workflow)

    def set_aside(self, work, model, given, output, workflow=None):
        worst = worst_case_nanousd(PRICES[model], given, output)
        fits = self.fits(worst, given + output, workflow, work)
        try:
            made = self.agent.ledger.reserve(model, input_tokens=given, max_output_tokens=output, workflow=workflow)
        except LimitExceeded:
            assert not fits
            return
        assert fits
        assert (made.worst_nanousd, made.run) == (worst, work.id if work else None)
        self.rows[made.id] = Row(
            self.now, model, workflow, work, (given, output), worst, given + output, claimed=work is not None
        )

    @precondition(lambda self: any(row.is_open for row in self.rows.values()))
    @rule(pick=PICK, how=st.sampled_from(["use", "lose", "void", "bill"]), shares=st.tuples(*[st.floats(0, 1)] * 3))
    def settle(self, pick, how, shares):
        """It used a part of what was set aside, nobody knows what, the provider billed it, or it was not made."""
        known = sorted(handle for handle, row in self.rows.items() if row.is_open)
        handle = known[pick % len(known)]
        row = self.rows[handle]
        ledger = self.agent.ledger
        if how == "void":
            ledger.void(handle)
            self.ended(row, 0, 0)
        elif how == "bill":
            billed = round(shares[0] * 10**9)
            ledger.settle(handle, provider_nanousd=billed)
            self.ended(row, billed, row.tokens)
        elif how == "lose":
            assert ledger.settle(handle).counted_nanousd == row.counted
            self.ended(row, row.counted, row.tokens)
        else:
            whole = round(row.bounds[0] * shares[0])
            cached = round(whole * shares[1])
            usage = Usage(
                input_tokens=whole, cached_input_tokens=cached, output_tokens=row.bounds[1],
                cache_write_tokens=round((whole - cached) * shares[2]),
            )  # fmt: skip
            ledger.settle(handle, usage)
            self.ended(row, cost_nanousd(PRICES[row.model], usage), tokens_of(usage))

    def ended(self, row, counted, tokens):
        row.counted, row.tokens, row.is_open = counted, tokens, False
        if row.run is not None:
            row.run.charge(tokens, counted)

    @rule(model=MODELS, given=INPUT, output=OUTPUT)
    def record(self, model, given, output):
        """What has happened is never refused, and counts from then on."""
        usage = Usage(input_tokens=given, output_tokens=output)
        made = self.agent.ledger.record(usage, model=model)
        row = self.rows[made.id] = Row(self.now, model, None, None, (given, output), 0, 0)
        self.ended(row, cost_nanousd(PRICES[model], usage), tokens_of(usage))

    @rule(place=st.sampled_from(CAPS), nanousd=st.one_of(st.none(), MONEY))
    def cap(self, place, nanousd):
        made = self.person.ledger.cap(place[0], nanousd, place[1])
        assert made.spent_nanousd == self.counted(*place)
        self.caps.pop(place, None)
        if nanousd is not None:
            self.caps[place] = nanousd

    def upkeep_came(self):
        """What nobody settles within a day counts at the worst case; whoever died is noticed."""
        for row in self.rows.values():
            if row.is_open and self.now - row.at > DAY * SECOND:
                self.ended(row, row.counted, row.tokens)
        for work in self.works.values():
            if work.state == "running" and work is not self.held:
                work.state = "pending"

    # Runs with a budget.

    @rule(key=st.sampled_from(KEYS), budget=BUDGETS, acts=ACTS, end=ENDS, raises=st.booleans())
    def visit(self, key, budget, acts, end, raises):
        """What is done in a run by one process; where it passes a bound, a person raises it, or the process dies."""
        work = self.works.setdefault(key, Work(f"{key}~{self.fresh()}", budget))
        self.raises = raises
        with contextlib.suppress(Crashed, KeyboardInterrupt):
            with self.agent.run("job", work.key, budget=budget) as run:
                self.claimed(work, run)
                for act, *given in acts:
                    getattr(self, f"do_{act}")(work, run, *given)
                if end == "die":
                    self.die()
                if end == "stop":
                    raise KeyboardInterrupt
            work.state = "completed"
            del self.works[key]
        if self.held:
            work.let_go(self.clock.boot_us())
            work.state = "pending" if work.state == "running" else work.state
        self.held = None
        self.compare(work)

    def claimed(self, work, run):
        """What an earlier holder had set aside is lost."""
        for row in self.rows.values():
            if row.run is work and row.is_open and row.claimed:
                self.ended(row, row.counted, row.tokens)
        work.id, work.state, work.claimed, self.held = run.id, "running", self.clock.boot_us(), work

    def do_step(self, work, run, tokens, nanousd, seconds):
        def function():
            self.clock.advance(seconds)
            agentmemo.current_step().charge(tokens=tokens, nanousd=nanousd)
            work.steps += 1
            work.charge(tokens, nanousd)
            self.expected = work.is_over(self.clock.boot_us())

        self.asked = False
        run.step("work", function, key=str(self.fresh()))
        assert self.expected in (self.asked, None)
        if self.asked:
            self.claimed(work, run)

    def do_reserve(self, work, run, model, given, output):
        del run
        self.set_aside(work, model, given, output)

    def do_jump(self, work, run, seconds):
        del work, run
        self.clock.step(seconds)
        self.pass_time(0)

    def block(self, run):
        """A budget was passed, and the run waits for a person."""
        self.asked = True
        work = next(each for each in self.works.values() if each.id == run.id)
        if self.held:
            assert self.expected is not False
            work.let_go(self.clock.boot_us())
            work.state, self.held = "waiting", None
        if not self.raises:
            self.die()
        self.raise_bounds(work)
        return True

    @precondition(lambda self: any(work.state == "waiting" for work in self.works.values()))
    @rule()
    def a_person_raises_the_bounds(self):
        for work in self.works.values():
            if work.state == "waiting":
                self.raise_bounds(work)

    def raise_bounds(self, work):
        spent = {"steps": work.steps, "tokens": work.tokens, "nanousd": work.nanousd}
        spent["seconds"] = work.worked[1] // SECOND + 1
        raised = {name: max(spent[name], bound) + bound for name, bound in work.budget.items()}
        self.person.runs.resolve(work.id, "continue", budget=Budget(**raised))
        work.budget, work.state = raised, "pending"

    def die(self):
        if self.held:
            self.held.let_go(self.clock.boot_us(), unseen=round(self.settings.lease_seconds * SECOND))
        self.held = None
        self.kill(self.agent)
        self.agent = self.surface.connect()
        raise Crashed

    @precondition(lambda self: self.works)
    @rule(key=st.sampled_from(KEYS))
    def cancel(self, key):
        work = self.works.get(key)
        if work is not None and work.id:
            self.witness.runs.cancel(work.id, "no longer wanted")
            work.state = "cancelled"
            self.compare(work)
            del self.works[key]
            with pytest.raises(InvalidTransition), self.agent.run("job", work.key, budget=work.budget):
                pass

    def fresh(self):
        self.number += 1
        return self.number

    def compare(self, work):
        """What a run has spent, by what was charged and how long it was worked on, whatever the wall clock said."""
        run = self.witness.runs.get(work.id)
        assert run.state == work.state
        assert (run.spent.steps, run.spent.tokens, run.spent.nanousd) == (work.steps, work.tokens, work.nanousd)
        assert run.budget == Budget(**work.budget)
        if work.state != "running":
            least, most = work.worked
            assert least <= round(run.spent.seconds * SECOND) <= most

    @invariant()
    def runs_have_spent_what_was_charged(self):
        for work in self.works.values():
            self.compare(work)

    @invariant()
    def sums_are_those_of_the_rows(self):
        assert {(cap.scope, cap.per): cap.spent_nanousd for cap in self.agent.ledger.caps()} == {
            place: self.counted(*place) for place in self.caps
        }
        whole = self.agent.ledger.totals().whole
        assert whole.nanousd + whole.open_nanousd == sum(row.counted for row in self.rows.values())
