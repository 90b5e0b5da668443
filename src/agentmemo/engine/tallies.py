"""Counts of what there is. Counting takes the longer the more there is, so large numbers are counted seldom."""

from __future__ import annotations

from agentmemo.clock import monotonic
from agentmemo.store.database import Transaction

# Below it counting takes some milliseconds, and the numbers are always exact.
LARGE = 10_000
# Large numbers are kept for so many times as long as counting took: a hundredth of the time goes into counting.
TIMES_KEPT = 100


class Tallies:
    """What a process counted, by the query that counts it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[float, dict[str, int]]] = {}

    def of(self, tx: Transaction, query: str, workspace: int) -> dict[str, int]:
        """The numbers by state, of what there is any of: as they are now, or were not long ago where they are large."""
        began = monotonic()
        until, kept = self._kept.get((query, workspace), (0.0, {}))
        if began < until:
            return kept
        found = {state: number for state, number in tx.all(query, workspace=workspace) if number}
        if sum(found.values()) > LARGE:
            now = monotonic()
            self._kept[query, workspace] = (now + TIMES_KEPT * (now - began), found)
        return found
