"""`agentmemo guard`: what people ruled on calls, and what they have answered before."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter

from agentmemo.cli import exits
from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Json, Limit, flag, group_of_commands
from agentmemo.cli.output import stamp
from agentmemo.cli.values import read_value
from agentmemo.model.guards import ALLOW, Annotations
from agentmemo.model.precedents import DAYS, USES, VALUES

app = group_of_commands("guard", "Which calls may be made, and what people have answered about such calls.")


@app.command
def check(
    tool: Annotated[str, Parameter(help="The tool that shall be called.")],
    arguments: Json = "{}",
    /,
    *,
    read_only: Annotated[bool | None, Parameter(help="It changes nothing.")] = None,
    reversible: Annotated[bool | None, Parameter(help="It can be undone.")] = None,
    cost_nanousd: Annotated[int | None, Parameter(help="What it costs at most.")] = None,
    namespace: Annotated[str | None, Parameter(help="What it touches, as rules know it.")] = None,
    revision: Annotated[str, flag("The target's, such as a commit.")] = "",
    common: Common = EVERYWHERE,
) -> int:
    """Ask the rules about a call. Exit status 0 where it is allowed, 5 where it is denied or a person must be asked."""
    said = Annotations(read_only=read_only, reversible=reversible, cost_nanousd=cost_nanousd, namespace=namespace)
    with common.connect() as plane:
        found = plane.guards.check(tool, read_value(arguments), annotations=said, revision=revision)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"{found.verdict}  {tool}, by {found.rule or 'no rule'}.")
        if found.reason:
            common.out.remark(found.reason)
    return exits.DONE if found.verdict == ALLOW else exits.NOT_PERMITTED


@app.command
def precedents(
    *,
    tool: Annotated[str | None, Parameter(help="Only of this tool, or of those that a glob names.")] = None,
    limit: Limit = 100,
    common: Common = EVERYWHERE,
) -> None:
    """List what people have answered alike at least three times, and never otherwise."""
    with common.connect() as plane:
        page = plane.guards.precedents(tool=tool, limit=limit)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (
            each.id,
            each.tool,
            f"{each.count} x {each.decision}",
            stamp(each.last_at),
            each.rule or "",
            msgspec.json.encode(each.arguments).decode(),
        )
        for each in page.items
    ]
    common.out.table(("precedent", "tool", "answers", "last", "rule", "arguments…"), rows, empty="No precedents.")


@app.command
def promote(
    precedent: Annotated[str, Parameter(help="As listed by `guard precedents`.")],
    /,
    *,
    scope: Annotated[
        str, Parameter(help="values: only arguments that were answered. pattern: other numbers and ids in texts, too.")
    ] = VALUES,
    days: Annotated[float, Parameter(help="How long it stands.")] = DAYS,
    uses_max: Annotated[int, Parameter(help="How often it decides at most.")] = USES,
    name: Annotated[str | None, Parameter(help="The rule's name; made of the tool, when left out.")] = None,
    comment: Annotated[str, flag("Why, for those who read the versions.")] = "",
    common: Common = EVERYWHERE,
) -> None:
    """Make a precedent a rule. Only a person can; the first answer that says otherwise suspends it."""
    with common.connect(deciding=True) as plane:
        made = plane.guards.promote(precedent, scope=scope, days=days, uses_max=uses_max, name=name, comment=comment)
    if common.json:
        common.out.document(made)
        return
    rule = made.document["rules"][-1]
    common.out.say(
        f"{made.name}/{rule['name']}  {rule['verdict']}s {rule['tool']} until {rule['expires_at']}, "
        f"{rule['uses_max']} times at most."
    )


@app.command
def reviews(*, limit: Limit = 100, cursor: Cursor = None, common: Common = EVERYWHERE) -> None:
    """List one in twenty calls that rules made of precedents decided, newest first, to look at them afterwards."""
    with common.connect() as plane:
        page = plane.guards.reviews(limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (
            str(each.revision),
            stamp(each.at),
            each.tool,
            each.verdict,
            each.rule,
            each.agent,
            each.objected_by or "",
            msgspec.json.encode(each.arguments).decode(),
        )
        for each in page.items
    ]
    columns = ("revision", "at", "tool", "verdict", "rule", "agent", "objected", "arguments…")
    common.out.table(columns, rows, empty="Nothing to look at.")
    common.out.more(page.cursor)


@app.command(name="object")
def object_(
    revision: Annotated[int, Parameter(help="The decision's, as `guard reviews` lists it.")],
    /,
    *,
    comment: Annotated[str, flag("Why.")] = "",
    common: Common = EVERYWHERE,
) -> None:
    """Object to what a rule decided: it is suspended, and such calls are asked again."""
    with common.connect() as plane:
        found = plane.guards.object(revision, comment=comment)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"{found.rule} is suspended; {found.objected_by} objected.")
