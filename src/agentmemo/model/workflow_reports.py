"""What became of executions: how many ended how, and what passed at each step over time."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from agentmemo.model.wire import Request, Response

PARTS_MAX = 60


class CountExecutions(Request, kw_only=True):
    """How many executions there were of each workflow and version, and how they ended; `since` is UTC microseconds."""

    workflow: str | None = None
    since: int | None = None


class ExecutionCount(Response, kw_only=True):
    """Of one version. `last_at` is when the newest of them began."""

    workflow: str
    version: str
    completed: int
    failed: int
    cancelled: int
    unfinished: int
    last_at: int


class ExecutionCounts(Response, kw_only=True):
    counts: list[ExecutionCount]


class GetRates(Request, kw_only=True):
    """What passed at each step of a version by each model, in `parts` equal parts of the time from `since` to now.

    Without `since`, from the first attempt on. A step that another version asked the same counts too.
    """

    name: str
    version: str | None = None
    since: int | None = None
    parts: Annotated[int, Meta(ge=1, le=PARTS_MAX)] = 8


class PassRate(Response, kw_only=True):
    """One model at one step in one part of the time: how many attempts passed, and how many did not pass the checks."""

    step: str
    step_hash: str
    model: str
    part: int
    passed: int
    failed: int


class PassRates(Response, kw_only=True):
    """`part` 0 begins at `since`, each takes `part_us`."""

    name: str
    version: str
    since: int
    part_us: int
    parts: int
    rates: list[PassRate]
