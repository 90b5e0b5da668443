"""OpenTelemetry's GenAI attributes as a usage. The conventions are not stable: each figure has had several names.

`gen_ai.usage.input_tokens` includes what was read from and written to a cache. Spans of agents and workflows repeat
what their model calls used, so only spans of model calls are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from agentmemo.errors import InvalidInput
from agentmemo.model.prices import NANOUSD, Usage

OPERATION = "gen_ai.operation.name"
# Spans around others, which say again what these say.
AROUND = frozenset({"invoke_agent", "create_agent", "invoke_workflow", "execute_tool"})
INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
CACHE_READ = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")
# Two spellings of one figure: a span that has both has it twice.
CACHE_WRITE = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write_input_tokens",
)
COST, CURRENCY, COST_SOURCE = (f"gen_ai.usage.cost.{name}" for name in ("amount", "currency", "source"))


class Span(NamedTuple):
    """What a span says of its model call."""

    model: str | None
    model_served: str | None
    usage: Usage | None
    request_id: str | None
    provider_nanousd: int | None


def read_span(attributes: Mapping[str, Any]) -> Span:
    """Raises InvalidInput for a span around model calls, and for a figure that is no number."""
    operation = attributes.get(OPERATION)
    if operation in AROUND:
        raise InvalidInput(
            f"A span of {operation} repeats what its model calls used.",
            why="Recording it too would count them twice.",
            next_call="Record the spans of the model calls: chat, generate_content, text_completion, embeddings.",
        )
    return Span(
        model=_text(attributes, "gen_ai.request.model") or _text(attributes, "gen_ai.response.model"),
        model_served=_text(attributes, "gen_ai.response.model"),
        usage=_usage(attributes),
        request_id=_text(attributes, "gen_ai.response.id"),
        provider_nanousd=_billed(attributes),
    )


def _usage(attributes: Mapping[str, Any]) -> Usage | None:
    given, output = _first(attributes, INPUT), _first(attributes, OUTPUT)
    if given is None and output is None:
        return None
    cached, written = _first(attributes, CACHE_READ) or 0, _first(attributes, CACHE_WRITE) or 0
    whole = given or 0
    # An older instrumentation that left the cached ones out: as parts of the whole they would not fit into it.
    if cached + written > whole:
        whole += cached + written
    return Usage(input_tokens=whole, cached_input_tokens=cached, cache_write_tokens=written, output_tokens=output or 0)


def _first(attributes: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The figure under the first of its names."""
    for name in names:
        if (value := attributes.get(name)) is not None:
            if isinstance(value, bool) or not str(value).isdecimal():
                raise InvalidInput(f"{name} is {value!r}.", next_call="Send a whole number of tokens.")
            return int(value)
    return None


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    return str(value) if value else None


def _billed(attributes: Mapping[str, Any]) -> int | None:
    """Only what the provider said it billed, in dollars; any other cost is worked out here."""
    amount = attributes.get(COST)
    if amount is None or attributes.get(COST_SOURCE) != "provider" or attributes.get(CURRENCY, "USD") != "USD":
        return None
    try:
        exact = Decimal(str(amount)) * NANOUSD
    except InvalidOperation:
        raise InvalidInput(f"{COST} is {amount!r}.", next_call="Send a number of dollars.") from None
    if not exact.is_finite() or exact < 0:
        raise InvalidInput(f"{COST} is {amount!r}.", next_call="Send a number of dollars.")
    # A part of a nano-dollar is owed as a whole one.
    return int(exact.to_integral_value(rounding="ROUND_CEILING"))
