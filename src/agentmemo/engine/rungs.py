"""Which rung of its ladder a step begins on."""

from __future__ import annotations

from agentmemo.engine.execution_scope import Standing
from agentmemo.model.executions import Moment
from agentmemo.model.workflows import Rung


def first(course: Standing, found: Moment, ladder: list[Rung]) -> int:  # noqa: ARG001
    """The place in the ladder where a step begins: the top, while nothing below has shown that it can."""
    return len(ladder) - 1
