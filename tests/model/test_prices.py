"""Costs are exact, never less than what is owed, and never more than what was reserved."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmemo.errors import InvalidInput
from agentmemo.model.documents import microseconds
from agentmemo.model.model_names import fits, stem
from agentmemo.model.prices import (
    FREE,
    Price,
    PriceDocument,
    PriceRow,
    Rates,
    Tier,
    Usage,
    cost_nanousd,
    find,
    is_consistent,
    nanousd,
    rates_of,
    worst_case_nanousd,
)

USD = 1_000_000_000
# Haiku 5.5: five times as much above 100,000 tokens of input.
SMALL = Rates(input=100_000_000, cached_input=10_000_000, cache_write=125_000_000, output=500_000_000)
LARGE = Rates(input=500_000_000, cached_input=50_000_000, cache_write=625_000_000, output=2_500_000_000)


def priced(rates, *tiers):
    return Price(model="m", provider="p", rates=rates, tiers=tiers, source="a test", table_hash="0" * 64)


HAIKU = priced(SMALL, Tier(above_input_tokens=100_000, rates=LARGE))


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(input_tokens=1_000_000 // 10, output_tokens=0), USD // 100),
        (Usage(input_tokens=100_000, output_tokens=1_000_000), USD // 100 + USD // 2),
        (Usage(input_tokens=100_001, output_tokens=1_000_000), 50_000_500 + 2 * USD + USD // 2),
        (Usage(input_tokens=1000, output_tokens=10, cached_input_tokens=600, cache_write_tokens=300), 58_500),
        (Usage(input_tokens=0, output_tokens=0), 0),
    ],
)
def test_costs_to_the_nano_dollar(usage, cost):
    assert cost_nanousd(HAIKU, usage) == cost


def test_a_part_of_a_nano_dollar_is_rounded_up_once():
    price = priced(Rates(input=3_625_000, cached_input=1, cache_write=1, output=1))  # $0.003625 per million
    assert cost_nanousd(price, Usage(input_tokens=1, output_tokens=0)) == 4
    assert cost_nanousd(price, Usage(input_tokens=8, output_tokens=0)) == 29
    assert cost_nanousd(price, Usage(input_tokens=0, output_tokens=1)) == 1


@pytest.mark.parametrize(
    ("usd", "whole"), [(0.1, 100_000_000), (0.003625, 3_625_000), (15.625, 15_625_000_000), (1e-9, 1), (0, 0)]
)
def test_dollars_are_the_number_that_was_written(usd, whole):
    assert nanousd(usd) == whole


def test_less_than_a_nano_dollar_is_no_price():
    with pytest.raises(InvalidInput, match="nine decimals"):
        nanousd(1e-10)


def test_what_is_not_said_of_a_cache_costs_as_other_input():
    assert rates_of(PriceDocument(input=1, output=2)) == Rates(
        input=USD, cached_input=USD, cache_write=USD, output=2 * USD
    )


tokens = st.integers(0, 400_000)
rate = st.integers(0, 100 * USD)
rates = st.builds(Rates, input=rate, cached_input=rate, cache_write=rate, output=rate)
tiers = st.builds(Tier, above_input_tokens=tokens, rates=rates)
prices = st.builds(priced, rates) | st.builds(priced, rates, tiers, tiers)


@st.composite
def usages(draw):
    whole = draw(tokens)
    cached = draw(st.integers(0, whole))
    return Usage(
        input_tokens=whole,
        output_tokens=draw(tokens),
        cached_input_tokens=cached,
        cache_write_tokens=draw(st.integers(0, whole - cached)),
    )


@given(prices, usages(), tokens, tokens)
def test_nothing_within_the_bounds_costs_more_than_the_worst_case(price, usage, more_input, more_output):
    worst = worst_case_nanousd(price, usage.input_tokens + more_input, usage.output_tokens + more_output)
    assert 0 <= cost_nanousd(price, usage) <= worst


@given(rates, usages(), tokens, tokens)
def test_more_tokens_never_cost_less(rates, usage, more_input, more_output):
    more = msgspec.structs.replace(
        usage, input_tokens=usage.input_tokens + more_input, output_tokens=usage.output_tokens + more_output
    )
    assert cost_nanousd(priced(rates), more) >= cost_nanousd(priced(rates), usage)


@given(prices, usages(), usages())
def test_rounding_never_favours_splitting_a_bill(price, one, other):
    """Two calls are owed what each is owed: at most one nano-dollar each above the exact sum."""
    if not price.tiers:
        both = Usage(
            input_tokens=one.input_tokens + other.input_tokens,
            output_tokens=one.output_tokens + other.output_tokens,
            cached_input_tokens=one.cached_input_tokens + other.cached_input_tokens,
            cache_write_tokens=one.cache_write_tokens + other.cache_write_tokens,
        )
        apart = cost_nanousd(price, one) + cost_nanousd(price, other)
        assert apart - 1 <= cost_nanousd(price, both) <= apart


@given(usages())
def test_free_is_zero_and_only_free_is(usage):
    assert cost_nanousd(priced(FREE), usage) == 0


def test_parts_that_are_more_than_the_whole_are_not_priced_by():
    assert not is_consistent(Usage(input_tokens=5, output_tokens=1, cached_input_tokens=3, cache_write_tokens=3))
    assert not is_consistent(Usage(input_tokens=-1, output_tokens=1))
    assert is_consistent(Usage(input_tokens=6, output_tokens=1, cached_input_tokens=3, cache_write_tokens=3))


def row(model, usd, valid_from=None, provider="p", aliases=()):
    return PriceRow(
        provider=provider, model=model, aliases=[*aliases], valid_from=valid_from,
        price=PriceDocument(input=usd, output=usd),
    )  # fmt: skip


ROWS = [
    row("old", 9, valid_from="2026-01-01"),
    row("old", 5, valid_from="2026-03-13"),
    row("gpt-4o", 2, aliases=["gpt-4o-chat"]),
    row("gpt-4o-2024-05-13", 5),
    row("gpt-4o", 3, provider="q"),
]


@pytest.mark.parametrize(
    ("model", "day", "provider", "usd"),
    [
        ("old", "2025-12-31", None, None),
        ("old", "2026-01-01", None, 9),
        ("old", "2026-03-12", None, 9),
        ("old", "2026-03-13", None, 5),
        ("old-20260101", "2026-11-23", None, 5),
        ("gpt-4o", "2026-11-23", "p", 2),
        ("GPT-4o-2024-08-06", "2026-11-23", "p", 2),
        ("gpt-4o-2024-05-13", "2026-11-23", None, 5),
        ("gpt-4o-chat", "2026-11-23", None, 2),
        ("gpt-4o", "2026-11-23", "q", 3),
        ("gpt-4o", "2026-11-23", "127.0.0.1:8080", None),
        ("gpt-4", "2026-11-23", None, None),
        ("gpt-4o-mini", "2026-11-23", None, None),
    ],
)
def test_a_table_is_read_for_a_day(model, day, provider, usd):
    at = microseconds(datetime.datetime.fromisoformat(f"{day}T00:00+00:00"))
    found = find(ROWS, model, at, provider)
    assert (found and found.price.input) == usd


@pytest.mark.parametrize(
    ("requested", "served", "same"),
    [
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001", True),
        ("claude-haiku-4-5", "claude-haiku-4-5", True),
        ("claude-haiku-4-5", "claude-haiku-4-5@20251001", True),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5", False),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5-20260101", False),
        ("claude-haiku-4-5", "claude-haiku-5-5", False),
        ("claude-haiku-4-5", "claude-sonnet-4-5-20250929", False),
        ("claude-opus-4", "claude-opus-4-1", False),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", False),
        ("gpt-4", "gpt-4-0613", True),
        ("mistral-large-latest", "mistral-large-2411", True),
        ("gpt-4o", "GPT-4o", True),
        ("gpt-4o", None, False),
        ("gpt-4o", "", False),
    ],
)
def test_which_served_model_fits(requested, served, same):
    assert fits(requested, served) is same


def test_versions_are_no_dates():
    assert [stem(name) for name in ("claude-opus-4-5", "gpt-5.4", "qwen-2-7b", "m-9999")] == [
        "claude-opus-4-5", "gpt-5.4", "qwen-2-7b", "m-9999",
    ]  # fmt: skip
