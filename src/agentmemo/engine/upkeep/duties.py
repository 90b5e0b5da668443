"""The duties of time: each looks for what is due, decides in one transaction, and does no I/O."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agentmemo.clock import SECOND
from agentmemo.engine import (
    audit,
    escalation_time,
    evidence,
    handoff_time,
    ledger,
    liveness,
    notifications,
    state,
    tasks,
    waits,
    workers,
)
from agentmemo.engine.call import Call
from agentmemo.engine.claims import existing
from agentmemo.engine.upkeep.outbox import fill_outbox
from agentmemo.errors import Unavailable
from agentmemo.model.state import words_of
from agentmemo.model.values import decode
from agentmemo.store import blobs
from agentmemo.store import runs as run_rows
from agentmemo.store.database import Row, Transaction, lane_beside
from agentmemo.store.state import EntryHead

if TYPE_CHECKING:
    from agentmemo.engine.dispatch import Engine

_log = logging.getLogger("agentmemo.upkeep")
BATCH = 200
INDEX_BATCH = 500
# Of one value. Indexing all of one of 64 MiB would hold the writer for minutes.
INDEXED_CHARACTERS = 256 * 1024
WORKSPACES_PER_ROUND = 200
# What retention looks through in one round of it, and goes on from there in the next: positions of a workspace whose
# versions may be old, blobs that may have lost the last reference to them.
POSITIONS_PER_ROUND = 50_000
BLOBS_PER_ROUND = 2_000
MERGE_PAGES = 64
HOUR = 3600 * SECOND
DAY = 24 * HOUR


def expire_entries(engine: Engine) -> int:
    """Entries whose time is over get their last version, kind `expire`."""

    def expire(tx: Transaction, call: Call, row: Row) -> None:
        _, namespace, name, key, entry, version = row
        found = EntryHead(entry, version, live=1, expires_at=None)
        state.remove(tx, call, found, namespace=namespace, namespace_name=name, key=key, kind="expire")

    return _each_due(engine, "entry_expired", expire)


def fire_timers(engine: Engine) -> int:
    """Runs whose timer, or whose time to wait for something, is over."""

    def fire(tx: Transaction, call: Call, row: Row) -> None:
        waits.time_came(tx, call, existing(tx, call, row[1]))

    return _each_due(engine, "run_due", fire)


def free_the_dead(engine: Engine) -> int:
    """Runs of workers that are certainly gone become free for the next one."""
    rows = engine.database.read(lambda tx: tx.all("worker_live", limit=BATCH))
    gone = [row for row in rows if liveness.is_dead(engine, row[0], row[2], row[3])]
    calls = engine.system_calls({row[1] for row in gone})
    retired: list[str] = []
    for worker, workspace, *_ in gone:
        if _alone(engine, workspace, worker, partial(_retire, engine, calls[workspace], worker)):
            engine.presence.forget(worker)
            retired.append(worker)
    return len(retired)


def _retire(engine: Engine, call: Call, worker: str, tx: Transaction) -> bool:
    """Looked at again inside the transaction: it may have renewed meanwhile."""
    row = run_rows.get_worker(tx, call.workspace, worker)
    if row is None or row.stopped_at is not None or not liveness.is_dead(engine, worker, row.boot_id, row.lease_until):
        return False
    workers.retire(tx, call, worker, f"worker {worker} is gone", lost=True)
    return True


def free_the_stopped(engine: Engine) -> int:
    """What was claimed for a worker that another process had stopped meanwhile comes back."""

    def free(tx: Transaction, call: Call, row: Row) -> None:
        workers.retire(tx, call, row[1], f"worker {row[1]} had been stopped", lost=True)

    return _each_due(engine, "held_by_stopped", free)


def run_schedules(engine: Engine) -> int:
    return _each_due(engine, "schedule_due", tasks.fire)


def tell_overdue(engine: Engine) -> int:
    """What waited past its deadline is told: an event, and a place in status, briefing and console."""

    def tell(tx: Transaction, call: Call, row: Row) -> None:
        run = existing(tx, call, row[1])
        tx.write("run_set_overdue", id=run.id, now=tx.now)
        audit.record(
            tx,
            call,
            "run.overdue",
            {"kind": "run", "id": run.handle, "wake": run.wake or ""},
            stream=run.handle,
            reason=f"{run.state} since {run.updated_at}, waiting for {run.wake} {run.waiting_for or ''}".strip(),
        )

    return _each_due(engine, "run_past_deadline", tell)


def watch_handoffs(engine: Engine) -> int:
    """Handoffs whose clock says something: offer, ask others, tell somebody, expire."""

    def come(tx: Transaction, call: Call, row: Row) -> None:
        handoff_time.time_came(tx, call, row[1])

    return _each_due(engine, "handoff_due", come)


def watch_escalations(engine: Engine) -> int:
    """Questions whose clock says something: tell more people, warn, give back, take the fallback."""

    def come(tx: Transaction, call: Call, row: Row) -> None:
        escalation_time.time_came(tx, call, row[1])

    return _each_due(engine, "escalation_due", come)


def end_lapsed_reservations(engine: Engine) -> int:
    """Model calls of which nobody said within a day what they used count at the worst case for good."""

    def end(tx: Transaction, call: Call, row: Row) -> None:
        ledger.lose(tx, call, row[1], "nobody said within a day what it used")

    return _each_due(engine, "usage_lapsed", end)


def index_entries(engine: Engine) -> int:
    """Full-text search follows the trail; it is never in the path of a write.

    Nearly all of it is two statements in the writer. Values that have to be taken apart are so on a reader before. A
    version that comes in between has a later position, and so its own turn. Returns 0 once less than a full batch is
    left: chasing every write at once would cost a commit for each few of them.
    """
    fold = not engine.database.capabilities.search_folds

    def look(tx: Transaction) -> list[_Unindexed]:
        found = []
        for workspace, indexed in tx.all("workspace_unindexed", limit=BATCH):
            low, high = audit.position_range(workspace)
            after = max(low, indexed)
            row = tx.one("entry_unindexed_last", after=after, high=high, limit=INDEX_BATCH)
            if row and row[1]:
                texts = [
                    (
                        entry,
                        " ".join(words_of(key, fold=fold)),
                        _text_of(blobs.unpack(tx, workspace, *packed), fold=fold),
                    )
                    for entry, key, *packed in tx.all("entry_unindexed", after=after, last=row[0])
                ]
                found.append(_Unindexed(workspace, after, row[0], row[1], texts))
        return found

    found = engine.database.read(look)
    for batch in found:
        engine.database.write(partial(_index, batch), lane=lane_beside(batch.workspace))
        engine.index_grew = True
    return sum(batch.rows for batch in found if batch.rows == INDEX_BATCH)


def _index(batch: _Unindexed, tx: Transaction) -> None:
    tx.write("entry_search_remove_all", after=batch.after, last=batch.last)
    tx.write("entry_search_add_all", after=batch.after, last=batch.last)
    for entry, key, body in batch.texts:
        tx.write("entry_search_remove", id=entry)
        tx.write("entry_search_add", id=entry, key=key, body=body)
    tx.write("workspace_set_indexed", workspace=batch.workspace, position=batch.last)


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


def review_prices(engine: Engine) -> int:
    """Once an hour: what does its step well, but does not pay any more at today's prices, is taken off it."""
    now = engine.clock.boot_us()
    if engine.prices_reviewed_at is not None and now - engine.prices_reviewed_at < HOUR:
        return 0
    engine.prices_reviewed_at = now
    done, after = 0, 0
    while found := engine.database.read(partial(_promoted, after)):
        calls = engine.system_calls({place for place, _ in found})
        for place, number in found:
            done += engine.database.write(partial(_review_price, calls[place], number), lane=place)
        after = found[-1][1]
    return done


