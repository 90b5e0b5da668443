"""What a step's function can reach while it runs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from agentmemo.client._async.buffer import GONE, Buffer, BufferedHandoffs, BufferedLedger, BufferedState
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client.current import current_async
from agentmemo.client.step_call import StepCall
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.model.runs import ANNOUNCED_EFFECTS, NAME_MAX, QUESTION_STEPS, AddNote, SendSignal
from agentmemo.model.state import GetEntry


class AsyncStepState(BufferedState):
    """Writes are buffered and commit with the step's result; reads see them already."""

    def __init__(self, plane: AsyncPlane, buffer: Buffer) -> None:
        super().__init__(buffer)
        self._plane = plane

    async def get(self, namespace: str, key: str, default: Any = None) -> Any:
        """The value as this step would leave it, or `default`."""
        found = self._buffer.overlay.get((namespace, key), self)
        if found is GONE:
            return default
        if found is not self:
            return found
        try:
            return (await self._plane.call(GetEntry(namespace=namespace, key=key))).value
        except NotFound:
            return default


class AsyncStepContext:
    """The current step: `.state`, `.handoff`, `.ledger` commit with it; `.idempotency_key` names its effect."""

    def __init__(self, plane: AsyncPlane, run: str, epoch: int, call: StepCall, attempt: int) -> None:
        self.run = run
        self.epoch = epoch
        self.name = call.name
        self.key = call.key
        self.effect = call.effect
        self.attempt = attempt
        self.questions = 0
        # How often each call was guarded in it.
        self.calls: dict[str, int] = {}
        self.idempotency_key = f"{run}/{call.name}/{call.key}"
        self.tokens = 0
        self.nanousd = 0
        self.buffer = Buffer()
        self.state = AsyncStepState(plane, self.buffer)
        self.handoff = BufferedHandoffs(plane, self.buffer)
        self.ledger = BufferedLedger(plane, self.buffer, f"{call.name}/{call.key}")

    def place_of_question(self) -> tuple[str, str]:
        """The name and key of the next question that this step asks. After the answer the step runs from its start.

        Raises InvalidInput in a step that must not run twice.
        """
        self.check_may_ask()
        self.questions += 1
        return f"{QUESTION_STEPS[0]}:{self.name}/{self.key}"[:NAME_MAX], str(self.questions)

    def check_may_ask(self) -> None:
        if self.effect in ANNOUNCED_EFFECTS:
            raise InvalidInput(
                f"The step {self.name!r} has the effect {self.effect!r}; it cannot ask a person.",
                why="It would run again from its start after the answer, and do its effect twice.",
                next_call="Escalate or guard before the step, and give it the answer.",
            )

    def charge(self, *, tokens: int = 0, nanousd: int = 0) -> None:
        """Add to what this step cost; it is charged to the run's budget in the step's commit."""
        if tokens < 0 or nanousd < 0:
            raise InvalidInput("A charge is not negative.", next_call="Charge 0 or more.")
        self.tokens += tokens
        self.nanousd += nanousd

    def signal(self, run: str, name: str, value: Any = None) -> None:
        """Send a signal to a run when this step commits."""
        self.buffer.add(SendSignal(run=run, name=name, value=value))

    def finding(self, text: str) -> None:
        """A finding that is recorded when this step commits, exactly once."""
        self.buffer.add(AddNote(run=self.run, kind="finding", text=text, step=f"{self.name}/{self.key}"))


current: ContextVar[AsyncStepContext | None] = current_async
