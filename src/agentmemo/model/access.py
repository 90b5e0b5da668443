"""Who acts and what they may do. Deny by default."""

from __future__ import annotations

import base64
import re
import zlib
from typing import Any

import msgspec

from agentmemo.errors import InvalidInput, NotAuthenticated
from agentmemo.model.kinds import described
from agentmemo.model.wire import Request, Response

KINDS = ("agent", "person", "service")
PERMISSIONS = (
    "state:read",
    "state:write",
    "runs:read",
    "runs:write",
    "runs:decide",
    "handoffs:read",
    "handoffs:write",
    "handoffs:admin",
    "escalations:read",
    "escalations:write",
    "escalations:answer",
    "ledger:read",
    "ledger:write",
    "ledger:cap",
    "policies:read",
    "policies:write",
    "workflows:read",
    "workflows:write",
    "workflows:execute",
    "workflows:move",
    "audit:read",
    "access:read",
    "access:admin",
    "system:read",
    "system:admin",
)
# What nobody may hold but a person: deciding for the people an agent asked, now or beforehand.
PERSON_ONLY = frozenset({"runs:decide", "escalations:answer", "policies:write", "ledger:cap"})
ACTOR = re.compile(r"^[\w.@:+-]{1,128}\Z")
_KEY = re.compile(r"^am_(agent|person|service)_([0-9a-z]{8})_([0-9A-Za-z_-]{43})_([0-9a-f]{8})\Z")


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Permissions (`state:read`, `state:*`, `*`) on namespaces (`team/a`, `team/*`, `*`)."""

    permissions: tuple[str, ...]
    namespaces: tuple[str, ...] = ("*",)


EVERYTHING = Grant(permissions=("*",))
AGENT_DEFAULT = Grant(
    permissions=(
        "state:*", "runs:read", "runs:write", "handoffs:read", "handoffs:write", "escalations:read",
        "escalations:write", "ledger:read", "ledger:write", "policies:read", "workflows:read",
        "workflows:write", "workflows:execute", "audit:read", "system:read",
    )
)  # fmt: skip


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The right to write for a run: only the newest epoch is accepted."""

    run: str
    epoch: int
    step: str | None = None


