"""State: set, get, delete, list, search, history, diff and watch."""

from __future__ import annotations

from typing import Any

from agentmemo.clock import SECOND
from agentmemo.engine import audit
from agentmemo.engine.call import Call, not_found
from agentmemo.errors import InvalidInput, NotFound, RevisionGone, VersionConflict
from agentmemo.model import state as model
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.values import decode, encode_sorted
from agentmemo.store import blobs
from agentmemo.store import state as rows
from agentmemo.store.blobs import NOTHING, Packed
from agentmemo.store.database import Transaction

DIFF_MAX = 10_000
_SNIPPET_AROUND = 60
TTL_SECONDS_MAX = 10 * 365 * 86400


def set_(tx: Transaction, call: Call, request: model.SetEntry) -> model.Entry:
    packed: Packed = request.value
    trust = model.trust_of(request.origin, call.caller.kind)
    namespace = _interned(tx, call, request.namespace)
    found = rows.head(tx, namespace, request.key)
    _check_version(tx, found, request.if_version, request.namespace, request.key)
    expires_at = _expiry(tx, request.ttl_seconds)
    before = found.version if found else 0
    position = audit.record(
        tx,
        call,
        "state.set",
        {"kind": "entry", "namespace": request.namespace, "key": request.key},
        namespace=namespace,
        from_version=before,
        to_version=before + 1,
        contents={"value": packed},
    )
    run = call.caller.claim.run if call.caller.claim else None
    version = rows.append_version(
        tx,
        found,
        namespace=namespace,
        key=request.key,
        position=position,
        kind="set",
        author=call.actor,
        run=run,
        expires_at=expires_at,
        origin=request.origin,
        packed=packed,
    )
    return model.Entry(
        namespace=request.namespace,
        key=request.key,
        value=packed.original,
        version=version,
        revision=audit.revision(position),
        author=call.caller.actor,
        written_at=tx.now,
        origin=request.origin,
        trust=trust,
        run=run,
        expires_at=expires_at,
        size_bytes=packed.size,
    )


def get(tx: Transaction, call: Call, request: model.GetEntry) -> model.Entry:
    if request.version is not None and request.as_of is not None:
        raise InvalidInput(
            "An entry is read by `version` or `as_of` a revision, not both.",
            next_call="Leave one out: `as_of` finds the version of its moment.",
        )
    position = audit.position_of(tx, call, request.as_of) if request.as_of is not None else None
    namespace = call.namespace(tx, request.namespace)
    row: rows.VersionRow | None = None
    if namespace is None:
        pass
    elif request.version is not None:
        row = rows.get_version(tx, namespace, request.key, request.version)
    elif position is not None:
        row = _as_of(tx, namespace, request.key, position)
    else:
        row = rows.get(tx, namespace, request.key)
    if row is None or row.kind != "set":
        raise _absent(tx, namespace, request)
    return entry_view(tx, call, request.namespace, row)


def delete(tx: Transaction, call: Call, request: model.DeleteEntry) -> model.Entry:
    namespace = _interned(tx, call, request.namespace)
    found = rows.head(tx, namespace, request.key)
    _check_version(tx, found, request.if_version, request.namespace, request.key)
    if found is None or not _is_live(tx, found):
        raise _no_entry(request.namespace, request.key)
    position = remove(
        tx, call, found, namespace=namespace, namespace_name=request.namespace, key=request.key, kind="delete"
    )
    row = rows.get_version(tx, namespace, request.key, found.version + 1)
    assert row is not None and row.position == position  # noqa: S101, PT018 - just written
    return entry_view(tx, call, request.namespace, row)


def remove(
    tx: Transaction, call: Call, found: rows.EntryHead, *, namespace: int, namespace_name: str, key: str, kind: str
) -> int:
    """Append the version that ends a key: by `delete`, or by `expire` when its time is over."""
    position = audit.record(
        tx,
        call,
        f"state.{kind}",
        {"kind": "entry", "namespace": namespace_name, "key": key},
        namespace=namespace,
        from_version=found.version,
        to_version=found.version + 1,
    )
    rows.append_version(
        tx,
        found,
        namespace=namespace,
        key=key,
        position=position,
        kind=kind,
        author=call.actor,
        run=call.caller.claim.run if call.caller.claim else None,
        expires_at=None,
        origin="agent",
        packed=NOTHING,
    )
    return position


