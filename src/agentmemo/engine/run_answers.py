"""A person's answer to what a run asks about itself: from the inbox, or where the run is."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.engine import run_questions, runs, waits
from agentmemo.engine.call import Call
from agentmemo.engine.claims import held
from agentmemo.errors import InvalidInput
from agentmemo.model import escalations as asked
from agentmemo.model import runs as model
from agentmemo.model.kinds import described
from agentmemo.model.values import encode
from agentmemo.store.blobs import NOTHING, PLAIN, Packed
from agentmemo.store.database import Transaction

CONTINUE = "continue"


def park(tx: Transaction, call: Call, request: model.ParkRun) -> model.Parked:
    """Wait; for a person, with the question in the inbox."""
    if request.kind != "person":
        return waits.park(tx, call, request)
    run = held(tx, call, request.run)
    question = model.check_choice(request.question or "", model.QUESTIONS, "question")
    run_questions.ask(tx, call, run, question, request.detail, (request.name, request.key))
    return model.Parked(done=False, epoch=run.epoch)


def resolve(tx: Transaction, call: Call, request: model.ResolveRun) -> model.Run:
    """Decide where the run is; the question in the inbox ends with it."""
    made = waits.resolve(tx, call, request)
    answer = asked.Answer(
        decision="choose", choice=request.decision, comment=request.comment, by=call.caller.actor, via=call.caller.door
    )
    run_questions.decided(tx, call, made.id, answer)
    return made


def check(request: asked.AnswerEscalation, question: str) -> None:
    """Refuse an answer that decides nothing for the run. Raises InvalidInput."""
    fits = request.decision in asked.NEGATIVE or request.decision == "choose"
    if question == "budget":
        fits = request.decision in asked.NEGATIVE or (request.decision == "answer" and bool(request.values))
    if not fits:
        way = "answer with values: the bounds to raise" if question == "budget" else "choose one of the options"
        raise InvalidInput(
            f"{request.decision!r} does not decide what the run asks.",
            next_call=f"To let it go on, {way}; reject or abort cancels the run.",
        )


def settle(tx: Transaction, call: Call, run: str, question: str, vote: asked.Vote) -> None:
    """What people decided is done to the run: it goes on, or is cancelled."""
    if vote.decision in asked.NEGATIVE:
        runs.cancel(tx, call, model.CancelRun(run=run, reason=vote.comment))
        return
    budget = _budget_of(vote.values) if question == "budget" else None
    decision = CONTINUE if question == "budget" else vote.choice or ""
    result = _packed(vote.values) if decision == "happened" else NOTHING
    waits.resolve(
        tx, call, model.ResolveRun(run=run, decision=decision, result=result, budget=budget, comment=vote.comment)
    )


def _budget_of(values: Any) -> model.Budget:
    try:
        return msgspec.convert(values, described(model.Budget))
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"These are no bounds: {error}.", next_call="Send steps, seconds, tokens, nanousd."
        ) from None


def _packed(value: Any) -> Packed:
    content = encode(value)
    return Packed(len(content), PLAIN, content, None, content, value)
