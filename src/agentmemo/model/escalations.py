"""Escalations: questions to people, what they consist of, and how they may change.

Three machines, each a table. A **decision** moves along TRANSITIONS; a terminal one never changes, a correction is a
new escalation. A **delivery**, one for each waiter, moves along DELIVERY: that somebody decided and that the decision
reached who asked are two facts, and the second is retried without asking again. The third, **notification**, stands in
`model/notifications.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from agentmemo.errors import InvalidTransition
from agentmemo.model.wire import Request, Response, one_of

OPEN, ACKNOWLEDGED = "open", "acknowledged"
DECIDED, DEFAULTED, AUTO_DECIDED = "decided", "defaulted", "auto_decided"
WITHDRAWN, SUPERSEDED = "withdrawn", "superseded"
STATES = (OPEN, ACKNOWLEDGED, DECIDED, DEFAULTED, AUTO_DECIDED, WITHDRAWN, SUPERSEDED)
UNDECIDED = (OPEN, ACKNOWLEDGED)
ANSWERED = (DECIDED, DEFAULTED, AUTO_DECIDED)
ENDED = (DECIDED, DEFAULTED, AUTO_DECIDED, WITHDRAWN, SUPERSEDED)

TRANSITIONS: dict[tuple[str, str], str] = {
    (OPEN, "acknowledge"): ACKNOWLEDGED,
    (ACKNOWLEDGED, "acknowledge"): ACKNOWLEDGED,
    (ACKNOWLEDGED, "release"): OPEN,
    (OPEN, "vote"): OPEN,
    (ACKNOWLEDGED, "vote"): ACKNOWLEDGED,
    (OPEN, "decide"): DECIDED,
    (ACKNOWLEDGED, "decide"): DECIDED,
    (OPEN, "default"): DEFAULTED,
    (ACKNOWLEDGED, "default"): DEFAULTED,
    (OPEN, "auto_decide"): AUTO_DECIDED,
    (OPEN, "withdraw"): WITHDRAWN,
    (ACKNOWLEDGED, "withdraw"): WITHDRAWN,
    (OPEN, "supersede"): SUPERSEDED,
    (ACKNOWLEDGED, "supersede"): SUPERSEDED,
}

# Delivery: `leased` while the run that asked is in somebody's hands again, `applied` once its code has the answer,
# `gone` where the run ended before.
WAITING, READY, LEASED, APPLIED, FAILED = "waiting", "ready", "leased", "applied", "failed"
GONE = "gone"
DELIVERY: dict[tuple[str, str], str] = {
    (WAITING, "decide"): READY,
    (WAITING, "apply"): APPLIED,
    (READY, "lease"): LEASED,
    (READY, "apply"): APPLIED,
    (LEASED, "apply"): APPLIED,
    (LEASED, "lose"): READY,
    (LEASED, "fail"): FAILED,
    (READY, "fail"): FAILED,
    (FAILED, "retry"): READY,
    (FAILED, "lease"): LEASED,
    (FAILED, "fail"): FAILED,
    (FAILED, "apply"): APPLIED,
    (WAITING, "leave"): GONE,
    (READY, "leave"): GONE,
    (LEASED, "leave"): GONE,
    (FAILED, "leave"): GONE,
}
UNDELIVERED = (READY, LEASED, FAILED)

SEVERITIES = ("critical", "high", "medium", "low")
SECTIONS = ("open", "mine", "snoozed", "undelivered", "done")
KINDS = ("approval", "question", "stuck", "risk", "failure", "handoff", "info")
# What a person may say; `skip` and `pause` are what an expired deadline may say beside `reject` and `abort`.
DECISIONS = ("approve", "edit", "reject", "answer", "choose", "abort")
FALLBACKS = ("deny", "skip", "abort", "pause")
NEGATIVE = ("reject", "abort")
SENSITIVITIES = ("public", "internal", "secret")
SCOPES = ("once", "run", "rule")
REASON_MAX = 500
SLUG_MAX = 60
_NO_SLUG = re.compile(r"[^a-z0-9]+")
KEY_MAX = 512
ACTIONS_MAX = 5
LABEL_MAX = 80
VALUES_BYTES_MAX = 64 * 1024
APPROVERS_MAX = 10
LIST_MAX = 100
# How the collapse keys of the store begin that an asker gave; and, of those, what runs ask about themselves.
GIVEN, RUN_KEY = "given:", "run:"
# Under this the question's detail says which of its own questions a run asks.
RUN_QUESTION = "run_question"


class SuggestedAction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One way out that the asker offers. `reversible` None is unknown, and unknown counts as not reversible."""

    id: str
    label: str
    effect: str = ""
    reversible: bool | None = None
    cost: str = ""


