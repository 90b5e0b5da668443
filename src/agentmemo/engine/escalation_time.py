"""What time does to an undecided escalation: the climb, warnings, holds that expire, the deadline."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agentmemo.crashpoints import reach
from agentmemo.engine import audit, escalation_delivery, inhibition, notifications, policies
from agentmemo.engine.call import Call
from agentmemo.engine.escalation_views import existing, policy_of
from agentmemo.model import escalation_rules as rules
from agentmemo.model import escalations as model
from agentmemo.model import policies as policy_model
from agentmemo.store import escalations as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction


def time_came(tx: Transaction, call: Call, handle: str) -> None:
    """Do whatever is due, in the order of its times; what was missed while nobody looked happens once."""
    row = existing(tx, call, handle)
    for moment in (_warn, _give_back, _climb_on, _expire):
        if row.state not in model.UNDECIDED or row.due_at is None or row.due_at > tx.now:
            return
        moment(tx, call, row)
        row = existing(tx, call, handle)
    if row.state in model.UNDECIDED and row.due_at is not None and row.due_at <= tx.now:
        change(tx, call, row)  # nothing was due but this look; the next is in the future


def change(tx: Transaction, call: Call, row: rows.EscalationRow) -> rows.EscalationRow:
    """Write what may change while it is undecided, with the time at which something is due next."""
    del call
    due_at = next_due(row._replace(updated_at=tx.now))
    tx.write(
        "escalation_set",
        expect=1,
        id=row.id,
        revision=row.revision,
        state=row.state,
        severity=row.severity,
        rank=row.rank,
        deadline=row.deadline,
        warned=row.warned,
        lapsed_at=row.lapsed_at,
        climb=row.climb,
        climb_at=row.climb_at,
        due_at=due_at,
        holder=row.holder,
        held_at=row.held_at,
        hold_until=row.hold_until,
        extended=row.extended,
        assignee=row.assignee,
        occurrences=row.occurrences,
        last_at=row.last_at,
        now=tx.now,
    )
    return row._replace(due_at=due_at, revision=row.revision + 1, updated_at=tx.now)


def next_due(row: rows.EscalationRow) -> int:
    """The first moment at which something must happen."""
    moments = [row.hold_until if row.state == model.ACKNOWLEDGED else row.climb_at]
    if row.lapsed_at is None:
        moments.append(row.deadline)
    moments += [
        rules.warning_at(row.created_at, row.deadline, percent) for percent in rules.WARNINGS if percent > row.warned
    ]
    # One that lapsed with its climb at the end is looked at again after as long as it had.
    return min(moment for moment in (*moments, row.updated_at + rules.YEAR) if moment is not None)


def policy_for(tx: Transaction, call: Call, severity: str, route: str) -> tuple[rules.Policy, int]:
    """The timers of a severity as people ruled them, and the deadline that follows."""
    ruled = policies.current(tx, call.workspace, policy_model.SEVERITY, severity)
    document: policy_model.Severity = ruled.document if ruled else policy_model.Severity()
    path = policies.route_of(tx, call.workspace, route)
    policy = msgspec.structs.replace(rules.POLICIES[severity], route=route)
    if path is not None:
        policy = msgspec.structs.replace(policy, repeats=path.repeats)
    hours = None
    if severity in rules.IN_WORKING_HOURS:
        # The plane's own times; those that people ruled in seconds are meant as they are.
        hours = policies.working_schedule(tx, call.workspace, document, path)
        policy = msgspec.structs.replace(policy, schedule=hours if document.step_seconds is None else None)
    policy = rules.ruled_policy(policy, document)
    deadline = policies.deadline_of(tx, call.workspace, document, tx.now)
    if deadline is None:
        deadline = policies.later(tx, call.workspace, tx.now, policy.deadline_seconds, hours)
    return policy, deadline


def steps_of(tx: Transaction, call: Call, route: str) -> list[float]:
    """Of each step of a route, how many seconds after the one before its people are told; 0 is the severity's delay."""
    path = policies.route_of(tx, call.workspace, route)
    return [step.after_seconds for step in path.steps] if path is not None else [0.0]


