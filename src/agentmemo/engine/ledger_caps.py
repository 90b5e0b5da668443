"""Caps: what may be spent, and what counts against it.

Sums run along in the transaction of each row (`ledger_spent`). Of what had no cap before, the sum is counted from the
rows once, when it is first asked for; from then on every row changes it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from agentmemo.engine import audit
from agentmemo.engine.call import Call
from agentmemo.engine.state import check_limit
from agentmemo.errors import LimitExceeded
from agentmemo.model import ledger as model
from agentmemo.model.ledger import dollars
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.prices import day_of
from agentmemo.model.runs import Budget
from agentmemo.store import ledger as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction

MONTH_CHARACTERS = len("2026-11")
_DAY_US = 86_400_000_000
_budget_decoder = msgspec.json.Decoder(Budget)


class Sum(NamedTuple):
    """What counts in a scope and period, and the cap on it where there is one."""

    scope: str
    per: str
    limit: int | None
    spent: rows.Spent


class Bound(NamedTuple):
    """A cap as a call meets it, in words. `lifts` says how a person moves it."""

    what: str
    limit: int | None
    spent: int
    lifts: str
    scope: str
    per: str = model.TOTAL
    of_tokens: bool = False


class Counted(NamedTuple):
    """Whom a call counts for: its agent as `kind:name`, the workflow, the run, and when."""

    agent: str
    workflow: str | None
    run: str | None
    at: int

    def scopes(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "workflow": f"workflow:{self.workflow}" if self.workflow else "",
            "run": f"run:{self.run}" if self.run else "",
        }


def standing(tx: Transaction, call: Call, counted: Counted) -> list[Sum]:
    """Every sum that a call counts for: of what has a cap, and of its run. From here on they run along."""
    limits = {(cap.scope, cap.per): cap.nanousd for cap in rows.caps_of(tx, call.workspace, counted.scopes())}
    places: dict[tuple[str, str], int | None] = {(f"run:{counted.run}", model.TOTAL): None} if counted.run else {}
    return [
        Sum(scope, per, limit, _running(tx, call, scope, per, counted.at))
        for (scope, per), limit in (places | limits).items()
    ]


def bounds(
    tx: Transaction, call: Call, sums: list[Sum], run: run_rows.RunRow | None, step: str | None, caps: model.Caps
) -> list[Bound]:
    """Everything that bounds a call: what people set, the run's budget, and what came with the request."""
    found = [
        Bound(
            f"the cap on {each.scope} per {each.per}".removesuffix(" per total"),
            each.limit,
            each.spent.nanousd,
            f"Ask a person to raise it: agentmemo ledger cap {each.scope} NANOUSD --per {each.per}.",
            scope=each.scope,
            per=each.per,
        )
        for each in sums
        if each.limit is not None
    ]
    if run is None:
        return found
    so_far = next(each.spent for each in sums if each.scope == f"run:{run.handle}" and each.per == model.TOTAL)
    return [*found, *_of_budget(tx, call, run), *_of_document(tx, call, run, step, caps, so_far)]


def _of_budget(tx: Transaction, call: Call, run: run_rows.RunRow) -> list[Bound]:
    """The run's own budget, of which everything that its steps were charged is spent."""
    budget = _budget_decoder.decode(run.budget)
    if budget.nanousd is None and budget.tokens is None:
        return []
    aside = rows.set_aside(tx, call.workspace, run.handle)
    what, lifts = "the run's budget", f"Ask a person to raise it: agentmemo runs resolve {run.handle} continue."
    return _set(
        Bound(what, budget.nanousd, run.nanousd + aside.nanousd, lifts, scope="budget"),
        Bound(what, budget.tokens, run.tokens + aside.tokens, lifts, scope="budget", of_tokens=True),
    )


def _of_document(
    tx: Transaction, call: Call, run: run_rows.RunRow, step: str | None, caps: model.Caps, so_far: rows.Spent
) -> list[Bound]:
    of_step = 0
    if caps.step_nanousd is not None and step is not None:
        of_step = rows.of_step(tx, call.workspace, run.handle, step)
    what, lifts = "the document's budget of a", "Raise the budget in a new version of the document."
    return _set(
        Bound(f"{what} run", caps.run_nanousd, so_far.nanousd, lifts, scope="run"),
        Bound(f"{what} run", caps.run_tokens, so_far.tokens, lifts, scope="run", of_tokens=True),
        Bound(f"{what} step", caps.step_nanousd, of_step, lifts, scope="step"),
    )


def _set(*given: Bound) -> list[Bound]:
    return [bound for bound in given if bound.limit is not None]


def check(found: list[Bound], name: str, worst_nanousd: int | None, tokens: int) -> None:
    """Raises LimitExceeded where the call could pass a cap, or where nobody can say whether it would."""
    for bound in found:
        needed = tokens if bound.of_tokens else worst_nanousd
        if needed is None:
            raise LimitExceeded(
                f"What {name} costs is not known, and {bound.what} bounds what may be spent.",
                why="What cannot be priced cannot be kept under a cap.",
                next_call=f"Declare the price of {name} in models.toml, 0 where it is free, or use another model.",
                details=_details(bound, None),
            )
        if bound.spent + needed > (bound.limit or 0):
            raise LimitExceeded(
                f"The call could take {_words(bound, needed)}; {bound.what} has {_words(bound, _left(bound))} left"
                f" of {_words(bound, bound.limit or 0)}.",
                why="A call is let go only where its worst case fits under every cap.",
                next_call=f"Let it write less (max_output_tokens), or use a cheaper model. {bound.lifts}",
                details=_details(bound, needed),
            )


