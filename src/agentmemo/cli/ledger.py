"""`agentmemo ledger`: what model calls cost, and the caps on it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Limit, flag, group_of_commands
from agentmemo.cli.output import stamp
from agentmemo.cli.values import read_time, read_value
from agentmemo.errors import InvalidInput
from agentmemo.model.ledger import Cap, LedgerRow, Total, dollars

app = group_of_commands("ledger", "What model calls cost, and the caps on it.")

Workflow = Annotated[str | None, Parameter(help="Only of this workflow.")]
Run = Annotated[str | None, Parameter(help="Only of this run.")]
By = Annotated[str | None, Parameter(name="--by-agent", help="Only by this agent.")]
Since = Annotated[str | None, Parameter(help="From this UTC time on; also 15m, 2h, 7d ago.")]
Until = Annotated[str | None, Parameter(help="Before this time.")]


@app.command(name="list")
def list_(
    *,
    workflow: Workflow = None,
    run: Run = None,
    by_agent: By = None,
    model: Annotated[str | None, Parameter(help="Only of this model, as asked for or as served.")] = None,
    role: Annotated[str | None, Parameter(help="design, execute, verify, escalate, shadow, audit or repair.")] = None,
    state: Annotated[str | None, Parameter(help="reserved, settled, unknown or void.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List model calls, newest first."""
    with common.connect() as plane:
        page = plane.ledger.list(
            workflow=workflow,
            run=run,
            agent=by_agent,
            model=model,
            role=role,
            state=state,
            since=read_time(since),
            until=read_time(until),
            cursor=cursor,
            limit=limit,
        )
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (each.id, stamp(each.at), each.state, _cost(each), each.source, each.role, each.agent, _models(each))
        for each in page.items
    ]
    common.out.table(("id", "at", "state", "cost", "source", "role", "agent", "model…"), rows, empty="No calls.")
    common.out.more(page.cursor)


@app.command
def get(usage: Annotated[str, Parameter(help="The call's handle.")], /, *, common: Common = EVERYWHERE) -> None:
    """Show a model call with its tokens, and the unit prices of then."""
    with common.connect() as plane:
        found = plane.ledger.get(usage)
    if common.json:
        common.out.document(found)
    else:
        _show(common, found)


