"""How the engine asks what a model costs. Composition gives it the price book; without one, nothing has a price."""

from __future__ import annotations

from typing import Protocol

from agentmemo.model.prices import Price


class Prices(Protocol):
    def lookup(self, model: str, at_us: int) -> Price | None:
        """What a model cost at a time, or None where nobody knows: never a price of 0 for that."""
        ...


class NoPrices:
    def lookup(self, model: str, at_us: int) -> Price | None:
        del model, at_us
        return None
