"""Worker incarnations: registering, heartbeating, ending."""

from __future__ import annotations

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.engine import audit, handoff_ends, liveness, runs
from agentmemo.engine.call import Call, Renewal
from agentmemo.errors import InvalidInput
from agentmemo.model import runs as model
from agentmemo.store import handoffs as handoff_rows
from agentmemo.store import runs as rows
from agentmemo.store.database import Transaction

LEASE_SECONDS_MAX = 86_400.0
UNKNOWN = "the answer to the claim never reached its worker"


def register(tx: Transaction, call: Call, request: model.RegisterWorker) -> model.Worker:
    if not 0 < request.lease_seconds <= LEASE_SECONDS_MAX:
        raise InvalidInput(
            f"lease_seconds is above 0 and at most {LEASE_SECONDS_MAX}, not {request.lease_seconds}.",
            next_call="Use 10 with heartbeats, 600 without.",
        )
    engine = call.engine
    handle = ids.mint("wrk", tx.now)
    lease_us = round(request.lease_seconds * SECOND)
    liveness.add(tx, call, handle, lease_us, host=request.host, process=request.process)
    call.renewed.append((handle, Renewal(engine.clock.boot_us(), lease_us)))
    audit.record(tx, call, "worker.register", {"kind": "worker", "id": handle})
    return model.Worker(id=handle, lease_seconds=request.lease_seconds)


def heartbeat(tx: Transaction, call: Call, request: model.Heartbeat) -> model.HeartbeatAnswer:
    """Renew now, show what each run is doing, and tell which runs the worker no longer holds."""
    call.engine.renewals.pop((call.actor, request.worker), None)
    liveness.renew(tx, call, request.worker)
    lost: list[str] = []
    cancelled: list[str] = []
    for handle, step in request.steps.items():
        work = _work(tx, call, handle)
        if work is None or work.worker != request.worker:
            (cancelled if work and work.state == model.CANCELLED else lost).append(handle)
        elif step:
            tx.write("run_set_current_step", handle=handle, worker=request.worker, current_step=step)
    if request.holds is not None:
        _give_back_unknown(tx, call, request.worker, frozenset(request.holds))
    return model.HeartbeatAnswer(lost=lost, cancelled=cancelled)


def _give_back_unknown(tx: Transaction, call: Call, worker: str, known: frozenset[str]) -> None:
    """A claim whose answer was lost: the worker lives, so nobody else would ever be given what it seems to hold.

    The answer may be on its way for a lease after the first heartbeat that does not name the claim.
    """
    row = liveness.own_worker(tx, call, worker)
    if row is None:
        return
    now, before, since = call.engine.clock.boot_us(), call.engine.unnamed.pop(worker, {}), {}
    for query in ("run_of_worker", "handoff_of_worker"):
        for handle, *_ in tx.all(query, worker=worker):
            work = None if handle in known else _work(tx, call, handle)
            if work is not None:
                claim = (handle, work.epoch)
                since[claim] = before.get(claim, now)
                if since[claim] + row.lease_us < now:
                    _give_back(tx, call, work)
    if since:
        call.engine.unnamed[worker] = since


def _give_back(tx: Transaction, call: Call, work: rows.RunRow | handoff_rows.HandoffRow) -> None:
    if isinstance(work, handoff_rows.HandoffRow):
        handoff_ends.give_back(tx, call, work, "lost", UNKNOWN, counts=False)
    elif work.state == model.RUNNING:
        runs.give_back(tx, call, work, reason=UNKNOWN)


def _work(tx: Transaction, call: Call, handle: str) -> rows.RunRow | handoff_rows.HandoffRow | None:
    if handle.startswith("hof_"):
        return handoff_rows.get(tx, call.workspace, handle)
    return rows.get(tx, call.workspace, handle)


def stop(tx: Transaction, call: Call, request: model.StopWorker) -> model.Worker:
    """A clean end: everything it holds is free at once, and counts as no failure."""
    row = liveness.own_worker(tx, call, request.worker)
    if row is None:
        raise liveness.unknown_worker(request.worker)
    if row.stopped_at is None:
        retire(tx, call, request.worker, "the worker stopped", lost=False)
    return model.Worker(id=request.worker, lease_seconds=row.lease_us / SECOND)


def retire(tx: Transaction, call: Call, worker: str, reason: str, *, lost: bool) -> list[str]:
    """End an incarnation and give its runs and handoffs back. Returns their handles."""
    tx.write("worker_stop", id=worker, now=tx.now)
    call.engine.unnamed.pop(worker, None)
    # Whoever calls as this worker again must renew on disk, not in memory.
    for known in [key for key in list(call.engine.renewals) if key[1] == worker]:
        call.engine.renewals.pop(known, None)
    audit.record(tx, call, "worker.stop", {"kind": "worker", "id": worker}, reason=reason)
    freed = handoff_ends.of_worker(tx, call, worker, reason, lost=lost)
    for handle, _ in tx.all("run_of_worker", worker=worker):
        run = rows.get(tx, call.workspace, handle)
        if run and run.state == model.RUNNING:
            runs.give_back(tx, call, run, reason=reason, lost=lost)
            freed.append(handle)
    return freed
