"""Equal questions answered together: chosen in the list, confirmed on a page of their own. Grave ones never are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from urllib.parse import urlencode

import msgspec

from agentmemo.console.answering import values_of
from agentmemo.console.escalation import options, outcome
from agentmemo.console.fields import fields_of
from agentmemo.console.frame import Page, Visit
from agentmemo.console.words import count, sentence
from agentmemo.errors import InvalidInput, InvalidTransition, LimitExceeded
from agentmemo.model.escalation_rules import is_excluded
from agentmemo.model.escalations import UNDECIDED, Escalation

QUESTIONS_MAX = 50
MILD = ("low", "medium")
SHOWN = "shown."  # before a question's handle in the form, for the digest of what was shown of it


def likeness(found: Escalation) -> bytes | None:
    """Equal for questions that say the same and take the same answers; None for one that is answered by itself."""
    final = found.irreversible or (found.action is not None and found.action.reversible is not True)
    if found.state not in UNDECIDED or found.severity not in MILD or found.needs.count > 1 or final:
        return None
    return msgspec.json.encode(
        [found.kind, found.reason, found.suggested_actions, found.response_schema, found.action], order="sorted"
    )


def with_equals(shown: Iterable[Escalation]) -> set[str]:
    """Which of these have an equal among them."""
    likes = {found.id: likeness(found) for found in shown}
    times = Counter(like for like in likes.values() if like is not None)
    return {handle for handle, like in likes.items() if times[like] > 1}  # type: ignore[index]


async def together(visit: Visit) -> Page:
    """What would be answered, and the form for it; afterwards what came of each."""
    found = await chosen(visit, visit.request.query_params.getlist("id"))
    undecided = [each for each in found if each.state in UNDECIDED]
    check_alike(visit, undecided)
    return Page(
        template="together.html",
        title="Several questions",
        section="Inbox",
        data={
            "headline": headline(undecided, len(found)),
            "reason": found[0].reason,
            "questions": [
                {"escalation": each, "outcome": outcome(each)} for each in sorted(found, key=lambda each: each.deadline)
            ],
            "undecided": [{"field": SHOWN + each.id, "digest": each.digest} for each in undecided],
            "options": [each for each in options(undecided[0]) if each["value"] != "edit"] if undecided else [],
            "fields": fields_of(undecided[0].response_schema or {}) if undecided else [],
            "action": undecided[0].action if undecided else None,
        },
    )


async def answer(visit: Visit) -> str:
    """One answer for each of them, as it was shown. Who was answered by somebody else meanwhile is left at that."""
    form, inbox = visit.form, visit.connection.inbox
    found = await chosen(visit, [name.removeprefix(SHOWN) for name in form if name.startswith(SHOWN)])
    undecided = [each for each in found if each.state in UNDECIDED]
    check_alike(visit, undecided)
    decision, _, choice = form.get("act", "").partition(":")
    if not decision:
        raise InvalidInput("No answer was chosen.", next_call="Go back, choose one of the answers, then send.")
    comment = form.get("comment", "").strip()
    for each in undecided:
        values = values_of(form, each, decision)
        try:
            await inbox.answer(
                each.id, decision, choice=choice or None, values=values, comment=comment, seen=form[SHOWN + each.id]
            )
        except InvalidTransition:
            continue  # its own line on the page says who was faster, or that it is not what was shown
    return "/inbox/together?" + urlencode([("id", each.id) for each in found])


async def chosen(visit: Visit, handles: list[str]) -> list[Escalation]:
    """Raises InvalidInput for none, and LimitExceeded for more than a person can look through."""
    if not handles:
        raise InvalidInput("No question was chosen.", next_call="Choose questions in the inbox.")
    if len(handles) > QUESTIONS_MAX:
        raise LimitExceeded(
            f"{len(handles)} questions are more than the {QUESTIONS_MAX} that can be answered together.",
            next_call="Choose fewer.",
        )
    return [await visit.connection.inbox.get(handle) for handle in dict.fromkeys(handles)]


def check_alike(visit: Visit, found: list[Escalation]) -> None:
    """Raises InvalidInput where one answer would not be for all of them, or is not this person's to give."""
    you = f"person:{visit.identity.actor}"
    likes = {likeness(each) for each in found}
    if None in likes or any(is_excluded(you, each.needs, each.on_behalf_of) for each in found):
        raise InvalidInput(
            "One of these questions is answered by itself.",
            why="It is grave, cannot be undone, needs several people, or somebody else.",
            next_call="Open it, and answer it there.",
        )
    if len(likes) > 1:
        raise InvalidInput(
            "These questions are not equal.",
            why="One answer is for questions that say the same and take the same answers.",
            next_call="Choose equal ones.",
        )


def headline(undecided: list[Escalation], whole: int) -> str:
    if undecided:
        return f"One answer for {count(len(undecided), 'question', 'questions')}?"
    return f"{sentence(count(whole, 'question is', 'questions are'))} answered."
