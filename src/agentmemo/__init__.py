"""AgentMemo: the control plane for AI agents. `agentmemo.connect()` is the way in."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from agentmemo.client._async.connection import AsyncConnection
    from agentmemo.client._async.run import AsyncRun
    from agentmemo.client._async.step import AsyncStepContext
    from agentmemo.client._sync.connection import Connection
    from agentmemo.client._sync.run import Run
    from agentmemo.client._sync.step import StepContext
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

# What is loaded when it is named first: a process uses one of the clients, and often neither by name (decision 24).
_HOMES = {
    "AsyncConnection": "agentmemo.client._async.connection",
    "AsyncRun": "agentmemo.client._async.run",
    "AsyncStepContext": "agentmemo.client._async.step",
    "Budget": "agentmemo.model.runs",
    "Connection": "agentmemo.client._sync.connection",
    "Grant": "agentmemo.model.access",
    "Handoff": "agentmemo.model.handoffs",
    "Retry": "agentmemo.model.runs",
    "Run": "agentmemo.client._sync.run",
    "StepContext": "agentmemo.client._sync.step",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
