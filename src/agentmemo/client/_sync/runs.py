# Generated from client/_async by scripts/generate_sync.py; edit there.
"""Runs as others see them: look, explain, signal, cancel, fork, decide."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from agentmemo.client._sync.pages import Page
from agentmemo.client._sync.plane import Plane
from agentmemo.errors import NotFound
from agentmemo.model.runs import (
    AddNote,
    Budget,
    CancelRun,
    DeleteSchedule,
    ExplainRun,
    Explanation,
    FindRun,
    ForkRun,
    GetRun,
    ListNotes,
    ListRuns,
    ListSchedules,
    ListSteps,
    Note,
    ResolveRun,
    Run,
    Schedule,
    SendSignal,
    Step,
)


class Runs:
    """Questions and orders about runs one does not hold. Handles may be shortened to a unique prefix."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def get(self, id: str, *, after: Run | None = None, wait_seconds: float = 0.0) -> Run:
        """A run; with `wait_seconds`, once it is finished, or has changed since `after`. Raises NotFound."""
        return self._plane.call(
            GetRun(run=id, wait_seconds=wait_seconds, after_updated=after.updated_at if after else None)
        )

    def find(self, name: str, key: str) -> Run | None:
        """The run of a name and key, or None."""
        try:
            return self._plane.call(FindRun(name=name, key=key))
        except NotFound:
            return None

    def list(
        self,
        *,
        name: str | None = None,
        state: str | None = None,
        agent: str | None = None,
        parent: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Run]:
        """Runs, newest first. `state` is one of the six, or `unfinished`."""
        return self._plane.page(
            ListRuns(name=name, state=state, agent=agent, parent=parent, cursor=cursor, limit=limit)
        )

    def steps(
        self,
        id: str,
        *,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Step]:
        """Recorded steps in order, with their results."""
        return self._plane.page(ListSteps(run=id, state=state, cursor=cursor, limit=limit))

    def notes(self, id: str, *, kind: str | None = None) -> Page[Note]:
        """Decisions, findings and failed approaches, oldest first."""
        return self._plane.page(ListNotes(run=id, kind=kind))

    def note(self, id: str, kind: str, text: str, *, because: str = "") -> Note:
        """Leave a note for whoever continues the run; `kind` is decision, finding or tried."""
        return self._plane.call(AddNote(run=id, kind=kind, text=text, because=because))

    def explain(self, id: str) -> Explanation:
        """Why it is not moving, since when, who holds it and what will move it."""
        return self._plane.call(ExplainRun(run=id))

    def signal(self, id: str, name: str, value: Any = None) -> Run:
        """Send a signal; it is kept until the run waits for it."""
        return self._plane.call(SendSignal(run=id, name=name, value=value))

    def cancel(self, id: str, reason: str) -> Run:
        """Cancel a run and its children; the holder's next call raises LeaseLost with the reason."""
        return self._plane.call(CancelRun(run=id, reason=reason))

    def fork(
        self,
        id: str,
        *,
        from_step: str | None = None,
        key: str | None = None,
        reason: str = "",
    ) -> Run:
        """A new run with the finished steps before `from_step` (a name or name/key). A rewind is a fork."""
        return self._plane.call(ForkRun(run=id, from_step=from_step, key=key, reason=reason))

    def resolve(
        self,
        id: str,
        decision: str,
        *,
        result: Any = UNSET,
        budget: Budget | None = None,
        comment: str = "",
        asked: Run | int | None = None,
    ) -> Run:
        """A person decides what the run asks: happened, retry (in doubt), reuse, rerun (mismatch), continue.

        `happened` needs the step's `result`, None where it returned nothing. With `asked`, the run (or its
        `updated_at`) as it was seen, the decision is refused when the run asks something else by now.
        """
        return self._plane.call(
            ResolveRun(
                run=id,
                decision=decision,
                result=result,
                budget=budget,
                comment=comment,
                asked=asked.updated_at if isinstance(asked, Run) else asked,
            )
        )

    def schedules(self) -> Page[Schedule]:
        """The cron schedules."""
        return self._plane.page(ListSchedules())

    def unschedule(self, id: str) -> Schedule:
        """Delete a cron schedule; runs it made go on."""
        return self._plane.call(DeleteSchedule(id=id))
