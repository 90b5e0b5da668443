"""The exit statuses, and which error ends in which. The one place that knows.

0  done                 3  not found            6  unavailable: repeat it later
1  refused or failed    4  conflict             130  stopped with Ctrl-C
2  wrong usage          5  not permitted        141  whoever read the output went away
"""

from __future__ import annotations

from agentmemo.errors import Error

DONE, FAILED, USAGE, NOT_FOUND, CONFLICT, NOT_PERMITTED, UNAVAILABLE = range(7)
INTERRUPTED, BROKEN_PIPE = 130, 141  # as shells say it: 128 and the signal's number

BY_CODE: dict[str, int] = {
    "invalid_input": USAGE,
    "not_authenticated": NOT_PERMITTED,
    "permission_denied": NOT_PERMITTED,
    "not_found": NOT_FOUND,
    "conflict": CONFLICT,
    "version_conflict": CONFLICT,
    "invalid_transition": CONFLICT,
    "run_held": CONFLICT,
    "handoff_held": CONFLICT,
    "lease_lost": CONFLICT,
    "idempotency_mismatch": CONFLICT,
    "revision_gone": CONFLICT,
    "step_failed": FAILED,
    "timed_out": FAILED,
    "limit_exceeded": FAILED,
    "unavailable": UNAVAILABLE,
}


def status_of(error: Error) -> int:
    """The exit status of an error; one that a newer plane invented is a refusal."""
    return BY_CODE.get(error.code, FAILED)
