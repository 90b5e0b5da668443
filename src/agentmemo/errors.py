"""The one tree of errors, with stable codes that agents and programs can act on.

Error
├── InvalidInput            the call is malformed; nothing was written
├── NotAuthenticated        no credential, or not a valid one
├── PermissionDenied        the credential does not allow this
├── NotFound                absent, or not yours to see (the two look the same)
├── Conflict                the call is fine, the stored state says no
│   ├── VersionConflict     the entry has another version than expected
│   ├── InvalidTransition   the noun's state does not allow this
│   ├── RunHeld             another live worker holds the run
│   ├── HandoffHeld         another holds the handoff
│   ├── LeaseLost           the claim is stale: somebody else took over
│   ├── IdempotencyMismatch the same key came with other content
│   └── RevisionGone        the revision was compacted away, or lost by a restore
├── StepFailed              a recorded failure, met again on replay
├── TimedOut                a wait or a step passed its time
├── LimitExceeded           too large, too deep, too many
└── Unavailable             the store cannot serve now; retry later
"""

from __future__ import annotations

from typing import Any, ClassVar


class Error(Exception):
    """Everything AgentMemo raises on purpose.

    `code` is stable; `message` says what happened, `why` the reason, `next_call` a valid next step and
    `retry_safe` whether the same call may be sent again unchanged. `details` holds data for programs.
    """

    code: ClassVar[str] = "error"
    retry_safe_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        why: str = "",
        next_call: str = "",
        retry_safe: bool | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.next_call = next_call
        self.retry_safe = self.retry_safe_by_default if retry_safe is None else retry_safe
        self.details = details or {}

    def __str__(self) -> str:
        parts = [self.message]
        if self.why:
            parts.append(f"Why: {self.why}")
        if self.next_call:
            parts.append(f"Next: {self.next_call}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return (rebuild, (self.to_dict(),))

    def to_dict(self) -> dict[str, Any]:
        """The wire form, shared by HTTP problems, `--json` output and stored refusals."""
        return {
            "code": self.code,
            "message": self.message,
            "why": self.why,
            "next_call": self.next_call,
            "retry_safe": self.retry_safe,
            "details": self.details,
        }


class InvalidInput(Error):
    code = "invalid_input"


class NotAuthenticated(Error):
    code = "not_authenticated"


class PermissionDenied(Error):
    code = "permission_denied"


class NotFound(Error):
    code = "not_found"


class Conflict(Error):
    code = "conflict"


class VersionConflict(Conflict):
    code = "version_conflict"


class InvalidTransition(Conflict):
    code = "invalid_transition"


class RunHeld(Conflict):
    code = "run_held"
    retry_safe_by_default = True


class HandoffHeld(Conflict):
    code = "handoff_held"


class LeaseLost(Conflict):
    code = "lease_lost"


class IdempotencyMismatch(Conflict):
    code = "idempotency_mismatch"


class RevisionGone(Conflict):
    code = "revision_gone"


class StepFailed(Error):
    code = "step_failed"


class TimedOut(Error, TimeoutError):
    code = "timed_out"


class LimitExceeded(Error):
    code = "limit_exceeded"


class Unavailable(Error):
    code = "unavailable"
    retry_safe_by_default = True


CLASSES: tuple[type[Error], ...] = (
    InvalidInput,
    NotAuthenticated,
    PermissionDenied,
    NotFound,
    Conflict,
    VersionConflict,
    InvalidTransition,
    RunHeld,
    HandoffHeld,
    LeaseLost,
    IdempotencyMismatch,
    RevisionGone,
    StepFailed,
    TimedOut,
    LimitExceeded,
    Unavailable,
)
BY_CODE: dict[str, type[Error]] = {cls.code: cls for cls in CLASSES}


def rebuild(data: dict[str, Any]) -> Error:
    """Make the error again from its wire form; an unknown code becomes the plain `Error`."""
    cls = BY_CODE.get(str(data.get("code", "")), Error)
    details = data.get("details")
    return cls(
        str(data.get("message", "")),
        why=str(data.get("why", "")),
        next_call=str(data.get("next_call", "")),
        retry_safe=bool(data.get("retry_safe", False)),
        details=details if isinstance(details, dict) else {},
    )
