"""What an agent tells of its own calls, so that the plane notices when it is stuck."""

from __future__ import annotations

from typing import Any

from agentmemo.model.escalations import Answer
from agentmemo.model.stuck_diagnosis import LoopDiagnosis
from agentmemo.model.wire import Request, Response

# Runs that failed in the same way within this time are one problem, not so many.
SAME_FAILURE_RUNS = 3
SAME_FAILURE_SECONDS = 3600.0


class ObserveCall(Request, kw_only=True):
    """One call of a tool by the run's holder, and what came of it; without a tool, a text (`arguments`).

    `number` counts the run's observations, so that one that is repeated after a restart is no repetition; what was a
    `step` ("name/key") has none, since a step is not repeated. With `before` it is about to be made: it is kept, as
    refused, only where it is blocked or a person was asked about it, which `rung` escalate says. `poll`,
    `read_only` and `idempotent` say what kind of tool it is. `progress` is a measure that changes only when the work
    does. `until` (UTC microseconds) declares a wait, within which the same result is no loop.
    """

    run: str
    number: int = 0
    step: str | None = None
    before: bool = False
    tool: str = ""
    arguments: Any = None
    result: Any = None
    error: str | None = None
    turn: str = ""
    poll: bool = False
    read_only: bool = False
    idempotent: bool = False
    tokens: int = 0
    nanousd: int = 0
    progress: str | int | float | None = None
    until: int | None = None
    change_within_seconds: float | None = None
    confidence: float | None = None
    refused: bool = False


class Observed(Response, kw_only=True):
    """How the run looks now. `rung`: ok, observe, nudge, block, escalate; `text` is for the agent to act on.

    `replayed` says that this observation was known. From `escalate` on a person is to be asked, with `diagnosis`.
    """

    rung: str
    signal: str = ""
    score: float = 0.0
    text: str = ""
    key: str = ""
    diagnosis: LoopDiagnosis | None = None
    replayed: bool = False
    answer: Answer | None = None  # filled by the client that asked
