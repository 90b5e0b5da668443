"""Keys and actors, as an administrator manages them."""

from __future__ import annotations

from collections.abc import Sequence

from agentmemo.client._async.pages import AsyncPage
from agentmemo.client._async.plane import AsyncPlane
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


class AsyncKeys:
    """Credentials for HTTP. A secret is shown once, in the answer that made it."""

    def __init__(self, plane: AsyncPlane) -> None:
        self._plane = plane

    async def create(
        self,
        kind: str,
        actor: str,
        *,
        label: str = "",
        grants: Sequence[Grant] | None = None,
        expires_in_days: float | None = 90.0,
    ) -> Key:
        """A new key of kind agent, person or service. Nobody can grant more than they hold."""
        return await self._plane.call(
            CreateKey(
                kind=kind,
                actor=actor,
                label=label,
                grants=None if grants is None else [*grants],
                expires_in_days=expires_in_days,
            )
        )

    async def list(self) -> AsyncPage[Key]:
        return await self._plane.page(ListKeys())

    async def revoke(self, id: str, *, reason: str = "") -> Key:
        """End a key now. Idempotent."""
        return await self._plane.call(RevokeKey(id=id, reason=reason))

    async def rotate(self, id: str, *, overlap_hours: float = 24.0) -> Key:
        """A successor with the same rights; the old key ends after the overlap."""
        return await self._plane.call(RotateKey(id=id, overlap_hours=overlap_hours))

    async def whoami(self) -> Identity:
        return await self._plane.call(Identify())

    async def actors(self) -> AsyncPage[Actor]:
        return await self._plane.page(ListActors())

    async def disable(self, name: str, *, kind: str = "agent", reason: str = "") -> Actor:
        """The kill switch: refuse every call of an actor and free what it holds."""
        return await self._plane.call(SetActorDisabled(name=name, kind=kind, disabled=True, reason=reason))

    async def enable(self, name: str, *, kind: str = "agent", reason: str = "") -> Actor:
        return await self._plane.call(SetActorDisabled(name=name, kind=kind, disabled=False, reason=reason))
