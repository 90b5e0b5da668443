"""Reports: what asking people costs, and how their oversight is set up."""

from __future__ import annotations

import datetime

from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client.given import microseconds
from agentmemo.model.reports import Attention, GetAttention, GetOversight, Oversight


class AsyncReports:
    """Reading only; nothing is kept of a report."""

    def __init__(self, plane: AsyncPlane) -> None:
        self._plane = plane

    async def attention(
        self, *, since: datetime.datetime | int | None = None, until: datetime.datetime | int | None = None
    ) -> Attention:
        """What was asked from `since` (a week before `until`) until `until` (now), and what came of it.

        It says who was asked, how fast and how uniformly they decided, and which question is asked too often.
        """
        return await self._plane.call(GetAttention(since=microseconds(since), until=microseconds(until)))

    async def oversight(self) -> Oversight:
        """Each requirement of human oversight: what it asks, the plane's part, whether it is set up, and what is left.

        It is evidence for a claim of conformance, not the claim.
        """
        return await self._plane.call(GetOversight())
