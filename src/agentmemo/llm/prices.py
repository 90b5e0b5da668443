"""What a model costs, asked in order: the user's file, `genai-prices` where installed, the shipped table, else nobody.

An unknown price is None. It is never zero: only the user's file can say that a model is free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources

import msgspec
from msgspec.structs import replace

from agentmemo.llm import installed_prices
from agentmemo.llm import model_settings as configured
from agentmemo.llm.config import Models
from agentmemo.model.kinds import described
from agentmemo.model.model_names import fits
from agentmemo.model.prices import FREE, Price, PriceTable, find, rates_of, tiers_of

TABLE = "prices.json"
Lookup = Callable[[str, int, str | None], Price | None]


class PriceBook:
    """`own` are the prices of the user's file; `installed` is asked next."""

    def __init__(self, own: Iterable[Price] = (), installed: Lookup = installed_prices.lookup) -> None:
        self._own = tuple(own)
        self._installed = installed

    def lookup(self, model: str, at_us: int, provider: str | None = None) -> Price | None:
        """The price of a model at a time; None where nobody knows it.

        `provider` is the seller as in `settings.seller`. Without it the name alone decides, and where the user's file
        has two prices for one name, neither does.
        """
        own = [price for price in self._own if provider in (None, price.provider) and fits(price.model, model)]
        if own:
            first = own[0]
            same = all((price.rates, price.tiers) == (first.rates, first.tiers) for price in own)
            return first if same else None
        return self._installed(model, at_us, provider) or shipped(model, at_us, provider)


def book_of(models: Models, installed: Lookup = installed_prices.lookup) -> PriceBook:
    return PriceBook(own_prices(models), installed)


def own_prices(models: Models) -> list[Price]:
    """What the user's file says of prices. Raises InvalidInput with the path of one that is no price."""
    found = []
    for name in models.names:
        settings = models.settings(name)
        if settings.price is None:
            continue
        path = f"$.models.{name}.price"
        free = isinstance(settings.price, str)
        price = Price(
            model=settings.model,
            provider=configured.seller(settings),
            rates=FREE if isinstance(settings.price, str) else rates_of(settings.price, path),
            tiers=() if isinstance(settings.price, str) else tiers_of(settings.price, path),
            source=f"{models.source}, {'declared free' if free else 'given'} there",
            table_hash=models.table_hash,
        )
        found += [replace(price, model=called) for called in (settings.model, *settings.served_as)]
    return found


def shipped(model: str, at_us: int, provider: str | None = None) -> Price | None:
    """What the table that comes with the product says."""
    table, digest = _table()
    row = find(table.prices, model, at_us, provider)
    if row is None:
        return None
    return Price(
        model=row.model,
        provider=row.provider,
        rates=rates_of(row.price),
        tiers=tiers_of(row.price),
        valid_from=row.valid_from,
        source=f"shipped table of {table.read_on}: {table.source}",
        table_hash=digest,
    )


@cache
def _table() -> tuple[PriceTable, str]:
    content = resources.files("agentmemo.model").joinpath(TABLE).read_bytes()
    return msgspec.json.decode(content, type=described(PriceTable)), hashlib.sha256(content).hexdigest()
