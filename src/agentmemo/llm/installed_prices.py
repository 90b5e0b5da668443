"""Prices from `genai-prices`, where it is installed: the data it came with, never what its updater would load."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from agentmemo.clock import utc
from agentmemo.model.prices import Price, PriceDocument, TierDocument, rates_of, tiers_of

PACKAGE = "genai-prices"
_KINDS = {
    "input": "input_mtok", "cached_input": "cache_read_mtok", "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}  # fmt: skip


def lookup(model: str, at_us: int, provider: str | None = None) -> Price | None:
    """What the installed package says of a model at a time; None also where it is not installed."""
    table = _table()
    if table is None:
        return None
    try:
        sold_by, found = table.find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    document = document_of(found.get_prices(utc(at_us)))
    if document is None:
        return None
    return Price(
        model=found.id,
        provider=sold_by.id,
        rates=rates_of(document),
        tiers=tiers_of(document),
        source=f"{PACKAGE} {importlib.metadata.version(PACKAGE)}",
        table_hash=_table_hash(),
    )


def document_of(prices: Any) -> PriceDocument | None:
    """What of the package's price is per token of text; None where a model is not sold by these."""
    base = _rates(prices, 0)
    if base["input"] is None or base["output"] is None:
        return None
    starts = {tier.start for name in _KINDS.values() for tier in getattr(getattr(prices, name), "tiers", [])}
    tiers = [TierDocument(above_input_tokens=start, **_rates(prices, start + 1)) for start in sorted(starts)]
    return PriceDocument(**base, tiers=tiers)


def _rates(prices: Any, input_tokens: int) -> dict[str, Any]:
    return {kind: _rate(getattr(prices, name), input_tokens) for kind, name in _KINDS.items()}


def _rate(price: Any, input_tokens: int) -> float | None:
    if price is None or isinstance(price, Decimal):
        return None if price is None else float(price)
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]  # in ascending order, as it keeps them
    return float(reached[-1] if reached else price.base)


@cache
def _table() -> Any:
    if importlib.util.find_spec("genai_prices") is None:
        return None
    # 0.3 s, and only for whoever asks for a price.
    snapshot = importlib.import_module("genai_prices.data_snapshot")
    data = importlib.import_module("genai_prices.data")
    return snapshot.DataSnapshot(providers=data.providers, from_auto_update=False)


@cache
def _table_hash() -> str:
    spec = importlib.util.find_spec("genai_prices.data")
    assert spec is not None  # noqa: S101 - its table was read
    assert spec.origin is not None  # noqa: S101 - as above
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
