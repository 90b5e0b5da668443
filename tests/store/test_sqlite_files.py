"""SQLite as a file: what it refuses to open, a full disk, foreign locks, damage, backups, forks, processes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from contextlib import closing

import apsw
import pytest

from agentmemo.clock import ManualClock, SystemClock
from agentmemo.errors import Conflict, InvalidInput, Unavailable
from agentmemo.store import migrate, sqlite, sqlite_files
from agentmemo.store.migrate import APPLICATION_ID
from agentmemo.store.open import database_path, open_database
from agentmemo.store.sqlite import SqliteDatabase
from agentmemo.store.sqlite_copies import copy_pages, named_when_whole
from agentmemo.testing.store import add, add_workspace, names, queued_together


def content(path):
    return path.read_bytes()


def test_what_was_written_is_there_after_reopening(opened):
    database = opened()
    database.write(lambda tx: add(tx, "a"))
    database.close()
    again = opened()
    assert names(again) == ["a"]
    facts = again.facts()
    assert (facts["journal_mode"], facts["quick_check"]) == ("wal", "ok")


@pytest.mark.usefixtures("durable_files")
def test_every_write_is_durable_by_setting(opened):
    database = opened()
    pragma = database._writer_connection.pragma
    assert (pragma("synchronous"), pragma("journal_mode"), pragma("fullfsync")) == (2, "wal", 1)


def test_group_commit_takes_what_is_queued_in_one_commit(opened):
    database = opened()
    before = database.counters()["commits"]
    queued_together(database, *(lambda tx, n=n: add(tx, str(n)) for n in range(100)))
    assert len(names(database)) == 100
    assert database.counters()["commits"] - before == 2  # the busy request, and all that waited for it


def test_a_new_file_is_its_owners(path, opened):
    opened()
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-lock")):
        assert name.stat().st_mode & 0o077 == 0, name


def test_an_empty_file_is_ours_to_use(path, opened):
    path.touch()
    opened().write(lambda tx: add(tx, "a"))


def test_a_file_of_another_program_is_refused_and_left_alone(path, opened):
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)")
    connection.close()
    before = content(path)
    with pytest.raises(Unavailable, match="another program") as caught:
        opened()
    assert not caught.value.retry_safe
    assert content(path) == before


def test_an_empty_file_with_another_programs_mark_is_refused(path, opened):
    connection = apsw.Connection(str(path))
    connection.pragma("application_id", 0x1234)
    connection.close()
    before = content(path)
    with pytest.raises(Unavailable, match="another program"):
        opened()
    assert content(path) == before


def test_a_newer_schema_is_refused_and_left_alone(path, opened):
    opened().close()
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE meta SET value = '999' WHERE key IN ('schema_version', 'min_writer')")
    connection.close()
    before = content(path)
    with pytest.raises(Unavailable, match="newer AgentMemo") as caught:
        opened()
    assert "pip install --upgrade" in caught.value.next_call
    assert content(path) == before


def test_a_newer_schema_that_older_writers_may_write_is_opened(path, opened):
    opened().close()
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    connection.close()
    opened().write(lambda tx: add(tx, "a"))


def test_code_that_counts_the_work_of_runs_by_the_wall_clock_is_refused(path, opened, monkeypatch):
    """It would take the boot clock's claims for half a century of work, and pause the runs for their budgets."""
    opened().close()
    older = [(number, script) for number, script in migrate.migrations("sqlite") if number < 10]
    monkeypatch.setattr(migrate, "migrations", lambda _: older)
    with pytest.raises(Unavailable, match="newer AgentMemo"):
        opened()


def test_what_is_no_database_is_refused_and_left_alone(path, opened):
    path.write_bytes(b"This is a text file, and a long one at that.\n" * 100)
    before = content(path)
    with pytest.raises(Unavailable, match="not an SQLite database"):
        opened()
    assert content(path) == before


def test_a_directory_is_refused(tmp_path, opened):
    with pytest.raises(Unavailable, match="directory"):
        opened(tmp_path)


def test_a_failed_migration_leaves_nothing(path, opened, monkeypatch):
    good = migrate.migrations("sqlite")
    monkeypatch.setattr(
        migrate, "migrations", lambda _: [*good, (99, "CREATE TABLE more (a); SELECT no_such_function()")]
    )
    with pytest.raises(Unavailable):
        opened()
    monkeypatch.undo()
    database = opened()
    database.write(lambda tx: add(tx, "a"))
    tables = [row[0] for row in database._writer_connection.execute("SELECT name FROM sqlite_master")]
    assert "more" not in tables


