"""The inbox: what people have to look at, the most urgent first, and what came of the rest."""

from __future__ import annotations

import statistics
from typing import Any

import msgspec

from agentmemo.clock import SECOND
from agentmemo.console.frame import Page, Visit
from agentmemo.console.together import with_equals
from agentmemo.console.words import between, count, duration, escalation_look, said, sentence, then
from agentmemo.model.escalations import DECIDED, FAILED, KINDS, NEGATIVE, SEVERITIES, Escalation
from agentmemo.model.runs import check_choice

# section -> how many of it the overview shows
OPEN = ("mine", "open")
SECTIONS = {"mine": 50, "open": 50, "undelivered": 20, "snoozed": 50, "done": 10}
PAGE = 50
LOOKED_AT = 50


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which questions are shown; the address says the same."""

    severity: str | None = None
    kind: str | None = None
    asker: str | None = None
    run: str | None = None

    def fits(self, found: Escalation) -> bool:
        return all(
            wanted in (None, value)
            for wanted, value in (
                (self.severity, found.severity),
                (self.kind, found.kind),
                (self.asker, found.asker),
            )
        )


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One section with the rows that are shown of it, and where it goes on."""

    items: list[Escalation] = []
    cursor: str | None = None


async def inbox(visit: Visit) -> Page:
    """Without a `section` all of them, each with its first rows."""
    section, cursor = visit.asked("section"), visit.asked("cursor")
    chosen = filter_of(visit)
    if section is not None:
        check_choice(section, tuple(SECTIONS), "section")
        parts = {section: await read(visit, section, chosen, cursor, PAGE)}
    else:
        parts = await overview(visit, chosen)
    filtered = chosen != Filter() or cursor is not None
    decided = list((await visit.connection.inbox.list(section="done", limit=LOOKED_AT)).items)
    last = decided[0] if decided else None
    more = parts[section].cursor if section else None
    data = {
        "headline": headline(parts, section, filtered=filtered),
        "context": context(parts, last, visit.now, filtered=filtered or section is not None),
        "counters": counters(decided) | {"open": await open_counts(visit)},
        "sections": {name: [await row(visit, each, name) for each in part.items] for name, part in parts.items()},
        "equals": sorted(with_equals(each for name in OPEN if name in parts for each in parts[name].items)),
        "goes_on": [name for name, part in parts.items() if part.cursor],
        "only": section,
        "filter": msgspec.structs.asdict(chosen),
        "filtered": filtered,
        "older": more and {"section": section, **msgspec.structs.asdict(chosen), "cursor": more},
        "kinds": KINDS,
        "levels": SEVERITIES,
        "ever": last is not None or any(part.items for part in parts.values()),
        "may_answer": visit.may("escalations:answer"),
        "newest": await newest(visit),
    }
    return Page(template="inbox.html", title="Inbox", section="Inbox", data=data)


def filter_of(visit: Visit) -> Filter:
    """From the address. Raises InvalidInput for what nothing can fit."""
    chosen = Filter(
        severity=visit.asked("severity"), kind=visit.asked("kind"), asker=visit.asked("asker"), run=visit.asked("run")
    )
    if chosen.severity is not None:
        check_choice(chosen.severity, SEVERITIES, "severity")
    if chosen.kind is not None:
        check_choice(chosen.kind, KINDS, "kind")
    return chosen


async def read(visit: Visit, section: str, chosen: Filter, cursor: str | None, limit: int) -> Part:
    page = await visit.connection.inbox.list(
        section=section,
        severity=chosen.severity,
        kind=chosen.kind,
        asker=chosen.asker,
        run=chosen.run,
        cursor=cursor,
        limit=limit,
    )
    # What is not delivered is found by who waits for it, whatever it is about.
    return Part(items=[each for each in page.items if chosen.fits(each)], cursor=page.cursor)


async def overview(visit: Visit, chosen: Filter) -> dict[str, Part]:
    """Every question in one section: snoozed counts more than yours, and that more than open."""
    parts = {name: await read(visit, name, chosen, None, limit) for name, limit in SECTIONS.items()}
    yours = {each.id for each in parts["mine"].items}
    waiting = {each.id for each in parts["undelivered"].items}
    elsewhere = {
        "mine": [each for each in parts["mine"].items if not each.snoozed],
        "open": [each for each in parts["open"].items if not each.snoozed and each.id not in yours],
        "done": [each for each in parts["done"].items if each.id not in waiting],
    }
    return {name: msgspec.structs.replace(part, items=elsewhere.get(name, part.items)) for name, part in parts.items()}