def tell(tx: Transaction, call: Call, row: rows.EscalationRow, occasion: str, step: int) -> None:
    """Tell the people of one step of its route; the same occasion again tells nobody twice."""
    if not _is_muted(tx, call, row):
        _tell(tx, call, row, occasion, [step])


def _tell(tx: Transaction, call: Call, row: rows.EscalationRow, occasion: str, steps: Iterable[int]) -> None:
    route = policy_of(row).route
    latest = rules.warning_at(row.created_at, row.deadline, rules.WARNINGS[-1])
    group = policies.group_of(tx, call.workspace, route, _subject(tx, call, row), latest)
    for step in steps:
        told = policies.recipients(tx, call, route, step, tx.now, severity=row.severity)
        notifications.enqueue(tx, call, row.id, occasion, told, group)


def _once_more(row: rows.EscalationRow) -> str:
    """What tells an occasion from the same one before the deadline was moved, or had passed."""
    return (", extended" if row.extended & rules.DEADLINE_EXTENDED else "") + (", late" if row.lapsed_at else "")


def told_all(tx: Transaction, call: Call, row: rows.EscalationRow, occasion: str) -> None:
    """Tell everybody on the way up to where it has climbed."""
    if not _is_muted(tx, call, row):
        steps = len(steps_of(tx, call, policy_of(row).route))
        _tell(tx, call, row, occasion, range(min(steps, max(1, row.climb))))


def _is_muted(tx: Transaction, call: Call, row: rows.EscalationRow) -> bool:
    subject = _subject(tx, call, row)
    return policies.silenced(tx, call, subject, tx.now) is not None or _is_inhibited(tx, call, row, subject)


def _is_inhibited(tx: Transaction, call: Call, row: rows.EscalationRow, subject: policy_model.Subject) -> bool:
    """Whether another question keeps people from hearing of it; not near its end, so that none ends unheard of."""
    if rules.warning_at(row.created_at, row.deadline, rules.WARNINGS[-1]) <= tx.now:
        return False
    found = policies.all_of(tx, call.workspace, policy_model.INHIBITION)
    ruled = [(f"{each.name}@{each.version}", each.document) for each in found]
    return bool(ruled) and inhibition.apply(tx, call, row, subject, ruled)


def _subject(tx: Transaction, call: Call, row: rows.EscalationRow) -> policy_model.Subject:
    run = run_rows.get(tx, call.workspace, row.run) if row.run else None
    return inhibition.subject_of(tx, call, row, run.name if run else None)


def climb(tx: Transaction, call: Call, row: rows.EscalationRow) -> rows.EscalationRow:
    """Tell the next step of the route; after the last one of the last round, the severity rises, once for ever."""
    policy = policy_of(row)
    delays = steps_of(tx, call, policy.route)
    step = row.climb % len(delays)
    last = len(delays) * (policy.repeats + 1)
    if row.climb > last or _is_inhibited(tx, call, row, _subject(tx, call, row)):
        return change(tx, call, row._replace(climb_at=None))
    if row.climb == last:
        return _exhaust(tx, call, row)
    tell(tx, call, row, f"step {row.climb + 1}{_once_more(row)}", step)
    climbed = row.climb + 1
    after = delays[climbed % len(delays)]
    climb_at = policies.later(
        tx, call.workspace, tx.now, after or policy.climb_seconds, None if after else policy.schedule
    )
    audit.record(
        tx, call, "escalation.climb", {"kind": "escalation", "id": row.handle}, stream=row.handle, count=climbed
    )
    return change(tx, call, row._replace(climb=climbed, climb_at=climb_at))


