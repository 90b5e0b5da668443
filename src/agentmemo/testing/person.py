"""A person who answers what runs ask, by a script."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from agentmemo.client._sync.connection import Connection
from agentmemo.model.runs import WAITING, Budget, Run


class Answer(NamedTuple):
    """What is decided, and with it: a result that happened, a larger budget, a comment."""

    decision: str
    result: Any
    budget: Budget | None
    comment: str


class ScriptedPerson:
    """Made by `plane.person()`. Answers are given when the plane settles: on `advance` and while a run waits inline."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.decided: list[Run] = []
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

    def decide(self) -> int:
        """Answer every waiting question of the workspace that the script knows. Returns how many."""
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
