"""When a call over HTTP is made again: where the plane is away, and where it was too fast.

Each may be repeated as it is: it changes nothing, or a change that was already done is answered from its key.
"""

from __future__ import annotations

from agentmemo import ids
from agentmemo.api.operation import Operation
from agentmemo.client.http_answer import LOST
from agentmemo.client.http_wire import TOO_MANY_REQUESTS, Wire
from agentmemo.client.transport import is_patient
from agentmemo.clock import monotonic
from agentmemo.errors import Unavailable

# A caller that is too fast is told to wait, and its call waits: so often.
PAUSES_MAX = 10
# Between two looks for a plane that is away: longer each time, and jittered.
FIRST_SECONDS, LONGEST_SECONDS = 0.1, 1.0
_DOUBLINGS_MAX = 4


class Patience:
    """How long the calls of one connection wait for a plane that is away.

    Only once it was reached, so that a wrong address is told at once, and once per absence: after a call has waited in
    vain the others fail at once, until the plane is reached again.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_reached = False


class Tries:
    """The tries of one call. Told what came of one, it says how long to pause before the next; None: there is none."""

    __slots__ = ("_away_since", "_may_be_done", "_operation", "_patience", "_pauses", "_too_fast", "_was_lost", "_wire")

    def __init__(self, wire: Wire, patience: Patience, operation: Operation) -> None:
        self._wire = wire
        self._patience = patience
        self._operation = operation
        self._away_since: float | None = None
        self._pauses = 0
        self._too_fast = 0
        self._was_lost = False
        self._may_be_done = False

    def answered(self, status: int, body: bytes) -> float | None:
        seconds = self._wire.pause(status, body)
        if seconds is not None and status != TOO_MANY_REQUESTS:
            return self._pause(seconds)
        self._patience.is_reached = True
        self._too_fast += 1
        return seconds if self._too_fast <= PAUSES_MAX else None

    def missed(self, error: Exception) -> float | None:
        """Without an answer: nobody was there (Unavailable), or the connection was lost on the way."""
        self._may_be_done = self._may_be_done or not isinstance(error, Unavailable)
        if isinstance(error, LOST) and not self._was_lost:
            self._was_lost = True
            return 0.0  # a kept connection, which the other side had closed meanwhile
        # Who has waited for an answer for as long as one may take does not wait for another.
        return None if isinstance(error, TimeoutError) else self._pause(0.0)

    def given_up(self, error: Exception) -> Unavailable:
        """What the caller is told after the last try without an answer."""
        if isinstance(error, Unavailable) and not self._may_be_done:
            told = error
        else:
            told = self._wire.interrupted(self._operation, error.__cause__ or error)
        if self._pauses and self._away_since is not None:
            seconds = round(monotonic() - self._away_since, 1)
            told.why += f" It was tried for {seconds:g} s."
            told.details["tried_seconds"] = seconds
        return told

    def _pause(self, at_least: float) -> float | None:
        now = monotonic()
        if self._away_since is None:
            self._away_since = now
        if not (self._patience.is_reached and is_patient.get()):
            return None
        left = self._away_since + self._patience.seconds - now
        if left <= 0:
            self._patience.is_reached = False
            return None
        seconds = ids.jitter(min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self._pauses, _DOUBLINGS_MAX)))
        self._pauses += 1
        return min(max(seconds, at_least), left)
