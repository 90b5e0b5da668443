"""The contract of every database. A new one proves itself by subclassing StoreContract.

The subclass, or its conftest, gives the fixture `database` (open and empty, on a ManualClock `clock`) and, where
the store can be shared, `another` (a second Database on the same store). A fact that needs a capability carries the
marker `needs`, so that a database without it selects other tests instead of skipping them.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from agentmemo import ids
from agentmemo.clock import SECOND, ManualClock
from agentmemo.errors import LeaseLost, Unavailable
from agentmemo.store import access, blobs
from agentmemo.store.database import Database, Head, Transaction, wait_for

needs = pytest.mark.needs
WAIT_SECONDS = 60.0


class Refused(Exception):
    """What a request of these tests raises on purpose."""


def add_workspace(database: Database, name: str = "w") -> int:
    return database.write(lambda tx: access.add_workspace(tx, name, b"k" * 32))


def names(database: Database, workspace: int = 1) -> list[str]:
    return [row[2] for row in database.read(lambda tx: tx.all("actor_names", workspace=workspace, after=0))]


def add(tx: Transaction, name: str) -> str:
    access.add_actor(tx, 1, "agent", name)
    return name


def refuse(tx: Transaction, name: str) -> None:
    add(tx, name)
    raise Refused(name)


def queued_together(database: Database, *works: Any) -> list[tuple[Any, BaseException | None]]:
    """Submit requests while the writer is busy, so that a database which groups them takes them at once."""
    answers: list[tuple[Any, BaseException | None]] = []
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def busy(_tx: Transaction) -> None:
        begun.set()
        go.wait(WAIT_SECONDS)

    def answered(result: Any, error: BaseException | None) -> None:
        answers.append((result, error))
        if len(answers) == len(works):
            done.set()

    database.submit(busy, lambda _result, _error: None)
    begun.wait(WAIT_SECONDS)
    for work in works:
        database.submit(work, answered)
    go.set()
    assert done.wait(WAIT_SECONDS)
    return answers


class StoreContract:
    """Facts that hold for every database."""

    def test_a_write_returns_once_it_can_be_read(self, database: Database) -> None:
        assert database.write(lambda tx: add(tx, "a")) == "a"
        assert names(database) == ["a"]

    def test_an_exception_undoes_all_its_request_did(self, database: Database) -> None:
        with pytest.raises(Refused):
            database.write(lambda tx: refuse(tx, "a"))
        assert names(database) == []
        database.write(lambda tx: add(tx, "b"))
        assert names(database) == ["b"]

    def test_one_refused_request_harms_no_other_of_its_batch(self, database: Database) -> None:
        answers = queued_together(
            database,
            lambda tx: add(tx, "a"),
            lambda tx: refuse(tx, "b"),
            lambda tx: add(tx, "c"),
            lambda tx: add(tx, "a"),  # the name is taken: the database itself refuses
            lambda tx: add(tx, "d"),
        )
        assert [result for result, error in answers if error is None] == ["a", "c", "d"]
        assert [type(error) for _, error in answers if error] == [Refused, Unavailable]
        assert names(database) == ["a", "c", "d"]

    def test_answers_and_refusals_come_after_the_commit(self, database: Database) -> None:
        seen: list[list[str]] = []
        done = threading.Event()

        def read() -> None:
            seen.append(names(database))
            done.set()

        def look(_result: Any, _error: BaseException | None) -> None:
            threading.Thread(target=read).start()

        queued_together(database, lambda tx: add(tx, "a"), lambda tx: add(tx, "b"))
        database.submit(lambda tx: refuse(tx, "c"), look)
        assert done.wait(WAIT_SECONDS)
        assert seen == [["a", "b"]]

    def test_many_threads_write_and_none_is_lost(self, database: Database) -> None:
        def work(number: int) -> None:
            for index in range(25):
                name = f"{number}-{index}"
                assert database.write(partial(add, name=name)) == name

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(names(database))) == 200

    def test_an_expected_number_of_rows_is_enforced(self, database: Database) -> None:
        database.write(lambda tx: add(tx, "a"))
        parameters = {"workspace": 1, "kind": "agent", "name": "nobody", "disabled_at": 1}

        def work(tx: Transaction) -> None:
            add(tx, "b")
            tx.write("actor_set_disabled", expect=1, **parameters)

        with pytest.raises(LeaseLost):
            database.write(work)
        assert names(database) == ["a"]
        assert database.write(lambda tx: tx.run("actor_set_disabled", **parameters)) == 0
        assert database.write(lambda tx: tx.run("actor_set_disabled", **(parameters | {"name": "a"}))) == 1

    def test_changes_count_what_a_request_did(self, database: Database) -> None:
        def work(tx: Transaction) -> tuple[bool, bool]:
            before = tx.changes()
            tx.all("actor_names", workspace=1, after=0)
            looked = tx.changes() != before
            add(tx, "a")
            return looked, tx.changes() != before

        assert database.write(work) == (False, True)

    def test_several_reads_in_one_go(self, database: Database) -> None:
        workspace = add_workspace(database)
        found = database.read(lambda tx: tx.fetch(("workspace_find", {"name": "w"}), ("workspace_find", {"name": "x"})))
        assert [row[0] for row in found[0]] == [workspace]
        assert found[1] == []

    def test_positions_are_dense_per_workspace_whatever_is_refused(self, database: Database) -> None:
        def take(tx: Transaction, workspace: int, count: int) -> list[int]:
            taken = []
            for _ in range(count):
                position = tx.next_position(workspace)
                record(tx, workspace, position)
                taken.append(position & ((1 << 40) - 1))
            return taken

        def fail(tx: Transaction) -> None:
            take(tx, 1, 3)
            raise Refused

        assert database.write(lambda tx: take(tx, 1, 2)) == [1, 2]
        with pytest.raises(Refused):
            database.write(fail)
        assert database.write(lambda tx: take(tx, 2, 2)) == [1, 2]
        assert database.write(lambda tx: take(tx, 1, 2)) == [3, 4]
        answers = queued_together(database, lambda tx: take(tx, 1, 1), fail, lambda tx: take(tx, 1, 2))
        assert [result for result, error in answers if error is None] == [[5], [6, 7]]

    def test_the_head_of_a_stream(self, database: Database) -> None:
        assert database.read(lambda tx: tx.head("s")) is None

        def append(tx: Transaction, sequence: int) -> Head | None:
            record(tx, 1, tx.next_position(1), sequence)
            tx.set_head("s", Head(sequence, f"hash {sequence}"))
            return tx.head("s")

        def fail(tx: Transaction) -> None:
            append(tx, 2)
            raise Refused

        assert database.write(lambda tx: append(tx, 1)) == Head(1, "hash 1")
        with pytest.raises(Refused):
            database.write(fail)
        head = database.write(lambda tx: tx.head("s"))
        assert head is not None
        assert head.sequence == 1

    def test_the_time_of_a_transaction_is_the_clocks(self, database: Database, clock: ManualClock) -> None:
        clock.advance(5)
        assert database.write(lambda tx: tx.now) == clock.now_us()
        clock.advance(5)
        assert database.read(lambda tx: tx.now) == clock.now_us()

    @needs("concurrent_reads")
    def test_a_snapshot_does_not_move(self, database: Database) -> None:
        def twice(tx: Transaction) -> tuple[int, int]:
            before = len(tx.all("actor_names", workspace=1, after=0))
            thread = threading.Thread(target=lambda: database.write(lambda inner: add(inner, "late")))
            thread.start()
            thread.join()
            return before, len(tx.all("actor_names", workspace=1, after=0))

        assert database.read(twice) == (0, 0)
        assert names(database) == ["late"]

    def test_listeners_hear_of_commits(self, database: Database) -> None:
        heard = threading.Event()
        stop = database.listen(heard.set)
        database.write(lambda tx: add(tx, "a"))
        assert heard.wait(WAIT_SECONDS)
        stop()
        heard.clear()
        database.write(lambda tx: add(tx, "b"))
        database.write(lambda tx: add(tx, "c"))
        assert not heard.is_set()

    def test_a_listener_that_fails_harms_no_commit(self, database: Database) -> None:
        def broken() -> None:
            raise Refused

        stop = database.listen(broken)
        assert database.write(lambda tx: add(tx, "a")) == "a"
        assert database.write(lambda tx: add(tx, "b")) == "b"
        stop()

    def test_waiting_for_something_that_comes(self, database: Database) -> None:
        thread = threading.Thread(target=lambda: database.write(lambda tx: add(tx, "a")))
        thread.start()
        assert wait_for(database, lambda: names(database) or None, WAIT_SECONDS) == ["a"]
        thread.join()
        assert wait_for(database, lambda: None, 0.01) is None

    @needs("shared")
    def test_another_process_is_heard(self, database: Database, another: Database) -> None:
        heard = threading.Event()
        stop = database.listen(heard.set)
        another.write(lambda tx: add(tx, "theirs"))
        assert heard.wait(WAIT_SECONDS)
        stop()
        assert names(database) == ["theirs"]

    @needs("shared")
    def test_two_writers_share_positions_and_heads(self, database: Database, another: Database) -> None:
        def append(tx: Transaction) -> int:
            head = tx.head("s")
            sequence = head.sequence + 1 if head else 1
            record(tx, 1, tx.next_position(1), sequence)
            tx.set_head("s", Head(sequence, str(sequence)))
            return sequence

        taken = [one.write(append) for _ in range(5) for one in (database, another, another)]
        assert taken == list(range(1, 16))

    def test_values_of_every_size_come_back(self, database: Database) -> None:
        workspace = add_workspace(database)
        for size in (0, 1, 1535, 1536, 4096, 4097, blobs.CHUNK_BYTES, 3 * blobs.CHUNK_BYTES + 1):
            for content in (b"a" * size, bytes((index * 7919 + index // 251) & 255 for index in range(size))):
                packed = blobs.pack(database, workspace, b"k" * 32, content, None)
                assert packed.size == size
                assert unpack(database, workspace, packed) == content
                assert (packed.blob is not None) == (size > blobs.INLINE_BYTES_MAX)

    def test_equal_content_is_stored_once_per_workspace(self, database: Database) -> None:
        content = ids.random_bytes(10_000)
        one = blobs.pack(database, 1, b"k" * 32, content, None)
        same = blobs.pack(database, 1, b"k" * 32, content, None)
        foreign = blobs.pack(database, 2, b"j" * 32, content, None)
        assert one.blob == same.blob
        assert one.blob != foreign.blob
        assert blob_count(database) == 2

    def test_unreferenced_blobs_go_after_their_grace(self, database: Database, clock: ManualClock) -> None:
        content, used = ids.random_bytes(10_000), ids.random_bytes(10_000)
        blobs.pack(database, 1, b"k" * 32, content, None)
        kept = blobs.pack(database, 1, b"k" * 32, used, None)
        columns = {"run": 1, "field": "inputs", **kept.columns()}
        database.write(lambda tx: tx.write("run_value_set", **columns))
        clock.advance(50)
        blobs.pack(database, 1, b"k" * 32, content, None)  # touched again
        clock.advance(50)
        assert sweep(database, clock, 60) == 0
        clock.advance(60)
        assert sweep(database, clock, 60) == 1
        assert blob_count(database) == 1
        assert unpack(database, 1, kept) == used

    def test_a_blob_that_was_half_written_is_finished_by_the_next(self, database: Database) -> None:
        content = ids.random_bytes(2 * blobs.CHUNK_BYTES + 5)
        blob = ids.keyed_hash(b"k" * 32, content)

        def half(tx: Transaction) -> None:
            row = tx.one("blob_add", workspace=1, id=blob, size=len(content), codec=blobs.PLAIN, now=tx.now)
            assert row is not None
            tx.write("blob_chunk_add", blob=row[0], chunk=0, content=content[: blobs.CHUNK_BYTES])

        database.write(half)
        packed = blobs.Packed(len(content), blobs.PLAIN, None, blob, blob)
        with pytest.raises(Unavailable):
            unpack(database, 1, packed)
        assert blobs.pack(database, 1, b"k" * 32, content, None).blob == blob
        assert unpack(database, 1, packed) == content

    def test_a_closed_database_says_so(self, database: Database) -> None:
        database.close()
        database.close()
        with pytest.raises(Unavailable) as caught:
            database.write(lambda tx: tx.now)
        assert not caught.value.retry_safe
        with pytest.raises(Unavailable):
            database.read(lambda tx: tx.now)


def record(tx: Transaction, workspace: int, position: int, sequence: int | None = None) -> None:
    """An event's row with nothing in it but its place."""
    tx.write(
        "event_add",
        position=position,
        id=ids.mint("evt", tx.now),
        stream="s" if sequence else str(position),
        sequence=sequence or 1,
        at=tx.now,
        actor=1,
        operation="test",
        outcome="ok",
        namespace=None,
        leaf=b"{}",
        payload=None,
    )
    assert position >> 40 == workspace


def unpack(database: Database, workspace: int, packed: blobs.Packed) -> bytes:
    return database.read(lambda tx: blobs.unpack(tx, workspace, packed.codec, packed.value, packed.blob))


def sweep(database: Database, clock: ManualClock, grace_seconds: int) -> int:
    before = clock.now_us() - grace_seconds * SECOND
    found, _ = database.read(lambda tx: blobs.unreferenced(tx, before, after=0, limit=100))
    return database.write(lambda tx: blobs.remove(tx, [number for _, number in found], before))


def blob_count(database: Database) -> int:
    ever = 1 << 60
    return database.read(lambda tx: len(tx.all("blob_unreferenced", after=0, last=ever, before=ever))) + database.read(
        lambda tx: len(tx.all("run_values", run=1))
    )
