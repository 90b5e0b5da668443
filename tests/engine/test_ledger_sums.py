"""Caps under concurrency and in any order, and sums that equal an invoice."""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from list_prices import CHEAP, FREE, PRICES, SMART, ListPrices

from agentmemo import LimitExceeded
from agentmemo.model.prices import (
    Price,
    PriceDocument,
    Usage,
    cost_nanousd,
    rates_of,
    tiers_of,
    worst_case_nanousd,
)
from agentmemo.testing import ManualPlane

INVOICE = json.loads(Path(__file__).with_name("invoice.json").read_text(encoding="utf-8"))
RUNS, CALLS = 64, 6
NANOUSD = 10**9


def test_64_runs_at_once_never_pass_a_cap(tmp_path):
    """Each reserves before it calls; what is set aside and spent is at no time a nano-dollar above the cap."""
    plane = ManualPlane(tmp_path / "plane.db", prices=ListPrices())
    worst = worst_case_nanousd(PRICES[CHEAP], 1000, 100)
    # Room for a good third of all calls, and no whole number of them.
    cap = worst * RUNS * CALLS // 3 + 1
    plane.connect(person="ana").ledger.cap("workspace", cap, "month")
    agents = [plane.connect(f"agent-{number}") for number in range(8)]

    def work(number):
        agent, made, refused = agents[number % len(agents)], 0, 0
        with agent.run("work", str(number)):
            for call in range(CALLS):
                try:
                    held = agent.ledger.reserve(CHEAP, input_tokens=1000, max_output_tokens=100)
                except LimitExceeded:
                    refused += 1
                    continue
                made += 1
                # The worst case comes true, a part of it, nobody knows, or the call was not made.
                if call % 4 == 0:
                    agent.ledger.settle(held.id, Usage(input_tokens=1000, cache_write_tokens=1000, output_tokens=100))
                elif call % 4 == 1:
                    agent.ledger.settle(held.id, Usage(input_tokens=number, output_tokens=1))
                elif call % 4 == 2:
                    agent.ledger.settle(held.id)
                else:
                    agent.ledger.void(held.id)
                (seen,) = agent.ledger.caps()
                assert seen.spent_nanousd <= cap
        return made, refused

    with ThreadPoolExecutor(RUNS) as threads:
        done = list(threads.map(work, range(RUNS)))
    assert sum(made + refused for made, refused in done) == RUNS * CALLS
    assert sum(refused for _, refused in done) > 0
    (seen,) = agents[0].ledger.caps()
    rows = [row for page in [agents[0].ledger.list(limit=1000)] for row in page]
    assert seen.spent_nanousd == sum(row.counted_nanousd for row in rows) <= cap
    paid = {run.id: run.spent.nanousd for run in agents[0].runs.list(limit=100)}
    assert sum(paid.values()) == seen.spent_nanousd
    plane.close()


class Invoiced:
    """The prices that the invoice was made with, as the provider prints them: dollars per million tokens."""

    def __init__(self):
        self.found = {name: _price(name, printed) for name, printed in INVOICE["prices"].items()}

    def lookup(self, model, at_us):
        del at_us
        return self.found.get(model)


def test_sums_equal_the_invoice(tmp_path):
    """Line by line and in all, to the nano-dollar, with cached input, cache writes and a dearer tier."""
    plane = ManualPlane(tmp_path / "plane.db", prices=Invoiced())
    agent = plane.connect()
    with agent.transaction() as tx:
        for line in INVOICE["lines"]:
            tx.ledger.record(line["usage"], model=line["model"], request_id=line["request"])
    billed = {line["request"]: _nanousd(line["usd"]) for line in INVOICE["lines"]}
    rows = list(agent.ledger.list(limit=1000))
    assert {row.request_id: row.nanousd for row in rows} == billed
    totals = agent.ledger.totals("model")
    assert totals.whole.nanousd == _nanousd(INVOICE["total_usd"])
    assert {each.name: each.nanousd for each in totals.groups} == {
        name: _nanousd(usd) for name, usd in INVOICE["by_model_usd"].items()
    }
    assert (totals.whole.open_nanousd, totals.whole.unpriced) == (0, 0)
    plane.close()


def _nanousd(usd):
    exact = Decimal(usd) * NANOUSD
    assert exact == int(exact)
    return int(exact)


def _price(name, printed):
    document = msgspec.convert(printed, PriceDocument)
    return Price(
        model=name,
        provider="acme",
        rates=rates_of(document),
        tiers=tiers_of(document),
        source="invoice",
        table_hash="3" * 64,
    )


MODELS = st.sampled_from([CHEAP, SMART, FREE])
TOKENS = st.integers(0, 200_000)
CAPS = (("workspace", "day"), ("workspace", "total"), ("agent:agent", "month"), ("workflow:w", "total"))


