"""Spike: the database seam on PostgreSQL within two round trips.

Starts a throw-away PostgreSQL, runs `set`, `step` and `claim` through a small Transaction that defers its
writes to the commit's round trip, proves that a failed guard rolls back the whole pipeline (COMMIT included),
counts round trips with a proxy and prints a table. Nothing here is product code; the conclusions are in
docs/decisions/0002-database-seam.md.

    python benchmarks/spikes/postgres_round_trips.py [--seconds 2.0] [--proofs-only] [--no-order-guard]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import re
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from postgres_harness import Proxy, postgres_server, rows, together
from psycopg import errors
from psycopg_pool import ConnectionPool

T = TypeVar("T")
Row = tuple[Any, ...]
Params = Mapping[str, Any]
VALUE = os.urandom(1024)
REPLAYABLE = (errors.UniqueViolation, errors.SerializationFailure, errors.DeadlockDetected)

QUERIES = {
    name: sql.strip()
    for name, sql in re.findall(
        r"^-- name: (\w+)\n(.*?)(?=^-- name:|\Z)",
        Path(__file__).with_suffix(".sql").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
}
SCHEMA = QUERIES.pop("schema")
POSTGRES_SQL = {name: re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", sql) for name, sql in QUERIES.items()}


def guarded(sql: str) -> str:
    """Make the server itself refuse a wrong row count: 1/0 raises 22012, and COMMIT behind it is skipped."""
    check = "SELECT 1 / (CASE WHEN count(*) = %(expect)s THEN 1 ELSE 0 END) FROM done"
    return f"WITH done AS ({sql} RETURNING 1) {check}"


GUARDED_SQL = {name: guarded(sql) for name, sql in POSTGRES_SQL.items() if not sql.startswith("SELECT")}
NEEDS_NO_GUARD = frozenset({"version_add", "event_add", "step_add"})  # plain INSERT: one row, or it raises


class Strategy(Enum):
    SERIAL = "serial"  # every statement on its own round trip, counts checked by the client
    CHECKED = "checked"  # reads | writes | counts checked by the client, then COMMIT
    DEFERRED = "deferred"  # reads | writes that check themselves, with COMMIT


class CountMismatch(Exception):
    """A write touched another number of rows than it expected; nothing of the transaction was kept."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Refused(Exception):
    """The operation's own refusal (LeaseLost, VersionConflict), decided from what it read."""


@dataclass
class Transaction:
    """The seam: reads answer at once, writes wait and travel together with COMMIT."""

    connection: psycopg.Connection[Row]
    lane: uuid.UUID  # the audit stream that only the holder of this transaction writes
    strategy: Strategy = Strategy.DEFERRED
    trips: int = 0
    begun: bool = False
    waiting: list[tuple[str, Params, int]] = field(default_factory=list)

    def fetch(self, reads: Sequence[tuple[str, Params]]) -> list[Row | None]:
        """Several single-row reads in one round trip; writes still waiting go first and are seen by them."""
        cursors = self._exchange([(POSTGRES_SQL[name], params) for name, params in reads])
        return [cursor.fetchone() for cursor in cursors]

    def one(self, name: str, params: Params) -> Row | None:
        """A single-row read."""
        return self.fetch([(name, params)])[0]

    def write(self, name: str, params: Params, expect: int = 1) -> None:
        """A write without a result; a wrong row count fails the transaction, here or at any later call."""
        self.waiting.append((name, params, expect))
        if self.strategy is Strategy.SERIAL:
            self._exchange([])

    def commit(self) -> None:
        """Send what waits together with COMMIT: one round trip, all or nothing."""
        if self.strategy is Strategy.CHECKED and self.waiting:
            self._exchange([])
        tag = self._exchange([("COMMIT", {})])[-1].statusmessage
        if tag != "COMMIT":  # a failed transaction answers COMMIT with the tag ROLLBACK and no error
            raise CountMismatch(f"commit answered {tag}")

    def rollback(self) -> None:
        """Give everything up; a broken connection has already done so."""
        self.waiting.clear()
        if not self.connection.broken:
            self.connection.rollback()

    def _exchange(self, statements: list[tuple[str, Params]]) -> list[psycopg.Cursor[Row]]:
        writes, self.waiting = self.waiting, []
        labels = [name for name, _, _ in writes]
        batch = [self._prepare(*write) for write in writes] + statements
        if not self.begun:
            self.begun, labels, batch = True, ["BEGIN", *labels], [("BEGIN", {}), *batch]
        if self.strategy is Strategy.SERIAL:
            self.trips += len(batch)
            cursors = [self.connection.execute(sql, params) for sql, params in batch]
        else:
            self.trips += 1
            cursors = self._pipeline(batch, labels)
        for (name, _, expect), cursor in zip(writes, cursors[len(labels) - len(writes) :], strict=False):
            if self.strategy is not Strategy.DEFERRED and cursor.rowcount != expect:
                raise CountMismatch(name)
        return cursors[len(labels) :]

    def _prepare(self, name: str, params: Params, expect: int) -> tuple[str, Params]:
        if self.strategy is not Strategy.DEFERRED or name in NEEDS_NO_GUARD:
            return POSTGRES_SQL[name], params
        return GUARDED_SQL[name], {**params, "expect": expect}

    def _pipeline(self, batch: list[tuple[str, Params]], labels: list[str]) -> list[psycopg.Cursor[Row]]:
        cursors: list[psycopg.Cursor[Row]] = []
        try:
            with self.connection.pipeline():  # leaving the block sends the one Sync and waits
                for sql, params in batch:
                    cursor = self.connection.cursor()
                    cursors.append(cursor)
                    cursor.execute(sql, params)
        except errors.DivisionByZero as error:
            failed = next(i for i, cursor in enumerate(cursors) if cursor.pgresult is None)
            raise CountMismatch(labels[failed]) from error
        return cursors


