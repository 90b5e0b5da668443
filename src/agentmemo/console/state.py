"""State: namespaces, their keys, an entry with its versions, and what changed between two of them."""

from __future__ import annotations

import difflib
from typing import Any

from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, pretty, sentence
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.model.state import Entry

PAGE = 50
VERSIONS = 50
DIFF_LINES_MAX = 4000


async def state(visit: Visit) -> Page:
    """Namespaces, or the keys of one."""
    namespace = visit.asked("namespace")
    if namespace is None:
        return await namespaces(visit)
    prefix = visit.asked("prefix") or ""
    page = await visit.connection.state.list(namespace, prefix=prefix, cursor=visit.asked("cursor"), limit=PAGE)
    entries = list(page.items)
    chosen = {"namespace": namespace, "prefix": prefix}
    data = {
        "namespace": namespace,
        "prefix": prefix,
        "entries": entries,
        "more": page.cursor and {**chosen, "cursor": page.cursor},
        "cursor": page.cursor,
        "headline": keys_headline(entries, prefix, more=page.cursor is not None),
    }
    return Page(template="keys.html", title=namespace, section="State", data=data)


async def namespaces(visit: Visit) -> Page:
    text = visit.asked("text")
    page = await visit.connection.state.namespaces()
    found = list(page.items)
    matches = list((await visit.connection.state.search(text)).items) if text else None
    total = sum(item.entries for item in found)
    headline = f"{sentence(count(total, 'entry', 'entries'))} in {count(len(found), 'namespace')}."
    if page.cursor is not None:
        headline = f"The first {len(found):,} namespaces."
    data = {
        "headline": headline if found else "Nothing is remembered here yet.",
        "namespaces": found,
        "text": text or "",
        "matches": matches,
    }
    return Page(template="namespaces.html", title="State", section="State", data=data)


async def entry(visit: Visit) -> Page:
    namespace, key = visit.asked("namespace"), visit.asked("key")
    if namespace is None or key is None:
        raise InvalidInput("An entry has a namespace and a key.", next_call="Choose one from the list of keys.")
    version, as_of, against = (number(visit, field) for field in ("version", "as_of", "against"))
    history = await visit.connection.state.history(namespace, key, cursor=visit.asked("cursor"), limit=VERSIONS)
    versions = list(history.items)
    shown = await found(visit, namespace, key, version=version, as_of=as_of, versions=versions)
    before = None
    if against is not None:
        before = await found(visit, namespace, key, version=against, as_of=None, versions=versions)
    data = {
        "entry": shown,
        "newest": versions[0].version if versions else shown.version,
        "asked_version": version,
        "as_of": as_of,
        "against": before,
        "diff": diff(before, shown) if before else None,
        "versions": versions,
        "older": history.cursor and {"namespace": namespace, "key": key, "cursor": history.cursor},
    }
    return Page(template="entry.html", title=f"{namespace} {key}", section="State", data=data)


async def found(
    visit: Visit, namespace: str, key: str, *, version: int | None, as_of: int | None, versions: list[Entry]
) -> Entry:
    """The asked version; without one the newest. Both may be the deletion, which only the history shows."""
    if version is not None and (listed := next((item for item in versions if item.version == version), None)):
        return listed
    try:
        return await visit.connection.state.entry(namespace, key, version=version, as_of=as_of)
    except NotFound:
        if version is None and as_of is None and versions:
            return versions[0]
        raise


def number(visit: Visit, field: str) -> int | None:
    text = visit.asked(field)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise InvalidInput(f"{field} is a whole number, not {text!r}.", next_call="Choose it from the versions.")
    return int(text)


def keys_headline(entries: list[Entry], prefix: str, *, more: bool) -> str:
    if not entries:
        return "No key begins with this." if prefix else "No key is here, or none that you may read."
    if more:
        return f"The first {len(entries)} keys of this list."
    return sentence(count(len(entries), "key")) + "."


def diff(before: Entry, after: Entry) -> list[dict[str, Any]] | None:
    """Lines that went, came and stayed; None where they are too many to compare."""
    old, new = ([] if entry.deleted else pretty(entry.value).splitlines() for entry in (before, after))
    if len(old) + len(new) > DIFF_LINES_MAX:
        return None
    kinds = {"-": "del", "+": "add", "@": "c"}
    lines = difflib.unified_diff(old, new, lineterm="", n=3)
    return [{"kind": kinds.get(line[:1], ""), "text": line} for line in lines if not line.startswith(("---", "+++"))]
