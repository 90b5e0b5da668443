"""The package's face: adding or losing a name is a decision, taken here."""

from __future__ import annotations

import agentmemo

PUBLIC = [
    "AsyncConnection",
    "AsyncRun",
    "AsyncStepContext",
    "Budget",
    "Conflict",
    "Connection",
    "Error",
    "Grant",
    "Handoff",
    "HandoffHeld",
    "IdempotencyMismatch",
    "InvalidInput",
    "InvalidTransition",
    "LeaseLost",
    "LimitExceeded",
    "NotAuthenticated",
    "NotFound",
    "PermissionDenied",
    "Retry",
    "RevisionGone",
    "Run",
    "RunHeld",
    "StepContext",
    "StepFailed",
    "TimedOut",
    "Unavailable",
    "VersionConflict",
    "connect",
    "connect_async",
    "current_step",
]


def test_public_names():
    assert sorted(agentmemo.__all__) == sorted(PUBLIC)
    assert [name for name in PUBLIC if not hasattr(agentmemo, name)] == []