class LedgerMachine(RuleBasedStateMachine):
    """`rows` is what the ledger has to hold: by handle, its day, its workflow, what counts, and whether it is open."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.plane = ManualPlane(self.folder / "plane.db", prices=ListPrices())
        self.agent, self.person = self.plane.connect(), self.plane.connect(person="ana")
        self.rows, self.caps, self.days = {}, {}, 0

    def teardown(self):
        if hasattr(self, "plane"):
            self.plane.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def counted(self, scope, per):
        """What counts in the period of now."""
        today = self.days
        return sum(
            row["counted"]
            for row in self.rows.values()
            if (scope != "workflow:w" or row["workflow"] == "w")
            and (per != "day" or row["day"] == today)
            and (per != "month" or month(row["day"]) == month(today))
        )

    @rule(model=MODELS, tokens=TOKENS, output=st.integers(0, 2000), workflow=st.sampled_from([None, "w"]))
    def reserve(self, model, tokens, output, workflow):
        worst = worst_case_nanousd(PRICES[model], tokens, output)
        fits = all(
            self.counted(scope, per) + worst <= cap
            for (scope, per), cap in self.caps.items()
            if scope != "workflow:w" or workflow == "w"
        )
        try:
            made = self.agent.ledger.reserve(model, input_tokens=tokens, max_output_tokens=output, workflow=workflow)
        except LimitExceeded:
            assert not fits
            return
        assert fits
        assert made.worst_nanousd == worst
        self.rows[made.id] = {
            "day": self.days, "workflow": workflow, "counted": worst, "open": True, "model": model,
            "bounds": (tokens, output),
        }  # fmt: skip

    @precondition(lambda self: any(row["open"] for row in self.rows.values()))
    @rule(data=st.data(), how=st.sampled_from(["settle", "lose", "void", "billed"]))
    def end(self, data, how):
        handle = data.draw(st.sampled_from(sorted(name for name, row in self.rows.items() if row["open"])))
        row = self.rows[handle]
        row["open"] = False
        if how == "lose":
            assert self.agent.ledger.settle(handle).counted_nanousd == row["counted"]
        elif how == "void":
            self.agent.ledger.void(handle)
            row["counted"] = 0
        elif how == "billed":
            row["counted"] = data.draw(st.integers(0, 10**9))
            self.agent.ledger.settle(handle, provider_nanousd=row["counted"])
        else:
            most, output = row["bounds"]
            whole = data.draw(st.integers(0, most))
            cached = data.draw(st.integers(0, whole))
            written = data.draw(st.integers(0, whole - cached))
            usage = Usage(
                input_tokens=whole, cached_input_tokens=cached, cache_write_tokens=written, output_tokens=output
            )
            row["counted"] = cost_nanousd(PRICES[row["model"]], usage)
            self.agent.ledger.settle(handle, usage)

    @rule(place=st.sampled_from(CAPS), nanousd=st.one_of(st.none(), st.integers(0, 10**9)))
    def cap(self, place, nanousd):
        made = self.person.ledger.cap(place[0], nanousd, place[1])
        assert made.spent_nanousd == self.counted(*place)
        self.caps.pop(place, None)
        if nanousd is not None:
            self.caps[place] = nanousd

    @rule(days=st.integers(1, 20))
    def time(self, days):
        """Days pass, and upkeep ends what nobody settled: at the worst case, as it counted before."""
        self.plane.advance(days * 86_400)
        self.days += days
        for handle, row in self.rows.items():
            if row["open"] and self.agent.ledger.get(handle).state != "reserved":
                row["open"] = False

    @invariant()
    def sums_are_those_of_the_rows(self):
        if not hasattr(self, "plane"):
            return
        assert {(cap.scope, cap.per): cap.spent_nanousd for cap in self.agent.ledger.caps()} == {
            place: self.counted(*place) for place in self.caps
        }
        whole = self.agent.ledger.totals().whole
        assert whole.nanousd + whole.open_nanousd == sum(row["counted"] for row in self.rows.values())


def month(day):
    """The clock of a test begins on 15 June 2025."""
    at = datetime.date(2025, 6, 15) + datetime.timedelta(days=day)
    return at.year, at.month


class TestLedgerMachine(LedgerMachine.TestCase):
    settings = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.mark.parametrize("name", ["cached_input_tokens", "cache_write_tokens"])
def test_the_invoice_has_something_of_everything(name):
    assert sum(line["usage"][name] for line in INVOICE["lines"]) > 0
    assert any(line["usage"]["input_tokens"] > 100_000 for line in INVOICE["lines"])