def _exhaust(tx: Transaction, call: Call, row: rows.EscalationRow) -> rows.EscalationRow:
    # One further than the last step: whoever gives it back later does not come here again.
    row = row._replace(climb=row.climb + 1, climb_at=None)
    if not row.extended & rules.RAISED:
        rank = max(0, row.rank - 1)
        audit.record(
            tx,
            call,
            "escalation.raise",
            {"kind": "escalation", "id": row.handle, "severity": model.SEVERITIES[rank]},
            stream=row.handle,
            reason="everybody on its route was told, and nobody took it",
        )
        row = row._replace(rank=rank, severity=model.SEVERITIES[rank], extended=row.extended | rules.RAISED)
    row = change(tx, call, row)
    told_all(tx, call, row, f"raised{_once_more(row)}")
    return row


def _climb_on(tx: Transaction, call: Call, row: rows.EscalationRow) -> None:
    if row.state == model.OPEN and row.climb_at is not None and row.climb_at <= tx.now:
        climb(tx, call, row)


def _give_back(tx: Transaction, call: Call, row: rows.EscalationRow) -> None:
    """Nobody holds a question without doing anything: it is open again, and its people hear of it."""
    if row.state == model.ACKNOWLEDGED and row.hold_until is not None and row.hold_until <= tx.now:
        release(tx, call, row, f"{call.engine.names.actor_name(tx, call.workspace, row.holder or 0)} did not answer")


def release(tx: Transaction, call: Call, row: rows.EscalationRow, reason: str) -> rows.EscalationRow:
    """From acknowledged to open; the climb goes on."""
    state = model.next_state(row.state, "release", row.handle)
    audit.record(
        tx, call, "escalation.release", {"kind": "escalation", "id": row.handle}, stream=row.handle, reason=reason
    )
    opened = row._replace(
        state=state, holder=None, held_at=None, hold_until=None, extended=row.extended & ~rules.OF_HOLD, climb_at=tx.now
    )
    opened = change(tx, call, opened)
    told_all(tx, call, opened, f"released {opened.revision}")
    return opened


def _warn(tx: Transaction, call: Call, row: rows.EscalationRow) -> None:
    """At half of the time one more person is told, near the end everybody."""
    for percent in rules.WARNINGS:
        if row.warned < percent and rules.warning_at(row.created_at, row.deadline, percent) <= tx.now:
            audit.record(
                tx,
                call,
                "escalation.warn",
                {"kind": "escalation", "id": row.handle, "percent": str(percent)},
                stream=row.handle,
                reason=f"{percent} % of its time is over",
            )
            row = change(tx, call, row._replace(warned=percent))
            if percent == rules.WARNINGS[0]:
                tell(
                    tx,
                    call,
                    row,
                    f"{percent} %{_once_more(row)}",
                    row.climb % len(steps_of(tx, call, policy_of(row).route)),
                )
            else:
                if row.inhibited_by is not None:
                    inhibition.free_one(tx, call, row, "its time is nearly over")
                told_all(tx, call, row, f"{percent} %{_once_more(row)}")


def _expire(tx: Transaction, call: Call, row: rows.EscalationRow) -> None:
    """The fallback is taken; `pause` means that it goes on waiting, and nothing else may happen meanwhile."""
    if row.deadline > tx.now or row.lapsed_at is not None:
        return
    reach("escalation.before_default")
    if row.fallback == "pause":
        audit.record(
            tx,
            call,
            "escalation.lapse",
            {"kind": "escalation", "id": row.handle},
            stream=row.handle,
            reason="nobody answered in time; it goes on waiting",
        )
        occasion = f"lapsed{_once_more(row)}"
        row = change(tx, call, row._replace(lapsed_at=tx.now, climb_at=tx.now, climb=0))
        told_all(tx, call, row, occasion)
        return
    answer = rules.fallback_answer(row.fallback, row.handle, tx.now)
    escalation_delivery.end(tx, call, row, model.DEFAULTED, answer)
