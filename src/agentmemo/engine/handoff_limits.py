"""How much a receiver takes at once: tokens that a claim takes and its end gives back.

What it holds is counted once, when it gets its first limit.
"""

from __future__ import annotations

from agentmemo.clock import SECOND
from agentmemo.engine import audit
from agentmemo.engine.call import Call
from agentmemo.engine.state import check_limit
from agentmemo.errors import InvalidInput, LimitExceeded
from agentmemo.model import handoffs as model
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.store import handoffs as rows
from agentmemo.store.database import Transaction

RATE_MAX = 1_000_000
SECONDS_MAX = 86_400.0


class Tokens:
    """The limits of some receivers, as one claim uses them up."""

    def __init__(self, tx: Transaction, call: Call, limits: list[rows.LimitRow]) -> None:
        self._tx = tx
        self._call = call
        self._limits: dict[str, rows.LimitRow] = {}
        self._taken: dict[str, int] = {}
        for row in limits:
            self._limits[row.address] = _refilled(row, tx.now)

    def has(self, address: str) -> bool:
        return address in self._limits

    def may_take(self, address: str) -> bool:
        """Whether the receiver may hold and claim one more now."""
        row = self._limits.get(address)
        if row is None:
            return True
        full = row.concurrency is not None and row.held >= row.concurrency
        return not full and (row.rate is None or row.tokens >= 1)

    def take(self, address: str) -> bool:
        """One more, if it may."""
        if not self.may_take(address):
            return False
        row = self._limits.get(address)
        if row is None:
            return True
        tokens = row.tokens - 1 if row.rate is not None else row.tokens
        self._limits[address] = row._replace(held=row.held + 1, tokens=tokens)
        self._taken[address] = self._taken.get(address, 0) + 1
        return True

    def write(self) -> None:
        for address, taken in self._taken.items():
            row = self._limits[address]
            self._tx.write(
                "handoff_limit_take",
                expect=1,
                workspace=self._call.workspace,
                address=address,
                taken=taken,
                tokens=row.tokens,
                filled_at=row.filled_at,
            )

    def refusal(self, row: rows.HandoffRow) -> LimitExceeded:
        found = self._limits[row.address]
        return LimitExceeded(
            f"{row.address} holds {found.held} handoffs and may take no more now.",
            why=f"Its limit is {found.concurrency} at once and {found.rate} in {found.per_us / SECOND:g} s.",
            next_call="Complete what is held, or claim again later.",
            retry_safe=True,
            details={"to": row.address, "held": found.held, "concurrency": found.concurrency, "rate": found.rate},
        )


def set_limit(tx: Transaction, call: Call, request: model.SetHandoffLimit) -> model.HandoffLimit:
    address = model.read_address(request.to)
    for name in ("concurrency", "rate"):
        bound = getattr(request, name)
        if bound is not None and not 1 <= bound <= RATE_MAX:
            raise InvalidInput(f"{name} is 1 to {RATE_MAX}, not {bound}.", next_call="Leave it out to lift it.")
    if not 0 < request.per_seconds <= SECONDS_MAX:
        raise InvalidInput(f"per_seconds is above 0 and at most {SECONDS_MAX:.0f}.", next_call="Use 60 for a minute.")
    known = rows.limits(tx, call.workspace, [address])
    # What is held already counts from now on, and gives its token back as the rest does.
    held = known[0].held if known else tx.run("handoff_limit_held", workspace=call.workspace, address=address)
    tx.write(
        "handoff_limit_set",
        workspace=call.workspace,
        address=address,
        held=held,
        concurrency=request.concurrency,
        rate=request.rate,
        per_us=round(request.per_seconds * SECOND),
        tokens=float(request.rate or 0),
        now=tx.now,
    )
    text = f"{request.concurrency} at once, {request.rate} in {request.per_seconds:g} s"
    audit.record(tx, call, "handoff.limit", {"kind": "receiver", "to": address}, reason=text)
    return model.HandoffLimit(
        to=address,
        concurrency=request.concurrency,
        rate=request.rate,
        per_seconds=request.per_seconds,
        held=held,
    )


def limits(tx: Transaction, call: Call, request: model.ListHandoffLimits) -> Page:
    limit = check_limit(request.limit)
    after = read_cursor(request.cursor, "handoff.limits", None, "")
    found = [
        rows.LimitRow(*row)
        for row in tx.all("handoff_limit_list", workspace=call.workspace, after=after, limit=limit + 1)
    ]
    items = [
        model.HandoffLimit(
            to=row.address, concurrency=row.concurrency, rate=row.rate, per_seconds=row.per_us / SECOND, held=row.held
        )
        for row in found[:limit]
    ]
    cursor = make_cursor("handoff.limits", None, found[limit - 1].address) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def _refilled(row: rows.LimitRow, now: int) -> rows.LimitRow:
    """A token bucket: full at the rate, and refilled in proportion to the time since it was last looked at."""
    if row.rate is None:
        return row
    gained = max(0, now - row.filled_at) / row.per_us * row.rate
    return row._replace(tokens=min(float(row.rate), row.tokens + gained), filled_at=max(now, row.filled_at))