def test_migrations_apply_once_and_in_order(path, opened, monkeypatch):
    opened().close()
    good = migrate.migrations("sqlite")
    monkeypatch.setattr(
        migrate, "migrations", lambda _: [*good, (900, "CREATE TABLE more (a)"), (901, "DROP TABLE more")]
    )
    opened().close()
    connection = apsw.Connection(str(path))
    assert migrate.migrate(connection, str(path)) == []
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").get == "901"
    connection.close()


def test_a_damaged_page_is_told(path, opened):
    database = opened()
    add_workspace(database)
    for number in range(2000):
        database.write(lambda tx, n=number: add(tx, f"name-{n:050}"))
        if number == 300:
            break
    database.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(Unavailable, match=r"damaged|not an SQLite|refused"):
        names(opened())


@pytest.mark.parametrize("size", [1, 100, 4096, 10_000])
def test_a_file_cut_short_is_told(path, opened, size):
    opened().close()
    with path.open("r+b") as file:
        file.truncate(size)
    with pytest.raises(Unavailable):
        names(opened())


def full(database):
    """Let the disk be full from now on; returns how to give it room again."""
    pragma = database._writer_connection.pragma
    before = pragma("max_page_count")
    pragma("max_page_count", pragma("page_count"))
    return lambda: pragma("max_page_count", before)


def big(tx, name):
    tx.write("blob_chunk_add", blob=hash(name) & 0xFFFF, chunk=1, content=b"x" * 2_000_000)
    return name


def test_a_read_that_sqlite_ended_by_itself_is_refused_as_what_happened(opened):
    """It ends transactions where the disk fails; that there is none left to end says nothing."""

    def fail(tx):
        tx._connection.execute("ROLLBACK")
        raise apsw.IOError("the disk fails to read")

    database = opened()
    for _ in range(2):
        with pytest.raises(Unavailable, match="the disk fails to read") as refused:
            database.read(fail)
        assert refused.value.retry_safe
    assert database.read(lambda tx: tx._connection.pragma("user_version")) == 0


def test_a_full_disk_refuses_and_recovers(opened):
    database = opened()
    database.write(lambda tx: add(tx, "before"))
    make_room = full(database)
    with pytest.raises(Unavailable, match="full") as caught:
        database.write(lambda tx: (add(tx, "half"), big(tx, "b")))
    assert caught.value.retry_safe
    assert names(database) == ["before"]
    make_room()
    database.write(lambda tx: (add(tx, "after"), big(tx, "b")))
    assert names(database) == ["before", "after"]


def test_a_full_disk_fails_only_who_needs_room(opened):
    database = opened()
    database.write(lambda tx: add(tx, "before"))
    make_room = full(database)
    answers = queued_together(
        database,
        lambda tx: add(tx, "a"),
        lambda tx: (add(tx, "b"), big(tx, "b")),
        lambda tx: add(tx, "c"),
    )
    assert [result for result, error in answers if error is None] == ["a", "c"]
    assert [type(error) for _, error in answers if error] == [Unavailable]
    assert names(database) == ["before", "a", "c"]
    make_room()
    database.write(lambda tx: big(tx, "b"))


def test_a_read_only_file_is_told(path, opened, monkeypatch):
    opened().close()

    def refuse(*_args, **_options):
        raise apsw.ReadOnlyError("attempt to write a readonly database")

    monkeypatch.setattr(SqliteDatabase, "_connect", refuse)
    with pytest.raises(Unavailable, match="read-only"):
        opened()


def test_a_directory_that_cannot_be_written_is_told(tmp_path, opened):
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(Unavailable):
        opened(blocked / "store.db")