def _left(bound: Bound) -> int:
    return max(0, (bound.limit or 0) - bound.spent)


def _words(bound: Bound, amount: int) -> str:
    return f"{amount} tokens" if bound.of_tokens else dollars(amount)


def _details(bound: Bound, needed: int | None) -> dict[str, Any]:
    unit = "tokens" if bound.of_tokens else "nanousd"
    return {
        "scope": bound.scope,
        "per": bound.per,
        f"cap_{unit}": bound.limit,
        f"left_{unit}": _left(bound),
        f"needed_{unit}": needed,
    }


def spent(tx: Transaction, call: Call, scope: str, per: str, at: int) -> rows.Spent:
    """What counts in a scope in the period of a time: the running sum, or counted from the rows where there is none."""
    found = rows.spent(tx, call.workspace, scope, per, period_of(per, at))
    return found if found is not None else _counted(tx, call, scope, per, at)


def _running(tx: Transaction, call: Call, scope: str, per: str, at: int) -> rows.Spent:
    """The running sum, which begins now where there was none."""
    period = period_of(per, at)
    found = rows.spent(tx, call.workspace, scope, per, period)
    if found is None:
        found = _counted(tx, call, scope, per, at)
        tx.write(
            "ledger_spent_begin",
            workspace=call.workspace,
            scope=scope,
            per=per,
            period=period,
            nanousd=found.nanousd,
            tokens=found.tokens,
        )
    return found


def change(tx: Transaction, call: Call, counted: Counted, nanousd: int, tokens: int) -> None:
    """Move every running sum that a call counts for."""
    if nanousd or tokens:
        tx.write(
            "ledger_spent_change",
            workspace=call.workspace,
            day=period_of(model.DAY, counted.at),
            month=period_of(model.MONTH, counted.at),
            nanousd=nanousd,
            tokens=tokens,
            **counted.scopes(),
        )


def period_of(per: str, at: int) -> str:
    if per == model.TOTAL:
        return ""
    day = day_of(at)
    return day if per == model.DAY else day[:MONTH_CHARACTERS]


def _counted(tx: Transaction, call: Call, scope: str, per: str, at: int) -> rows.Spent:
    kind, _, name = scope.partition(":")
    since, until = _range(per, at)
    agent = call.engine.names.find_actor(tx, call.workspace, scope) if kind == "agent" else None
    if kind == "agent" and agent is None:
        return rows.Spent()
    row = tx.one(
        "usage_sum",
        workspace=call.workspace,
        since=since,
        until=until,
        workflow=name if kind == "workflow" else None,
        run=name if kind == "run" else None,
        agent=agent,
    )
    return rows.Spent(*(row or ()))


def _range(per: str, at: int) -> tuple[int, int]:
    """[since, until) of the period that a time is in."""
    if per == model.TOTAL:
        return rows.SINCE_EVER, rows.FOR_EVER
    day = at - at % _DAY_US
    if per == model.DAY:
        return day, day + _DAY_US
    first = day - (int(day_of(at)[-2:]) - 1) * _DAY_US
    # Four days after the 28th it is the next month, whatever month it is.
    later = first + 31 * _DAY_US
    return first, later - (int(day_of(later)[-2:]) - 1) * _DAY_US


def cap(tx: Transaction, call: Call, request: model.SetCap) -> model.Cap:
    """Set or lift a cap; what was spent before counts."""
    model.check_scope(request.scope)
    place: dict[str, Any] = {"workspace": call.workspace, "scope": request.scope, "per": request.per}
    if request.nanousd is None:
        tx.write("ledger_cap_remove", **place)
    else:
        tx.write("ledger_cap_set", nanousd=request.nanousd, author=call.actor, now=tx.now, **place)
    audit.record(
        tx,
        call,
        "ledger.cap",
        {"kind": "cap", "scope": request.scope, "per": request.per},
        reason="lifted" if request.nanousd is None else dollars(request.nanousd),
    )
    return _view(tx, call, rows.CapRow(request.scope, request.per, request.nanousd, call.actor, tx.now))


def caps(tx: Transaction, call: Call, request: model.ListCaps) -> Page:
    limit = check_limit(request.limit)
    scope, per = read_cursor(request.cursor, "ledger.caps", None, ["", ""])
    found = [
        rows.CapRow(*row)
        for row in tx.all("ledger_cap_list", workspace=call.workspace, scope=scope, per=per, limit=limit + 1)
    ]
    more = len(found) > limit
    cursor = make_cursor("ledger.caps", None, [found[limit - 1].scope, found[limit - 1].per]) if more else None
    return Page(items=[_view(tx, call, row) for row in found[:limit]], cursor=cursor)


def _view(tx: Transaction, call: Call, row: rows.CapRow) -> model.Cap:
    return model.Cap(
        scope=row.scope,
        per=row.per,
        nanousd=row.nanousd,
        period=period_of(row.per, tx.now),
        spent_nanousd=spent(tx, call, row.scope, row.per, tx.now).nanousd,
        author=call.engine.names.actor_name(tx, call.workspace, row.author),
        at=row.at,
    )
