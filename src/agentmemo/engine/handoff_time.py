"""What time does to a handoff: it is offered, others are asked, somebody is told, it expires."""

from __future__ import annotations

import msgspec

from agentmemo.clock import SECOND
from agentmemo.engine import handoff_ends, handoff_moves
from agentmemo.engine.call import Call
from agentmemo.engine.handoff_moves import ESCALATE, record
from agentmemo.model import handoffs as model
from agentmemo.store import handoffs as rows
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction


def time_came(tx: Transaction, call: Call, handle: str) -> None:
    """Everything that is due for one handoff, one thing after another."""
    while True:
        row = handoff_moves.existing(tx, call, handle)
        if row.due_at is None or row.due_at > tx.now:
            return
        if row.state == model.PENDING:
            _waited(tx, call, row)
        else:
            _worked(tx, call, row)


def _waited(tx: Transaction, call: Call, row: rows.HandoffRow) -> None:
    if row.complete_by is not None and row.complete_by <= tx.now:
        handoff_ends.end(tx, call, row, "expire", reason="nobody completed it in time")
    elif not row.offered:
        _offer(tx, call, row)
    else:
        _climb(tx, call, row)


def _offer(tx: Transaction, call: Call, row: rows.HandoffRow) -> None:
    """Its time has come: from now on it can be claimed, and its ladder begins."""
    offered = msgspec.structs.replace(row, offered=1, wake="claim", offered_at=tx.now)
    handoff_moves.write_offer(tx, offered, row.reason, turn=row.turn)
    record(tx, call, row, "offer")


def _climb(tx: Transaction, call: Call, row: rows.HandoffRow) -> None:
    after, address = handoff_moves.ladder_of(row)[row.rung]
    waited = f"nobody at {row.address} claimed it within {after / SECOND:g} s"
    if address == ESCALATE:
        handoff_ends.tell(tx, call, row, "escalate", waited, rung=row.rung + 1)
        return
    # Asked in a row, the ladder's clock goes on from when it was first offered.
    handoff_moves.take_turn(tx, call, address, row.sender)
    moved = msgspec.structs.replace(row, rung=row.rung + 1, address=address)
    handoff_moves.write_offer(tx, moved, waited, turn=None)
    record(tx, call, row, "readdress", reason=waited, about={"to": address})


def _went_on(tx: Transaction, call: Call, row: rows.HandoffRow) -> bool:
    """What its run has done counts as progress. It is looked at when the clock rings, so that no step writes twice."""
    run = run_rows.get(tx, call.workspace, row.run) if row.run else None
    if run is None or run.updated_at <= (row.progress_at or 0):
        return False
    due_at = handoff_moves.next_due(msgspec.structs.replace(row, progress_at=run.updated_at))
    tx.write("handoff_saw_progress", id=row.id, epoch=row.epoch, progress_at=run.updated_at, due_at=due_at)
    return True


def _worked(tx: Transaction, call: Call, row: rows.HandoffRow) -> None:
    if row.complete_by is not None and row.complete_by <= tx.now and not row.late:
        handoff_ends.tell(tx, call, row, "overdue", f"it is {row.state} and should be completed by now")
    elif not _went_on(tx, call, row):
        silent = (row.progress_us or 0) / SECOND
        handoff_ends.tell(tx, call, row, "stall", f"its holder lives, and showed no progress for {silent:g} s")