def test_a_foreign_writer_is_waited_for_and_then_told(path, opened, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_MS", 50)
    database = opened()
    foreign = apsw.Connection(str(path))
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked") as caught:
        database.write(lambda tx: add(tx, "a"))
    assert caught.value.retry_safe
    assert names(database) == []
    foreign.execute("ROLLBACK")
    foreign.close()
    assert database.write(lambda tx: add(tx, "a")) == "a"


def test_a_backup_taken_while_others_write_is_whole(tmp_path, opened):
    database = opened()
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            database.write(lambda tx, n=number: (add(tx, f"{n}-a"), add(tx, f"{n}-b")))
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    while len(names(database)) < 20:
        pass
    copy = tmp_path / "copy.db"
    size = database.backup(copy)
    stop.set()
    thread.join()
    assert size == copy.stat().st_size
    restored = names(opened(copy))
    assert len(restored) >= 20
    assert len(restored) % 2 == 0  # each pair is one commit, there or not
    assert not list(tmp_path.glob("*.partial"))


def test_a_backup_is_its_owners_alone(tmp_path, opened):
    """It holds all that the store does."""
    before = os.umask(0o022)
    try:
        opened().backup(tmp_path / "copy.db")
    finally:
        os.umask(before)
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_two_backups_to_one_name_do_not_take_it_from_each_other(tmp_path, opened):
    """Else what the second one has just begun would get the first one's name, empty."""
    database, path = opened(), tmp_path / "copy.db"
    with named_when_whole(path) as partial:
        copy_pages(database._writer_connection, partial)
        with pytest.raises(Conflict):
            database.backup(path)
    with closing(apsw.Connection(str(path))) as copy:
        assert copy.pragma("application_id") == APPLICATION_ID
    assert sorted(tmp_path.glob("copy.db*")) == [path]


def test_a_backup_that_fails_leaves_nothing(tmp_path, opened):
    database = opened()
    with pytest.raises((Unavailable, OSError)):
        database.backup(tmp_path / "missing" / "copy.db")
    assert not list(tmp_path.glob("**/*.partial"))
    assert database.write(lambda tx: add(tx, "a")) == "a"


def test_network_file_systems_are_refused(path, opened, monkeypatch):
    for kind in ("nfs4", "cifs", "fuse.sshfs"):
        monkeypatch.setattr(sqlite_files, "file_system_of", lambda _, found=kind: found)
        with pytest.raises(Unavailable, match=kind):
            opened()
        assert not path.exists()
    monkeypatch.setattr(sqlite_files, "file_system_of", lambda _: "ext4")
    opened()


def test_after_a_fork_the_child_is_refused(opened):
    database = opened()
    database.write(lambda tx: add(tx, "a"))
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"nothing"
        try:
            database.write(lambda tx: add(tx, "b"))
        except Unavailable as error:
            said = error.message.encode()
        except BaseException as error:  # noqa: BLE001 - the child reports and ends, whatever happens
            said = repr(error).encode()
        finally:
            os.write(write_end, said)
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        assert b"before a fork" in file.read()
    os.waitpid(child, 0)
    database.write(lambda tx: add(tx, "c"))
    assert names(database) == ["a", "c"]


def write_from_process(path, number, count):
    database = SqliteDatabase(path, SystemClock())
    for index in range(count):
        database.write(lambda tx, n=f"{number}-{index}": (add(tx, n), tx.next_position(1)))
    database.close()


def test_several_processes_write_one_file(path, opened):
    opened().close()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_from_process, args=(path, number, 40)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    found = names(opened())
    assert len(set(found)) == len(found) == 120
    for number in range(3):
        assert [name for name in found if name.startswith(f"{number}-")] == [f"{number}-{i}" for i in range(40)]


def test_what_a_killed_process_left_is_recovered(path, opened, tmp_path):
    database = opened()
    for number in range(50):
        database.write(lambda tx, n=number: add(tx, str(n)))
    # The file and its log as a power cut would leave them: nothing closed, nothing checkpointed.
    left = tmp_path / "left"
    left.mkdir()
    for name in (path.name, path.name + "-wal"):
        shutil.copy(path.with_name(name), left / name)
    assert len(names(opened(left / path.name))) == 50


@pytest.mark.parametrize(
    ("target", "expected"),
    [(":memory:", None), ("sqlite:///:memory:", None), ("DIR", "DIR/agentmemo.db"), ("DIR/x.db", "DIR/x.db"),
     ("DIR/new", "DIR/new/agentmemo.db"), ("sqlite:///DIR/x.db", "DIR/x.db")],
)  # fmt: skip
def test_what_a_target_means(tmp_path, target, expected):
    found = database_path(target.replace("DIR", str(tmp_path)))
    assert (str(found) if found else None) == (expected and expected.replace("DIR", str(tmp_path)))


def test_an_unknown_target_is_refused():
    with pytest.raises(InvalidInput):
        open_database("mysql://host/db", ManualClock())
