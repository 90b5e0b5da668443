"""Questions that nobody is told of while another one is open. What is inhibited stands with the question."""

from __future__ import annotations

from agentmemo.engine import audit
from agentmemo.engine.call import Call
from agentmemo.model import policies as model
from agentmemo.model.escalations import GIVEN
from agentmemo.store import escalations as rows
from agentmemo.store.database import Transaction

# More open questions than this that fit are not looked at: people have something else to do then.
SOURCES_MAX = 500
# (`name@version`, document)
Rules = list[tuple[str, model.Inhibition]]


def subject_of(tx: Transaction, call: Call, row: rows.EscalationRow, run: str | None) -> model.Subject:
    """What rules look at. `run` is the run's name."""
    return model.Subject(
        kind=row.kind,
        severity=row.severity,
        asker=call.engine.names.actor_name(tx, call.workspace, row.asker),
        run=run,
        collapse_key=_given(row.collapse_key),
    )


def apply(tx: Transaction, call: Call, row: rows.EscalationRow, subject: model.Subject, ruled: Rules) -> bool:
    """Whether nobody is to be told now; then it says so from now on, and why."""
    found = _source(tx, call, row, subject, ruled)
    if found is None:
        return False
    source, rule = found
    if (row.inhibited_by, row.inhibited_rule) != found:
        tx.write("escalation_inhibit", id=row.id, by=source, rule=rule, now=tx.now)
        about = {"kind": "escalation", "id": row.handle, "by": source, "rule": rule}
        audit.record(tx, call, "escalation.inhibit", about, stream=row.handle, reason=f"{source} is open")
    return True


def free(tx: Transaction, call: Call, reason: str, source: str | None = None) -> None:
    """What the source inhibited, or any source did, goes on at once; it is looked at again then."""
    for number, handle in tx.all("escalation_inhibited", workspace=call.workspace, by=source):
        _free(tx, call, number, handle, reason)


def free_one(tx: Transaction, call: Call, row: rows.EscalationRow, reason: str) -> None:
    _free(tx, call, row.id, row.handle, reason)


def _free(tx: Transaction, call: Call, number: int, handle: str, reason: str) -> None:
    tx.write("escalation_uninhibit", id=number, now=tx.now)
    about = {"kind": "escalation", "id": handle}
    audit.record(tx, call, "escalation.uninhibit", about, stream=handle, reason=reason)


def _source(
    tx: Transaction, call: Call, row: rows.EscalationRow, subject: model.Subject, ruled: Rules
) -> tuple[str, str] | None:
    """(the question that is open, `name@version` of what says so); it is at least as severe, or it would hide worse."""
    for name, inhibition in ruled:
        if not model.matches(inhibition.target, subject):
            continue
        wanted = inhibition.source
        candidates = tx.all(
            "escalation_sources",
            workspace=call.workspace,
            id=row.id,
            rank=row.rank,
            kind=wanted.kind,
            severity=wanted.severity,
            run=wanted.run,
            limit=SOURCES_MAX,
        )
        for handle, kind, severity, asker_kind, asker, run, collapse_key in candidates:
            source = model.Subject(kind, severity, f"{asker_kind}:{asker}", run, _given(collapse_key))
            if model.inhibits(inhibition, source, subject):
                return handle, name
    return None


def _given(collapse_key: str | None) -> str | None:
    """The key as its asker gave it; one that was made of the question is nobody's to name."""
    return collapse_key.removeprefix(GIVEN) if collapse_key and collapse_key.startswith(GIVEN) else None
