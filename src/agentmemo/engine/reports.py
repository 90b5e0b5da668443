"""The attention report: what asking people cost in a window, who was asked, by whom, and for what."""

from __future__ import annotations

from typing import Any

from agentmemo.clock import SECOND
from agentmemo.engine.call import Call
from agentmemo.errors import InvalidInput
from agentmemo.model import escalations, reports
from agentmemo.store.database import Transaction

DAY = 86_400 * SECOND
LATE_PERCENT = 80


def attention(tx: Transaction, call: Call, request: reports.GetAttention) -> reports.Attention:
    since, until = _window(tx, request)
    window = {"workspace": call.workspace, "since": since, "until": until}
    outcomes = tx.all("report_outcomes", late=LATE_PERCENT, **window)
    states, decisions = _counts(outcomes, 0), _decisions(outcomes)
    questions = sum(states.values())
    calls = _tool_calls(tx, window)
    answered = states.get(escalations.DECIDED, 0) + states.get(escalations.DEFAULTED, 0)
    approved = decisions.get("approve", 0)
    votable = approved + sum(decisions.get(each, 0) for each in ("edit", *escalations.NEGATIVE))
    median, late = tx.one("report_times", **window) or (None, None)
    return reports.Attention(
        since=since,
        until=until,
        questions=questions,
        asks=sum(row[3] for row in outcomes),
        tool_calls=calls,
        questions_per_100_calls=100 * questions / calls if calls else None,
        undecided=sum(states.get(state, 0) for state in escalations.UNDECIDED),
        decided=states.get(escalations.DECIDED, 0),
        auto_decided=states.get(escalations.AUTO_DECIDED, 0),
        defaulted=states.get(escalations.DEFAULTED, 0),
        lapsed=sum(row[6] for row in outcomes),
        withdrawn=states.get(escalations.WITHDRAWN, 0) + states.get(escalations.SUPERSEDED, 0),
        seconds=_seconds(median),
        seconds_p90=_seconds(late),
        approve_rate=reports.share(approved, votable),
        edited_share=reports.share(decisions.get("edit", 0), answered),
        rejected_share=reports.share(sum(decisions.get(each, 0) for each in escalations.NEGATIVE), answered),
        defaulted_share=reports.share(states.get(escalations.DEFAULTED, 0), answered),
        warned=sum(row[4] for row in outcomes),
        warned_late=sum(row[5] for row in outcomes),
        undelivered=(tx.one("waiter_undelivered", workspace=call.workspace) or (0,))[0],
        people=_people(tx, call, window),
        askers=_askers(tx, call, window),
        often=_often(tx, window),
        unanswered=[
            reports.Unanswered(**dict(zip(reports.Unanswered.__struct_fields__, row, strict=True)))
            for row in tx.all("report_unanswered", limit=reports.SHOWN, **window)
        ],
    )


def _window(tx: Transaction, request: reports.GetAttention) -> tuple[int, int]:
    # Whatever was asked up to now is in it, also in this very microsecond.
    until = tx.now + 1 if request.until is None else request.until
    since = until - round(reports.DAYS * DAY) if request.since is None else request.since
    if not 0 < until - since <= reports.DAYS_MAX * DAY:
        raise InvalidInput(
            f"The report is over up to {reports.DAYS_MAX:g} days, and begins before it ends.",
            why="It counts everything in between.",
            next_call="Send since and until in UTC microseconds, or neither for the last week.",
            details={"since": since, "until": until},
        )
    return since, until


def _counts(outcomes: list[Any], column: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in outcomes:
        found[row[column]] = found.get(row[column], 0) + row[2]
    return found


def _decisions(outcomes: list[Any]) -> dict[str, int]:
    """What persons decided; a default says `reject` as well, and is nobody's decision."""
    return _counts([row for row in outcomes if row[0] == escalations.DECIDED], 1)


def _tool_calls(tx: Transaction, window: dict[str, int]) -> int:
    names = ("report_steps_whole", "report_steps_partly", "report_steps_unfinished", "report_guarded")
    return sum(rows[0][0] for rows in tx.fetch(*((name, window) for name in names)))


def _people(tx: Transaction, call: Call, window: dict[str, int]) -> list[reports.PersonAttention]:
    return [
        reports.PersonAttention(
            person=call.engine.names.actor_name(tx, call.workspace, person),
            decisions=decisions,
            seconds=took / SECOND,
            look_seconds=looked / SECOND,
            approve_rate=reports.share(approved, votable),
            warning=reports.warning_of(approved, votable, decisions, looked / SECOND),
        )
        for person, decisions, took, looked, approved, votable in tx.all(
            "report_people", limit=reports.PEOPLE_MAX, **window
        )
    ]


def _askers(tx: Transaction, call: Call, window: dict[str, int]) -> list[reports.AskerAttention]:
    return [
        reports.AskerAttention(
            asker=call.engine.names.actor_name(tx, call.workspace, asker), questions=questions, asks=asks
        )
        for asker, questions, asks in tx.all("report_askers", limit=reports.SHOWN, **window)
    ]


def _often(tx: Transaction, window: dict[str, int]) -> list[reports.OftenAsked]:
    return [
        reports.OftenAsked(
            kind=kind,
            reason=reason,
            questions=questions,
            asks=asks,
            decided=decided,
            approved=approved,
            advice=reports.advice_of(approved, decided),
        )
        for kind, reason, questions, asks, decided, approved in tx.all("report_often", limit=reports.SHOWN, **window)
    ]


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / SECOND