class Database:
    """A pool of connections, a lane for each, and the replay loop around an operation."""

    def __init__(
        self, address: str, size: int, *, strategy: Strategy = Strategy.DEFERRED, prepare: int | None = 2
    ) -> None:
        self.strategy, self.replays, self.trips = strategy, 0, 0
        self.lanes: dict[psycopg.Connection[Row], uuid.UUID] = {}
        self.pool = ConnectionPool(
            address,
            min_size=size,
            max_size=size,
            open=True,
            timeout=30,
            kwargs={"autocommit": True, "prepare_threshold": prepare},
        )
        self.pool.wait()

    def run(self, work: Callable[[Transaction], T], attempts: int = 50) -> T:
        """Run an operation; when somebody else was faster, run all of it again on what is now true."""
        for _ in range(attempts):
            connection = self.pool.getconn()
            try:
                return self._attempt(connection, self.lanes.setdefault(connection, uuid.uuid4()), work)
            except (CountMismatch, *REPLAYABLE):
                self.replays += 1
            finally:
                self.pool.putconn(connection)
        raise Refused("Unavailable: too many replays")

    def _attempt(self, connection: psycopg.Connection[Row], lane: uuid.UUID, work: Callable[[Transaction], T]) -> T:
        tx = Transaction(connection, lane, self.strategy)
        try:
            answer = work(tx)
            tx.commit()
        except BaseException:
            tx.rollback()
            raise
        self.trips = tx.trips
        return answer


@dataclass(frozen=True)
class Head:
    """Where a stream ends: its last sequence, that leaf's hash and body."""

    sequence: int = 0
    leaf_hash: bytes = bytes(32)
    body: bytes = b""

    def next(self, kind: str, subject: str) -> Head:
        """The head after one more event."""
        body = json.dumps({"kind": kind, "sequence": self.sequence + 1, "subject": subject, "v": 1}).encode()
        return Head(self.sequence + 1, hashlib.sha256(self.leaf_hash + body).digest(), body)


def audit(tx: Transaction, stream: uuid.UUID, event: Head, request: uuid.UUID, response: bytes = b"") -> None:
    tx.write("event_add", {"stream": stream, **vars(event), "request_id": request, "response": response})


def new_id() -> uuid.UUID:
    """Time first, so that indexes grow at one end."""
    return uuid.UUID(int=(time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10)))


def set_value(
    tx: Transaction, key: str, value: bytes, if_version: int | None = None, request: uuid.UUID | None = None
) -> int:
    """Write a key's next version: two reads in one trip, three writes and COMMIT in the other."""
    entry, head_row = tx.fetch([("entry_by_key", {"namespace": 1, "key": key}), ("stream_head", {"stream": tx.lane})])
    entry_id, seen = entry or (new_id(), 0)
    if if_version is not None and if_version != seen:
        raise Refused(f"VersionConflict: the key is at version {seen}")
    version: int = seen + 1
    tx.write("entry_put", {"id": entry_id, "namespace": 1, "key": key, "version": version, "seen": seen})
    tx.write("version_add", {"id": entry_id, "version": version, "value": value})
    audit(tx, tx.lane, Head(*(head_row or ())).next("state.set", key), request or new_id(), b"%d" % version)
    return version


