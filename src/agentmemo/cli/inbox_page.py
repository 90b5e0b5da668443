"""A question as a page for the terminal: first what decides, then why, then what became of it.

What an agent wrote is marked as its words. It is set in, so that it can never pass for a line of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agentmemo.cli.output import distance, flat, pretty, stamp
from agentmemo.model.escalations import UNDECIDED, Escalation

CONSEQUENCES = {
    "deny": "it is refused",
    "skip": "it is skipped",
    "abort": "whoever asked is told to stop",
    "pause": "whoever asked goes on waiting",
}
UNDO = {True: "can be undone", False: "cannot be undone", None: "not known whether it can be undone"}
ENDS = {
    "decided": "Decided",
    "defaulted": "Nobody answered in time",
    "auto_decided": "Decided by a rule",
    "withdrawn": "Withdrawn",
    "superseded": "Replaced",
}


def page(found: Escalation, now: int) -> str:
    """The whole page."""
    sections = (
        _head(found, now),
        ("Options", _options(found)),
        ("What will happen", _action(found)),
        (f"Why, in the words of {found.asker}", _value(found.context)),
        ("Evidence", _value(found.detail)),
        ("Votes", _votes(found)),
        ("Who waits", _waiters(found)),
        ("Timeline", _timeline(found)),
        ("Next", _next(found)),
    )
    texts = []
    for title, lines in sections:
        shown = list(lines)
        if shown:
            texts.append("\n".join([title, *(f"  {line}" for line in shown)]))
    return "\n\n".join(texts)


def summary(found: Escalation) -> str:
    """Where it stands, in one sentence."""
    if found.state in UNDECIDED:
        on_it = f", {found.holder} is on it" if found.holder else ""
        return f"It is {found.state}{on_it}; unanswered by {stamp(found.deadline)}, {consequence(found)}."
    return f"{_end(found)}."


def consequence(found: Escalation) -> str:
    """What happens when nobody answers."""
    chosen = next((action.label for action in found.suggested_actions if action.id == found.default), "")
    return CONSEQUENCES.get(found.default) or f"this is done: {flat(chosen or found.default)}"


def _head(found: Escalation, now: int) -> tuple[str, list[str]]:
    facts = [found.id, found.state, f"from {found.asker}"]
    facts += [f"asked {found.occurrences} times"] if found.occurrences > 1 else []
    facts += [f"{found.waiting} wait for it"] if found.waiting else []
    facts += [f"{found.undelivered} do not have the answer yet"] if found.undelivered else []
    lines = [", ".join(facts), _moment(found, now)]
    if found.holder:
        lines.append(f"{found.holder} is on it until {stamp(found.hold_until)}")
    if found.assignee:
        lines.append(f"handed to {found.assignee}")
    if found.inhibited_by:
        lines.append(f"nobody is told while {found.inhibited_by} is open ({flat(found.inhibited_rule or '')})")
    if found.on_behalf_of:
        lines.append(f"on behalf of {', '.join(map(flat, found.on_behalf_of))}")
    if found.run:
        lines.append(f"run {found.run}" + (f", step {flat(found.step)}" if found.step else ""))
    return f"{found.severity.upper()} {found.kind}: {flat(found.reason)}", lines


def _moment(found: Escalation, now: int) -> str:
    if found.state not in UNDECIDED:
        return f"{_end(found)}, {stamp(found.ended_at)}"
    if found.lapsed_at is not None:
        return f"nobody answered until {stamp(found.deadline)}; {consequence(found)}"
    return f"{distance(found.deadline, now)}, unless somebody answers: {consequence(found)} ({stamp(found.deadline)})"


def _end(found: Escalation) -> str:
    text = ENDS[found.state]
    if found.superseded_by:
        text += f" by {found.superseded_by}"
    elif found.ended_reason:
        text += f": {flat(found.ended_reason)}"
    if found.answer:
        what = found.answer.decision + (f" {flat(found.answer.choice)}" if found.answer.choice else "")
        text += f" by {found.answer.by}: {what}" if not found.answer.defaulted else f": {what}"
        text += f" ({flat(found.answer.comment)})" if found.answer.comment and not found.answer.defaulted else ""
    return text


def _options(found: Escalation) -> Iterator[str]:
    if found.state not in UNDECIDED:
        return
    for number, action in enumerate(found.suggested_actions, 1):
        usual = "  (when nobody answers)" if action.id == found.default else ""
        yield f"{number}  {flat(action.label)}  [{flat(action.id)}]{usual}"
        facts = (flat(action.effect), UNDO[action.reversible], f"costs {flat(action.cost)}" if action.cost else "")
        yield "   " + "; ".join(filter(None, facts))
    for name, field in (found.response_schema or {}).get("properties", {}).items():
        required = name in (found.response_schema or {}).get("required", [])
        words = (field.get("type", ""), "required" if required else "", flat(str(field.get("description", ""))))
        yield f"-  {flat(name)}: {', '.join(filter(None, words))}"
    words = (*(("approve", "edit") if found.action else ("approve",)), "reject", "answer", "abort")
    yield f"or {', '.join(words)}"


def _action(found: Escalation) -> Iterator[str]:
    if found.action is None:
        return
    yield f"tool       {flat(found.action.tool)}" + (
        f" at {flat(found.action.revision)}" if found.action.revision else ""
    )
    arguments = list(_value(found.action.arguments)) or ["none"]
    yield f"arguments  {arguments[0]}"
    yield from (f"           {line}" for line in arguments[1:])
    yield UNDO[found.action.reversible]
    yield f"digest {found.digest}"


def _votes(found: Escalation) -> Iterator[str]:
    if found.needs.count > 1:
        apart = f", but none of {', '.join(map(flat, found.needs.exclude))}" if found.needs.exclude else ""
        yield f"{found.needs.count} must agree{apart}"
    for vote in found.votes:
        what = " ".join(filter(None, (vote.decision, vote.choice)))
        yield f"{vote.person}: {flat(what)}" + (f" ({flat(vote.comment)})" if vote.comment else "")


def _waiters(found: Escalation) -> Iterator[str]:
    for waiter in found.waiters:
        where = f" in {waiter.run}" if waiter.run else ""
        error = f": {flat(waiter.error)}" if waiter.error else ""
        yield f"{waiter.asker}{where}, {waiter.state} since {stamp(waiter.updated_at)}{error}"


def _timeline(found: Escalation) -> Iterable[str]:
    moments = [(found.created_at, f"{found.asker} asked")]
    moments += [
        (told.sent_at or told.created_at, f"{told.person} told by {told.channel} ({told.occasion}): {told.state}")
        for told in found.told
    ]
    moments += [(vote.at, f"{vote.person} said {vote.decision} through {vote.via}") for vote in found.votes]
    moments += [(comment.at, f"{comment.person} remarked: {flat(comment.text)}") for comment in found.comments]
    if found.lapsed_at is not None:
        moments.append((found.lapsed_at, "the time was over"))
    if found.ended_at is not None:
        moments.append((found.ended_at, _end(found)))
    return [f"{stamp(at)}  {text}" for at, text in sorted(moments, key=lambda moment: moment[0])]


def _next(found: Escalation) -> Iterator[str]:
    if found.state in UNDECIDED:
        first = "1" if found.suggested_actions else "approve"
        yield f"agentmemo inbox answer {found.id} {first}"
        yield f"agentmemo inbox answer {found.id} reject --comment WHY"
    elif found.undelivered:
        yield f"agentmemo inbox retry {found.id}"


def _value(value: Any) -> list[str]:
    """A value for reading; texts as they are."""
    if value in (None, "", {}, []):
        return []
    return (value if isinstance(value, str) else pretty(value)).splitlines()
