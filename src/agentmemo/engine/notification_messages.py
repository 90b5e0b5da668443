"""A message written from its question, as that stands at the moment."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.engine.call import Call
from agentmemo.engine.escalation_views import existing, view
from agentmemo.engine.notifications import Due
from agentmemo.model import escalations as asked
from agentmemo.model import notifications as model
from agentmemo.store.database import Transaction

VALUE_MAX = 300
FALLBACKS = {
    "deny": "the answer is no",
    "skip": "it goes on without this",
    "abort": "whoever waits is told to stop",
    "pause": "it stays paused until somebody answers",
}
DECISIONS = {
    "approve": "Approve",
    "edit": "Approve with changes",
    "reject": "Reject",
    "answer": "Answer",
    "abort": "Stop",
    "skip": "Go on without it",
}
# In whose context these fields say why; all others are evidence.
WHY = ("why", "purpose")


def compose(tx: Transaction, call: Call, due: Due) -> model.Message:
    """What a person is told now: the question, or how it ended. Without a link, which belongs to one sending."""
    escalation = view(tx, call, existing(tx, call, due.handle))
    return message_of(
        escalation, id=due.id, workspace=call.caller.workspace, person=due.person, occasion=due.occasion, at=tx.now
    )


def message_of(
    escalation: asked.Escalation, *, id: str, workspace: str, person: str, occasion: str, at: int
) -> model.Message:
    why, evidence = _reasons(escalation)
    return model.Message(
        id=id,
        escalation=escalation.id,
        workspace=workspace,
        person=person,
        occasion=occasion,
        at=at,
        question=escalation.reason,
        kind=escalation.kind,
        severity=escalation.severity,
        asker=escalation.asker,
        sensitivity=escalation.sensitivity,
        consequence=_consequence(escalation),
        deadline=None if escalation.lapsed_at else escalation.deadline,
        options=tuple(options_of(escalation)),
        action=_action(escalation.action),
        why=why,
        evidence=evidence,
        run=escalation.run,
        step=escalation.step,
        waiting=escalation.waiting,
        occurrences=escalation.occurrences,
        guarded=model.is_guarded(escalation.severity, irreversible=escalation.irreversible),
        seen=escalation.digest,
        over=_over(escalation),
    )


def options_of(escalation: asked.Escalation) -> list[model.Option]:
    """The ways to answer that need no form; a form is on the page."""
    options = [
        model.Option(
            decision="choose",
            choice=action.id,
            label=action.label,
            effect=action.effect,
            reversible=action.reversible,
            cost=action.cost,
        )
        for action in escalation.suggested_actions
    ]
    if escalation.action is not None or escalation.kind == "approval":
        reversible = escalation.action.reversible if escalation.action else None
        options.insert(0, model.Option(decision="approve", label=DECISIONS["approve"], reversible=reversible))
    elif escalation.response_schema is None:
        options.append(model.Option(decision="answer", label="Answer in words", says_why=True))
    options.append(model.Option(decision="reject", label=DECISIONS["reject"], says_why=True))
    return options


def _consequence(escalation: asked.Escalation) -> str:
    if escalation.lapsed_at:
        return FALLBACKS["pause"]
    return FALLBACKS.get(escalation.default) or _label(escalation, escalation.default)


def _label(escalation: asked.Escalation, choice: str) -> str:
    return next((action.label for action in escalation.suggested_actions if action.id == choice), choice)


def _over(escalation: asked.Escalation) -> model.Over | None:
    if escalation.ended_at is None:
        return None
    answer = escalation.answer
    if answer is None:
        return model.Over(state=escalation.state, at=escalation.ended_at)
    label = _label(escalation, answer.choice) if answer.choice else DECISIONS.get(answer.decision, answer.decision)
    by = "" if answer.defaulted else answer.by
    comment = "" if answer.defaulted else answer.comment
    return model.Over(state=escalation.state, at=escalation.ended_at, label=label, by=by, comment=comment)


def _action(action: asked.Action | None) -> str:
    """The exact call that would be made, as it will be checked again before it is."""
    if action is None:
        return ""
    arguments = msgspec.json.format(msgspec.json.encode(action.arguments), indent=2).decode()
    return f"{action.tool} {arguments}" + (f"\nat revision {action.revision}" if action.revision else "")


def _reasons(escalation: asked.Escalation) -> tuple[str, tuple[str, ...]]:
    """(why, evidence) from whatever the asker gave as context, and what a detector found."""
    context = escalation.context
    evidence = [f"{name}: {_text(value)}" for name, value in (escalation.detail or {}).items()]
    if not isinstance(context, dict):
        return ("" if context is None else _text(context, len(str(context)))), tuple(evidence)
    why = "\n".join(_text(context[name], VALUE_MAX * 10) for name in WHY if name in context)
    found = context.get("evidence")
    own = [_text(item) for item in found] if isinstance(found, list) else [] if found is None else [_text(found)]
    others = [f"{name}: {_text(value)}" for name, value in context.items() if name not in (*WHY, "evidence")]
    return why, (*own, *others, *evidence)


def _text(value: Any, size: int = VALUE_MAX) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= size else text[: size - 1] + "…"