def write_step(tx: Transaction, run: uuid.UUID, epoch: int, number: int, head: Head) -> Head:
    """The writes of a finished step: the fence with the stream's new head, the result, the event."""
    after = head.next("step.completed", str(run))
    fence = {"run": run, "epoch": epoch, "number": number}
    tx.write("run_step", {**fence, "sequence": after.sequence, "leaf_hash": after.leaf_hash})
    tx.write("step_add", {**fence, "output": VALUE})
    audit(tx, run, after, new_id())
    return after


def finish_step(tx: Transaction, run: uuid.UUID, epoch: int, read: str = "run_lock") -> Head:
    """Keep a step's result under the caller's epoch."""
    row = tx.one(read, {"run": run})
    if row is None or row[0] != epoch or row[1] != "running":
        raise Refused(f"LeaseLost: the run is at epoch {row and row[0]}")
    return write_step(tx, run, epoch, row[2] + 1, Head(row[3], row[4]))


def claim(tx: Transaction, queue_name: str = "default") -> tuple[uuid.UUID, int] | None:
    """Take the next ready run: a locking read, then remove it, raise the epoch and record it."""
    row = tx.one("ready_next", {"queue": queue_name})
    if row is None:
        return None
    ready_id, run, epoch, sequence, leaf_hash = row
    head = Head(sequence, leaf_hash).next("run.claimed", str(run))
    tx.write("ready_remove", {"id": ready_id})
    tx.write("run_claim", {"run": run, "epoch": epoch, "sequence": head.sequence, "leaf_hash": head.leaf_hash})
    audit(tx, run, head, new_id())
    return run, epoch + 1


def sequence_events(connection: psycopg.Connection[Row]) -> int:
    """Give dense revisions to every event whose writer, and every older writer, has finished."""
    with connection.transaction():
        row = connection.execute(
            "SELECT next_revision, low, pg_snapshot_xmin(pg_current_snapshot())::text "
            "FROM sequencer WHERE id = 1 FOR UPDATE"
        ).fetchone()
        assert row is not None
        count = connection.execute(
            "INSERT INTO revision SELECT %s - 1 + row_number() OVER (ORDER BY written_by, stream, sequence), "
            "stream, sequence FROM event WHERE written_by >= %s::xid8 AND written_by < %s::xid8",
            (row[0], str(row[1]), row[2]),
        ).rowcount
        connection.execute("UPDATE sequencer SET next_revision = %s, low = %s::xid8", (row[0] + count, row[2]))
    return count


def new_runs(connection: psycopg.Connection[Row], count: int, *, ready: bool = False) -> list[uuid.UUID]:
    ids = [new_id() for _ in range(count)]
    state = "pending" if ready else "running"
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO run (id, state, epoch, step_count, event_count, leaf_hash) VALUES (%s, %s, 1, 0, 0, %s)",
            [(run, state, bytes(32)) for run in ids],
        )
        if ready:
            cursor.executemany("INSERT INTO ready VALUES (%s, 'default', 5, %s)", [(new_id(), run) for run in ids])
    connection.execute("ANALYZE run, ready")
    return ids


def prove_fence(database: Database, connection: psycopg.Connection[Row]) -> str:
    """A stale epoch sent blindly, without a read: step, event and COMMIT behind it must not happen."""
    run = new_runs(connection, 1)[0]
    connection.execute("UPDATE run SET epoch = 2 WHERE id = %s", (run,))
    before = rows(connection, "SELECT * FROM run WHERE id = %s", run)
    found = []
    for order in ("fence first", "fence last"):
        with database.pool.connection() as line:
            tx = Transaction(line, uuid.uuid4())
            write_step(tx, run, 1, 1, Head())
            if order == "fence last":
                tx.waiting.reverse()
            try:
                tx.commit()
                found.append("COMMITTED")
            except CountMismatch as mismatch:
                found.append(f"{order}: refused at {mismatch.name} in {tx.trips} trip")
                tx.rollback()
    assert rows(connection, "SELECT * FROM run WHERE id = %s", run) == before
    assert not rows(connection, "SELECT 1 FROM step WHERE run_id = %s", run)
    assert not rows(connection, "SELECT 1 FROM event WHERE stream = %s", run)
    assert "COMMITTED" not in found
    with database.pool.connection() as line, line.pipeline():  # the danger: the same pipeline without the guard
        params = {"run": run, "epoch": 1, "number": 1, "sequence": 1, "leaf_hash": bytes(32), "output": VALUE}
        for sql in ("BEGIN", POSTGRES_SQL["run_step"], POSTGRES_SQL["step_add"], "COMMIT"):
            line.execute(sql, params if "%" in sql else None)
    assert rows(connection, "SELECT 1 FROM step WHERE run_id = %s", run), "expected the unguarded zombie to get in"
    try:
        database.run(lambda tx: finish_step(tx, run, 1))
    except Refused as refusal:
        return "; ".join(found) + f"; unguarded control DID commit a zombie's step; with the read: {refusal}"
    raise AssertionError("the stale holder was not refused")


