"""AgentMemo: the control plane for AI agents. `agentmemo.connect()` is the way in."""

from __future__ import annotations

from agentmemo.client._async.connection import AsyncConnection
from agentmemo.client._async.run import AsyncRun
from agentmemo.client._async.step import AsyncStepContext
from agentmemo.client._sync.connection import Connection
from agentmemo.client._sync.run import Run
from agentmemo.client._sync.step import StepContext
from agentmemo.client.current import current_step
from agentmemo.connect import connect, connect_async
from agentmemo.errors import (
    Conflict,
    Error,
    HandoffHeld,
    IdempotencyMismatch,
    InvalidInput,
    InvalidTransition,
    LeaseLost,
    LimitExceeded,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RevisionGone,
    RunHeld,
    StepFailed,
    TimedOut,
    Unavailable,
    VersionConflict,
)
from agentmemo.model.access import Grant
from agentmemo.model.handoffs import Handoff
from agentmemo.model.runs import Budget, Retry

__all__ = [
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
