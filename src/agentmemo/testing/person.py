"""A person who answers what runs ask, by a script."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from agentmemo.client._sync.connection import Connection
from agentmemo.model.escalations import Escalation, is_of_run
from agentmemo.model.runs import WAITING, Budget, Run


class Answer(NamedTuple):
    """What is decided, and with it: a result that happened, a larger budget, a comment."""

    decision: str
    result: Any
    budget: Budget | None
    comment: str


class Reply(NamedTuple):
    """What an escalation is answered with."""

    decision: str
    choice: str | None
    values: Any
    comment: str


class ScriptedPerson:
    """Made by `plane.person()`. Answers are given when the plane settles: on `advance` and while a run waits inline."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.decided: list[Run] = []
        self.answered: list[Escalation] = []
        self._replies: dict[str | None, Reply] = {}
        self._answers: dict[str, Answer] = {}

    def will(
        self,
        question: str,
        decision: str,
        *,
        result: Any = None,
        budget: Budget | None = None,
        comment: str = "",
    ) -> Self:
        """From now on decide this question (in_doubt, mismatch, budget, takeovers) so; the last word counts."""
        self._answers[question] = Answer(decision, result, budget, comment)
        return self

    def will_answer(
        self,
        decision: str,
        *,
        choice: str | None = None,
        values: Any = None,
        comment: str = "as scripted",
        kind: str | None = None,
    ) -> Self:
        """From now on answer every escalation so, or those of one kind; the last word counts."""
        self._replies[kind] = Reply(decision, choice, values, comment)
        return self

    def decide(self) -> int:
        """Answer every waiting question and open escalation that the script knows. Returns how many."""
        return self._resolve_runs() + self._answer_escalations()

    def _answer_escalations(self) -> int:
        count = 0
        for asked in list(self.connection.inbox.list()) if self._replies else []:
            # What a run asks about itself is `will`'s, unless its kind is named.
            others = None if is_of_run(asked.collapse_key) else self._replies.get(None)
            reply = self._replies.get(asked.kind) or others
            if reply is None or any(vote.person == f"person:{self.connection.actor}" for vote in asked.votes):
                continue
            self.answered.append(
                self.connection.inbox.answer(
                    asked.id, reply.decision, choice=reply.choice, values=reply.values, comment=reply.comment
                )
            )
            count += 1
        return count

    def _resolve_runs(self) -> int:
        count = 0
        for run in list(self.connection.runs.list(state=WAITING)):
            answer = self._answers.get(run.waiting_for or "") if run.wake == "person" else None
            if answer is None:
                continue
            self.decided.append(
                self.connection.runs.resolve(
                    run.id, answer.decision, result=answer.result, budget=answer.budget, comment=answer.comment
                )
            )
            count += 1
        return count
