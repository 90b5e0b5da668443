"""`agentmemo inbox`: what people have to look at, and their answers.

In an opened store you act as the operating system's user, or as --person, and not where AGENTMEMO_AGENT says that you
are an agent; over HTTP you need a person's key.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from agentmemo.cli import exits
from agentmemo.cli.inbox_ask import Reply, ask, is_terminal, reply_of
from agentmemo.cli.inbox_page import page, summary
from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Limit, flag, group_of_commands
from agentmemo.cli.output import distance
from agentmemo.cli.values import read_time, read_value
from agentmemo.client._sync.connection import Connection
from agentmemo.clock import SystemClock
from agentmemo.errors import InvalidInput
from agentmemo.model.escalations import DECISIONS, UNDECIDED, Escalation

app = group_of_commands("inbox", "What people have to look at: list, show, answer. Alone it lists.")

Id = Annotated[str, Parameter(help="Handle of an escalation; its first characters are enough.")]
Comment = Annotated[str, flag("Why, for whoever asked and the trail.")]


@app.default
@app.command(name="list")
def list_(
    *,
    section: Annotated[
        str | None, Parameter(help="open (all that is undecided), mine, snoozed, undelivered or done.")
    ] = None,
    severity: Annotated[str | None, Parameter(help="critical, high, medium or low.")] = None,
    kind: Annotated[str | None, Parameter(help="approval, question, stuck, risk, failure, handoff or info.")] = None,
    asker: Annotated[str | None, Parameter(help="Only from this agent.")] = None,
    run: Annotated[str | None, Parameter(help="Only what this run asked.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List what waits for a person, the most urgent first."""
    with common.connect(deciding=True) as plane:
        found = plane.inbox.list(
            section=section, severity=severity, kind=kind, asker=asker, run=run, limit=limit, cursor=cursor
        )
    if common.json:
        common.out.page(found.items, found.cursor)
        return
    now = SystemClock().now_us()
    rows = [(each.id, each.severity, each.kind, _stands(each, now), each.asker, each.reason) for each in found.items]
    columns = ("escalation", "severity", "kind", "until", "from", "question…")
    common.out.table(columns, rows, empty="Nothing waits for a person.")
    common.out.more(found.cursor)


@app.command
def show(escalation: Id, /, *, common: Common = EVERYWHERE) -> None:
    """Show a question: what happens when nobody answers, the options, why it is asked, and what became of it."""
    with common.connect(deciding=True) as plane:
        found = plane.inbox.get(escalation)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(page(found, SystemClock().now_us()))


@app.command
def acknowledge(escalation: Id, /, *, common: Common = EVERYWHERE) -> None:
    """Say that you are on it: the others are not told further until your hold expires."""
    with common.connect(deciding=True) as plane:
        _changed(common, plane.inbox.acknowledge(escalation))


@app.command
def release(escalation: Id, /, *, comment: Comment = "", common: Common = EVERYWHERE) -> None:
    """Give it back to the others."""
    with common.connect(deciding=True) as plane:
        _changed(common, plane.inbox.release(escalation, comment=comment))


@app.command
def answer(
    escalation: Id,
    decision: Annotated[
        str | None,
        Parameter(help=f"{', '.join(DECISIONS)}; or the id or the number of an option. Left out, you are asked."),
    ] = None,
    /,
    *,
    choice: Annotated[str | None, Parameter(help="The id of the option to choose.")] = None,
    values: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="With answer what fills the form, with edit the arguments to approve. JSON; - reads standard input, "
            "@FILE a file.",
        ),
    ] = None,
    comment: Comment = "",
    scope: Annotated[
        str, Parameter(help="once, or run: an approval for this action whenever it comes in it.")
    ] = "once",
    seen: Annotated[
        str | None, Parameter(help="The digest that you were shown; anything else is then left alone.")
    ] = None,
    common: Common = EVERYWHERE,
) -> int:
    """Decide, or vote where several must agree. Rejecting and aborting need a --comment.

    The first who decides wins; the others are told who did, and the status is 4.
    """
    given = None if values is None else read_value(values)
    with common.connect(deciding=True) as plane:
        reply = _reply(common, plane, escalation, decision, choice)
        if reply is None:
            common.out.remark("It is left as it is.")
            return exits.FAILED
        found = plane.inbox.answer(
            escalation,
            reply.decision,
            choice=reply.choice,
            values=reply.values if given is None else given,
            comment=comment or reply.comment,
            scope=scope,
            seen=seen or reply.seen,
        )
    _changed(common, found)
    return exits.DONE


@app.command
def delegate(
    escalation: Id,
    to: Annotated[str, Parameter(help="The person who is to look at it.")],
    /,
    *,
    comment: Comment = "",
    common: Common = EVERYWHERE,
) -> None:
    """Hand it to another person."""
    with common.connect(deciding=True) as plane:
        _changed(common, plane.inbox.delegate(escalation, to, comment=comment))


@app.command
def snooze(
    escalation: Id,
    until: Annotated[str, Parameter(help="A UTC time, or 15m, 2h from now; at most 80 % of its time.")],
    /,
    *,
    common: Common = EVERYWHERE,
) -> None:
    """Look at it later; until then you are on it."""
    at = read_time(until, ahead=True)
    with common.connect(deciding=True) as plane:
        _changed(common, plane.inbox.snooze(escalation, at or 0))


@app.command
def extend(escalation: Id, /, *, comment: Comment = "", common: Common = EVERYWHERE) -> None:
    """Move the deadline by as much as it had at the start; once."""
    with common.connect(deciding=True) as plane:
        _changed(common, plane.inbox.extend(escalation, comment=comment))


@app.command
def comment(
    escalation: Id, text: Annotated[str, Parameter(help="What you have to say.")], /, *, common: Common = EVERYWHERE
) -> None:
    """Say something without deciding."""
    with common.connect(deciding=True) as plane:
        _changed(common, plane.inbox.comment(escalation, text))


@app.command
def retry(escalation: Id, /, *, common: Common = EVERYWHERE) -> None:
    """Deliver an answer again that has not reached the run that asked. Nobody is asked again."""
    with common.connect(deciding=True) as plane:
        _changed(common, plane.escalations.retry(escalation))


def _reply(
    common: Common, plane: Connection, escalation: str, decision: str | None, choice: str | None
) -> Reply | None:
    """What the command line says, or the person at the terminal; None when they leave it."""
    if decision in DECISIONS:
        return Reply(decision, choice=choice)
    if decision is None and choice is not None:
        return Reply("choose", choice=choice)
    if decision is not None:
        return reply_of(plane.inbox.get(escalation), decision)
    if common.json or not is_terminal():
        raise InvalidInput(
            "The decision is missing.",
            why="Only at a terminal you are asked for it.",
            next_call=f"agentmemo inbox answer {escalation} {'|'.join(DECISIONS)}, or the number of an option.",
        )
    found = plane.inbox.get(escalation)
    common.out.say(page(found, SystemClock().now_us()) + "\n")
    common.out.flush()
    return ask(found) if found.state in UNDECIDED else None


def _changed(common: Common, found: Escalation) -> None:
    if common.json:
        common.out.document(found)
        return
    votes = f" {len(found.votes)} of {found.needs.count} votes are in." if found.needs.count > 1 else ""
    undecided = votes if found.state in UNDECIDED else ""
    common.out.say(f"{found.id}  {summary(found)}{undecided}")


def _stands(found: Escalation, now: int) -> str:
    """When it falls to its default, or how it ended."""
    if found.state not in UNDECIDED:
        return found.state
    return "over" if found.lapsed_at is not None else distance(found.deadline, now)
