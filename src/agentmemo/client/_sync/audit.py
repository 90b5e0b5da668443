# Generated from client/_async by scripts/generate_sync.py; edit there.
"""The trail, as anybody with the right reads it."""

from __future__ import annotations

from agentmemo.client._sync.pages import Page
from agentmemo.client._sync.plane import Plane
from agentmemo.model.audit import Event, GetEvent, ListEvents, TrailCheck, VerifyTrail


class Audit:
    """Every change and every denial, in the order of commit."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def events(
        self,
        *,
        run: str | None = None,
        actor: str | None = None,
        type: str | None = None,
        namespace: str | None = None,
        outcome: str | None = None,
        since: int | None = None,
        until: int | None = None,
        text: str | None = None,
        after: int | None = None,
        newest_first: bool = False,
        wait_seconds: float = 0.0,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Event]:
        """Events that fit every filter, oldest first.

        `type` is an operation or a prefix such as `run.*`; times are UTC microseconds. `after` (a revision) with
        `wait_seconds` follows the trail as it grows.
        """
        return self._plane.page(
            ListEvents(
                run=run,
                actor=actor,
                type=type,
                namespace=namespace,
                outcome=outcome,
                since=since,
                until=until,
                text=text,
                after=after,
                newest_first=newest_first,
                wait_seconds=wait_seconds,
                cursor=cursor,
                limit=limit,
            )
        )

    def get(self, id: str) -> Event:
        """One event by its handle. Raises NotFound."""
        return self._plane.call(GetEvent(id=id))

    def verify(self) -> TrailCheck:
        """Walk every stream's chain; `intact` is False with the first fault where something was changed or removed."""
        return self._plane.call(VerifyTrail())
