"""Events: the audit trail's leaves, final from the first commit.

A leaf is RFC 8785 JSON (members sorted, no spaces; every number is an integer below 2^53), at most 8 KiB. It
holds commitments to content, never content: HMAC-SHA256 under a random 256-bit salt that lies beside the leaf,
so that content and salt can be erased while every proof holds.
"""

from __future__ import annotations

import binascii
import hashlib
from typing import Annotated

import msgspec

from agentmemo import ids
from agentmemo.errors import LimitExceeded
from agentmemo.model.wire import Request, Response, one_of

LEAF_VERSION = 1
LEAF_BYTES_MAX = 8192
GENESIS = ""
DONE, DENIED, NOT_SENT = "ok", "denied", "failed"
OUTCOMES = (DONE, DENIED, NOT_SENT)
# Events that no operation is called like, by noun: what time does, and what one operation does to several things.
_BESIDE = {
    "actor": "enable",
    "escalation": "apply auto_decide climb decide default inhibit join lapse prune raise release supersede "
    "uninhibit warn",
    "evidence": "demote promote reject reset trial",
    "guard": "suspend",
    "handoff": "accept bury expire offer park pass prune readdress receive reject submit wake work",
    "ledger": "lose model_mismatch",
    "note": "decision finding tried",
    "notification": "fail send",
    "run": "ask claim overdue prune takeover wake",
    "state": "expire",
    "step": "doubt",
    "task": "schedule",
    "workflow": "execute",
}
EVENTS_BESIDE = frozenset(f"{noun}.{act}" for noun, acts in _BESIDE.items() for act in acts.split())
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_LEAF_PREFIX = b"\x00"  # RFC 6962: leaves and inner nodes are hashed in different domains


class Leaf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The canonical form of an event. Field order is the order of RFC 8785; a test holds it there."""

    actor: dict[str, str]
    at: int
    behalf: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    commitments: dict[str, str] = {}
    count: int | None = None
    door: str
    epoch: int | None = None
    from_version: int | None = None
    id: str
    operation: str
    outcome: str
    previous: str
    request: str | None = None
    run: str | None = None
    sequence: int
    step: str | None = None
    stream: str
    subject: dict[str, str]
    to_version: int | None = None
    v: int
    workspace: str


class Event(Response, kw_only=True):
    """One entry of the trail. `hash` is SHA-256 of 0x00 and the leaf; `previous_hash` that of the stream's last."""

    id: str
    stream: str
    sequence: int
    revision: int
    previous_hash: str
    hash: str
    at: int
    actor: str
    on_behalf_of: list[str]
    operation: str
    outcome: str
    subject: dict[str, str]
    from_version: int | None = None
    to_version: int | None = None
    run: str | None = None
    step: str | None = None
    epoch: int | None = None
    reason: str = ""
    causes: list[str] = []
    commitments: dict[str, str] = {}
    count: int | None = None
    door: str = ""


class ListEvents(Request, kw_only=True):
    """Filter the trail; times are UTC microseconds. `after` and `wait_seconds` follow it as it grows."""

    run: str | None = None
    actor: str | None = None
    type: str | None = None
    namespace: str | None = None
    outcome: Annotated[str, one_of(OUTCOMES)] | None = None
    since: int | None = None
    until: int | None = None
    text: str | None = None
    after: int | None = None
    newest_first: bool = False
    wait_seconds: float = 0.0
    cursor: str | None = None
    limit: int = 100


class GetEvent(Request, kw_only=True):
    id: str


class VerifyTrail(Request, kw_only=True):
    """Check every stream's chain: sequence without gaps, each leaf's `previous` the hash of the one before."""


class TrailCheck(Response, kw_only=True):
    events: int
    streams: int
    intact: bool
    first_fault: str = ""


_encoder = msgspec.json.Encoder()
_leaf_decoder = msgspec.json.Decoder(Leaf)


def encode_leaf(leaf: Leaf) -> bytes:
    content = _encoder.encode(leaf)
    if len(content) > LEAF_BYTES_MAX:
        raise LimitExceeded(
            f"The event of {leaf.operation} would have {len(content)} bytes; {LEAF_BYTES_MAX} is the most.",
            next_call="Use shorter names and keys.",
        )
    return content


def decode_leaf(content: bytes) -> Leaf:
    return _leaf_decoder.decode(content)


def leaf_hash(content: bytes) -> str:
    """Hex SHA-256 of the RFC 6962 leaf."""
    return hashlib.sha256(_LEAF_PREFIX + content).hexdigest()


def commit(field: str, content: bytes, salt: bytes) -> str:
    """The commitment to one field, separated by its name."""
    digest = ids.keyed_hash(salt, field.encode() + b"\x00" + content)
    return binascii.b2a_base64(digest, newline=False).translate(_URL_SAFE, b"=").decode()
