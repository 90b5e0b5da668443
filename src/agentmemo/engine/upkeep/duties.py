"""The duties of time: each looks for what is due, decides in one transaction, and does no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentmemo.clock import SECOND
from agentmemo.engine import audit, liveness, state, tasks, waits, workers
from agentmemo.engine.call import Call
from agentmemo.engine.claims import existing
from agentmemo.model.values import decode
from agentmemo.store import blobs
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Transaction
from agentmemo.store.state import EntryHead

if TYPE_CHECKING:
    from agentmemo.engine.dispatch import Engine

BATCH = 200
INDEX_BATCH = 500
MERGE_PAGES = 64
HOUR = 3600 * SECOND
DAY = 24 * HOUR


def expire_entries(engine: Engine) -> int:
    """Entries whose time is over get their last version, kind `expire`."""
    calls = engine.system_calls()

    def work(tx: Transaction) -> int:
        found = tx.all("entry_expired", now=tx.now, limit=BATCH)
        for entry, workspace, namespace, name, key, version in found:
            call = calls[workspace]
            state.remove(
                tx,
                call,
                EntryHead(entry, version, 1, None),
                namespace=namespace,
                namespace_name=name,
                key=key,
                kind="expire",
            )
        return len(found)

    return engine.database.write(work) if _any(engine, "entry_expired", limit=1) else 0


def fire_timers(engine: Engine) -> int:
    """Runs whose timer, or whose time to wait for something, is over."""
    calls = engine.system_calls()

    def work(tx: Transaction) -> int:
        found = tx.all("run_due", now=tx.now, limit=BATCH)
        for handle, workspace in found:
            call = calls[workspace]
            waits.time_came(tx, call, existing(tx, call, handle))
        return len(found)

    return engine.database.write(work) if _any(engine, "run_due", limit=1) else 0


def free_the_dead(engine: Engine) -> int:
    """Runs of workers that are certainly gone become free for the next one."""
    rows = engine.database.read(lambda tx: tx.all("worker_live", limit=BATCH))
    gone = [row for row in rows if liveness.is_dead(engine, row[0], row[2], row[3])]
    calls = engine.system_calls()

    def work(tx: Transaction) -> list[str]:
        retired = []
        for worker, workspace, *_ in gone:
            call = calls[workspace]
            row = run_rows.get_worker(tx, workspace, worker)
            # Looked at again inside the transaction: it may have renewed meanwhile.
            if row and row.stopped_at is None and liveness.is_dead(engine, worker, row.boot_id, row.lease_until):
                workers.retire(tx, call, worker, f"worker {worker} is gone", lost=True)
                retired.append(worker)
        return retired

    retired = engine.database.write(work) if gone else []
    for worker in retired:
        engine.presence.forget(worker)
    return len(retired)


def run_schedules(engine: Engine) -> int:
    calls = engine.system_calls()

    def work(tx: Transaction) -> int:
        found = tx.all("schedule_due", now=tx.now, limit=BATCH)
        for row in found:
            tasks.fire(tx, calls[row[1]], row)
        return len(found)

    return engine.database.write(work) if _any(engine, "schedule_due", limit=1) else 0


def tell_overdue(engine: Engine) -> int:
    """What waited past its deadline is told: an event, and a place in status, briefing and console."""
    calls = engine.system_calls()

    def work(tx: Transaction) -> int:
        found = tx.all("run_past_deadline", now=tx.now, limit=BATCH)
        for handle, workspace in found:
            call = calls[workspace]
            run = existing(tx, call, handle)
            tx.write("run_set_overdue", id=run.id, now=tx.now)
            audit.record(
                tx,
                call,
                "run.overdue",
                {"kind": "run", "id": handle, "wake": run.wake or ""},
                stream=handle,
                reason=f"{run.state} since {run.updated_at}, waiting for {run.wake} {run.waiting_for or ''}".strip(),
            )
        return len(found)

    return engine.database.write(work) if _any(engine, "run_past_deadline", limit=1) else 0


def index_entries(engine: Engine) -> int:
    """Full-text search follows the trail; it is never in the path of a write.

    Nearly all of it is two statements in the writer. Values that have to be taken apart are so on a reader before. A
    version that comes in between has a later position, and so its own turn. Returns 0 once less than a full batch is
    left: chasing every write at once would cost a commit for each few of them.
    """

    def look(tx: Transaction) -> list[_Unindexed]:
        found = []
        for workspace, _, _, indexed in tx.all("workspace_all"):
            low, high = audit.position_range(workspace)
            after = max(low, indexed)
            row = tx.one("entry_unindexed_last", after=after, high=high, limit=INDEX_BATCH)
            if row and row[1]:
                texts = [
                    (entry, key, _words_of(blobs.unpack(tx, workspace, *packed)))
                    for entry, key, *packed in tx.all("entry_unindexed", after=after, last=row[0])
                ]
                found.append(_Unindexed(workspace, after, row[0], row[1], texts))
        return found

    def work(tx: Transaction) -> None:
        for workspace, after, last, _, texts in found:
            tx.write("entry_search_remove_all", after=after, last=last)
            tx.write("entry_search_add_all", after=after, last=last)
            for entry, key, body in texts:
                tx.write("entry_search_remove", id=entry)
                tx.write("entry_search_add", id=entry, key=key, body=body)
            tx.write("workspace_set_indexed", workspace=workspace, position=last)

    found = engine.database.read(look)
    if found:
        engine.database.write(work)
        engine.index_grew = True
    return sum(batch.rows for batch in found if batch.rows == INDEX_BATCH)


def merge_index(engine: Engine) -> int:
    """Join the index's segments, a portion at a time, after something was indexed; other writes go in between."""
    if not engine.index_grew:
        return 0

    def work(tx: Transaction) -> int:
        before = tx.changes()
        tx.write("entry_search_merge", pages=MERGE_PAGES)
        return tx.changes() - before

    # One change is the command itself: then there was nothing left to join.
    engine.index_grew = engine.database.write(work) > 1
    return int(engine.index_grew)


