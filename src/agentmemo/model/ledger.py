"""The ledger: what model calls cost, one row a call, and the caps that people put on it.

A row moves along TRANSITIONS. A reservation is the worst case and is committed before the call; what came of it is
written once. What is not known stays unknown: it counts at the worst case, and where there is no price it is None.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agentmemo import ids
from agentmemo.errors import InvalidInput, InvalidTransition
from agentmemo.model.access import ACTOR
from agentmemo.model.prices import Price, Usage
from agentmemo.model.wire import Request, Response, one_of

RESERVED, SETTLED, UNKNOWN, VOID = "reserved", "settled", "unknown", "void"
TRANSITIONS: dict[tuple[str, str], str] = {
    ("absent", "reserve"): RESERVED,
    ("absent", "record"): SETTLED,
    ("absent", "record_unknown"): UNKNOWN,
    (RESERVED, "settle"): SETTLED,
    (RESERVED, "lose"): UNKNOWN,
    (RESERVED, "void"): VOID,
}
DESIGN, EXECUTE, VERIFY, ESCALATE, SHADOW, AUDIT, REPAIR = (
    "design", "execute", "verify", "escalate", "shadow", "audit", "repair",
)  # fmt: skip
ROLES = (DESIGN, EXECUTE, VERIFY, ESCALATE, SHADOW, AUDIT, REPAIR)
# Who says what a call cost: its provider, the price table here, somebody who counted the tokens, or nobody.
PROVIDER, LOCAL, ESTIMATED = "provider", "local", "estimated"
SOURCES = (PROVIDER, LOCAL, ESTIMATED, UNKNOWN)
DAY, MONTH, TOTAL = "day", "month", "total"
PERIODS = (DAY, MONTH, TOTAL)
GROUPS = ("model", "workflow", "agent", "role", "day")
WORKSPACE = "workspace"
HANDLE_PREFIX = "use"
# A price of a million dollars for a million tokens still fits into 64 bits for so many tokens.
TOKENS_MAX = 1_000_000_000
# After so long nobody will say any more what a call used.
LAPSE_SECONDS = 86_400
NAME_MAX = 256
_WORKFLOW = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*\Z")

Nanousd = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Count = Annotated[int, Meta(ge=0, le=TOKENS_MAX)]
Role = Literal["design", "execute", "verify", "escalate", "shadow", "audit", "repair"]
Group = Literal["model", "workflow", "agent", "role", "day"]
Period = Literal["day", "month", "total"]


class Caps(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a document lets its run, or one step of it, take. None is unbounded."""

    run_nanousd: Nanousd | None = None
    step_nanousd: Nanousd | None = None
    run_tokens: Count | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a call was made for."""

    workflow: str | None = None
    version: str | None = None
    run: str | None = None
    step: str | None = None
    attempt: int = 1
    rung: int | None = None


class ReserveUsage(Request, kw_only=True):
    """Set aside the most that a call can cost, before it is made. `id` is the caller's: sent again, it is the same.

    Without `run` it belongs to the run whose claim the call carries. `caps` are checked beside those that people set.
    """

    id: str
    model: str
    input_tokens: Count
    max_output_tokens: Count
    role: Role = EXECUTE  # type: ignore[assignment]
    workflow: str | None = None
    version: str | None = None
    run: str | None = None
    step: str | None = None
    attempt: int = 1
    rung: int | None = None
    caps: Caps | None = None


class SettleUsage(Request, kw_only=True):
    """Say what a reserved call used. Without `usage` and `provider_nanousd` it stays unknown, at the worst case.

    `estimated` says that the caller counted the tokens, not the provider. What the provider billed outranks the table.
    """

    id: str
    usage: Usage | None = None
    model_served: str | None = None
    request_id: str | None = None
    provider_nanousd: Nanousd | None = None
    estimated: bool = False


class VoidUsage(Request, kw_only=True):
    """The reserved call was never made."""

    id: str
    reason: str = ""


class RecordUsage(Request, kw_only=True):
    """A call that was made without a reservation. `otel` takes the GenAI attributes of its span instead of the fields.

    It is never refused for a cap: it has happened, and counts from now on.
    """

    id: str
    model: str | None = None
    usage: Usage | None = None
    model_served: str | None = None
    role: Role = EXECUTE  # type: ignore[assignment]
    workflow: str | None = None
    version: str | None = None
    run: str | None = None
    step: str | None = None
    attempt: int = 1
    rung: int | None = None
    request_id: str | None = None
    provider_nanousd: Nanousd | None = None
    estimated: bool = False
    otel: dict[str, Any] | None = None


class LedgerRow(Response, kw_only=True):
    """One model call. `nanousd` is what is known, `counted_nanousd` what it counts for in caps and sums.

    They differ while it is reserved, and where it ended unknown: then the worst case counts. Both are None where no
    price is known: never 0. `price` holds the unit prices as they were.
    """

    id: str
    state: str
    role: str
    agent: str
    model: str
    at: int
    source: str
    model_served: str | None = None
    usage: Usage | None = None
    nanousd: int | None = None
    counted_nanousd: int | None = None
    worst_nanousd: int | None = None
    price: Price | None = None
    workflow: str | None = None
    version: str | None = None
    run: str | None = None
    step: str | None = None
    attempt: int = 1
    rung: int | None = None
    request_id: str | None = None
    ended_at: int | None = None


class GetUsage(Request, kw_only=True):
    id: str


class ListUsage(Request, kw_only=True):
    """Rows, newest first; `since` and `until` are UTC microseconds, `model` is as requested or as served."""

    workflow: str | None = None
    run: str | None = None
    agent: str | None = None
    model: str | None = None
    role: Role | None = None
    state: Annotated[str, one_of((RESERVED, SETTLED, UNKNOWN, VOID))] | None = None
    since: int | None = None
    until: int | None = None
    cursor: str | None = None
    limit: int = 100


class GetTotals(Request, kw_only=True):
    """Sums of the rows that fit, by model (served), workflow, agent, role or day (UTC)."""

    by: Group = "model"
    workflow: str | None = None
    run: str | None = None
    agent: str | None = None
    since: int | None = None
    until: int | None = None


class Total(Response, kw_only=True):
    """`nanousd` is known; `open_nanousd` is set aside or unknown, at the worst case; `unpriced` calls have no price."""

    name: str
    calls: int
    nanousd: int
    open_nanousd: int
    unpriced: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int


class Totals(Response, kw_only=True):
    by: str
    groups: list[Total]
    whole: Total


class GetSavings(Request, kw_only=True):
    """What a workflow saves. `smart_model` is what every run would be done with instead: else the one that designed it.

    `design_nanousd` is what its design cost, where the ledger has no call of it.
    """

    workflow: str
    version: str | None = None
    smart_model: str | None = None
    design_nanousd: Nanousd | None = None
    since: int | None = None
    until: int | None = None


class SetCap(Request, kw_only=True):
    """Bound what is spent: on the `workspace`, `agent:NAME`, `workflow:NAME` or `run:ID`. None lifts it."""

    scope: str
    nanousd: Nanousd | None
    per: Period = "total"


class ListCaps(Request, kw_only=True):
    cursor: str | None = None
    limit: int = 100


class Cap(Response, kw_only=True):
    """A cap, and what counts against it in the period of now (`2026-11-28`, `2026-11`; empty for all time)."""

    scope: str
    per: str
    nanousd: int | None
    period: str
    spent_nanousd: int
    author: str
    at: int


def next_state(state: str, act: str, usage: str) -> str:
    """The state after `act`. Raises InvalidTransition where the table has no such arrow."""
    try:
        return TRANSITIONS[state, act]
    except KeyError:
        raise InvalidTransition(
            f"The usage {usage} is {state}; what came of it is written once.",
            next_call=f"See agent.ledger.get('{usage}').",
            details={"id": usage, "state": state, "act": act},
        ) from None


def check_id(usage: str) -> None:
    if not ids.is_handle(usage, HANDLE_PREFIX):
        raise InvalidInput(
            f"{usage[:64]!r} is not the handle of a usage.",
            next_call=f"Mint one: {HANDLE_PREFIX}_ and 16 characters, as ids.mint does.",
        )


def check_call(model: str | None, place: Place) -> str:
    """The requested model. Raises InvalidInput for names that nobody could look up again."""
    for name, text in (
        ("model", model),
        ("workflow", place.workflow),
        ("version", place.version),
        ("step", place.step),
    ):
        if text is not None and not 0 < len(text) <= NAME_MAX:
            raise InvalidInput(f"`{name}` has 1 to {NAME_MAX} characters.", next_call="Send its name.")
    if model is None:
        raise InvalidInput("Which model was it?", next_call="Send `model`, or a span's attributes as `otel`.")
    if place.run is not None and not ids.is_handle(place.run, "run"):
        raise InvalidInput("A run is named by its handle.", next_call="Send the handle, such as run_01j9x2k7m3q8w4ez.")
    if place.attempt < 1 or (place.rung is not None and place.rung < 0):
        raise InvalidInput("Attempts count from 1, rungs from 0.", next_call="Leave them out where there are none.")
    return model


def check_scope(scope: str) -> None:
    kind, _, name = scope.partition(":")
    fits = {
        WORKSPACE: not name and scope == WORKSPACE,
        "agent": ACTOR.fullmatch(name) is not None,
        "workflow": _WORKFLOW.fullmatch(name) is not None,
        "run": ids.is_handle(name, "run"),
    }
    if not fits.get(kind, False):
        raise InvalidInput(
            f"{scope[:64]!r} is nothing that a cap can be put on.",
            next_call="Use workspace, agent:NAME, workflow:NAME or run:ID with the whole handle.",
        )


def tokens_of(usage: Usage | None) -> int:
    return usage.input_tokens + usage.output_tokens if usage else 0


def dollars(nanousd: int) -> str:
    """For people, exact: `$0.02`, `$12.000000001`."""
    whole, part = divmod(nanousd, 1_000_000_000)
    return f"${whole}.{f'{part:09d}'.rstrip('0'):0<2}"