def list_(tx: Transaction, call: Call, request: model.ListEntries) -> Page:
    limit = check_limit(request.limit)
    bound = [request.namespace, request.prefix]
    after = read_cursor(request.cursor, "state.list", bound, "")
    namespace = call.namespace(tx, request.namespace)
    found = rows.list_live(tx, namespace, request.prefix, after, limit + 1) if namespace is not None else []
    items = [entry_view(tx, call, request.namespace, row) for row in found[:limit]]
    cursor = make_cursor("state.list", bound, found[limit - 1].key) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def namespaces(tx: Transaction, call: Call, request: model.ListNamespaces) -> Page:
    limit = check_limit(request.limit)
    after = read_cursor(request.cursor, "state.namespaces", request.prefix, "")
    low, high = rows.prefix_range(request.prefix)
    found = tx.all(
        "entry_count_by_namespace",
        workspace=call.workspace,
        low=low,
        high=high,
        after=after,
        now=tx.now,
        limit=limit + 1,
        **_patterns(call),
    )
    items = [model.NamespaceInfo(name=name, entries=count) for name, count in found[:limit]]
    cursor = make_cursor("state.namespaces", request.prefix, found[limit - 1][0]) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def search(tx: Transaction, call: Call, request: model.SearchEntries) -> Page:
    """Words match as prefixes, all of them must occur; the index lags by less than a second."""
    limit = check_limit(request.limit)
    words = model.words_of(request.text, fold=not call.engine.database.capabilities.search_folds)
    if not words:
        raise InvalidInput("The search text holds no word.", next_call="Search for at least one word.")
    bound = [request.text, request.namespace]
    offset = read_cursor(request.cursor, "state.search", bound, 0)
    found = tx.all(
        "entry_search",
        words=encode_sorted(words).decode(),
        workspace=call.workspace,
        namespace=request.namespace,
        now=tx.now,
        limit=limit + 1,
        offset=offset,
        **_patterns(call),
    )
    items = []
    for _, namespace, *columns in found[:limit]:
        entry = entry_view(tx, call, namespace, rows.VersionRow(*columns))
        items.append(model.Match(entry=entry, snippet=_snippet(entry, words)))
    cursor = make_cursor("state.search", bound, offset + limit) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def history(tx: Transaction, call: Call, request: model.ListVersions) -> Page:
    limit = check_limit(request.limit)
    bound = [request.namespace, request.key]
    before = read_cursor(request.cursor, "state.history", bound, 1 << 60)
    namespace = call.namespace(tx, request.namespace)
    found = rows.list_history(tx, namespace, request.key, before, limit + 1) if namespace is not None else []
    if not found and request.cursor is None:
        raise _no_entry(request.namespace, request.key)
    items = [entry_view(tx, call, request.namespace, row) for row in found[:limit]]
    cursor = make_cursor("state.history", bound, found[limit - 1].version) if len(found) > limit else None
    return Page(items=items, cursor=cursor)


def diff(tx: Transaction, call: Call, request: model.DiffNamespace) -> Page:
    low = audit.position_of(tx, call, request.since)
    high = audit.position_of(tx, call, request.until)
    if high < low:
        raise InvalidInput(
            f"`until` ({request.until}) is before `since` ({request.since}).",
            next_call="Send the earlier one as `since`.",
        )
    namespace = call.namespace(tx, request.namespace)
    if namespace is None:
        return Page(items=[])
    keys = tx.all("entry_changed_between", low=low, high=high, namespace=namespace, limit=DIFF_MAX)
    items = []
    for (key,) in keys:
        before = _live_as_of(_as_of(tx, namespace, key, low))
        after = _live_as_of(_as_of(tx, namespace, key, high))
        if before or after:
            items.append(_difference(tx, call, key, before, after))
    return Page(items=items)


def watch(tx: Transaction, call: Call, request: model.WatchNamespace) -> model.Changes:
    limit = check_limit(request.limit)
    low, high = audit.span_after(tx, call, request.after)
    namespace = call.namespace(tx, request.namespace)
    found = rows.list_changes(tx, namespace, request.prefix, low, high, limit) if namespace is not None else []
    changes = [
        model.Change(
            revision=audit.revision(row.position),
            namespace=request.namespace,
            key=row.key,
            version=row.version,
            kind=row.kind,
            entry=entry_view(tx, call, request.namespace, row),
        )
        for row in found
    ]
    # A full page may have more behind it; else everything up to `high` has been looked at.
    following = changes[-1].revision if len(changes) == limit else audit.revision(high)
    return model.Changes(changes=changes, next=following)


def check_limit(limit: int) -> int:
    if not 1 <= limit <= model.PAGE_MAX:
        raise InvalidInput(f"limit is 1 to {model.PAGE_MAX}, not {limit}.", next_call="Use the cursor for more.")
    return limit


def _interned(tx: Transaction, call: Call, name: str) -> int:
    namespace = call.namespace(tx, name)
    if namespace is None:
        raise not_found("namespace", name)
    return namespace


def _absent(tx: Transaction, namespace: int | None, request: model.GetEntry) -> NotFound:
    found = rows.head(tx, namespace, request.key) if namespace is not None else None
    if found is None or request.version is None:
        return _no_entry(request.namespace, request.key)
    deleted = request.version <= found.version
    return NotFound(
        f"{request.namespace}/{request.key} has no value as version {request.version}.",
        why="That version ended the key, or was compacted away." if deleted else f"Its last one is {found.version}.",
        next_call=f"See its versions: agent.state.history({request.namespace!r}, {request.key!r}).",
    )


