"""`agentmemo policy`: what people rule beforehand, and agents may read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Limit, flag, group_of_commands
from agentmemo.cli.output import stamp
from agentmemo.cli.values import read_file, read_time, read_value
from agentmemo.client._async.policies import IMPORTED_DAYS
from agentmemo.errors import InvalidInput
from agentmemo.model.policies import Policy

app = group_of_commands(
    "policy", "What people rule beforehand: routes, schedules, contacts, silences and inhibitions, severities, rules."
)


def _file(help: str) -> Parameter:  # noqa: A002 - cyclopts' word
    return Parameter(name="FILE", allow_leading_hyphen=True, help=help)


Kind = Annotated[str, Parameter(help="route, schedule, contact, silence, inhibition, severity or rules.")]
Name = Annotated[str, Parameter(help="Its name: a contact's is the person's, a severity's is the severity's.")]
IfVersion = Annotated[int | None, Parameter(help="Only over this version; 0: there is none.")]
Comment = Annotated[str, flag("Why, for those who read the versions.")]


@app.command(name="set")
def set_(
    kind: Kind,
    name: Name,
    document: Annotated[str, _file("The document as JSON; - reads standard input.")],
    /,
    *,
    if_version: IfVersion = None,
    comment: Comment = "",
    common: Common = EVERYWHERE,
) -> None:
    """Rule something: a new version of a document, in force at once. Only a person can."""
    content = read_value(document if document == "-" else f"@{document}")
    with common.connect(deciding=True) as plane:
        made = plane.policies.set(kind, name, content, if_version=if_version, comment=comment)
    _say(common, made, "is ruled")


@app.command
def get(
    kind: Kind,
    name: Name,
    /,
    *,
    version: Annotated[int | None, Parameter(help="As it was by this version.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Print the document in force, or of a version, as JSON; with --json all that is known of it."""
    with common.connect() as plane:
        found = plane.policies.get(kind, name, version=version)
    if common.json:
        common.out.document(found)
        return
    common.out.remark(f"{found.kind}/{found.name} version {found.version}, by {found.author} {stamp(found.at)}")
    common.out.say(msgspec.json.format(msgspec.json.encode(found.document), indent=2).decode())


@app.command(name="list")
def list_(
    *,
    kind: Annotated[str | None, Parameter(help="Only of this kind.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List what is ruled now."""
    with common.connect() as plane:
        page = plane.policies.list(kind=kind, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [(each.kind, each.name, *_when(each)) for each in page.items]
    common.out.table(("kind", "name", "version", "since", "by", "comment…"), rows, empty="No policies.")
    common.out.more(page.cursor)


@app.command
def versions(
    kind: Kind, name: Name, /, *, limit: Limit = 100, cursor: Cursor = None, common: Common = EVERYWHERE
) -> None:
    """List the versions of a document, newest first."""
    with common.connect() as plane:
        page = plane.policies.versions(kind, name, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [("set" if each.live else "deleted", *_when(each)) for each in page.items]
    common.out.table(("what", "version", "at", "by", "comment…"), rows, empty="No versions.")
    common.out.more(page.cursor)


@app.command
def delete(
    kind: Kind, name: Name, /, *, if_version: IfVersion = None, comment: Comment = "", common: Common = EVERYWHERE
) -> None:
    """Rule it no longer; its versions stay. Only a person can."""
    with common.connect(deciding=True) as plane:
        ended = plane.policies.delete(kind, name, if_version=if_version, comment=comment)
    _say(common, ended, "is ruled no longer")


@app.command(name="import-ical")
def import_ical(
    name: Annotated[str, Parameter(help="The schedule.")],
    calendar: Annotated[str, _file("The calendar, .ics; - reads standard input.")],
    /,
    *,
    zone: Annotated[str | None, Parameter(help="Time zone of a schedule that is new.")] = None,
    since: Annotated[str | None, Parameter(help="From this time on; now, when left out.")] = None,
    days: Annotated[float, Parameter(help="For so many days.")] = IMPORTED_DAYS,
    known_as: Annotated[
        tuple[str, ...], flag("SUMMARY=PERSON where the calendar calls somebody otherwise; may be repeated.")
    ] = (),
    comment: Comment = "imported from a calendar",
    common: Common = EVERYWHERE,
) -> None:
    """Take the events of an iCal calendar as the shifts of a schedule, in place of those it has.

    The summary of each event names who is on call.
    """
    content = sys.stdin.buffer.read() if calendar == "-" else read_file(calendar)
    names = _names(known_as)
    with common.connect(deciding=True) as plane:
        made = plane.policies.import_ical(
            name, content, zone=zone, since=read_time(since), days=days, names=names, comment=comment
        )
    _say(common, made, f"has {len(made.document['shifts'])} shifts")


def _names(known_as: Sequence[str]) -> dict[str, str]:
    names = {}
    for pair in known_as:
        summary, equals, person = pair.rpartition("=")
        if not equals:
            raise InvalidInput(f"{pair!r} has no =.", next_call="Write --known-as 'Ana Lopez=ana'.")
        names[summary] = person
    return names


def _when(policy: Policy) -> tuple[str, ...]:
    return str(policy.version), stamp(policy.at), policy.author, policy.comment


def _say(common: Common, policy: Policy, what: str) -> None:
    if common.json:
        common.out.document(policy)
    else:
        common.out.say(f"{policy.kind}/{policy.name}  {what}, version {policy.version}.")
