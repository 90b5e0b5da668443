"""One `run.step(...)` as it was written, and what its failure means. The same for both colours."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from agentmemo.errors import InvalidInput, LeaseLost
from agentmemo.model import runs as model
from agentmemo.model.values import decode_as, encode_result

Probe = Callable[[str], Any]
IN_DOUBT = ("ask", "retry")
ERROR_LINES = 3
# Of a pause or a timeout: thirty years, which every clock can count.
SECONDS_MAX = 10**9


class StepCall(msgspec.Struct, frozen=True, kw_only=True):
    """One `run.step(...)` as it was written."""

    name: str
    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    fingerprint: str
    effect: str
    retry: model.Retry
    timeout_seconds: float | None
    on_mismatch: str | None
    in_doubt: str | Probe
    returns: Any

    @property
    def pair(self) -> tuple[str, str]:
        """What names it in its run: the step and its occurrence or key."""
        return self.name, self.key

    def returned(self, stored: Any) -> Any:
        """A result that the store gave back, in the declared type. Raises InvalidInput where it does not fit."""
        return stored if self.returns is None else decode_as(encode_result(stored), self.returns)


class EffectUnclear(Exception):
    """The function did not say that its effect failed, yet there is no result to keep."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def leaves_doubt(call: StepCall, error: Exception) -> bool:
    """Whether nobody knows now if an announced effect happened. One that may be repeated anyway may just fail."""
    repeatable = call.effect == "write" and call.in_doubt == "retry"
    return call.effect in model.ANNOUNCED_EFFECTS and not repeatable and not isinstance(error, LeaseLost)


def retry_policy(retry: model.Retry | int | None) -> model.Retry:
    if retry is None:
        return model.Retry(max_attempts=1)
    policy = model.Retry(max_attempts=retry) if isinstance(retry, int) else retry
    if policy.max_attempts < 1:
        raise InvalidInput(
            f"retry is at least one attempt, not {policy.max_attempts}.", next_call="Leave it out for one."
        )
    for name in ("first_delay_seconds", "factor", "max_delay_seconds"):
        if not 0 <= getattr(policy, name) <= SECONDS_MAX:
            raise InvalidInput(
                f"{name} of retry is 0 to {SECONDS_MAX}, not {getattr(policy, name)}.", next_call="Leave it out."
            )
    return policy


def checked_timeout(seconds: float | None) -> float | None:
    """How long a step may take. Found out before its function runs: a wait that cannot be is no failure of it."""
    if seconds is not None and not 0 < seconds <= SECONDS_MAX:
        raise InvalidInput(
            f"timeout_seconds is above 0 and at most {SECONDS_MAX}, not {seconds}.",
            next_call="Leave it out for a step that may take as long as it takes.",
        )
    return seconds


def summary_of(error: BaseException) -> str:
    """The error in a few lines: its type, its text, and where it came from."""
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({where[0].filename.rpartition('/')[2]}:{where[0].lineno})" if where else ""
    # What cannot be stored is shown instead: an error must never be refused for its text.
    text = "\n".join(str(error).replace("\0", "\\0").splitlines()[:ERROR_LINES])
    return f"{type(error).__name__}: {text}{place}".encode(errors="replace").decode()[:2000]