class LinkUse(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time link that somebody came by, as the store knows it; `coded` where its code was typed and right."""

    hash: bytes
    coded: bool


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, with which rights, through which door, and under which claim."""

    workspace: str = "default"
    kind: str = "agent"
    name: str
    grants: tuple[Grant, ...] = ()
    key: str | None = None
    on_behalf_of: tuple[str, ...] = ()
    door: str = "python"
    worker: str | None = None
    claim: Claim | None = None
    request_id: str | None = None
    link: LinkUse | None = None

    @property
    def actor(self) -> str:
        return f"{self.kind}:{self.name}"


class Actor(Response, kw_only=True):
    name: str
    kind: str
    created_at: int
    disabled_at: int | None = None


class Key(Response, kw_only=True):
    """A credential's public part. `secret` is filled once, in the answer that created it."""

    id: str
    kind: str
    actor: str
    label: str
    grants: list[Grant]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    secret: str | None = None


class CreateKey(Request, kw_only=True):
    """A key for an actor. Without grants an agent gets the agent default and a person everything."""

    kind: str
    actor: str
    label: str = ""
    grants: list[Grant] | None = None
    expires_in_days: float | None = 90.0


class ListKeys(Request, kw_only=True):
    cursor: str | None = None
    limit: int = 100


class RevokeKey(Request, kw_only=True):
    id: str
    reason: str = ""


class RotateKey(Request, kw_only=True):
    """A second live key with the same rights; the old one ends after `overlap_hours`."""

    id: str
    overlap_hours: float = 24.0


class SetActorDisabled(Request, kw_only=True):
    """The kill switch: every call by this actor is refused, and its claims end."""

    name: str
    kind: str = "agent"
    disabled: bool = True
    reason: str = ""


class ListActors(Request, kw_only=True):
    cursor: str | None = None
    limit: int = 100


class Identify(Request, kw_only=True):
    """Asks who the caller is."""


class Identity(Response, kw_only=True):
    actor: str
    kind: str
    workspace: str
    grants: list[Grant]
    on_behalf_of: list[str] = []


def compose_key(kind: str, public_id: str, secret: bytes) -> str:
    """`am_<kind>_<id>_<43 base64url characters = 256 bits>_<crc32>`."""
    body = f"am_{kind}_{public_id}_{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"
    return f"{body}_{zlib.crc32(body.encode()):08x}"


def parse_key(text: str) -> tuple[str, str]:
    """(kind, public id) of a well-formed key; the checksum is verified before any look-up."""
    match = _KEY.fullmatch(text)
    if not match or f"{zlib.crc32(text.rpartition('_')[0].encode()):08x}" != match[4]:
        raise NotAuthenticated(
            "The key is malformed.",
            why="It does not have the form am_<kind>_<id>_<secret>_<checksum>, or was cut or mistyped.",
            next_call="Send the whole key as 'Authorization: Bearer am_...'.",
        )
    return match[1], match[2]


def allows(grants: tuple[Grant, ...], permission: str, namespace: str | None = None) -> bool:
    """True if some grant covers the permission and, where one is named, the namespace."""
    for grant in grants:
        if not _any_matches(grant.permissions, permission):
            continue
        if namespace is None or _any_matches(grant.namespaces, namespace):
            return True
    return False


def allowed_patterns(grants: tuple[Grant, ...], permission: str) -> list[str] | None:
    """Namespace patterns that a query may see, to be bound as parameters; None stands for all."""
    patterns = {
        pattern
        for grant in grants
        if any(_matches(given, permission) for given in grant.permissions)
        for pattern in grant.namespaces
    }
    return None if "*" in patterns else sorted(patterns)


def check_grants(grants: list[Grant], kind: str) -> None:
    """Refuse unknown permissions, empty patterns, and person-only rights for anyone else."""
    for grant in grants:
        if not grant.permissions or not grant.namespaces:
            raise InvalidInput(
                "A grant names at least one permission and one namespace pattern.",
                next_call="Use '*' for all of them.",
            )
        for permission in grant.permissions:
            known = permission == "*" or any(_matches(permission, name) for name in PERMISSIONS)
            if not known:
                raise InvalidInput(f"Unknown permission {permission!r}.", next_call=f"Use: {', '.join(PERMISSIONS)}.")
            if kind != "person" and any(_matches(permission, name) for name in PERSON_ONLY) and permission != "*":
                raise InvalidInput(
                    f"Only a person can hold {permission!r}.",
                    why="An agent can never answer for a person.",
                    next_call="Leave it out, or create a key of kind 'person'.",
                )
        for pattern in grant.namespaces:
            if not pattern or "*" in pattern[:-1]:
                raise InvalidInput(
                    f"Bad namespace pattern {pattern!r}.",
                    next_call="Use an exact namespace, or a prefix that ends in '*'.",
                )


def attenuates(child: list[Grant], parent: tuple[Grant, ...]) -> bool:
    """True if every right in `child` is contained in `parent`: rights are only ever handed on, never made."""
    return all(
        any(
            any(_covers(p, permission) for p in given.permissions)
            and any(_covers(p, namespace) for p in given.namespaces)
            for given in parent
        )
        for grant in child
        for permission in grant.permissions
        # No namespace still leaves the permissions that have none; they need a cover too.
        for namespace in grant.namespaces or ("*",)
    )


def _any_matches(patterns: tuple[str, ...], name: str) -> bool:
    # Asked at every call: what needs no comparing of beginnings goes first.
    return name in patterns or "*" in patterns or any(_matches(pattern, name) for pattern in patterns)


def _matches(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == name


def _covers(pattern: str, other: str) -> bool:
    if pattern.endswith("*"):
        return other.rstrip("*").startswith(pattern[:-1])
    return pattern == other


def check_actor(name: str, kind: str) -> None:
    if kind not in KINDS:
        raise InvalidInput(f"Unknown kind {kind!r}.", next_call=f"Use one of: {', '.join(KINDS)}.")
    if not ACTOR.fullmatch(name):
        raise InvalidInput(f"Bad actor name {name[:64]!r}.", next_call="Use 1 to 128 letters, digits and . @ : + - _.")


def grants_from(data: Any) -> tuple[Grant, ...]:
    return tuple(msgspec.convert(data, described(list[Grant])))
