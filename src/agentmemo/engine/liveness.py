"""Who is alive, and for how long that may be believed."""

from __future__ import annotations

from agentmemo.engine.call import Call, EngineContext, Renewal
from agentmemo.store import runs as rows
from agentmemo.store.database import Transaction

# A renewal is written at most once per third of the lease, so a lease on disk is never older than that.
RENEWALS_PER_LEASE = 3


def renew(tx: Transaction, call: Call, worker: str) -> None:
    """Any call by a worker renews its lease: in memory, and on disk once per third of the lease."""
    engine = call.engine
    known = engine.renewals.get(worker)
    boot = engine.clock.boot_us()
    if known is None:
        row = rows.get_worker(tx, call.workspace, worker)
        if row is None or row.stopped_at is not None:
            return
        known = Renewal(0, row.lease_us)
    if boot - known.written_at >= known.lease_us // RENEWALS_PER_LEASE:
        tx.write(
            "worker_renew",
            id=worker,
            workspace=call.workspace,
            lease_until=boot + known.lease_us,
            boot_id=engine.clock.boot_id,
        )
        engine.renewals[worker] = Renewal(boot, known.lease_us)


def is_alive(tx: Transaction, engine: EngineContext, workspace: int, worker: str | None) -> bool:
    """False only when it is certain: stopped, its file lock is free, its lease is over, or the machine rebooted."""
    row = rows.get_worker(tx, workspace, worker) if worker else None
    if row is None or row.stopped_at is not None:
        return False
    return not is_dead(engine, row.id, row.boot_id, row.lease_until)


def is_dead(engine: EngineContext, worker: str, boot_id: str, lease_until: int) -> bool:
    if boot_id != engine.clock.boot_id:
        return True
    return lease_until <= engine.clock.boot_us() or engine.presence.is_gone(worker)