def prove_first_insert(database: Database, connection: psycopg.Connection[Row]) -> str:
    """Two writers both read 'absent': one wins; a plain set becomes version 2, a conditional one is refused."""
    outcomes: dict[int | None, list[str]] = {None: [], 0: []}
    for if_version, said in outcomes.items():
        barrier = threading.Barrier(2)

        def work(tx: Transaction, if_version: int | None = if_version, barrier: threading.Barrier = barrier) -> int:
            version = set_value(tx, f"race-{if_version}", VALUE, if_version)
            if version == 1:  # both have read; neither has written
                barrier.wait(5)
            return version

        def job(_: int, said: list[str] = said, work: Callable[[Transaction], int] = work) -> None:
            try:
                said.append(str(database.run(work)))
            except Refused as refusal:
                said.append(str(refusal))

        together(2, job)
    assert sorted(outcomes[None]) == ["1", "2"], outcomes
    assert sorted(outcomes[0])[1].startswith("VersionConflict"), outcomes
    assert len(rows(connection, "SELECT 1 FROM entry WHERE key LIKE 'race-%%'")) == 2
    return f"plain: {sorted(outcomes[None])}; if_version=0: {sorted(outcomes[0])}"


def prove_one_run(database: Database, connection: psycopg.Connection[Row]) -> str:
    """Sixteen parallel steps of one run: the chain stays dense; the row lock avoids most replays."""
    report = []
    for read in ("run_lock", "run_read"):
        run, database.replays = new_runs(connection, 1)[0], 0

        def job(_: int, run: uuid.UUID = run, read: str = read) -> None:
            for _ in range(10):
                database.run(lambda tx: finish_step(tx, run, 1, read), attempts=1000)

        started = time.perf_counter()
        together(16, job)
        assert rows(connection, "SELECT step_count, event_count FROM run WHERE id = %s", run) == [(160, 160)]
        report.append(f"{read}: {160 / (time.perf_counter() - started):,.0f}/s, {database.replays} replays")
    return "; ".join(report)


def prove_claims(database: Database, connection: psycopg.Connection[Row]) -> str:
    """Sixteen claimers, five hundred runs: each is taken once, nothing is left, nothing deadlocks."""
    new_runs(connection, 500, ready=True)
    taken: list[tuple[uuid.UUID, int]] = []
    database.replays = 0

    def job(_: int) -> None:
        while (got := database.run(claim)) is not None:
            taken.append(got)

    together(16, job)
    assert len(taken) == len(set(taken)) == 500, (len(taken), len(set(taken)))
    assert not rows(connection, "SELECT 1 FROM ready")
    return f"500 of 500 taken once, {database.replays} replays"


def prove_lost_commit(address: str, connection: psycopg.Connection[Row]) -> str:
    """The line is cut after the server committed, before the client heard: the request id tells the truth."""
    proxy, request = Proxy(address), new_id()
    proxy.cut_after_commit = True
    answers: list[str] = []
    for database in (Database(proxy.address, 1), Database(address, 1)):
        try:
            database.run(lambda tx: set_value(tx, "lost", VALUE, request=request), attempts=1)
        except (psycopg.OperationalError, Refused) as error:
            answers.append(type(error).__name__)
        database.pool.close()
    assert answers == ["OperationalError", "Refused"], answers
    assert rows(connection, "SELECT response FROM event WHERE request_id = %s", request) == [(b"1",)]
    assert rows(connection, "SELECT version FROM entry WHERE key = 'lost'") == [(1,)]
    return "unknown to the client, answered by its request id; a blind repeat is refused; version is still 1"


