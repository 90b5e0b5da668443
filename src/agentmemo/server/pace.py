"""How fast the requests of one key may follow each other, so that one caller leaves room for the others."""

from __future__ import annotations

from agentmemo.clock import SECOND, Clock
from agentmemo.errors import Unavailable
from agentmemo.model.access import Caller
from agentmemo.server.problems import Refusal

# With more keys than this, those that were quiet for long are forgotten.
KEYS_MAX = 4096
TOO_MANY_REQUESTS = 429


class Pace:
    """Each key has a second's worth of requests, and gets them back evenly. Used on the event loop only."""

    def __init__(self, clock: Clock, per_second: float) -> None:
        self._clock = clock
        self._per_second = per_second
        self._most = max(1.0, per_second)
        # What each had left, and when.
        self._left: dict[str, tuple[float, int]] = {}

    def admit(self, caller: Caller) -> None:
        """Raises Refusal with 429 where the caller's key has used up what it had."""
        if self._per_second <= 0:
            return
        who = caller.key or caller.actor
        now = self._clock.boot_us()
        left = self._now_left(who, now)
        if left < 1.0:
            raise _too_fast(self._per_second, (1.0 - left) / self._per_second)
        if len(self._left) >= KEYS_MAX and who not in self._left:
            self._left = {key: kept for key, kept in self._left.items() if self._now_left(key, now) < self._most}
        self._left[who] = (left - 1.0, now)

    def _now_left(self, who: str, now: int) -> float:
        left, at = self._left.get(who, (self._most, now))
        return min(self._most, left + max(0, now - at) / SECOND * self._per_second)


def _too_fast(per_second: float, seconds: float) -> Refusal:
    error = Unavailable(
        f"This key sends more than {per_second:g} requests in a second.",
        why="The others are to be served too.",
        next_call="Send it again after Retry-After, or raise AGENTMEMO_REQUESTS_PER_SECOND on the plane.",
        retry_safe=True,
        details={"retry_after_seconds": seconds},
    )
    return Refusal(error, TOO_MANY_REQUESTS)
