# Generated from client/_async by scripts/generate_sync.py; edit there.
"""What a run asks people, and what it tells of its calls so that the plane notices when it should ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from agentmemo.client._sync.plane import Plane
from agentmemo.client._sync.step import current
from agentmemo.client.flow import Suspended
from agentmemo.client.step_call import StepCall, summary_of
from agentmemo.errors import InvalidInput, LeaseLost, PermissionDenied
from agentmemo.model import observations
from agentmemo.model import runs as model
from agentmemo.model.escalations import (
    REASON_MAX,
    Answer,
    CreateEscalation,
    Escalation,
    GetEscalation,
    SuggestedAction,
)
from agentmemo.model.kinds import described
from agentmemo.model.stuck_diagnosis import BLOCK, ESCALATE, OK
from agentmemo.model.values import encode

ASK, STUCK = model.QUESTION_STEPS
LABEL_MAX = 80


class Questions(ABC):
    """The part of a run that speaks with people."""

    _plane: Plane
    _replaying: bool
    _watches_steps: bool
    # Something was blocked, or may have been before this process held the run.
    _may_be_blocked: bool

    def ask(self, request: CreateEscalation) -> Answer | Escalation:
        """A question at this place of the run: `agent.escalate`. On replay its answer is there, and nobody is asked."""
        step = current.get()
        name, key = step.place_of_question() if step else (ASK, "")
        return self._ask_at(name, request.key or key or self._next_occurrence(ASK), request)

    def observe(
        self,
        tool: str,
        arguments: Any = None,
        result: Any = None,
        *,
        error: str | None = None,
        turn: str = "",
        poll: bool = False,
        read_only: bool = False,
        idempotent: bool = False,
        tokens: int = 0,
        nanousd: int = 0,
        progress: str | float | None = None,
        until: int | None = None,
        change_within_seconds: float | None = None,
        confidence: float | None = None,
    ) -> observations.Observed:
        """Tell of a tool's call and its result. The answer says whether the run goes in circles, and what to do.

        `rung` is ok, observe, nudge (`text` is for the model), block (make this call no more), or escalate: then a
        person was asked, the run waited as with `agent.escalate`, and `answer` is what they said. Equal calls of one
        `turn` count once. `poll`, `read_only` and `idempotent` say what kind of tool it is. `progress` is a measure
        that changes only when the work does. `until` (UTC microseconds) declares a wait. Told again after a restart,
        it is no repetition.
        """
        self._check_open()
        number = int(self._next_occurrence("observe"))
        if self._replaying:
            return observations.Observed(rung=OK, replayed=True)
        told = observations.ObserveCall(
            run=self.id,
            number=number,
            tool=tool,
            arguments=arguments,
            result=result,
            error=error,
            turn=turn,
            poll=poll,
            read_only=read_only,
            idempotent=idempotent,
            tokens=tokens,
            nanousd=nanousd,
            progress=progress,
            until=until,
            change_within_seconds=change_within_seconds,
            confidence=confidence,
        )
        seen: observations.Observed = self._call(told)
        if seen.rung != ESCALATE:
            return seen
        answer = self._ask_at(STUCK, str(number), _question(seen))
        return msgspec.structs.replace(seen, answer=answer)

    def _ask_at(self, name: str, key: str, request: CreateEscalation) -> Answer | Escalation:
        self._check_open()
        request = msgspec.structs.replace(request, run=self.id, name=name, key=key)
        if self._replaying and request.wait:
            return msgspec.convert((self._replayed_wait(name, key)).value, described(Answer))
        while True:
            made: Escalation = self._plane.call(request) if self._replaying else self._call(request)
            if not request.wait:
                return made
            if made.answer is not None:
                return made.answer
            self._suspend(f"{made.reason} ({made.id})")

    def _watched(self, call: StepCall, stored: model.Step | None) -> Any:
        """The step's attempts; where the run watches its steps they are told, and a blocked one is not made."""
        if not self._watches_steps:
            return self._attempts(call, stored)
        if self._may_be_blocked:
            self._refuse_blocked(call)
        try:
            result = self._attempts(call, stored)
        except (Suspended, LeaseLost):
            raise
        except Exception as error:
            self._tell(call, error=summary_of(error))
            raise
        self._tell(call, result=_plain(result))
        return result

    def _refuse_blocked(self, call: StepCall) -> None:
        """Ask a person before a call that went in circles is made again. Raises PermissionDenied unless they agree."""
        answer = (self._tell(call, before=True)).answer
        if answer is not None and not answer.approved:
            said = ": ".join(filter(None, (answer.choice or answer.decision, answer.comment)))
            raise PermissionDenied(
                f"The step {call.name} is blocked: it gave the same again and again.",
                why=f"{answer.by or 'Nobody'} was asked about it, and said: {said}",
                next_call="Do something else; the call is free once something new has succeeded.",
                details={"run": self.id, "step": f"{call.name}/{call.key}", "escalation": answer.escalation},
            )

    def _tell(
        self, call: StepCall, *, result: Any = None, error: str | None = None, before: bool = False
    ) -> observations.Observed:
        """Observe a step. It has a place of its own, since steps that are stored are not made, nor told, again."""
        place = _place_of(call)
        told = observations.ObserveCall(
            run=self.id, step=place, before=before, tool=call.name, arguments=_shown(call), result=result, error=error
        )
        seen: observations.Observed = self._call(told)
        self._may_be_blocked = self._may_be_blocked or seen.rung == BLOCK
        if seen.rung != ESCALATE:
            return seen
        answer = self._ask_at(STUCK, place, _question(seen))
        return msgspec.structs.replace(seen, answer=answer)

    def _hear(self, call: StepCall) -> None:
        """Take the answer that a stored step of an earlier holder asked for, and that nobody has received."""
        owed = self.record.waiting_for
        if not self._watches_steps or self._replaying or not (owed or "").startswith("esc_"):
            return
        place = _place_of(call)
        asked: Escalation = self._plane.call(GetEscalation(escalation=owed or ""))
        if any((waiter.run, waiter.step) == (self.id, f"{STUCK}/{place}") for waiter in asked.waiters):
            self._ask_at(STUCK, place, CreateEscalation(severity=asked.severity, reason=asked.reason))

    # What the run itself is.

    @property
    @abstractmethod
    def id(self) -> str: ...

    @property
    @abstractmethod
    def record(self) -> model.Run: ...

    @abstractmethod
    def _call(self, request: Any) -> Any: ...

    @abstractmethod
    def _attempts(self, call: StepCall, stored: model.Step | None) -> Any: ...

    @abstractmethod
    def _replayed_wait(self, name: str, key: str) -> model.Parked: ...

    @abstractmethod
    def _suspend(self, question: str) -> None: ...

    @abstractmethod
    def _next_occurrence(self, name: str) -> str: ...

    @abstractmethod
    def _check_open(self) -> None: ...


def _question(seen: observations.Observed) -> CreateEscalation:
    """What a person is asked about a run that is stuck: the diagnosis, and the ways out as suggested actions."""
    diagnosis = seen.diagnosis
    ways = diagnosis.ways_out if diagnosis else []
    return CreateEscalation(
        severity="medium",
        kind="stuck",
        reason=(seen.text or "The run goes in circles.")[:REASON_MAX],
        context=msgspec.to_builtins(diagnosis) if diagnosis else None,
        suggested_actions=[
            SuggestedAction(id=f"way-{number}", label=way[:LABEL_MAX], effect=way, reversible=True)
            for number, way in enumerate(ways, 1)
        ],
        detail={"signal": seen.signal, "score": seen.score, "loop": seen.key},
    )


def _place_of(call: StepCall) -> str:
    return f"{call.name}/{call.key}"[: model.RUN_KEY_MAX]


def _shown(call: StepCall) -> Any:
    """A step's arguments, or their fingerprint where they are no JSON."""
    return _plain(list(call.arguments), call.fingerprint)


def _plain(value: Any, otherwise: Any = None) -> Any:
    try:
        encode(value)
    except InvalidInput:
        return otherwise
    return value
