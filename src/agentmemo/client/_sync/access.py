# Generated from client/_async by scripts/generate_sync.py; edit there.
"""Keys and actors, as an administrator manages them."""

from __future__ import annotations

from collections.abc import Sequence

from agentmemo.client._sync.pages import Page
from agentmemo.client._sync.plane import Plane
from agentmemo.model.access import (
    Actor,
    CreateKey,
    Grant,
    Identify,
    Identity,
    Key,
    ListActors,
    ListKeys,
    RevokeKey,
    RotateKey,
    SetActorDisabled,
)


class Keys:
    """Credentials for HTTP. A secret is shown once, in the answer that made it."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def create(
        self,
        kind: str,
        actor: str,
        *,
        label: str = "",
        grants: Sequence[Grant] | None = None,
        expires_in_days: float | None = 90.0,
    ) -> Key:
        """A new key of kind agent, person or service. Nobody can grant more than they hold."""
        return self._plane.call(
            CreateKey(
                kind=kind,
                actor=actor,
                label=label,
                grants=None if grants is None else [*grants],
                expires_in_days=expires_in_days,
            )
        )

    def list(self) -> Page[Key]:
        return self._plane.page(ListKeys())

    def revoke(self, id: str, *, reason: str = "") -> Key:
        """End a key now. Idempotent."""
        return self._plane.call(RevokeKey(id=id, reason=reason))

    def rotate(self, id: str, *, overlap_hours: float = 24.0) -> Key:
        """A successor with the same rights; the old key ends after the overlap."""
        return self._plane.call(RotateKey(id=id, overlap_hours=overlap_hours))

    def whoami(self) -> Identity:
        return self._plane.call(Identify())

    def actors(self) -> Page[Actor]:
        return self._plane.page(ListActors())

    def disable(self, name: str, *, kind: str = "agent", reason: str = "") -> Actor:
        """The kill switch: refuse every call of an actor and free what it holds."""
        return self._plane.call(SetActorDisabled(name=name, kind=kind, disabled=True, reason=reason))

    def enable(self, name: str, *, kind: str = "agent", reason: str = "") -> Actor:
        return self._plane.call(SetActorDisabled(name=name, kind=kind, disabled=False, reason=reason))