def prove_order(address: str, connection: psycopg.Connection[Row]) -> str:
    """Revisions wait for older writers; a writer older than the row it would follow is refused and replayed."""
    sequence_events(connection)
    database = Database(address, 2)
    slow = psycopg.connect(address, autocommit=True)
    slow.execute("BEGIN")
    slow.execute("SELECT pg_current_xact_id()")  # the older writer
    database.run(lambda tx: set_value(tx, "ordered", VALUE))
    held = sequence_events(connection)
    tx = Transaction(slow, uuid.uuid4(), begun=True)
    set_value(tx, "ordered", VALUE)  # sees version 1, though its own transaction id is lower
    try:
        tx.commit()
        raise AssertionError("the inversion was accepted")
    except CountMismatch as mismatch:
        refused = mismatch.name
        tx.rollback()
    released = sequence_events(connection)
    assert (held, released) == (0, 1), (held, released)
    slow.close()
    database.pool.close()
    return f"0 revisions given while an older writer was open, 1 after; inverted writer refused at {refused}"


def verify_log(connection: psycopg.Connection[Row]) -> str:
    """Every stream's chain, and every revision, from first to last."""
    sequence_events(connection)
    heads: dict[uuid.UUID, Head] = {}
    order = connection.execute(
        "SELECT e.stream, e.sequence, body, leaf_hash, revision FROM event e "
        "LEFT JOIN revision USING (stream, sequence) ORDER BY revision"
    )
    count = 0
    for count, (stream, sequence, body, leaf_hash, revision) in enumerate(order, 1):
        head = heads.get(stream, Head())
        assert revision == count, f"revision {revision} at place {count}"
        assert sequence == head.sequence + 1, "a stream out of order"
        assert leaf_hash == hashlib.sha256(head.leaf_hash + body).digest(), "a broken chain"
        heads[stream] = Head(sequence, leaf_hash)
    return f"{count:,} events in {len(heads):,} streams: chains whole, revisions dense and in stream order"


Operation = Callable[[Database, int, int], object]


