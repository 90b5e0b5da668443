"""Write src/agentmemo/model/prices.json, the prices that are shipped, from the installed genai-prices.

    python scripts/update_prices.py READ_ON      # the day of that data, such as 2026-11-23

These are the models that most ask for; the extra `prices` knows the rest. Rows of the past stay, each from its day on.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from genai_prices.data import providers

from agentmemo.llm.installed_prices import PACKAGE, document_of
from agentmemo.model.prices import PriceRow, PriceTable

TABLE = Path(__file__).resolve().parents[1] / "src/agentmemo/model/prices.json"
MODELS = {
    "anthropic": """
        claude-3-5-haiku-latest claude-3-5-sonnet claude-3-7-sonnet-latest claude-haiku-4-5 claude-haiku-5-5
        claude-sonnet-4-0 claude-sonnet-4-5 claude-sonnet-4-6 claude-sonnet-5 claude-sonnet-5-5
        claude-opus-4-0 claude-opus-4-1 claude-opus-4-5 claude-opus-4-6 claude-opus-4-7 claude-opus-4-8 claude-opus-5
        claude-opus-5-5 claude-fable-5 claude-fable-5-1 claude-fable-5-2
    """,
    "openai": """
        gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-4o gpt-4o-mini gpt-5 gpt-5-mini gpt-5-nano gpt-5.1 gpt-5.2 gpt-5.4
        gpt-5.4-mini gpt-5.4-nano gpt-5.5 gpt-5.6-luna gpt-5.6-sol gpt-5.6-terra gpt-6-astra gpt-6-luna gpt-6-sol
        gpt-6.1-sol gpt-6.1-terra o3 o4-mini
    """,
    "google": """
        gemini-2.5-flash gemini-2.5-flash-lite gemini-2.5-pro gemini-3.1-pro-preview gemini-3.8-flash gemini-4-argon
    """,
    "mistral": "mistral-large-2512 mistral-small-2603 ministral-8b-2512",
    "x-ai": "grok-4.5 grok-4.6 grok-4.7",
}
# Names that providers take besides, dates aside.
ALIASES = {"claude-sonnet-4-0": ["claude-sonnet-4"], "claude-opus-4-0": ["claude-opus-4"]}
# Dated models that cost other than what their name without the date does.
EXCEPTIONS = {"openai": ["gpt-4o-2024-05-13"]}


def rows() -> Iterator[PriceRow]:
    for provider in providers:
        wanted = [*MODELS.get(provider.id, "").split(), *EXCEPTIONS.get(provider.id, [])]
        for name in wanted:
            model = provider.find_model(name)
            for valid_from, prices in periods(model.prices):
                yield PriceRow(
                    provider=provider.id,
                    model=name.removesuffix("-latest"),
                    aliases=ALIASES.get(name, []),
                    valid_from=valid_from,
                    price=document_of(prices),
                )


def periods(prices: Any) -> list[tuple[str | None, Any]]:
    """(the first day or None, prices); what depends on the time of day has no line in this table."""
    if not isinstance(prices, list):
        return [(None, prices)]
    return [
        (period.constraint.start_date.isoformat() if period.constraint else None, period.prices) for period in prices
    ]


def main(read_on: str) -> None:
    table = PriceTable(
        read_on=read_on,
        source=f"{PACKAGE} {importlib.metadata.version(PACKAGE)}, which follows the providers' own pages",
        prices=list(rows()),
    )
    plain = msgspec.to_builtins(table)
    lines = ",\n".join(f"    {json.dumps(row)}" for row in plain.pop("prices"))
    head = json.dumps(plain, indent=2).removesuffix("\n}")
    TABLE.write_text(f'{head},\n  "prices": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
