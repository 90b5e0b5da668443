"""`agentmemo events`: the trail of every change and every denial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from agentmemo import ids
from agentmemo.cli import exits
from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Limit, flag, group_of_commands
from agentmemo.cli.output import pretty, stamp, stamp_ago
from agentmemo.cli.values import read_time
from agentmemo.client._sync.connection import Connection
from agentmemo.model.audit import DONE, Event

app = group_of_commands("events", "The trail: every change, and the proof that nothing was edited.")

FOLLOW_SECONDS = 30.0


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which events; each that is given narrows it."""

    run: Annotated[str | None, Parameter(help="Of this run; its first characters are enough.")] = None
    actor: Annotated[str | None, Parameter(help="By this actor: a name, or kind:name.")] = None
    type: Annotated[str | None, Parameter(help="Of this operation, or of several: `run.*`")] = None
    namespace: Annotated[str | None, Parameter(help="In this namespace.")] = None
    outcome: Annotated[str | None, Parameter(help="ok, denied, or failed.")] = None
    since: Annotated[str | None, Parameter(help="From this UTC time on; also 15m, 2h, 7d ago.")] = None
    until: Annotated[str | None, Parameter(help="Before this time.")] = None
    text: Annotated[str | None, Parameter(help="With this in their subject or reason.")] = None

    def arguments(self, plane: Connection) -> dict[str, Any]:
        whole = self.run is None or ids.is_handle(self.run)
        return {
            "run": self.run if whole else plane.runs.get(self.run or "").id,
            "actor": self.actor,
            "type": self.type,
            "namespace": self.namespace,
            "outcome": self.outcome,
            "since": read_time(self.since),
            "until": read_time(self.until),
            "text": self.text,
        }


ALL = Filter()


@app.command(name="list")
def list_(
    *,
    narrow: Filter = ALL,
    after: Annotated[int | None, Parameter(help="Only after this revision.")] = None,
    newest_first: Annotated[bool, flag("Begin with the newest.")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List events in the order of their commits."""
    with common.connect() as plane:
        given = narrow.arguments(plane)
        page = plane.audit.events(**given, after=after, newest_first=newest_first, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [(str(event.revision), stamp(event.at), event.actor, act(event), subject(event)) for event in page.items]
    common.out.table(("revision", "at", "actor", "operation", "subject…"), rows, empty="No events.")
    common.out.more(page.cursor)


@app.command
def show(event: str, /, *, common: Common = EVERYWHERE) -> None:
    """Show one event with its place in the chain."""
    with common.connect() as plane:
        found = plane.audit.get(event)
    if common.json:
        common.out.document(found)
        return
    pairs = (
        ("event", found.id),
        ("revision", str(found.revision)),
        ("at", stamp_ago(found.at)),
        ("actor", found.actor),
        ("on behalf of", ", ".join(found.on_behalf_of)),
        ("operation", found.operation),
        ("outcome", found.outcome + (f", {found.count} times" if found.count and found.count > 1 else "")),
        ("subject", subject(found)),
        ("versions", "" if found.to_version is None else f"{found.from_version} -> {found.to_version}"),
        ("run", found.run or ""),
        ("step", found.step or ""),
        ("epoch", "" if found.epoch is None else str(found.epoch)),
        ("reason", found.reason),
        ("door", found.door),
        ("stream", f"{found.stream}, event {found.sequence}"),
        ("hash", found.hash),
        ("previous", found.previous_hash),
        ("commitments", pretty(found.commitments) if found.commitments else ""),
    )
    common.out.fields(pairs)


@app.command
def verify(*, common: Common = EVERYWHERE) -> int:
    """Check every chain of the trail. Ends with 1 when something was changed, added or removed."""
    with common.connect() as plane:
        found = plane.audit.verify()
    if common.json:
        common.out.document(found)
    elif found.intact:
        common.out.say(f"Intact: {found.events} events in {found.streams} streams.")
    else:
        common.out.say(f"NOT intact, of {found.events} events in {found.streams} streams: {found.first_fault}")
    return exits.DONE if found.intact else exits.FAILED


@app.command
def follow(
    *,
    narrow: Filter = ALL,
    after: Annotated[int | None, Parameter(help="Begin after this revision; now, when left out.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Print events as they happen, until Ctrl-C."""
    with common.connect() as plane:
        given = narrow.arguments(plane)
        if after is None:
            newest = plane.audit.events(newest_first=True, limit=1).items
            after = newest[0].revision if newest else 0
        while True:
            for event in plane.audit.events(**given, after=after, wait_seconds=FOLLOW_SECONDS).items:
                after = event.revision
                if common.json:
                    common.out.line(event)
                else:
                    common.out.say(
                        f"{event.revision}  {stamp(event.at)}  {event.actor}  {act(event)}  {subject(event)}".rstrip()
                    )
                    common.out.flush()


def act(event: Event) -> str:
    """The operation, and its outcome where it was not the usual one."""
    return event.operation if event.outcome == DONE else f"{event.operation} ({event.outcome})"


def subject(event: Event) -> str:
    """`entry team/a/key`, `run run_01j9... name=review`: what it was done to, and what else names it."""
    named = dict(event.subject)
    place = "/".join(named.pop(name) for name in ("namespace", "key") if "namespace" in event.subject and name in named)
    first = (named.pop("kind", ""), named.pop("id", ""), place)
    rest = (f"{name}={value}" for name, value in named.items())
    return " ".join(filter(None, (*first, *rest, event.step or "")))