def _promoted(after: int, tx: Transaction) -> list[Row]:
    return tx.all("evidence_promoted", after=after, limit=BATCH)


def _review_price(call: Call, number: int, tx: Transaction) -> int:
    return int(evidence.review_price(tx, call, number))


def prune(engine: Engine) -> int:
    """Retention: finished runs keep a tombstone, old versions go, and the floor says from where history is whole."""
    known = engine.database.read(lambda tx: tx.all("workspace_all"), snapshot=False)
    # Of very many workspaces, so many in a round, and on from there in the next one.
    turn = [workspace for workspace, *_ in known if workspace > engine.pruned_to][:WORKSPACES_PER_ROUND]
    engine.pruned_to = turn[-1] if len(turn) == WORKSPACES_PER_ROUND else 0
    calls = engine.system_calls(turn)
    return sum(
        engine.database.write(partial(_prune, engine, calls[place], _old_versions(engine, place)), lane=place)
        for place in turn
    )


def sweep_blobs(engine: Engine) -> int:
    """Blobs that nothing refers to any more. Looked for on a reader, and at each again inside the transaction."""
    before = engine.clock.now_us() - round(engine.settings.blob_hours * HOUR)
    look = partial(blobs.unreferenced, before=before, after=engine.swept_to, limit=BLOBS_PER_ROUND)
    found, engine.swept_to = engine.database.read(look)
    numbers: defaultdict[int, list[int]] = defaultdict(list)
    for place, number in found:
        numbers[place].append(number)
    return sum(
        engine.database.write(partial(blobs.remove, numbers=some[at : at + BATCH], before=before), lane=place)
        for place, some in numbers.items()
        for at in range(0, len(some), BATCH)
    )


