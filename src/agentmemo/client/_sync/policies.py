# Generated from client/_async by scripts/generate_sync.py; edit there.
"""Policies: what people rule beforehand, and agents may read."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import msgspec

from agentmemo.client import calendars
from agentmemo.client._sync.pages import Page
from agentmemo.client._sync.plane import Plane
from agentmemo.client.given import microseconds
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.model.policies import (
    SCHEDULE,
    DeletePolicy,
    GetPolicy,
    ListPolicies,
    ListPolicyVersions,
    Policy,
    SetPolicy,
)

IMPORTED_DAYS = 183.0


class Policies:
    """Documents by kind (route, schedule, contact, silence, inhibition, severity, rules) and name, in versions."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def set(self, kind: str, name: str, document: Any, *, if_version: int | None = None, comment: str = "") -> Policy:
        """Rule something: a new version, in force at once. Only a person can.

        `if_version` sets only over that version, else raises VersionConflict; 0 means that there is none. A document
        that does not fit is refused with its path (InvalidInput).
        """
        return self._plane.call(
            SetPolicy(kind=kind, name=name, document=document, if_version=if_version, comment=comment)
        )

    def get(self, kind: str, name: str, *, version: int | None = None) -> Policy:
        """What is ruled now, or was by a version. Raises NotFound."""
        return self._plane.call(GetPolicy(kind=kind, name=name, version=version))

    def list(self, *, kind: str | None = None, cursor: str | None = None, limit: int = 100) -> Page[Policy]:
        """What is ruled now, by kind and name."""
        return self._plane.page(ListPolicies(kind=kind, cursor=cursor, limit=limit))

    def versions(self, kind: str, name: str, *, cursor: str | None = None, limit: int = 100) -> Page[Policy]:
        """Newest first, deletions included."""
        return self._plane.page(ListPolicyVersions(kind=kind, name=name, cursor=cursor, limit=limit))

    def delete(self, kind: str, name: str, *, if_version: int | None = None, comment: str = "") -> Policy:
        """Rule it no longer; its versions stay. Only a person can. A schedule that is named elsewhere is refused."""
        return self._plane.call(DeletePolicy(kind=kind, name=name, if_version=if_version, comment=comment))

    def import_ical(
        self,
        name: str,
        calendar: bytes | str,
        *,
        zone: str | None = None,
        since: datetime.datetime | int | None = None,
        days: float = IMPORTED_DAYS,
        names: Mapping[str, str] | None = None,
        comment: str = "imported from a calendar",
    ) -> Policy:
        """Take the events of an iCal calendar (RFC 5545) as the shifts of a schedule, in place of those it has.

        The summary of an event is the person, or what `names` translates to one. Events from `since` (now) for so many
        `days` are written into the document, so nobody needs the calendar afterwards. The `zone` is for a schedule
        that is new, which else has the calendar's own. Needs the extra `schedules`.
        """
        document, version = self._schedule(name)
        place = document.get("zone") or zone or calendars.zone_in(calendar)
        if place is None:
            raise InvalidInput(
                f"There is no schedule {name!r}, and the calendar does not say its zone.",
                next_call="Name it: zone='Europe/Berlin'.",
            )
        begins = microseconds(since)
        begins = self._plane.clock.now_us() if begins is None else begins
        turns = calendars.turns_of(calendar, place, begins, days, names or {})
        changed = document | {"zone": place, "shifts": msgspec.to_builtins(turns)}
        return self.set(SCHEDULE, name, changed, if_version=version, comment=comment)

    def _schedule(self, name: str) -> tuple[dict[str, Any], int]:
        """The document that there is, and its version; empty and 0 without one."""
        try:
            found = self.get(SCHEDULE, name)
        except NotFound:
            return {}, 0
        return found.document, found.version
