"""Caps under concurrency, and sums that equal an invoice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from list_prices import CHEAP, PRICES, ListPrices

from agentmemo import LimitExceeded
from agentmemo.model.prices import (
    Price,
    PriceDocument,
    Usage,
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


@pytest.mark.parametrize("name", ["cached_input_tokens", "cache_write_tokens"])
def test_the_invoice_has_something_of_everything(name):
    assert sum(line["usage"][name] for line in INVOICE["lines"]) > 0
    assert any(line["usage"]["input_tokens"] > 100_000 for line in INVOICE["lines"])