def action_called(label: str, before: Sequence[SuggestedAction]) -> SuggestedAction:
    """One that is only words: its id is made of them, and is none of those before it."""
    number = len(before) + 1
    slug = _NO_SLUG.sub("-", label.lower()).strip("-")[:SLUG_MAX] or f"action-{number}"
    is_taken = any(action.id == slug for action in before)
    return SuggestedAction(id=f"{slug}-{number}" if is_taken else slug, label=label)


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What will be executed when it is approved, exactly. `revision` is the target's, such as a commit or an etag."""

    tool: str
    arguments: Any = None
    revision: str = ""
    reversible: bool | None = None


class Needs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who must agree: `count` different persons, none of `exclude`; `deny` says whether one refusal ends it."""

    count: int = 1
    exclude: list[str] = []
    deny: str = "any"  # any, majority


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the person gets to see; fixed when it is asked."""

    context: Any = None
    suggested_actions: list[SuggestedAction] = []
    response_schema: dict[str, Any] | None = None
    action: Action | None = None
    needs: Needs = Needs()
    sensitivity: str = "internal"
    detail: dict[str, Any] | None = None
    on_behalf_of: list[str] = []


class Answer(Response, kw_only=True):
    """What came of a question. It is a value also when it says no.

    `decision` is approve, edit, reject, answer, choose or abort; after an expired deadline also skip. `defaulted` says
    that nobody answered in time. `choice` is the chosen action's id, `values` what was filled in or edited.
    """

    decision: str
    choice: str | None = None
    values: Any = None
    comment: str = ""
    by: str = ""
    at: int = 0
    via: str = ""
    defaulted: bool = False
    rule: str | None = None
    scope: str = "once"
    digest: str | None = None
    execute_by: int | None = None
    escalation: str = ""

    @property
    def approved(self) -> bool:
        """True where the action may go ahead as it was shown, or as it was edited."""
        return self.decision in ("approve", "edit")


class Vote(Response, kw_only=True):
    person: str
    decision: str
    choice: str | None = None
    values: Any = None
    comment: str = ""
    at: int = 0
    via: str = ""
    scope: str = "once"


class Comment(Response, kw_only=True):
    person: str
    text: str
    at: int


class Waiter(Response, kw_only=True):
    """Who waits for the answer, and whether it got there."""

    asker: str
    run: str | None
    step: str | None
    state: str
    attempts: int
    error: str
    since: int
    updated_at: int


class Told(Response, kw_only=True):
    """One message to one person."""

    person: str
    channel: str
    occasion: str
    state: str
    attempts: int
    error: str
    created_at: int
    sent_at: int | None


class Escalation(Response, kw_only=True):
    """A question as its asker and the people see it. `answer` is there once it has ended with one.

    Votes, comments, waiters and messages are filled where one escalation is read, not in lists. While `inhibited_by`,
    another question, is open, nobody is told; `inhibited_rule` says so. `ended_reason` is why one was taken back.
    """

    id: str
    state: str
    kind: str
    severity: str
    reason: str
    asker: str
    revision: int
    run: str | None = None
    step: str | None = None
    context: Any = None
    suggested_actions: list[SuggestedAction] = []
    response_schema: dict[str, Any] | None = None
    action: Action | None = None
    digest: str = ""
    irreversible: bool = False
    on_behalf_of: list[str] = []
    needs: Needs = Needs()
    sensitivity: str = "internal"
    detail: dict[str, Any] | None = None
    collapse_key: str | None = None
    default: str = ""
    deadline: int = 0
    warned: int = 0
    lapsed_at: int | None = None
    route: str = "default"
    step_number: int = 0
    next_told_at: int | None = None
    holder: str | None = None
    hold_until: int | None = None
    snoozed: bool = False
    extended: bool = False
    assignee: str | None = None
    occurrences: int = 1
    last_at: int = 0
    waiting: int = 0
    undelivered: int = 0
    answer: Answer | None = None
    uses: int = 0
    votes: list[Vote] = []
    comments: list[Comment] = []
    waiters: list[Waiter] = []
    told: list[Told] = []
    supersedes: str | None = None
    superseded_by: str | None = None
    inhibited_by: str | None = None
    inhibited_rule: str | None = None
    ended_reason: str = ""
    created_at: int = 0
    updated_at: int = 0
    ended_at: int | None = None


class CreateEscalation(Request, kw_only=True):
    """Ask a person. The same call again (by `key`, in a run by its step and occurrence) finds the same question.

    In a run, with `wait`, the run is parked in the same commit. `default` is what happens when nobody answers by
    `deadline` (UTC microseconds): the id of a suggested action, deny, skip, abort or pause; missing ones come from the
    severity's policy. Questions with one `collapse_key` are one question while it is open, with many waiters. `guard`
    is the decision that says to ask (`guard.check`); severity, route and needs are then those of its rule.
    """

    severity: str
    reason: str
    kind: str = "question"
    context: Any = None
    suggested_actions: list[SuggestedAction] = []
    response_schema: dict[str, Any] | None = None
    action: Action | None = None
    default: str | None = None
    deadline: int | None = None
    key: str | None = None
    collapse_key: str | None = None
    route: str = "default"
    needs: Needs | None = None
    sensitivity: str = "internal"
    detail: dict[str, Any] | None = None
    supersedes: str | None = None
    run: str | None = None
    name: str | None = None
    wait: bool = True
    guard: int | None = None