def measure(label: str, database: Database, clients: int, seconds: float, operation: Operation) -> None:
    """Run one operation from many threads for a while, after a short warm-up, and print a row of the table."""
    times: list[list[float]] = [[] for _ in range(clients)]
    database.replays, start = 0, time.perf_counter() + 0.3

    def job(client: int) -> None:
        count = 0
        while (before := time.perf_counter()) < start + seconds and operation(database, client, count) is not None:
            count += 1
            if before >= start:
                times[client].append(time.perf_counter() - before)

    together(clients, job)
    rate = sum(map(len, times)) / (time.perf_counter() - start)
    every = sorted(each for client in times for each in client)
    p50, p99 = every[len(every) // 2] * 1000, every[int(len(every) * 0.99)] * 1000
    database.pool.close()
    print(
        f"{label:<40}{clients:>8}{rate:>9,.0f}{p50:>9.2f}{p99:>9.2f}{database.trips:>7}{database.replays:>9}",
        flush=True,
    )


def operations(connection: psycopg.Connection[Row]) -> dict[str, Operation]:
    """The hot paths; every client has a run of its own and a thousand keys."""
    runs = new_runs(connection, 64)
    remembered: dict[uuid.UUID, tuple[int, Head]] = {}

    def set_one(database: Database, client: int, count: int) -> object:
        return database.run(lambda tx: set_value(tx, f"{client}/{count % 1000}", VALUE))

    def step_one(database: Database, client: int, _: int) -> object:
        return database.run(lambda tx: finish_step(tx, runs[client], 1))

    def step_remembered(database: Database, client: int, _: int) -> object:
        run = runs[client]
        if run not in remembered:
            row = rows(connection, "SELECT step_count, event_count, leaf_hash FROM run WHERE id = %s", run)[0]
            remembered[run] = (row[0], Head(row[1], row[2]))
        number, head = remembered[run]
        try:
            after = database.run(lambda tx: write_step(tx, run, 1, number + 1, head), attempts=1)
            remembered[run] = (number + 1, after)
        except Refused:  # what was remembered is no longer so: the next turn reads again
            del remembered[run]
        return True

    def claim_one(database: Database, _client: int, _count: int) -> object:
        return database.run(claim)

    return {"set": set_one, "step": step_one, "claim": claim_one, "step, head remembered": step_remembered}


def measure_all(address: str, connection: psycopg.Connection[Row], seconds: float) -> None:
    print(f"\n{'operation':<40}{'clients':>8}{'ops/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'trips':>7}{'replays':>9}")
    todo = operations(connection)
    for name in ("set", "step", "claim"):
        for clients in (1, 16, 64):
            if name == "claim":
                connection.execute("DELETE FROM ready")
                new_runs(connection, int(5000 * (seconds + 0.3)), ready=True)
            measure(name, Database(address, min(clients, 8)), clients, seconds, todo[name])
    step, remembered = todo["step"], todo["step, head remembered"]
    for clients in (1, 16):
        size = min(clients, 8)
        for strategy in Strategy:
            measure(f"step, {strategy.value}", Database(address, size, strategy=strategy), clients, seconds, step)
        measure("step, nothing prepared", Database(address, size, prepare=None), clients, seconds, step)
        measure("step, head remembered", Database(address, size), clients, seconds, remembered)
    for size in (4, 16):
        measure(f"step, {size} connections", Database(address, size), 16, seconds, step)
    for strategy in Strategy:
        slow = Database(Proxy(address, delay=0.0005).address, 1, strategy=strategy)
        measure(f"step, {strategy.value}, line of 1 ms", slow, 1, seconds, operations(connection)["step"])


def measure_sequencer(address: str, connection: psycopg.Connection[Row], seconds: float) -> None:
    """The sequencer beside sixteen writers: its longest rounds bound how late a revision is."""
    stop, rounds = threading.Event(), list[float]()

    def job() -> None:
        with psycopg.connect(address, autocommit=True) as line:
            while not stop.wait(0.02):
                before = time.perf_counter()
                sequence_events(line)
                rounds.append(time.perf_counter() - before + 0.02)

    sequence_events(connection)
    worker = threading.Thread(target=job)
    worker.start()
    measure("step, beside the sequencer", Database(address, 8), 16, seconds, operations(connection)["step"])
    stop.set()
    worker.join()
    print(
        f"sequencer: {len(rounds)} rounds, p50 {statistics.median(rounds) * 1000:.0f} ms, "
        f"worst {max(rounds) * 1000:.0f} ms, a pause of 20 ms included"
    )


def count_on_the_wire(address: str, connection: psycopg.Connection[Row]) -> None:
    """Let a proxy count how often the client waited for the server, for one operation of each kind."""
    new_runs(connection, 50, ready=True)
    for strategy in Strategy:
        proxy = Proxy(address)
        database, seen = Database(proxy.address, 1, strategy=strategy), list[str]()
        for name, operation in operations(connection).items():
            turns = list[int]()
            for count in range(6):
                proxy.turns, proxy.last = 0, b""
                operation(database, 0, count)
                turns.append(proxy.turns)
            seen.append(f"{name} {turns[-1]}")
        database.pool.close()
        print(f"turns on the wire, {strategy.value}: {', '.join(seen)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--proofs-only", action="store_true")
    parser.add_argument("--no-order-guard", action="store_true", help="control: shows the last check fail")
    options = parser.parse_args()
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # a refused pipeline is expected here
    if options.no_order_guard:
        for name, sql in GUARDED_SQL.items():
            GUARDED_SQL[name] = re.sub(r"AND (entry\.)?changed_by < pg_current_xact_id\(\)", "", sql)
    with postgres_server(SCHEMA) as address, psycopg.connect(address, autocommit=True) as connection:
        names = ("server_version", "synchronous_commit", "fsync", "wal_sync_method", "shared_buffers")
        print(", ".join(f"{name}={rows(connection, f'SHOW {name}')[0][0]}" for name in names))
        database = Database(address, 16)
        for proof in (prove_fence, prove_first_insert, prove_one_run, prove_claims):
            print(f"{proof.__name__}: {proof(database, connection)}", flush=True)
        database.pool.close()
        print(f"prove_lost_commit: {prove_lost_commit(address, connection)}")
        if not options.no_order_guard:
            print(f"prove_order: {prove_order(address, connection)}", flush=True)
        count_on_the_wire(address, connection)
        if not options.proofs_only:
            measure_all(address, connection, options.seconds)
            measure_sequencer(address, connection, options.seconds)
        print(f"verify_log: {verify_log(connection)}")


if __name__ == "__main__":
    main()
