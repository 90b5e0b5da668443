"""Named points where tests kill the process. Off unless AGENTMEMO_TEST_CRASH names one; users never see them."""

from __future__ import annotations

import os
import signal

VARIABLE = "AGENTMEMO_TEST_CRASH"
POINTS = (
    "writer.before_begin",
    "writer.after_begin",
    "writer.after_work",
    "writer.before_commit",
    "writer.after_commit",
    "writer.before_answer",
    "writer.after_answer",
    "blob.before_chunk",
    "blob.after_chunk",
    "blob.before_complete",
    "audit.before_event",
    "audit.after_event",
    "run.after_claim",
    "run.before_complete",
    "run.after_complete",
    "step.before_start",
    "step.after_start",
    "step.before_function",
    "step.after_function",
    "step.before_complete",
    "step.after_complete",
    "wait.after_park",
    "handoff.after_create",
    "handoff.after_claim",
    "handoff.before_complete",
    "handoff.after_complete",
    "escalation.after_create",
    "escalation.before_default",
    "escalation.before_apply",
    "inbox.after_answer",
    "execution.after_start",
    "execution.after_begin",
    "execution.before_tool",
    "execution.after_tool",
    "execution.before_model",
    "execution.after_model",
    "execution.before_submit",
    "execution.after_submit",
    "ledger.after_reserve",
    "ledger.after_settle",
    "upkeep.before_duty",
    "upkeep.after_duty",
    "migrate.before_schema",
    "migrate.before_commit",
    "backup.after_copy",
    "backup.before_name",
    "copy.after_page",
    "copy.before_finish",
    "worker.before_hold",
)


def _armed() -> tuple[str, int]:
    name, _, count = os.environ.get(VARIABLE, "").partition(":")
    return name, int(count or 1)


_point, _left = _armed()


def reach(name: str) -> None:
    """Kill this process with SIGKILL at the armed point, the armed number of times in."""
    global _left  # noqa: PLW0603 - a countdown for the whole process
    if name != _point:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
