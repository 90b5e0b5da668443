"""The step that is running now, of either colour."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from agentmemo.errors import InvalidInput

# Kept here, so that looking for a step loads neither client.
current_sync: ContextVar[Any] = ContextVar("agentmemo_step", default=None)
current_async: ContextVar[Any] = ContextVar("agentmemo_step_async", default=None)


def current_step() -> Any:
    """The running step's context: a StepContext, or an AsyncStepContext on an async connection.

    Raises InvalidInput outside a step.
    """
    found = current_sync.get() or current_async.get()
    if found is None:
        raise InvalidInput(
            "No step is running here.",
            why="current_step() is for the functions that run.step(...) runs, in their own thread.",
            next_call="Call it inside a step's function.",
        )
    return found