async def row(visit: Visit, found: Escalation, section: str) -> dict[str, Any]:
    """What the list shows of one: never its context, which may be large."""
    kept = (
        "id", "state", "kind", "severity", "reason", "asker", "run", "occurrences", "waiting", "undelivered",
        "deadline", "lapsed_at", "holder", "hold_until", "snoozed", "assignee", "created_at", "ended_at",
    )  # fmt: skip
    return {
        **{name: getattr(found, name) for name in kept},
        "look": escalation_look(found),
        "then": then(found),
        "count": found.needs.count,
        "answer": answered(found),
        "delivery": await delivery(visit, found) if section == "undelivered" else None,
    }


def answered(found: Escalation) -> dict[str, Any] | None:
    """What was said, in the words it was offered with."""
    answer = found.answer
    if answer is None:
        return None
    what = said(found, answer.decision, answer.choice)
    return {"said": what, "by": answer.by, "comment": answer.comment, "defaulted": answer.defaulted}


async def delivery(visit: Visit, found: Escalation) -> dict[str, Any]:
    """How often it was tried to give the answer to those who wait, and why that failed."""
    waiters = (await visit.connection.inbox.get(found.id)).waiters
    failed = [waiter for waiter in waiters if waiter.state == FAILED]
    attempts = max((waiter.attempts for waiter in waiters), default=0)
    return {"failed": len(failed), "attempts": attempts, "error": failed[0].error if failed else ""}


async def open_counts(visit: Visit) -> dict[str, int]:
    """How many are open of each severity; empty where the person may not see the plane's totals."""
    if not visit.may("system:read"):
        return {}
    known = (await visit.connection.status()).escalations
    return {severity: known[severity] for severity in SEVERITIES if known.get(severity)}


def counters(ended: list[Escalation]) -> dict[str, Any]:
    """What answering costs people, by the newest that they decided."""
    decided = [each for each in ended if each.state == DECIDED and each.ended_at]
    if not decided:
        return {"decided": 0, "median_seconds": None, "refused": 0}
    took = [((each.ended_at or 0) - each.created_at) / SECOND for each in decided]
    refused = sum(each.answer is not None and each.answer.decision in NEGATIVE for each in decided)
    return {"decided": len(decided), "median_seconds": statistics.median(took), "refused": refused}


async def newest(visit: Visit) -> int | None:
    """The revision from which the page follows the trail; None when the person may not read it."""
    if not visit.may("audit:read"):
        return None
    page = await visit.connection.audit.events(newest_first=True, limit=1)
    return page.items[0].revision if page.items else 0


def headline(parts: dict[str, Part], section: str | None, *, filtered: bool) -> str:
    mine, undecided, lost = (len(parts[name].items) if name in parts else 0 for name in ("mine", "open", "undelivered"))
    if section == "done":
        return sentence(count(len(parts["done"].items), "question")) + " answered or closed."
    if mine:
        return sentence(count(mine, "question needs", "questions need")) + " you."
    if undecided:
        return sentence(count(undecided, "question is", "questions are")) + " open."
    if lost:
        return sentence(count(lost, "answer has", "answers have")) + " not arrived."
    return "No question fits this filter." if filtered else "Nobody asks anything."


def context(parts: dict[str, Part], last: Escalation | None, now: int, *, filtered: bool) -> str:
    """What runs out first, and what else is open; where nothing is, when the last one was."""
    yours, others = (parts[name].items if name in parts else [] for name in ("mine", "open"))
    more = f" {sentence(count(len(others), 'other is', 'others are'))} open." if yours and others else ""
    first = min((each.deadline for each in yours or others if each.lapsed_at is None), default=None)
    if first is not None:
        which = "The first" if len(yours or others) > 1 else "It"
        return f"{which} runs out in {duration((first - now) / SECOND)}.{more}"
    if yours or others:
        return f"The time to answer is over.{more}"
    if filtered:
        return ""
    if last is None:
        return "No agent has asked yet."
    return f"The last question ended {between(last.ended_at or last.updated_at, now)} ago."