@app.command
def record(
    *,
    model: Annotated[str | None, Parameter(help="The model that was asked for.")] = None,
    input_tokens: Annotated[int | None, Parameter(help="With those read from and written to a cache.")] = None,
    output_tokens: Annotated[int | None, Parameter(help="What it wrote.")] = None,
    cached_input_tokens: Annotated[int, Parameter(help="Of the input: read from a cache.")] = 0,
    cache_write_tokens: Annotated[int, Parameter(help="Of the input: written to a cache.")] = 0,
    model_served: Annotated[str | None, Parameter(help="The model that answered.")] = None,
    role: Annotated[str, Parameter(help="design, execute, verify, escalate, shadow, audit or repair.")] = "execute",
    workflow: Annotated[str | None, Parameter(help="What it was made for.")] = None,
    version: Annotated[str | None, Parameter(help="The workflow's version.")] = None,
    run: Annotated[str | None, Parameter(help="The run that pays.")] = None,
    step: Annotated[str | None, Parameter(help="The run's step.")] = None,
    attempt: Annotated[int, Parameter(help="Which attempt of it.")] = 1,
    rung: Annotated[int | None, Parameter(help="Which rung of the ladder, from 0.")] = None,
    request_id: Annotated[str | None, flag("The provider's name of the call.")] = None,
    provider_nanousd: Annotated[int | None, Parameter(help="What the provider billed; outranks the table.")] = None,
    estimated: Annotated[bool, Parameter(help="The tokens are an estimate.")] = False,
    otel: Annotated[str | None, flag("A span's GenAI attributes as JSON, in place of the rest; @FILE or -.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Write down a model call that was made, with the tokens that its provider counted."""
    usage = None
    if input_tokens is not None or output_tokens is not None:
        usage = {
            "input_tokens": input_tokens or 0,
            "output_tokens": output_tokens or 0,
            "cached_input_tokens": cached_input_tokens,
            "cache_write_tokens": cache_write_tokens,
        }
    with common.connect() as plane:
        made = plane.ledger.record(
            usage,
            model=model,
            model_served=model_served,
            role=role,
            workflow=workflow,
            version=version,
            run=run,
            step=step,
            attempt=attempt,
            rung=rung,
            request_id=request_id,
            provider_nanousd=provider_nanousd,
            estimated=estimated,
            otel=read_value(otel) if otel is not None else None,
        )
    if common.json:
        common.out.document(made)
    else:
        common.out.say(f"{made.id}  {made.state}, {_cost(made)}.")


@app.command
def totals(
    by: Annotated[str, Parameter(help="model, workflow, agent, role or day.")] = "model",
    /,
    *,
    workflow: Workflow = None,
    run: Run = None,
    by_agent: By = None,
    since: Since = None,
    until: Until = None,
    common: Common = EVERYWHERE,
) -> None:
    """Add up what was spent. What is known, what counts at the worst case, and what has no price stand apart."""
    with common.connect() as plane:
        found = plane.ledger.totals(
            by, workflow=workflow, run=run, agent=by_agent, since=read_time(since), until=read_time(until)
        )
    if common.json:
        common.out.document(found)
        return
    rows = [_sums(each.name or "-", each) for each in found.groups]
    if len(rows) > 1:
        rows.append(_sums("all", found.whole))
    headings = (found.by, "calls", "known", "worst case", "no price", "tokens in", "cached", "written", "out")
    common.out.table(headings, rows, empty="No calls.")


@app.command
def cap(
    scope: Annotated[str, Parameter(help="workspace, agent:NAME, workflow:NAME or run:ID.")],
    nanousd: Annotated[str, Parameter(help="Billionths of a dollar; none lifts the cap.")],
    /,
    *,
    per: Annotated[str, Parameter(help="day or month (UTC), or total.")] = "total",
    common: Common = EVERYWHERE,
) -> None:
    """Bound what may be spent. Only a person can; what was spent before counts."""
    if nanousd != "none" and not nanousd.isdecimal():
        raise InvalidInput(f"{nanousd!r} is no amount.", next_call="Write 2000000000 for two dollars, or none.")
    with common.connect(deciding=True) as plane:
        made = plane.ledger.cap(scope, None if nanousd == "none" else int(nanousd), per)
    if common.json:
        common.out.document(made)
    elif made.nanousd is None:
        common.out.say(f"{made.scope}  has no cap per {made.per} any more.".replace(" per total", ""))
    else:
        common.out.say(f"{made.scope}  {dollars(made.nanousd)} per {made.per}, {_left(made)} left.")


@app.command
def caps(*, limit: Limit = 100, cursor: Cursor = None, common: Common = EVERYWHERE) -> None:
    """List the caps, and what counts against them now."""
    with common.connect() as plane:
        page = plane.ledger.caps(limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (each.scope, each.per, dollars(each.nanousd or 0), dollars(each.spent_nanousd), _left(each), each.author)
        for each in page.items
    ]
    common.out.table(("scope", "per", "cap", "spent", "left", "by"), rows, empty="No caps.")
    common.out.more(page.cursor)


def _show(common: Common, found: LedgerRow) -> None:
    usage, price = found.usage, found.price
    pairs = (
        ("usage", found.id),
        ("state", found.state),
        ("cost", f"{_cost(found)}, source {found.source}"),
        ("worst case", dollars(found.worst_nanousd) if found.worst_nanousd is not None else ""),
        ("model", _models(found)),
        ("at", stamp(found.at)),
        ("agent", found.agent),
        ("role", found.role),
        ("workflow", " ".join(filter(None, (found.workflow, found.version)))),
        ("run", " ".join(filter(None, (found.run, found.step)))),
        ("tokens in", f"{usage.input_tokens}, of them {usage.cached_input_tokens} cached" if usage else ""),
        ("tokens out", str(usage.output_tokens) if usage else ""),
        ("price", f"{dollars(price.rates.input)} in, {dollars(price.rates.output)} out a million" if price else ""),
        ("from", f"{price.source}, {price.table_hash[:16]}" if price else ""),
        ("request", found.request_id or ""),
    )
    common.out.fields(pair for pair in pairs if pair[1])


def _cost(row: LedgerRow) -> str:
    """What is known, else what counts; never 0 for what nobody knows."""
    if row.nanousd is not None:
        return dollars(row.nanousd)
    return "no price" if row.counted_nanousd is None else f"at most {dollars(row.counted_nanousd)}"


def _models(row: LedgerRow) -> str:
    served = row.model_served
    return row.model if served in (None, row.model) else f"{row.model}, served {served}"


def _sums(name: str, total: Total) -> tuple[str, ...]:
    tokens = (total.input_tokens, total.cached_input_tokens, total.cache_write_tokens, total.output_tokens)
    money = (dollars(total.nanousd), dollars(total.open_nanousd))
    return (name, str(total.calls), *money, str(total.unpriced), *map(str, tokens))


def _left(cap: Cap) -> str:
    return dollars(max(0, (cap.nanousd or 0) - cap.spent_nanousd))
