"""`agentmemo state`: versioned JSON values under a namespace and a key."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, Common, Cursor, Json, Limit, flag, group_of_commands
from agentmemo.cli.output import brief, pretty, stamp
from agentmemo.cli.values import read_value
from agentmemo.model.state import Entry

app = group_of_commands("state", "Versioned JSON values under a namespace and a key.")

Text = Annotated[bool, flag("The value is a text and is kept as it stands, not read as JSON.")]
IfVersion = Annotated[int | None, Parameter(help="Only over this version; 0 means that the key must be absent.")]


@app.command(name="set")
def set_(
    namespace: str,
    key: str,
    value: Json,
    /,
    *,
    text: Text = False,
    if_version: IfVersion = None,
    ttl_seconds: Annotated[float | None, Parameter(help="The key reads as absent after this time.")] = None,
    origin: Annotated[str, Parameter(help="agent, tool, external, or human (a person's only).")] = "agent",
    common: Common = EVERYWHERE,
) -> None:
    """Write a value; when this returns it survives any crash."""
    given = read_value(value, text=text)
    with common.connect() as plane:
        entry = plane.state.set(namespace, key, given, if_version=if_version, ttl_seconds=ttl_seconds, origin=origin)
    if common.json:
        common.out.document(entry)
    else:
        common.out.say(f"{namespace}/{key} is at version {entry.version}, revision {entry.revision}.")


@app.command
def get(
    namespace: str,
    key: str,
    /,
    *,
    version: Annotated[int | None, Parameter(help="This version instead of the newest.")] = None,
    as_of: Annotated[int | None, Parameter(help="As it was at this revision.")] = None,
    text: Annotated[bool, flag("Print a text as it stands, without JSON's quotes.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """Print a value as JSON; --json prints its version, author, origin and times as well."""
    with common.connect() as plane:
        entry = plane.state.entry(namespace, key, version=version, as_of=as_of)
    if common.json:
        common.out.document(entry)
    else:
        common.out.say(entry.value if text and isinstance(entry.value, str) else pretty(entry.value))


@app.command
def delete(namespace: str, key: str, /, *, if_version: IfVersion = None, common: Common = EVERYWHERE) -> None:
    """Delete a key. Its history stays, and its versions go on."""
    with common.connect() as plane:
        entry = plane.state.delete(namespace, key, if_version=if_version)
    if common.json:
        common.out.document(entry)
    else:
        common.out.say(f"{namespace}/{key} is deleted, revision {entry.revision}.")


@app.command(name="list")
def list_(
    namespace: str,
    /,
    *,
    prefix: Annotated[str, flag("Only keys that begin like this.")] = "",
    limit: Limit = 100,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """List the entries of a namespace in the order of their keys."""
    with common.connect() as plane:
        page = plane.state.list(namespace, prefix=prefix, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [(entry.key, str(entry.version), stamp(entry.written_at), brief(entry.value)) for entry in page.items]
    common.out.table(("key", "version", "written", "value…"), rows, empty="No entries.")
    common.out.more(page.cursor)


@app.command
def namespaces(
    *,
    prefix: Annotated[str, flag("Only namespaces that begin like this.")] = "",
    common: Common = EVERYWHERE,
) -> None:
    """List the namespaces you may read."""
    with common.connect() as plane:
        found = list(plane.state.namespaces(prefix=prefix))
    if common.json:
        common.out.page(found, None)
    else:
        common.out.table(("namespace", "entries"), [(n.name, str(n.entries)) for n in found], empty="No namespaces.")


@app.command
def search(
    text: str,
    /,
    *,
    namespace: Annotated[str | None, Parameter(help="Only in this namespace.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    common: Common = EVERYWHERE,
) -> None:
    """Find entries by words in their keys and values, best first."""
    with common.connect() as plane:
        page = plane.state.search(text, namespace=namespace, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [(match.entry.namespace, match.entry.key, match.snippet) for match in page.items]
    common.out.table(("namespace", "key", "found…"), rows, empty="Nothing found.")
    common.out.more(page.cursor)


@app.command
def history(
    namespace: str, key: str, /, *, limit: Limit = 100, cursor: Cursor = None, common: Common = EVERYWHERE
) -> None:
    """List the kept versions of a key, newest first, with who wrote them."""
    with common.connect() as plane:
        page = plane.state.history(namespace, key, limit=limit, cursor=cursor)
    if common.json:
        common.out.page(page.items, page.cursor)
        return
    rows = [
        (
            str(entry.version),
            str(entry.revision),
            stamp(entry.written_at),
            entry.author,
            _trust(entry),
            "(deleted)" if entry.deleted else brief(entry.value),
        )
        for entry in page.items
    ]
    common.out.table(("version", "revision", "written", "author", "trust", "value…"), rows, empty="No versions.")
    common.out.more(page.cursor)


@app.command
def diff(
    namespace: str,
    since: Annotated[int, Parameter(help="A revision.")],
    until: Annotated[int | None, Parameter(help="A later revision; now, when left out.")] = None,
    /,
    *,
    common: Common = EVERYWHERE,
) -> None:
    """Show what became of each key between two revisions."""
    with common.connect() as plane:
        found = list(plane.state.diff(namespace, since, until))
    if common.json:
        common.out.page(found, None)
        return
    rows = [
        (each.key, each.change, f"{brief(each.before) or '(absent)'} -> {brief(each.after) or '(absent)'}")
        for each in found
    ]
    common.out.table(("key", "change", "before and after…"), rows, empty="Nothing changed.")


@app.command
def watch(
    namespace: str,
    /,
    *,
    prefix: Annotated[str, flag("Only keys that begin like this.")] = "",
    after: Annotated[int | None, Parameter(help="Begin after this revision; now, when left out.")] = None,
    common: Common = EVERYWHERE,
) -> None:
    """Print every change as it happens, in order and without gaps, until Ctrl-C."""
    with common.connect() as plane:
        for change in plane.state.watch(namespace, prefix=prefix, after=after):
            if common.json:
                common.out.line(change)
            else:
                value = "" if change.kind != "set" else brief(change.entry.value)
                at = stamp(change.entry.written_at)
                common.out.say(f"{change.revision}  {at}  {change.kind}  {change.key}  {value}".rstrip())
                common.out.flush()


def _trust(entry: Entry) -> str:
    return entry.trust if entry.trust == entry.origin else f"{entry.trust} ({entry.origin})"