def shrink(engine: Engine) -> int:
    """What retention freed and new rows do not need goes back to the disk."""
    return engine.database.shrink()


def _prune(engine: Engine, call: Call, versions: list[int], tx: Transaction) -> int:
    settings = engine.settings
    finished = tx.now - round(settings.finished_runs_days * DAY)
    done = _prune_runs(tx, call, finished) + _prune_handoffs(tx, call, finished)
    done += _prune_escalations(tx, call, finished)
    for query in ("handoff_turn_remove_passed", "handoff_turn_remove_idle"):
        done += tx.run(query, workspace=call.workspace, limit=BATCH)
    done += tx.run("delivery_remove_old", workspace=call.workspace, before=finished, limit=BATCH)
    done += tx.run("guarded_remove_old", workspace=call.workspace, before=finished, limit=BATCH)
    done += tx.run("failure_remove_old", workspace=call.workspace, before=finished)
    done += notifications.prune(tx, call.workspace, finished, BATCH)
    done += _prune_versions(tx, call.workspace, versions)
    before = tx.now - round(settings.request_hours * HOUR)
    done += tx.run("request_remove_old", workspace=call.workspace, before=before, limit=BATCH)
    return done + tx.run("worker_remove_stopped", workspace=call.workspace, before=before)


def _prune_runs(tx: Transaction, call: Call, before: int) -> int:
    found = tx.all("run_prunable", workspace=call.workspace, before=before, limit=BATCH)
    for _, handle in found:
        run = existing(tx, call, handle)
        for query in (
            "run_remove_steps",
            "run_remove_values",
            "run_remove_signals",
            "run_remove_notes",
            "watch_remove",
            "comparison_remove",
        ):
            tx.write(query, run=run.id)
        tx.write("ledger_spent_remove_run", workspace=call.workspace, scope=f"run:{handle}")
        tx.write("run_mark_pruned", id=run.id, now=tx.now)
        audit.record(tx, call, "run.prune", {"kind": "run", "id": handle}, stream=handle)
    return len(found)


def _prune_handoffs(tx: Transaction, call: Call, before: int) -> int:
    found = tx.all("handoff_prunable", workspace=call.workspace, before=before, limit=BATCH)
    for number, handle in found:
        for query in (
            "handoff_remove_values",
            "handoff_remove_references",
            "handoff_remove_attempts",
            "handoff_remove_refusals",
        ):
            tx.write(query, handoff=number)
        tx.write("handoff_mark_pruned", id=number, now=tx.now)
        audit.record(tx, call, "handoff.prune", {"kind": "handoff", "id": handle}, stream=handle)
    return len(found)


