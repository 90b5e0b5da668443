"""How somebody is found for a handoff: its ladder as the console shows it, rung by rung, and its drawing."""

from __future__ import annotations

from typing import Any

from agentmemo.clock import SECOND
from agentmemo.console.words import between, receiver, time_text
from agentmemo.model.audit import Event
from agentmemo.model.handoffs import Handoff
from agentmemo.model.webhooks import DELIVERED, OFFERED, Delivery

COLUMN, LEFT, DOT, HIGH = 128, 8, 12, 52
NAME_CHARACTERS = 19
BEGINS = frozenset({"handoff.create", "handoff.requeue"})


def rungs(found: Handoff, turns: list[Event], deliveries: list[Delivery]) -> list[dict[str, Any]]:
    """What is done to find somebody, in the order of time. `at` is when it was or will be; None: at no time."""
    offered = found.offered_at
    begins = offered if offered is not None else found.available_at
    first = receiver(first_receiver(found, turns))
    made = [
        rung("Announced", f"in the briefing of {first}", begins, reached=offered is not None),
        rung("Waiters", f"of {first} are answered", begins, reached=offered is not None),
        webhook_rung(begins, deliveries),
    ]
    for number, each in enumerate(found.ladder):
        at, reached = begins + round(each.after_seconds * SECOND), number < found.rung
        if each.escalate:
            made.append(rung("Escalated", "its sender and the people", at, reached=reached))
        else:
            made.append(rung("Fallback", receiver(each.to), at, reached=reached))
    return made


def rung(name: str, who: str, at: int | None, *, reached: bool) -> dict[str, Any]:
    return {"name": name, "who": who, "at": at, "reached": reached}


def first_receiver(found: Handoff, turns: list[Event]) -> str:
    """Whom it was offered to before anybody else was asked."""
    told = (event.subject.get("to") for event in turns if event.operation in BEGINS) if found.rung else iter(())
    return next(filter(None, told), found.to)


def webhook_rung(begins: int, deliveries: list[Delivery]) -> dict[str, Any]:
    sent = [each for each in deliveries if each.type == OFFERED and each.created_at >= begins]
    delivered = [each.ended_at for each in sent if each.state == DELIVERED and each.ended_at is not None]
    if delivered:
        return rung("Webhook", "answered", min(delivered), reached=True)
    if not sent:
        return rung("Webhook", "none was told", None, reached=False)
    waiting = [each.next_at for each in sent if each.next_at is not None]
    return rung("Webhook", "is tried again" if waiting else "gave no answer", min(waiting, default=None), reached=False)


def said(found: Handoff, made: list[dict[str, Any]]) -> str:
    """The drawing in words: how far it came, and who came."""
    reached = [each["name"].lower() for each in made if each["reached"]]
    far = f"Reached: {', '.join(reached)}." if reached else "It is not offered yet."
    if found.claimed_at is None or found.offered_at is None or found.holder is None:
        return far
    return f"{far} {receiver(found.holder)} claimed it after {between(found.offered_at, found.claimed_at)}."


def drawing(made: list[dict[str, Any]], now: int) -> dict[str, Any]:
    """Dots on a line, filled where reached, each with its name, time and receiver under it."""
    dots = [
        {
            "x": LEFT + place * COLUMN,
            "reached": each["reached"],
            "name": each["name"],
            "when": time_text(each["at"], now, seconds=False) if each["at"] is not None else "",
            "who": shortened(each["who"]),
        }
        for place, each in enumerate(made)
    ]
    return {"dots": dots, "width": COLUMN * len(made), "height": HIGH, "y": DOT, "column": COLUMN}


def shortened(text: str) -> str:
    return text if len(text) <= NAME_CHARACTERS else text[: NAME_CHARACTERS - 1] + "…"
