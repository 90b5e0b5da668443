"""Events as rows: the final leaf, and beside it what may be erased."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.model.audit import Event, Leaf, decode_leaf, leaf_hash
from agentmemo.store.database import Row, Transaction

POSITION_BITS = 40
REVISION_MASK = (1 << POSITION_BITS) - 1
_payload_decoder = msgspec.msgpack.Decoder(dict[str, tuple[bytes, str | None]])
_payload_encoder = msgspec.msgpack.Encoder()


def position_range(workspace: int) -> tuple[int, int]:
    """(low, high] of a workspace's positions."""
    low = workspace << POSITION_BITS
    return low, low | REVISION_MASK


def encode_payload(fields: dict[str, tuple[bytes, str | None]]) -> bytes | None:
    """Field -> (salt, text or None where the content lies in another row)."""
    return _payload_encoder.encode(fields) if fields else None


def event_of(row: Row) -> Event:
    """The readable event of a row (position, leaf, payload)."""
    position, content, payload = row
    leaf: Leaf = decode_leaf(content)
    beside: dict[str, Any] = _payload_decoder.decode(payload) if payload else {}
    reason = beside.get("reason", (b"", ""))[1] or ""
    return Event(
        id=leaf.id,
        stream=leaf.stream,
        sequence=leaf.sequence,
        revision=position & REVISION_MASK,
        previous_hash=leaf.previous,
        hash=leaf_hash(content),
        at=leaf.at,
        actor=f"{leaf.actor['kind']}:{leaf.actor['name']}",
        on_behalf_of=list(leaf.behalf),
        operation=leaf.operation,
        outcome=leaf.outcome,
        subject=leaf.subject,
        from_version=leaf.from_version,
        to_version=leaf.to_version,
        run=leaf.stream if leaf.stream.startswith("run_") else leaf.run,
        step=leaf.step,
        epoch=leaf.epoch,
        reason=reason,
        causes=list(leaf.causes),
        commitments=leaf.commitments,
        count=leaf.count,
        door=leaf.door,
    )


def touched(tx: Transaction, low: int, high: int) -> list[tuple[str, str | None]]:
    """Which operations, and in which namespaces, the events between two positions are of."""
    return [(operation, namespace) for operation, namespace in tx.all("event_touched", low=low, high=high)]