def _prune_escalations(tx: Transaction, call: Call, before: int) -> int:
    """What was asked and said goes; who decided what stays, in the row and in the trail."""
    found = tx.all("escalation_prunable", workspace=call.workspace, before=before, limit=BATCH)
    for number, handle in found:
        for query in ("escalation_remove_values", "escalation_remove_comments", "escalation_remove_waiters"):
            tx.write(query, escalation=number)
        tx.write("escalation_mark_pruned", id=number, now=tx.now)
        audit.record(tx, call, "escalation.prune", {"kind": "escalation", "id": handle}, stream=handle)
    return len(found)


def _old_versions(engine: Engine, workspace: int) -> list[int]:
    """Positions of versions that are old and not among the newest of their key, which they never are again.

    A portion of the trail at a time: most of what is old is still the newest of its key, and stays.
    """
    low, _ = audit.position_range(workspace)
    after = engine.versions_seen.get(workspace, low)
    before = engine.clock.now_us() - round(engine.settings.versions_days * DAY)
    wanted = {"low": after, "high": after + POSITIONS_PER_ROUND, "before": before, "limit": BATCH}

    def look(tx: Transaction) -> tuple[list[Row], int]:
        found = tx.all("entry_version_prunable", kept=engine.settings.versions_kept, **wanted)
        return found, audit.last_position(tx, workspace)

    found, last = engine.database.read(look)
    following = found[-1][0] if len(found) == BATCH else after + POSITIONS_PER_ROUND
    engine.versions_seen[workspace] = following if following < last else low
    return [position for (position,) in found]


def _prune_versions(tx: Transaction, workspace: int, positions: list[int]) -> int:
    for position in positions:
        tx.write("entry_version_remove", position=position)
    if positions:
        tx.write("workspace_set_floor", id=workspace, floor=positions[-1])
    return len(positions)


def _text_of(content: bytes, *, fold: bool) -> str:
    """The words of a JSON value's strings and keys, for the index; of a very long one those it begins with."""
    words: list[str] = []
    left = INDEXED_CHARACTERS
    for text in _texts(decode(content)):
        words.extend(words_of(text[:left], fold=fold))
        left -= len(text)
        if left <= 0:
            break
    return " ".join(words)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)


def _each_due(engine: Engine, query: str, do: Callable[[Transaction, Call, Row], None]) -> int:
    """Do what `query` finds due, a transaction for each workspace. Its rows begin with the workspace.

    Looked for on a reader first: an idle plane writes nothing. Looked at again inside the transaction.
    """
    due = engine.database.read(lambda tx: tx.all(query, now=tx.now, limit=BATCH, workspace=None), snapshot=False)
    places = sorted({row[0] for row in due})
    calls = engine.system_calls(places)

    def work(call: Call, only: Row | None, tx: Transaction) -> int:
        found = tx.all(query, now=tx.now, limit=BATCH, workspace=call.workspace)
        for row in found:
            if only is None or row == only:
                do(tx, call, row)
        return len(found)

    done = 0
    for place in places:
        try:
            done += engine.database.write(partial(work, calls[place], None), lane=place)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - one that cannot be done must not keep the others from being done
            for row in due:
                if row[0] == place:
                    _alone(engine, place, row[1], partial(work, calls[place], row))
    return done


def _alone(engine: Engine, place: int, what: str, work: Callable[[Transaction], int]) -> int:
    """Do one thing in a transaction of its own; where it cannot be done, the others are. Raises Unavailable."""
    try:
        return engine.database.write(work, lane=place)
    except Unavailable:
        raise
    except Exception:  # noqa: BLE001 - as above
        _log.exception("a duty cannot be done for %s; the others are", what)
        return 0


DUTIES = (
    expire_entries,
    fire_timers,
    free_the_dead,
    free_the_stopped,
    run_schedules,
    tell_overdue,
    watch_handoffs,
    watch_escalations,
    end_lapsed_reservations,
    fill_outbox,
    index_entries,
    merge_index,
)
SLOW_DUTIES = (prune, sweep_blobs, shrink, review_prices)