def _no_entry(namespace: str, key: str) -> NotFound:
    return not_found("entry", f"{namespace}/{key}", f"agent.state.list({namespace!r})")


def _is_live(tx: Transaction, found: rows.EntryHead) -> bool:
    return bool(found.live) and (found.expires_at is None or found.expires_at > tx.now)


def _check_version(
    tx: Transaction, found: rows.EntryHead | None, expected: int | None, namespace: str, key: str
) -> None:
    if expected is None:
        return
    current = found.version if found and _is_live(tx, found) else 0
    if current != expected:
        raise VersionConflict(
            f"{namespace}/{key} has version {current}, not {expected}."
            if current
            else f"{namespace}/{key} is absent; version {expected} was expected.",
            why=_why_other(found, expected, current),
            next_call=f"Read agent.state.entry({namespace!r}, {key!r}), decide again, and send if_version={current}."
            if current
            else f"See what there is, agent.state.list({namespace!r}); if_version=0 writes a key that is absent.",
            details={"expected": expected, "current": current},
        )


def _why_other(found: rows.EntryHead | None, expected: int, current: int) -> str:
    if expected == 0:
        return "if_version=0 means that the key must be absent."
    if found is None:
        return "It was never written."
    if expected > found.version:
        return f"It has never come to that version; its last one is {found.version}."
    return "Somebody wrote it meanwhile." if current else "It was deleted meanwhile, or its time ended."


def _expiry(tx: Transaction, ttl_seconds: float | None) -> int | None:
    if ttl_seconds is None:
        return None
    if not 0 < ttl_seconds <= TTL_SECONDS_MAX:
        raise InvalidInput(
            f"ttl_seconds is above 0 and at most {TTL_SECONDS_MAX}, not {ttl_seconds}.",
            next_call="Leave it out for an entry that does not expire.",
        )
    return tx.now + round(ttl_seconds * SECOND)


def entry_view(tx: Transaction, call: Call, namespace: str, row: rows.VersionRow) -> model.Entry:
    content = blobs.unpack(tx, call.workspace, row.codec, row.value, row.blob)
    return model.Entry(
        namespace=namespace,
        key=row.key,
        value=decode(content) if content else None,
        version=row.version,
        revision=audit.revision(row.position),
        author=call.engine.names.actor_name(tx, call.workspace, row.author),
        written_at=row.at,
        origin=row.origin,
        trust=model.TRUST_BY_ORIGIN[row.origin],
        run=row.run,
        expires_at=row.expires_at,
        size_bytes=row.size,
        deleted=row.kind != "set",
    )


def _as_of(tx: Transaction, namespace: int, key: str, position: int) -> rows.VersionRow | None:
    """The version of a moment. Raises RevisionGone where retention removed it: that is not the same as absent."""
    row = rows.get_recent_as_of(tx, namespace, key, position)
    if row is not None:
        return row
    version, oldest = tx.one("entry_oldest", namespace=namespace, key=key) or (1, position + 1)
    if oldest <= position:
        return rows.find_as_of(tx, namespace, key, position)
    if version > 1:
        raise RevisionGone(
            f"The version of {key!r} at revision {audit.revision(position)} was compacted away.",
            why="Retention removed older versions.",
            next_call=f"Read it as of revision {audit.revision(oldest)} or later.",
            details={"oldest": audit.revision(oldest)},
        )
    return None


def _live_as_of(row: rows.VersionRow | None) -> rows.VersionRow | None:
    return row if row and row.kind == "set" else None


def _difference(
    tx: Transaction, call: Call, key: str, before: rows.VersionRow | None, after: rows.VersionRow | None
) -> model.Difference:
    def value(row: rows.VersionRow | None) -> Any:
        return entry_view(tx, call, "", row).value if row else None

    kind = "changed" if before and after else "added" if after else "removed"
    return model.Difference(
        key=key,
        change=kind,
        before=value(before),
        after=value(after),
        before_version=before.version if before else None,
        after_version=after.version if after else None,
    )


def _patterns(call: Call) -> dict[str, Any]:
    patterns = call.readable()
    return {"everything": int(patterns is None), "patterns": encode_sorted(patterns or []).decode()}


def _snippet(entry: model.Entry, words: list[str]) -> str:
    text = f"{entry.key}: {encode_sorted(entry.value).decode()}"
    at = next((found for word in words if (found := text.lower().find(word.lower())) >= 0), 0)
    start = max(0, at - _SNIPPET_AROUND)
    return ("…" if start else "") + text[start : at + 2 * _SNIPPET_AROUND]
