"""What happened to a question, in the order of its times: from the question itself, and from the trail."""

from __future__ import annotations

from typing import Any

from agentmemo.console.words import actor_name, said, sentence, then
from agentmemo.model.audit import Event
from agentmemo.model.escalation_rules import WARNINGS, warning_at
from agentmemo.model.escalations import OPEN, UNDECIDED, Comment, Escalation, Told, Vote

SHOWN = 60
# operation -> (icon, what it says; {who} did it)
TOLD: dict[str, tuple[str, str]] = {
    "escalation.create": ("person", "{who} asked"),
    "escalation.join": ("person", "{who} asked the same"),
    "escalation.climb": ("bell", "The next people on its route were told"),
    "escalation.raise": ("high", "Everybody was told and nobody took it: its severity rose"),
    "escalation.warn": ("bell", "People were warned"),
    "escalation.lapse": ("expired", "Its time was over; it goes on waiting"),
    "escalation.release": ("replay", "Nobody is on it any more"),
    "escalation.decide": ("completed", "It was decided"),
    "escalation.default": ("expired", "Nobody answered in time: what was declared for that was taken"),
    "escalation.auto_decide": ("replay", "A rule answered"),
    "escalation.withdraw": ("declined", "It was taken back"),
    "escalation.supersede": ("replay", "Another question took its place"),
    "escalation.apply": ("completed", "{who} goes on with the answer"),
    "escalation.retry": ("replay", "{who} had the answer delivered again"),
    "escalation.redeem": ("completed", "{who} used the approval"),
    "inbox.acknowledge": ("person", "{who} is on it"),
    "inbox.snooze": ("scheduled", "{who} put it off"),
    "inbox.delegate": ("out", "{who} handed it to {to}"),
    "inbox.extend": ("scheduled", "{who} moved the deadline"),
    "inbox.answer": ("person", "{who} voted; it does not count any more"),
}
SENT = {
    "queued": ("pending", "is to be told"),
    "sent": ("bell", "was told"),
    "delivered": ("bell", "was told, and it was delivered"),
    "failed": ("failed", "could not be told"),
}


def moments(found: Escalation, events: list[Event] | None) -> list[dict[str, Any]]:
    """The oldest first; of many the newest. Without the trail, what the question itself knows."""
    said_at = {(vote.person, vote.at) for vote in found.votes}
    made = [from_trail(event) for event in reversed(events or []) if is_own(event, said_at)]
    if events is None:
        made.append(moment(found.created_at, "person", f"{actor_name(found.asker)} asked"))
        if found.ended_at:
            made.append(moment(found.ended_at, "completed", f"It is {found.state}"))
    made += [vote_of(found, vote) for vote in found.votes]
    made += [comment_of(comment) for comment in found.comments]
    made += [message(told) for told in found.told]
    return sorted(made, key=lambda each: each["at"])[-SHOWN:]


def is_own(event: Event, said_at: set[tuple[str, int]]) -> bool:
    """Whether the trail has to tell it: what people said stands with the question, unless it is void."""
    if event.operation == "inbox.answer":
        return event.outcome == "ok" and (event.actor, event.at) not in said_at
    return event.outcome == "ok" and event.operation in TOLD


def moment(at: int, icon: str, what: str, words: str = "", author: str = "", event: str = "") -> dict[str, Any]:
    return {"at": at, "icon": icon, "what": what, "words": words, "author": author, "event": event}


def from_trail(event: Event) -> dict[str, Any]:
    icon, text = TOLD[event.operation]
    what = text.format(who=actor_name(event.actor), to=actor_name(event.subject.get("to", "somebody")))
    words = "" if event.operation == "escalation.create" else event.reason
    return moment(event.at, icon, what, words, event.actor, event.id)


def vote_of(found: Escalation, vote: Vote) -> dict[str, Any]:
    what = f"{actor_name(vote.person)}: {said(found, vote.decision, vote.choice)}"
    return moment(vote.at, "person", what, vote.comment, vote.person)


def comment_of(comment: Comment) -> dict[str, Any]:
    return moment(comment.at, "person", f"{actor_name(comment.person)} said", comment.text, comment.person)


def message(told: Told) -> dict[str, Any]:
    """One notification, with what became of it."""
    icon, verb = SENT.get(told.state, ("bell", f"is {told.state}"))
    tries = f", tried {told.attempts} times" if told.state == "failed" and told.attempts > 1 else ""
    what = f"{sentence(actor_name(told.person))} {verb} by {told.channel}{tries}"
    made = moment(told.sent_at or told.created_at, icon, what, told.error, "service:agentmemo")
    return made | {"occasion": told.occasion, "failed": told.state == "failed"}


def coming(found: Escalation) -> list[dict[str, Any]]:
    """What happens next by itself, and when."""
    if found.state not in UNDECIDED:
        return []
    made = [(found.next_told_at, "the next people on its route are told")] if found.state == OPEN else []
    made.append((found.hold_until, f"without an answer, {actor_name(found.holder or '')} is not on it any more"))
    if found.lapsed_at is None:
        made += [
            (warning_at(found.created_at, found.deadline, percent), "people are warned")
            for percent in WARNINGS
            if found.warned < percent
        ]
        made.append((found.deadline, f"nobody has answered: {then(found)}"))
    return [{"at": at, "what": what} for at, what in sorted((at, what) for at, what in made if at is not None)]
