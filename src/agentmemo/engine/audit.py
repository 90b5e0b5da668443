"""The trail: the one function that records an event, and the questions one can ask of the trail."""

from __future__ import annotations

from typing import Any

from agentmemo import ids
from agentmemo.api.operations import BY_NAME
from agentmemo.crashpoints import reach
from agentmemo.engine.call import Call, not_found
from agentmemo.errors import InvalidInput, RevisionGone
from agentmemo.model import audit as model
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.model.state import PAGE_MAX
from agentmemo.model.values import encode_sorted
from agentmemo.model.wire import unknown_word
from agentmemo.store import access as access_rows
from agentmemo.store import audit as rows
from agentmemo.store.blobs import Packed
from agentmemo.store.database import Head, Row, Transaction

Content = bytes | Packed
VERIFY_BATCH = 5000
EVENTS = model.EVENTS_BESIDE | set(BY_NAME)
# (of one stream, newest first) -> query
EVENT_QUERIES = {
    (False, False): "event_list",
    (False, True): "event_list_newest",
    (True, False): "event_list_of_stream",
    (True, True): "event_list_of_stream_newest",
}


def record(
    tx: Transaction,
    call: Call,
    operation: str,
    subject: dict[str, str],
    *,
    stream: str | None = None,
    namespace: int | None = None,
    from_version: int | None = None,
    to_version: int | None = None,
    contents: dict[str, Content] | None = None,
    reason: str = "",
    outcome: str = model.DONE,
    step: str | None = None,
    epoch: int | None = None,
    causes: tuple[str, ...] = (),
    count: int | None = None,
    begins: bool = False,
) -> int:
    """Write one event in this transaction and return its position.

    `contents` are committed to, not kept (their bytes lie in the noun's own row); `reason` is kept beside the leaf.
    The stream is the run's when the call is about one or made under a claim, else this process's incarnation. `begins`
    says that it is new, so that nobody looks for its last event.
    """
    reach("audit.before_event")
    caller = call.caller
    claim = caller.claim
    if stream is None:
        stream = claim.run if claim else call.engine.stream_of(call.workspace)
    if claim and stream == claim.run and epoch is None:
        epoch, step = claim.epoch, step or claim.step
    head = None if begins else tx.head(stream)
    commitments, beside = _commit(contents or {}, reason)
    actor = {"kind": caller.kind, "name": caller.name}
    leaf = model.Leaf(
        actor={"key": caller.key, **actor} if caller.key else actor,
        at=tx.now,
        behalf=caller.on_behalf_of,
        causes=causes,
        commitments=commitments,
        count=count,
        door=caller.door,
        epoch=epoch,
        from_version=from_version,
        id=ids.mint("evt", tx.now),
        operation=operation,
        outcome=outcome,
        previous=head.hash if head else model.GENESIS,
        request=caller.request_id,
        run=claim.run if claim and claim.run != stream else None,
        sequence=head.sequence + 1 if head else 1,
        step=step,
        stream=stream,
        subject=dict(sorted(subject.items())),
        to_version=to_version,
        v=model.LEAF_VERSION,
        workspace=caller.workspace,
    )
    return _append(tx, call, leaf, namespace, beside)


def _append(
    tx: Transaction, call: Call, leaf: model.Leaf, namespace: int | None, beside: dict[str, tuple[bytes, str | None]]
) -> int:
    content = model.encode_leaf(leaf)
    position = tx.next_position(call.workspace)
    tx.write(
        "event_add",
        position=position,
        id=leaf.id,
        stream=leaf.stream,
        sequence=leaf.sequence,
        at=leaf.at,
        actor=call.actor,
        operation=leaf.operation,
        outcome=leaf.outcome,
        namespace=namespace,
        leaf=content,
        payload=rows.encode_payload(beside),
    )
    tx.set_head(leaf.stream, Head(leaf.sequence, model.leaf_hash(content)))
    call.events += 1
    reach("audit.after_event")
    return position


def _commit(contents: dict[str, Content], reason: str) -> tuple[dict[str, str], dict[str, tuple[bytes, str | None]]]:
    """(field -> commitment in canonical order, field -> what lies beside the leaf and may be erased)."""
    commitments: dict[str, str] = {}
    beside: dict[str, tuple[bytes, str | None]] = {}
    for field, content in sorted(({**contents, "reason": reason.encode()} if reason else contents).items()):
        if isinstance(content, Packed) and content.commitment:
            commitments[field], salt = content.commitment, content.salt
        else:
            salt = ids.salt()
            source = content.source if isinstance(content, Packed) else content
            commitments[field] = model.commit(field, source, salt)
        beside[field] = (salt, reason if field == "reason" else None)
    return commitments, beside


def revision(position: int) -> int:
    return position & rows.REVISION_MASK


position_range = rows.position_range


def last_position(tx: Transaction, workspace: int) -> int:
    low, high = position_range(workspace)
    row = tx.one("event_last_position", low=low, high=high)
    return row[0] if row and row[0] else low


def span_after(tx: Transaction, call: Call, after: int | None) -> tuple[int, int]:
    """The positions of what happened after a revision, as (low, last]; None means now.

    Raises RevisionGone below what retention kept, and above the newest: that was lost, so "nothing" would be a lie.
    """
    last = last_position(tx, call.workspace)
    if after is None:
        return last, last
    if after < 0:
        raise InvalidInput(
            f"A revision is 0 or more, not {after}.",
            next_call="Send the revision of an answer, or 0 for the beginning.",
        )
    floor = revision(access_rows.floor(tx, call.caller.workspace))
    if after < floor:
        raise RevisionGone(
            f"Revision {after} was compacted away; history is whole from {floor}.",
            why="Retention removed older versions.",
            next_call=f"Read the current state, then watch with after={floor} or later.",
            details={"oldest": floor},
        )
    low, _ = position_range(call.workspace)
    _check_happened(low + after, last)
    return low + after, last