class GetEscalation(Request, kw_only=True):
    escalation: str
    wait_seconds: float = 0.0
    after_updated: int | None = None


class ListEscalations(Request, kw_only=True):
    """Newest first. `state` is one of the seven, or `undelivered`: answered, and not with who asked yet."""

    state: Annotated[str, one_of((*STATES, "undelivered"))] | None = None
    run: str | None = None
    cursor: str | None = None
    limit: int = 100


class WithdrawEscalation(Request, kw_only=True):
    escalation: str
    reason: str


class ReceiveAnswer(Request, kw_only=True):
    """The asker has the answer: outside a run, its delivery counts as applied from now on."""

    escalation: str


class RedeemApproval(Request, kw_only=True):
    """Use an approval, right before the action is executed: the exact action must be the one that was approved."""

    escalation: str
    tool: str
    arguments: Any = None
    revision: str = ""


class ListInbox(Request, kw_only=True):
    """What people have to look at, the most urgent first: undecided questions, or by `section`.

    Sections: `mine` (held by or handed to the caller), `open`, `undelivered`, `snoozed`, `done`.
    """

    section: Annotated[str, one_of(SECTIONS)] | None = None
    severity: Annotated[str, one_of(SEVERITIES)] | None = None
    kind: Annotated[str, one_of(KINDS)] | None = None
    asker: str | None = None
    run: str | None = None
    cursor: str | None = None
    limit: int = 100
    wait_seconds: float = 0.0
    after: int | None = None


class AcknowledgeEscalation(Request, kw_only=True):
    """A named person is on it: the climb stops until the hold expires."""

    escalation: str


class ReleaseEscalation(Request, kw_only=True):
    """The person who is on it gives it back."""

    escalation: str
    comment: str = ""


class AnswerEscalation(Request, kw_only=True):
    """Decide, or vote where several must agree. The first who decides wins; the others are told who, and what.

    `seen` is the question's digest as it was shown; an answer never lands on something else. Rejecting needs a
    comment. `values` must fit the response schema, or are the edited arguments of the action.
    """

    escalation: str
    decision: str
    choice: str | None = None
    values: Any = None
    comment: str = ""
    scope: str = "once"
    seen: str | None = None


class DelegateEscalation(Request, kw_only=True):
    escalation: str
    to: str
    comment: str = ""


class SnoozeEscalation(Request, kw_only=True):
    """Acknowledge until a time (UTC microseconds), at most until 80 % of the deadline."""

    escalation: str
    until: int


class ExtendEscalation(Request, kw_only=True):
    """Move the deadline once by as much as it was at the start."""

    escalation: str
    comment: str = ""


class CommentEscalation(Request, kw_only=True):
    escalation: str
    text: str


class RetryDelivery(Request, kw_only=True):
    """Wake the runs again that an answer has not reached."""

    escalation: str


def next_state(state: str, act: str, escalation: str) -> str:
    """The state after `act`. Raises InvalidTransition where the table has no such arrow."""
    try:
        return TRANSITIONS[state, act]
    except KeyError:
        raise InvalidTransition(
            f"Escalation {escalation} is {state}; it cannot {act}.",
            why="A decision is final; a correction is a new escalation.",
            next_call=f"See agent.escalations.get('{escalation}').",
            details={"escalation": escalation, "state": state, "act": act},
        ) from None


def is_of_run(collapse_key: str | None) -> bool:
    """Whether a run asks it about itself: it ends with what becomes of the run."""
    return (collapse_key or "").startswith(GIVEN + RUN_KEY)


def taken_back(escalation: str, reason: str) -> Answer:
    """What whoever waits is given when a question ended without an answer."""
    return Answer(decision="abort", comment=reason or "The question was withdrawn.", escalation=escalation)


def next_delivery(state: str, act: str) -> str:
    """The state of a delivery after `act`; one that knows no such arrow stays as it is."""
    return DELIVERY.get((state, act), state)


def question_of(request: CreateEscalation, on_behalf_of: tuple[str, ...] = ()) -> Question:
    """What of a request the person gets to see."""
    shown = ("context", "suggested_actions", "response_schema", "action", "sensitivity", "detail")
    given = {name: getattr(request, name) for name in shown}
    return Question(**given, needs=request.needs or Needs(), on_behalf_of=list(on_behalf_of))
