# Generated from client/_async by scripts/generate_sync.py; edit there.
"""Asking people, and answering as one."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable
from typing import Any

from agentmemo.client._sync.pages import Page
from agentmemo.client._sync.plane import Plane
from agentmemo.client.given import as_actions, as_struct, microseconds
from agentmemo.errors import LeaseLost
from agentmemo.model import escalations as model

ANSWER_WAIT_SECONDS = 30.0


class Escalations:
    """What this agent asked, and what came of it."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def create(
        self,
        *,
        severity: str,
        reason: str,
        context: Any = None,
        suggested_actions: Iterable[model.SuggestedAction | dict[str, Any] | str] = (),
        kind: str = "question",
        action: model.Action | dict[str, Any] | None = None,
        response_schema: dict[str, Any] | None = None,
        default: str | None = None,
        deadline: datetime.datetime | int | None = None,
        key: str | None = None,
        collapse_key: str | None = None,
        route: str = "default",
        needs: model.Needs | dict[str, Any] | None = None,
        sensitivity: str = "internal",
        detail: dict[str, Any] | None = None,
        supersedes: str | None = None,
        wait: bool = True,
        guard: int | None = None,
    ) -> model.Answer | model.Escalation:
        """What `agent.escalate` does; see there. `guard` is the decision that says to ask, of `guards.check`."""
        request = model.CreateEscalation(
            severity=severity,
            reason=reason,
            kind=kind,
            context=context,
            suggested_actions=as_actions(suggested_actions),
            response_schema=response_schema,
            action=None if action is None else as_struct(model.Action, action),
            default=default,
            deadline=microseconds(deadline),
            key=key,
            collapse_key=collapse_key,
            route=route,
            needs=None if needs is None else as_struct(model.Needs, needs),
            sensitivity=sensitivity,
            detail=detail,
            supersedes=supersedes,
            wait=wait,
            guard=guard,
        )
        holding = self._plane.holding()
        if holding is not None and holding.asks is not None:
            return holding.asks(request)
        made: model.Escalation = self._plane.call(request)
        if not wait:
            return made
        if made.answer is None:
            say_where(made)
        return self.wait(made.id)

    def get(self, id: str, *, after: model.Escalation | None = None, wait_seconds: float = 0.0) -> model.Escalation:
        """One question, with its votes, comments, and who waits for it.

        With `wait_seconds`, waits until it is no more as it was seen in `after`.
        """
        seen = None if after is None else after.updated_at
        return self._plane.call(model.GetEscalation(escalation=id, wait_seconds=wait_seconds, after_updated=seen))

    def list(
        self, *, state: str | None = None, run: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[model.Escalation]:
        """Newest first; `state` is one of the seven, or `undelivered`."""
        return self._plane.page(model.ListEscalations(state=state, run=run, cursor=cursor, limit=limit))

    def wait(self, id: str) -> model.Answer:
        """Block until it is answered. Outside a run the answer counts as delivered once it is here.

        Raises LeaseLost when the connection is closed meanwhile; the question stays.
        """
        made: model.Escalation = self._plane.call(model.GetEscalation(escalation=id))
        while made.state in model.UNDECIDED:
            if self._plane.flow.stopping:
                raise LeaseLost(
                    f"The connection was closed while {made.id} waited for an answer.",
                    why="The question stays; its answer is kept.",
                    next_call=f"agent.escalations.wait('{made.id}') on a new connection.",
                )
            made = self._plane.call(
                model.GetEscalation(escalation=made.id, wait_seconds=ANSWER_WAIT_SECONDS, after_updated=made.updated_at)
            )
        self._plane.call(model.ReceiveAnswer(escalation=made.id))
        return made.answer or model.taken_back(made.id, made.ended_reason)

    def withdraw(self, id: str, reason: str) -> model.Escalation:
        """Take a question back; whoever waits for it goes on with `abort`."""
        return self._plane.call(model.WithdrawEscalation(escalation=id, reason=reason))

    def receive(self, id: str) -> model.Escalation:
        """Say that the answer has arrived, where it was not `wait` that brought it. Again it does nothing."""
        return self._plane.call(model.ReceiveAnswer(escalation=id))

    def redeem(self, id: str, tool: str, arguments: Any = None, *, revision: str = "") -> model.Escalation:
        """Use an approval, right before the action. Raises PermissionDenied for any other than the approved one."""
        return self._plane.call(model.RedeemApproval(escalation=id, tool=tool, arguments=arguments, revision=revision))

    def retry(self, id: str) -> model.Escalation:
        """A person's call: deliver an answer again that did not reach its run."""
        return self._plane.call(model.RetryDelivery(escalation=id))


class Inbox:
    """What people have to look at. All but reading is for persons; an agent's credential is refused."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def list(
        self,
        *,
        section: str | None = None,
        severity: str | None = None,
        kind: str | None = None,
        asker: str | None = None,
        run: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[model.Escalation]:
        """The most urgent first. `section`: open (default), mine, snoozed, undelivered, done."""
        return self._plane.page(
            model.ListInbox(
                section=section, severity=severity, kind=kind, asker=asker, run=run, cursor=cursor, limit=limit
            )
        )

    def get(self, id: str) -> model.Escalation:
        return self._plane.call(model.GetEscalation(escalation=id))

    def acknowledge(self, id: str) -> model.Escalation:
        """Say that you are on it; the others are not told further until the hold expires."""
        return self._plane.call(model.AcknowledgeEscalation(escalation=id))

    def release(self, id: str, *, comment: str = "") -> model.Escalation:
        return self._plane.call(model.ReleaseEscalation(escalation=id, comment=comment))

    def answer(
        self,
        id: str,
        decision: str,
        *,
        choice: str | None = None,
        values: Any = None,
        comment: str = "",
        scope: str = "once",
        seen: str | None = None,
    ) -> model.Escalation:
        """Decide: approve, edit, reject, answer, choose or abort. Rejecting needs a comment.

        `seen` is the digest of what was shown. Raises InvalidTransition, saying who decided, where another was faster.
        """
        return self._plane.call(
            model.AnswerEscalation(
                escalation=id,
                decision=decision,
                choice=choice,
                values=values,
                comment=comment,
                scope=scope,
                seen=seen,
            )
        )

    def delegate(self, id: str, to: str, *, comment: str = "") -> model.Escalation:
        return self._plane.call(model.DelegateEscalation(escalation=id, to=to, comment=comment))

    def snooze(self, id: str, until: datetime.datetime | int) -> model.Escalation:
        """Look at it later, at most until 80 % of its time is over."""
        return self._plane.call(model.SnoozeEscalation(escalation=id, until=microseconds(until) or 0))

    def extend(self, id: str, *, comment: str = "") -> model.Escalation:
        """Move the deadline once, by as much as it had at the start."""
        return self._plane.call(model.ExtendEscalation(escalation=id, comment=comment))

    def comment(self, id: str, text: str) -> model.Escalation:
        return self._plane.call(model.CommentEscalation(escalation=id, text=text))


def say_where(made: model.Escalation) -> None:
    """The person at this terminal may be the one who answers."""
    print(  # noqa: T201
        f"agentmemo: {made.severity}: {made.reason}\n"
        f"agentmemo: answer it with `agentmemo inbox answer {made.id} ...`, or in the console.",
        file=sys.stderr,
        flush=True,
    )
