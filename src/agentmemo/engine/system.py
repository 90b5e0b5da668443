"""The plane itself: status, doctor, backup, transactions."""

from __future__ import annotations

import sys
from pathlib import Path

from agentmemo import clock
from agentmemo.engine import audit
from agentmemo.engine.call import Call
from agentmemo.errors import InvalidInput
from agentmemo.model import system as model
from agentmemo.model.escalations import SEVERITIES
from agentmemo.settings import VERSION
from agentmemo.store.database import Transaction

CLOCK_EARLIEST = 1_735_689_600_000_000  # 2025-01-01: a clock before it was never set
HOUR = 3600 * clock.SECOND


def status(tx: Transaction, call: Call, _request: model.GetStatus) -> model.Status:
    counted = call.engine.tallies.of
    return model.Status(
        version=VERSION,
        database=call.engine.database.capabilities.name,
        store=call.engine.database.capabilities.address,
        revision=audit.revision(audit.last_position(tx, call.workspace)),
        runs=counted(tx, "run_count_by_state", call.workspace),
        entries=counted(tx, "entry_count", call.workspace).get("live", 0),
        bytes_on_disk=call.engine.database.size(),
        handoffs=counted(tx, "handoff_count_by_state", call.workspace),
        escalations=_escalations(tx, call),
        overdue=[f"{handle} {name}" for handle, name in tx.all("run_overdue", workspace=call.workspace)]
        + [
            f"{handle} to {address}: {reason}"
            for handle, address, reason in tx.all("handoff_attention", workspace=call.workspace)
        ],
    )


def _escalations(tx: Transaction, call: Call) -> dict[str, int]:
    # By rank, which the index of what is open has, whatever has ended since the plane began.
    found = tx.all("escalation_count_open", workspace=call.workspace)
    counts = {SEVERITIES[rank]: number for rank, number in found}
    (undelivered,) = tx.one("waiter_undelivered", workspace=call.workspace) or (0,)
    return counts | ({"undelivered": undelivered} if undelivered else {})


def run_transaction(tx: Transaction, call: Call, request: model.RunTransaction) -> model.TransactionDone:
    """The buffered operations one after another in this one transaction."""
    if not request.calls:
        raise InvalidInput("The transaction holds no operation.", next_call="Add at least one.")
    results = [call.engine.perform(tx, call, prepared) for prepared in request.calls]
    return model.TransactionDone(results=results, revision=audit.revision(audit.last_position(tx, call.workspace)))


def backup(call: Call, request: model.Backup) -> model.BackupDone:
    """Copy the store online; the copy passes an integrity check before it gets its name."""
    path = Path(request.path).expanduser()
    if not path.is_absolute():
        raise InvalidInput(f"{request.path!r} is not an absolute path.", next_call="Name a file by its whole path.")
    if path.exists():
        raise InvalidInput(f"{path} exists.", why="A backup never overwrites.", next_call="Name a new file.")
    database = call.engine.database
    # Read before the copy: it holds all up to here. Its own event comes afterwards, and is not in it.
    revision = audit.revision(database.read(lambda tx: audit.last_position(tx, call.workspace)))
    size = database.backup(path)
    subject = {"kind": "system", "id": "backup"}
    try:
        database.write(
            lambda tx: audit.record(tx, call, "system.backup", subject, reason=str(path)), lane=call.workspace
        )
    except BaseException:
        # Whoever is refused repeats the call, and a name that is taken would be refused again.
        path.unlink(missing_ok=True)
        raise
    return model.BackupDone(path=str(path), bytes=size, revision=revision)


def diagnose(call: Call, _request: model.Diagnose) -> model.Diagnosis:
    findings = [
        _finding("versions", "ok", f"AgentMemo {VERSION}, Python {sys.version.split()[0]}."),
        _clock(call.engine.clock.now_us()),
        *call.engine.database.diagnose(),
        _oldest(call),
    ]
    return model.Diagnosis(findings=findings)


def _finding(check: str, level: str, text: str, next_call: str = "") -> model.Finding:
    return model.Finding(check=check, level=level, text=text, next_call=next_call)


def _clock(now: int) -> model.Finding:
    if now < CLOCK_EARLIEST:
        return _finding("clock", "fail", f"The clock says {clock.iso(now)}.", "Set the machine's clock.")
    return _finding("clock", "ok", f"{clock.iso(now)}.")


def _oldest(call: Call) -> model.Finding:
    def look(tx: Transaction) -> model.Finding:
        row = tx.one("run_oldest_unfinished", workspace=call.workspace)
        if row is None:
            return _finding("oldest unfinished", "ok", "Nothing is unfinished.")
        handle, name, state, at = row
        hours = (tx.now - at) / HOUR
        level = "warn" if hours > call.engine.settings.overdue_hours else "ok"
        text = f"{name} ({handle}) is {state} since {clock.iso(at)}, {hours:.1f} h."
        return _finding("oldest unfinished", level, text, f"agentmemo runs explain {handle}")

    return call.engine.database.read(look)