class _Unindexed(NamedTuple):
    """What is next to be indexed in a workspace, and the (entry, key, text) of what had to be taken apart."""

    workspace: int
    after: int
    last: int
    rows: int
    texts: list[tuple[int, str, str]]


def prune(engine: Engine) -> int:
    """Retention: finished runs keep a tombstone, old versions go, and the floor says from where history is whole."""
    settings = engine.settings
    calls = engine.system_calls()

    def work(tx: Transaction) -> int:
        done = _prune_runs(tx, calls, tx.now - round(settings.finished_runs_days * DAY))
        done += _prune_versions(tx, tx.now - round(settings.versions_days * DAY), settings.versions_kept)
        before = tx.now - round(settings.request_hours * HOUR)
        done += tx.run("request_remove_old", before=before, limit=BATCH)
        done += tx.run("worker_remove_stopped", before=before)
        return done + blobs.sweep(tx, tx.now - round(settings.blob_hours * HOUR), BATCH)

    return engine.database.write(work)


def _prune_runs(tx: Transaction, calls: dict[int, Call], before: int) -> int:
    found = tx.all("run_prunable", before=before, limit=BATCH)
    for handle, workspace in found:
        call = calls[workspace]
        run = existing(tx, call, handle)
        for query in ("run_remove_steps", "run_remove_values", "run_remove_signals", "run_remove_notes"):
            tx.write(query, run=run.id)
        tx.write("run_mark_pruned", id=run.id, now=tx.now)
        audit.record(tx, call, "run.prune", {"kind": "run", "id": handle}, stream=handle)
    return len(found)


def _prune_versions(tx: Transaction, before: int, kept: int) -> int:
    done = 0
    for workspace, *_ in tx.all("workspace_all"):
        low, high = audit.position_range(workspace)
        found = tx.all("entry_version_prunable", low=low, high=high, before=before, kept=kept, limit=BATCH)
        for (position,) in found:
            tx.write("entry_version_remove", position=position)
        if found:
            tx.write("workspace_set_floor", id=workspace, floor=found[-1][0])
        done += len(found)
    return done


def _words_of(content: bytes) -> str:
    """The text inside a JSON value: its strings and keys, for the index."""
    words: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, str):
            words.append(value)
        elif isinstance(value, dict):
            for key, item in value.items():
                words.append(str(key))
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif value is not None:
            words.append(str(value))

    walk(decode(content))
    return " ".join(words)


def _any(engine: Engine, query: str, limit: int) -> bool:
    """A look on a reader first: an idle plane writes nothing."""
    return bool(engine.database.read(lambda tx: tx.all(query, now=tx.now, limit=limit), snapshot=False))


DUTIES = (expire_entries, fire_timers, free_the_dead, run_schedules, tell_overdue, index_entries, merge_index)
SLOW_DUTIES = (prune,)
