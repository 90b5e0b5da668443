"""Who is alive, and for how long that may be believed."""

from __future__ import annotations

from agentmemo import ids
from agentmemo.clock import SECOND, iso
from agentmemo.engine.call import Call, EngineContext, Renewal
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.store import runs as rows
from agentmemo.store.database import Transaction

# A renewal is written at most once per third of the lease, so a lease on disk is never older than that.
RENEWALS_PER_LEASE = 3
# In place of a host: nobody heartbeats for this worker.
UNATTENDED = "-"


def renew(tx: Transaction, call: Call, worker: str) -> None:
    """Any call by a worker renews its lease: in memory, and on disk once per third of the lease.

    A worker that was thought dead and calls again (its machine slept) lives again: what it held was given to
    others under higher epochs, so nothing old can come back with it.
    """
    if not is_renewal_due(call, worker):
        return
    engine, boot = call.engine, call.engine.clock.boot_us()
    row = own_worker(tx, call, worker)
    lease_us = row.lease_us if row else round(engine.settings.lease_seconds * SECOND)
    if row is None:
        add(tx, call, worker, lease_us, host="", process=0)
    else:
        tx.write("worker_renew", id=worker, lease_until=boot + lease_us, boot_id=engine.clock.boot_id)
    if row is not None and row.stopped_at is not None:
        engine.presence.restore(worker)
    call.renewed.append((worker, Renewal(boot, lease_us)))


def is_renewal_due(call: Call, worker: str) -> bool:
    known = call.engine.renewals.get((call.actor, worker))
    return known is None or call.engine.clock.boot_us() - known.written_at >= known.lease_us // RENEWALS_PER_LEASE


def sign_of_life(tx: Transaction, call: Call) -> None:
    """A call renews the worker that it names, and whatever its caller holds without one."""
    if call.caller.worker:
        renew(tx, call, call.caller.worker)
    for worker in call.engine.unattended.get(call.actor, ()):
        renew(tx, call, worker)


def read_unattended(engine: EngineContext) -> None:
    """Learn from the store who holds something without heartbeats, wherever it was claimed.

    Each server then renews it when its holder calls there, and knows what the others have renewed meanwhile.
    """
    found: dict[int, frozenset[str]] = {}
    rows_ = engine.database.read(lambda tx: tx.all("worker_unattended_all"), snapshot=False)
    for worker, actor, boot_id, lease_us, lease_until in rows_:
        found[actor] = found.get(actor, frozenset()) | {worker}
        written_at = lease_until - lease_us
        known = engine.renewals.get((actor, worker))
        if boot_id == engine.clock.boot_id and (known is None or known.written_at < written_at):
            engine.renewals[actor, worker] = Renewal(written_at, lease_us)
    engine.unattended = found


def unattended(tx: Transaction, call: Call, lease_seconds: float | None) -> str:
    """The worker that stands for a caller without heartbeats; its lease lasts so long after the caller's last call."""
    seconds = lease_seconds or call.engine.settings.unattended_lease_seconds
    lease_us = round(seconds * SECOND)
    row = tx.one("worker_unattended", workspace=call.workspace, actor=call.actor, lease_us=lease_us)
    if row is not None:
        worker: str = row[0]
        renew(tx, call, worker)
    else:
        worker = ids.mint("wrk", tx.now)
        add(tx, call, worker, lease_us, host=UNATTENDED, process=0)
        call.renewed.append((worker, Renewal(call.engine.clock.boot_us(), lease_us)))
    # Also where this transaction comes to nothing: the next look at the store forgets it.
    call.engine.unattended[call.actor] = call.engine.unattended.get(call.actor, frozenset()) | {worker}
    return worker


def seen_as(row: rows.WorkerRow) -> str:
    """Who it is, and where, as far as it said so."""
    return f"{row.kind}:{row.name}" + (f", process {row.process} on {row.host}" if row.process else "")


def why_alive(tx: Transaction, call: Call, row: rows.WorkerRow) -> str:
    """What it is taken for alive by, and what would end that."""
    engine = call.engine
    if engine.presence.is_locked(row.id):
        return "Its process on this machine holds its lock; when that process ends, the lock is free at once."
    ends = tx.now + max(0, row.lease_until - engine.clock.boot_us())
    return (
        f"Its lease runs until {iso(ends)}, longer with each sign of life; that it has died shows when the lease ends."
    )


def unknown_worker(worker: str) -> NotFound:
    return NotFound(
        f"There is no worker {worker!r}, or it is another's.",
        why="What is missing and what is forbidden look the same.",
        next_call="Register one: POST /v1/workers answers its handle.",
    )


def own_worker(tx: Transaction, call: Call, worker: str) -> rows.WorkerRow | None:
    """The caller's worker, or None where it was never or is no longer known. Another's looks like a missing one."""
    # The handle names a lock file as well, so nothing but a handle may pass.
    if not ids.is_handle(worker, "wrk"):
        raise InvalidInput(
            f"{worker[:64]!r} is not a worker's handle.", next_call="Register one: POST /v1/workers answers its handle."
        )
    row = rows.get_worker(tx, call.workspace, worker)
    if row is not None and (row.kind, row.name) != (call.caller.kind, call.caller.name):
        raise unknown_worker(worker)
    return row


def add(tx: Transaction, call: Call, worker: str, lease_us: int, *, host: str, process: int) -> None:
    engine = call.engine
    tx.write(
        "worker_add",
        id=worker,
        workspace=call.workspace,
        actor=call.actor,
        host=host,
        process=process,
        boot_id=engine.clock.boot_id,
        lease_us=lease_us,
        lease_until=engine.clock.boot_us() + lease_us,
        now=tx.now,
    )


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
