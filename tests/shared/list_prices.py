"""Models with prices of the tests' own, so that no test changes when a provider does."""

from __future__ import annotations

from agentmemo.model.prices import Price, Rates, Tier

CHEAP, SMART, FREE = "cheap-1", "smart-1", "local-1"
DEAR = Rates(input=500_000_000, cached_input=50_000_000, cache_write=625_000_000, output=2_500_000_000)
PRICES = {
    # $0.10 and $0.50 for a million tokens; five times as much above 100,000.
    CHEAP: Price(
        model=CHEAP,
        provider="acme",
        rates=Rates(input=100_000_000, cached_input=10_000_000, cache_write=125_000_000, output=500_000_000),
        tiers=(Tier(above_input_tokens=100_000, rates=DEAR),),
        source="tests",
        table_hash="1" * 64,
    ),
    # $10 and $50.
    SMART: Price(
        model=SMART,
        provider="acme",
        rates=Rates(
            input=10_000_000_000, cached_input=1_000_000_000, cache_write=12_500_000_000, output=50_000_000_000
        ),
        source="tests",
        table_hash="1" * 64,
    ),
    FREE: Price(
        model=FREE,
        provider="here",
        rates=Rates(input=0, cached_input=0, cache_write=0, output=0),
        source="models.toml, declared free there",
        table_hash="2" * 64,
    ),
}
USED = {"input_tokens": 1000, "output_tokens": 100}
# What USED costs with each.
CHEAP_NANOUSD, SMART_NANOUSD = 150_000, 15_000_000


class ListPrices:
    """Knows these models and no other."""

    def lookup(self, model, at_us):
        del at_us
        return PRICES.get(model)
