"""The list of handoffs: what waits, for whom, since when, what is next, and what it is part of."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

from agentmemo.console.frame import Page, Visit
from agentmemo.console.handoff import coming
from agentmemo.console.waiting import Wait, circle, waits
from agentmemo.console.words import count, handoff_look, handoff_title, is_told, number_word, receiver, sentence
from agentmemo.errors import NotFound
from agentmemo.model.handoffs import CLAIMED, ENDED, PENDING, STATES, SUBMITTED, Handoff
from agentmemo.model.runs import check_choice

UNFINISHED, EVERYTHING = "unfinished", "all"
CHOICES = (UNFINISHED, EVERYTHING, *STATES)
PAGE = 50
LOOKED_AT = 500
SAID = 20


async def handoffs(visit: Visit) -> Page:
    """Without a `state`, what is unfinished: the rest is done or waits for nobody."""
    chosen = {name: visit.asked(name) for name in ("to", "sender", "root")}
    state, cursor = visit.asked("state") or UNFINISHED, visit.asked("cursor")
    check_choice(state, CHOICES, "state")
    filtered = any(chosen.values()) or cursor is not None
    reading = visit.connection.handoff
    page = await reading.list(
        state=None if state == EVERYTHING else state,
        to=chosen["to"],
        sender=chosen["sender"],
        root=chosen["root"],
        cursor=cursor,
        limit=PAGE,
    )
    found, every, more = list(page.items), list(page.items), page.cursor is not None
    if state == UNFINISHED and not filtered and more:
        longer = await reading.list(state=UNFINISHED, limit=LOOKED_AT)
        every, more = list(longer.items), longer.cursor is not None
    whole = state == UNFINISHED and not filtered
    arrows = waits(every) if whole else []
    data = {
        "headline": headline(every, state, filtered=filtered, more=more),
        "context": second(every) if whole else "",
        "around": circle(arrows),
        "waits": arrows,
        "waits_text": waits_text(arrows),
        "only": LOOKED_AT if whole and more else None,
        "ever": bool(found) or filtered or state == EVERYTHING or bool((await reading.list(limit=1)).items),
        "handoffs": [row(handoff) for handoff in found],
        "roots": await root_titles(visit, found),
        "state": state,
        "filter": chosen,
        "filtered": filtered,
        "choices": CHOICES,
        "counts": await counts(visit),
        "older": page.cursor and {"state": state, **chosen, "cursor": page.cursor},
        "cursor": page.cursor,
    }
    return Page(template="handoffs.html", title="Handoffs", section="Handoffs", data=data)


def row(handoff: Handoff) -> dict[str, Any]:
    """What the list shows of one: never its package or result, which may be large."""
    kept = (
        "id", "key", "state", "wake", "from_agent", "to", "holder", "epoch", "attempt", "max_attempts", "percent",
        "progress", "run", "parent", "root", "hops", "verifies", "complete_by", "escalated_at",
        "created_at", "ended_at",
    )  # fmt: skip
    return {
        **{name: getattr(handoff, name) for name in kept},
        "title": handoff_title(handoff),
        "look": handoff_look(handoff),
        "since": since(handoff),
        "next": coming(handoff),
    }


def since(handoff: Handoff) -> int:
    """When it came to be as it is: offered, claimed or ended."""
    if handoff.ended_at is not None:
        return handoff.ended_at
    if handoff.state == PENDING:
        return handoff.created_at if handoff.wake == "time" else handoff.available_at
    return handoff.claimed_at or handoff.updated_at


async def root_titles(visit: Visit, found: list[Handoff]) -> dict[str, str]:
    """What the first handoffs of these lineages are called."""
    titles = {handoff.id: handoff_title(handoff) for handoff in found}
    for root in {handoff.root for handoff in found if handoff.root and handoff.root not in titles}:
        with contextlib.suppress(NotFound):
            titles[root] = handoff_title(await visit.connection.handoff.get(root))
    return titles


async def counts(visit: Visit) -> dict[str, int]:
    """How many are in each state; empty where the person may not see the plane's totals."""
    if not visit.may("system:read"):
        return {}
    known = (await visit.connection.status()).handoffs
    unfinished = sum(number for state, number in known.items() if state not in ENDED)
    return {**known, UNFINISHED: unfinished, EVERYTHING: sum(known.values())}


def headline(every: list[Handoff], state: str, *, filtered: bool, more: bool) -> str:
    if state == UNFINISHED and not filtered:
        return overview(every, more=more)
    kind = "handoff" if state == EVERYTHING else f"{state} handoff"
    if not every:
        return "No handoff fits this filter." if filtered else f"No {kind}."
    if more:
        return f"The {len(every)} newest {kind}s of this list."
    return sentence(count(len(every), kind)) + "."


def overview(every: list[Handoff], *, more: bool) -> str:
    """What matters now: those that people were told about, else how many there are."""
    told = [handoff for handoff in every if is_told(handoff)]
    if told and all(handoff.state == PENDING for handoff in told):
        return sentence(count(len(told), "handoff was", "handoffs were")) + " not claimed in time."
    if told:
        return sentence(count(len(told), "handoff needs", "handoffs need")) + " a look."
    if more:
        return f"More than {len(every)} handoffs are under way."
    under_way = count(len(every), "handoff is", "handoffs are")
    return sentence(under_way) + " under way." if every else "Nobody waits for anybody."


def second(every: list[Handoff]) -> str:
    """The context: of those that need no look, how many somebody has claimed."""
    fine = [handoff for handoff in every if not is_told(handoff)]
    if not every:
        return "What agents hand to each other appears here."
    if not fine:
        return "No other is under way."
    held = sum(handoff.state in (CLAIMED, SUBMITTED) for handoff in fine)
    if len(fine) < len(every):
        others = sentence(count(len(fine), "other is", "others are"))
        if held == len(fine):
            return f"{others} under way and claimed."
        return f"{others} under way, {number_word(held) if held else 'none'} of them claimed."
    if not held:
        return "None is claimed yet."
    open_ = len(fine) - held
    return (
        sentence(count(held, "is", "are"))
        + f" claimed, {count(open_, 'waits', 'wait') if open_ else 'none waits'} to be."
    )


def waits_text(arrows: list[Wait]) -> str:
    """The drawing in words."""
    by_sender: dict[str, list[str]] = {}
    for wait in arrows[:SAID]:
        by_sender.setdefault(wait.sender, []).append(receiver(wait.to))
    totals: Counter[str] = Counter()
    for wait in arrows:
        totals[wait.sender] += wait.handoffs
    said = [
        f"{receiver(sender)} waits for {' and '.join(sorted(to))}, {count(totals[sender], 'handoff')}."
        for sender, to in by_sender.items()
    ]
    return " ".join([*said, "The same is in the table below."])
