"""What model calls cost. Rates are whole nano-dollars per million tokens, so that every published price is exact.

A cost is one sum of products, divided by a million once and rounded up: it is never less than what is owed.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from agentmemo.model.documents import EPOCH, Document, misfit
from agentmemo.model.model_names import stem

MILLION = 1_000_000
NANOUSD = 1_000_000_000

Tokens = Annotated[int, Meta(ge=0)]
Usd = Annotated[float, Meta(ge=0, le=1_000_000)]


class Usage(Struct, frozen=True, kw_only=True):
    """The tokens of one call, as the provider counted them. `input_tokens` includes what caches hold."""

    input_tokens: Tokens
    output_tokens: Tokens
    cached_input_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0


class Rates(Struct, frozen=True, kw_only=True):
    """Nano-dollars per million tokens of each kind."""

    input: Tokens
    cached_input: Tokens
    cache_write: Tokens
    output: Tokens


class Tier(Struct, frozen=True, kw_only=True):
    """What all tokens of a call cost once its input has more tokens than this."""

    above_input_tokens: Tokens
    rates: Rates


class Price(Struct, frozen=True, kw_only=True):
    """What one model costs at one provider. `valid_from` is a day, or None for as long as it has been sold.

    `source` says who told it, and `table_hash` is the SHA-256 of the file that did.
    """

    model: str
    provider: str
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    valid_from: str | None = None
    source: str
    table_hash: str


class TierDocument(Document, kw_only=True):
    """US dollars per million tokens, for all tokens of a call with more input than this."""

    above_input_tokens: Tokens
    input: Usd
    output: Usd
    cached_input: Usd | None = None
    cache_write: Usd | None = None


class PriceDocument(Document, kw_only=True):
    """US dollars per million tokens. What is not said of a cache costs as much as other input."""

    input: Usd
    output: Usd
    cached_input: Usd | None = None
    cache_write: Usd | None = None
    tiers: list[TierDocument] = []


class PriceRow(Document, kw_only=True):
    """One line of a table: a model, the other names it has, and what it costs from a day on."""

    provider: str
    model: str
    aliases: list[str] = []
    valid_from: str | None = None
    price: PriceDocument


class PriceTable(Document, kw_only=True):
    """Prices as they were known on a day, and where they were read."""

    read_on: str
    source: str
    prices: list[PriceRow]


FREE = Rates(input=0, cached_input=0, cache_write=0, output=0)


def cost_nanousd(price: Price, usage: Usage) -> int:
    """What a call cost, rounded up to a whole nano-dollar."""
    rates = rates_at(price, usage.input_tokens)
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    plain = usage.input_tokens - cached - written
    return _per_million(
        plain * rates.input
        + cached * rates.cached_input
        + written * rates.cache_write
        + usage.output_tokens * rates.output
    )


def worst_case_nanousd(price: Price, input_tokens: int, max_output_tokens: int) -> int:
    """The most that a call within these bounds can cost, whatever is cached and whichever tier it falls into."""
    within = [price.rates, *(tier.rates for tier in price.tiers if input_tokens > tier.above_input_tokens)]
    return max(
        _per_million(
            input_tokens * max(rates.input, rates.cached_input, rates.cache_write) + max_output_tokens * rates.output
        )
        for rates in within
    )


def rates_at(price: Price, input_tokens: int) -> Rates:
    """The rates that rule a call with so many tokens of input."""
    reached = [tier for tier in price.tiers if input_tokens > tier.above_input_tokens]
    return max(reached, key=lambda tier: tier.above_input_tokens).rates if reached else price.rates


def is_consistent(usage: Usage) -> bool:
    """Whether the parts of the input are no more than the whole. What does not add up must not be priced."""
    parts = (usage.cached_input_tokens, usage.cache_write_tokens)
    return min(usage.input_tokens, usage.output_tokens, *parts) >= 0 and sum(parts) <= usage.input_tokens


def rates_of(document: PriceDocument | TierDocument, path: str = "$") -> Rates:
    """Dollars as whole nano-dollars. Raises InvalidInput for what no provider charges: a part of a nano-dollar."""
    cached = document.input if document.cached_input is None else document.cached_input
    written = document.input if document.cache_write is None else document.cache_write
    return Rates(
        input=nanousd(document.input, f"{path}.input"),
        cached_input=nanousd(cached, f"{path}.cached_input"),
        cache_write=nanousd(written, f"{path}.cache_write"),
        output=nanousd(document.output, f"{path}.output"),
    )


def tiers_of(document: PriceDocument, path: str = "$") -> tuple[Tier, ...]:
    return tuple(
        Tier(above_input_tokens=tier.above_input_tokens, rates=rates_of(tier, f"{path}.tiers[{index}]"))
        for index, tier in enumerate(document.tiers)
    )


def nanousd(usd: float | Decimal, path: str = "$") -> int:
    """The decimal number as it was written, not the float next to it."""
    exact = Decimal(str(usd)) * NANOUSD
    if exact != exact.to_integral_value():
        raise misfit(path, f"{usd} dollars are not a whole number of nano-dollars", "Use at most nine decimals.")
    return int(exact)


def find(rows: Iterable[PriceRow], model: str, at_us: int, provider: str | None = None) -> PriceRow | None:
    """The row that ruled a model at a time: its own name first, then the name without its date."""
    sold = [row for row in rows if provider in (None, row.provider)]
    for name in (model.lower(), stem(model)):
        if named := [row for row in sold if name == row.model or name in row.aliases]:
            day = day_of(at_us)
            ruled = [row for row in named if (row.valid_from or "") <= day]
            return max(ruled, key=lambda row: row.valid_from or "") if ruled else None
    return None


def day_of(at_us: int) -> str:
    """The day in UTC: `2026-11-23`."""
    return (EPOCH + datetime.timedelta(microseconds=at_us)).date().isoformat()


def _per_million(amount: int) -> int:
    return -(-amount // MILLION)