def position_of(tx: Transaction, call: Call, after: int | None) -> int:
    """The position of a revision; None means now. Raises as `span_after`."""
    return span_after(tx, call, after)[0]


def _check_happened(position: int, last: int) -> None:
    if position > last:
        newest = revision(last)
        raise RevisionGone(
            f"Revision {position - last + newest} has not happened; the newest is {newest}.",
            why="If the store was restored from a backup, what came after that is lost, and it counts on from there.",
            next_call=f"Read the current state, then go on after {newest}.",
            details={"newest": newest},
        )


def events(tx: Transaction, call: Call, request: model.ListEvents) -> Page:
    if not 1 <= request.limit <= PAGE_MAX:
        raise InvalidInput(f"limit is 1 to {PAGE_MAX}, not {request.limit}.", next_call="Use the cursor for more.")
    _check_type(request.type or "*")
    low, high = position_range(call.workspace)
    bound = _filter(request)
    position = read_cursor(request.cursor, "audit.events", bound, 0)
    actor = call.engine.names.find_actor(tx, call.workspace, request.actor) if request.actor else None
    namespace = call.namespace(tx, request.namespace) if request.namespace else None
    if (request.actor and actor is None) or (request.namespace and namespace is None):
        return Page(items=[])
    patterns = call.readable()
    parameters: dict[str, Any] = {
        "actor": actor,
        "operation": request.type or None,
        "outcome": request.outcome,
        "namespace": namespace,
        "since": request.since,
        "until": request.until,
        "text": request.text.lower() if request.text else None,
        "everything": int(patterns is None),
        "readable": _readable_ids(tx, call, patterns),
        "limit": request.limit + 1,
    }
    if request.run is not None:
        parameters["stream"] = request.run
    if request.newest_first:
        high = min(high, position - 1) if position else high
    elif position:
        _check_happened(position, last_position(tx, call.workspace))
        low = max(low, position)  # a cursor that was made up leads into no other workspace
    elif request.after is not None:
        low = position_of(tx, call, request.after)
    query = EVENT_QUERIES[request.run is not None, request.newest_first]
    found = tx.all(query, low=low, high=high, **parameters)
    items = [rows.event_of(row) for row in found[: request.limit]]
    more = len(found) > request.limit
    cursor = make_cursor("audit.events", bound, found[request.limit - 1][0]) if more else None
    return Page(items=items, cursor=cursor)


def get(tx: Transaction, call: Call, request: model.GetEvent) -> model.Event:
    low, high = position_range(call.workspace)
    patterns = call.readable()
    row = tx.one(
        "event_get",
        id=request.id,
        low=low,
        high=high,
        everything=int(patterns is None),
        readable=_readable_ids(tx, call, patterns),
    )
    if row is None:
        raise not_found("event", request.id)
    return rows.event_of(row)


def verify(tx: Transaction, call: Call, _request: model.VerifyTrail) -> model.TrailCheck:
    """Walk the whole trail once; positions, sequences and hashes must join without a gap."""
    low, high = position_range(call.workspace)
    heads: dict[str, tuple[int, str]] = {}
    expected, count = low + 1, 0
    while batch := tx.all("event_leaves", low=expected - 1, high=high, limit=VERIFY_BATCH):
        for row in batch:
            if fault := _fault(row, heads, expected):
                return model.TrailCheck(events=count, streams=len(heads), intact=False, first_fault=fault)
            expected += 1
            count += 1
    return model.TrailCheck(events=count, streams=len(heads), intact=True)


def _fault(row: Row, heads: dict[str, tuple[int, str]], expected: int) -> str:
    position, stream, sequence, content = row
    leaf = model.decode_leaf(content)
    before, previous = heads.get(stream, (0, model.GENESIS))
    where = f"revision {revision(position)} ({leaf.id})"
    if position != expected:
        return f"Revisions {revision(expected)} to {revision(position) - 1} are missing."
    if (leaf.sequence, leaf.stream) != (sequence, stream) or sequence != before + 1:
        return f"{where}: sequence {sequence} of {stream} follows {before}."
    if leaf.previous != previous:
        return f"{where}: the chain of {stream} is broken; the event before it was changed or removed."
    heads[stream] = (sequence, model.leaf_hash(content))
    return ""


def _check_type(wanted: str) -> None:
    """Raise InvalidInput for a type that no event has; `run.*` is any that begins so."""
    if wanted in EVENTS or (wanted.endswith("*") and any(name.startswith(wanted[:-1]) for name in EVENTS)):
        return
    noun = wanted.partition(".")[0]
    of_noun = sorted(name for name in EVENTS if name.startswith(f"{noun}."))
    raise unknown_word("type", wanted, of_noun or sorted({f"{name.partition('.')[0]}.*" for name in EVENTS}))


def _filter(request: model.ListEvents) -> list[Any]:
    return [
        request.run,
        request.actor,
        request.type,
        request.namespace,
        request.outcome,
        request.since,
        request.until,
        request.text,
        request.newest_first,
    ]


def _readable_ids(tx: Transaction, call: Call, patterns: list[str] | None) -> str:
    if patterns is None:
        return "[]"
    known = call.engine.names.all_namespaces(tx, call.workspace)
    return encode_sorted([number for name, number in known.items() if call.may("state:read", name)]).decode()
