"""A store is copied whole between the databases, and a copy that stopped goes on or starts over."""

from __future__ import annotations

import itertools
import threading

import apsw
import pytest
from filled import LOSSY, check_it_goes_on, fill, planes, view

import agentmemo
from agentmemo.clock import ManualClock, SystemClock
from agentmemo.errors import Conflict, InvalidInput, Unavailable
from agentmemo.store.migrate import COPYING_KEY
from agentmemo.store.open import open_database, place_of
from agentmemo.store.queries import migrations
from agentmemo.store.transfer import LEFT_OUT, TABLES, copy, digest

APPENDED = [table.name for table in TABLES if table.appended]


class Stopped(Exception):
    """What the interruption of these tests raises."""


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A filled file, its clock, and what is to be seen in it; nobody writes there."""
    plane = planes([], tmp_path_factory.mktemp("origin") / "origin.db")
    fill(plane)
    seen = view(plane)
    yield plane.path, plane.clock, seen
    plane.close()


@pytest.fixture
def opened():
    made = []
    yield made
    for plane in made:
        plane.close()


@pytest.fixture
def another_url(postgres, postgres_url):
    yield postgres.make_database("another")
    postgres.drop_database("another")


@pytest.fixture(params=["sqlite", "postgres"])
def target(request, tmp_path):
    """Where nothing is yet."""
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else str(tmp_path / "target.db")


def transfer(source, target, tell=lambda _table, _rows: None):
    """One copy, with both ends closed at its end whatever happens."""
    reading = place_of(str(source), LOSSY).source()
    try:
        filling = place_of(str(target), LOSSY).target(SystemClock())
        try:
            return copy(reading, filling, tell)
        finally:
            filling.close()
    finally:
        reading.close()


def digests(place):
    side = place_of(str(place), LOSSY).source()
    try:
        return {table.name: digest(side, table) for table in TABLES}
    finally:
        side.close()


def clock_of(origin):
    """A clock of its own that stands where the origin's does."""
    return ManualClock(origin[1].now_us())


def test_everything_goes_to_postgres_and_back(origin, postgres_url, another_url, tmp_path, opened):
    """Through a second database and a second file: nothing is lost, whatever the two ends are."""
    path, _, before = origin
    stations = [str(path), postgres_url, another_url, str(tmp_path / "back.db"), str(tmp_path / "again.db")]
    for source, target in itertools.pairwise(stations):
        copied = transfer(source, target)
        assert copied.revisions == {"default": before["default"]["revision"], "other": 1}
        assert min(table.rows for table in copied.tables) > 0, "a table without rows shows nothing"
        assert not any(table.resumed for table in copied.tables)
        assert copied.keys == 1
    assert digests(stations[1]) == digests(stations[2]) == digests(stations[4]) == digests(path)
    for place in stations[1:]:
        plane = planes(opened, place, clock_of(origin))
        assert view(plane) == before
        check_it_goes_on(plane, before)


def test_numbers_go_on_after_the_highest(origin, target, opened):
    path, _, before = origin
    transfer(path, target)
    plane = planes(opened, target, clock_of(origin))
    agent = plane.connect("newcomer")
    with agent.run("new", key="1") as run:
        run.step("s", lambda: 1)
        run.finding("new")
    agent.runs.signal(agent.start("waiter", key="new").id, "go")
    agent.state.set("new namespace", "k", "x" * 10_000)
    plane.connect("newcomer", workspace="third").state.set("n", "k", 1)
    assert plane.connect("newcomer", workspace="third").status().revision == 1
    assert agent.audit.verify().intact
    assert agent.status().revision > before["default"]["revision"]


def test_keys_work_where_the_secret_is(origin, postgres_url, opened, tmp_path, monkeypatch):
    plane = planes(opened, tmp_path / "keys.db")
    key = plane.connect(person="dana").keys.create("agent", "bob").secret
    monkeypatch.setenv("AGENTMEMO_PEPPER_FILE", str(tmp_path / "keys.db-pepper"))
    transfer(plane.path, postgres_url)
    copied = planes(opened, postgres_url)
    assert copied.engine.authenticate(key).name == "bob"


def test_work_on_the_source_goes_on_and_is_not_in_the_copy(target, tmp_path, opened):
    source = planes(opened, tmp_path / "live.db")
    agent = source.connect()
    for number in range(1100):
        agent.state.set("n", str(number % 100), number)
    told = []

    def work(table, rows):
        told.append((table, rows))
        agent.state.set("n", "0", "later")
        agent.state.delete("n", str(len(told)))
        agent.state.set("new", str(len(told)), "y" * 5000)

    copied = transfer(source.path, target, work)
    assert ("event", 1000) in told
    assert copied.revisions == {"default": 1100}
    plane = planes(opened, target)
    assert plane.connect().state.get("n", "0") == 1000
    assert plane.connect().state.namespaces()[0].name == "n"
    assert plane.connect().audit.verify().intact


@pytest.mark.parametrize("stop", ["credential", "blob_chunk", "event", "entry_version", "step"])
def test_a_copy_that_stopped_goes_on(origin, target, stop, opened):
    path, _, before = origin

    def break_off(table, _rows):
        if table == stop:
            raise Stopped

    with pytest.raises(Stopped):
        transfer(path, target, break_off)
    with pytest.raises(Unavailable, match=r"unfinished copy of .*origin\.db") as caught:
        open_database(target, SystemClock(), LOSSY)
    assert not caught.value.retry_safe
    with pytest.raises(Unavailable, match="unfinished copy"):
        transfer(target, target + "-2")
    copied = transfer(path, target)
    done = APPENDED[: APPENDED.index(stop) + 1] if stop in APPENDED else None
    kept = [table.name for table in copied.tables if table.resumed]
    assert kept == (done if done is not None else APPENDED[: len(kept)])
    assert digests(target) == digests(path)
    assert view(planes(opened, target, clock_of(origin))) == before


@pytest.mark.parametrize("workspaces", [1, 2])
def test_what_came_in_between_is_copied_too(target, tmp_path, opened, workspaces):
    """Each workspace's events go on after its own last one."""
    source = planes(opened, tmp_path / "live.db")
    agents = [source.connect(workspace=f"w{number}") for number in range(workspaces)]
    for agent in agents:
        for number in range(20):
            agent.state.set("n", str(number), "x" * 5000 + str(number))

    def break_off(table, _rows):
        if table == "entry_version":
            raise Stopped

    with pytest.raises(Stopped):
        transfer(source.path, target, break_off)
    for agent in agents:
        for number in range(20):
            agent.state.set("n", str(number), "y" * 5000 + str(number))
    copied = transfer(source.path, target)
    assert copied.revisions == {f"w{number}": 40 for number in range(workspaces)}
    assert [table.name for table in copied.tables if table.resumed] == APPENDED
    assert digests(target) == digests(source.path)


def test_what_the_source_pruned_in_between_is_copied_anew(target, tmp_path, opened):
    settings = LOSSY
    source = planes(opened, tmp_path / "live.db")
    agent = source.connect()
    for number in range(settings.versions_kept + 50):
        agent.state.set("n", "k", number)

    def break_off(table, _rows):
        if table == "entry":
            raise Stopped

    with pytest.raises(Stopped):
        transfer(source.path, target, break_off)
    source.advance((settings.versions_days + 1) * 86_400)
    while source.upkeep():
        pass
    assert digests(source.path)["entry_version"][0] < settings.versions_kept + 50
    copied = transfer(source.path, target)
    assert {table.name: table.resumed for table in copied.tables if table.name in {"event", "entry_version"}} == {
        "event": True,
        "entry_version": False,
    }
    assert digests(target) == digests(source.path)


def test_what_was_changed_in_the_target_is_found(origin, target, postgres):
    path = origin[0]

    def spoil(table, _rows):
        if table == "event":
            write_to(postgres, target, "DELETE FROM actor WHERE name = 'bob'")
            write_to(
                postgres,
                target,
                "UPDATE event SET operation = 'other' WHERE position = (SELECT max(position) FROM event)",
            )

    with pytest.raises(Unavailable, match="copy of the table event differs"):
        transfer(path, target, spoil)
    with pytest.raises(Unavailable, match="unfinished"):
        open_database(target, SystemClock(), LOSSY)
    # Nobody changes it now, so the table is copied once more from the start.
    copied = transfer(path, target)
    assert [table.name for table in copied.tables if table.resumed] == ["blob_chunk"]
    assert digests(target) == digests(path)


def write_to(postgres, target, statement):
    if target.startswith("postgresql"):
        postgres.execute(statement, database="tests")
    else:
        with apsw.Connection(target) as connection:
            connection.execute(statement)
        connection.close()


def test_a_store_that_holds_something_is_refused(origin, target, opened, tmp_path):
    plane = planes(opened, target)
    plane.connect().state.set("n", "k", 1)
    with pytest.raises(Conflict, match="holds something"):
        transfer(origin[0], target)
    with pytest.raises(Conflict, match="holds something"):
        transfer(target, target)
    assert plane.connect().state.get("n", "k") == 1
    assert plane.connect().audit.verify().intact
    # One in which nothing happened is as good as none.
    open_database(str(tmp_path / "fresh.db"), SystemClock()).close()
    transfer(target, tmp_path / "fresh.db")


def test_an_unfinished_copy_of_another_store_is_refused(origin, target, tmp_path, opened):
    def break_off(_table, _rows):
        raise Stopped

    with pytest.raises(Stopped):
        transfer(origin[0], target, break_off)
    other = planes(opened, tmp_path / "other.db")
    other.connect().state.set("n", "k", 1)
    with pytest.raises(Conflict, match=r"unfinished copy of .*origin\.db"):
        transfer(other.path, target)


def test_one_copy_at_a_time_and_nobody_writes_meanwhile(origin, target):
    def meanwhile(table, _rows):
        if table == "workspace":
            with pytest.raises(Conflict, match="Another process writes") as caught:
                transfer(origin[0], target)
            assert caught.value.retry_safe

    transfer(origin[0], target, meanwhile)
    assert digests(target) == digests(origin[0])


def test_a_process_that_had_the_target_open_waits_for_the_copy(origin, target, opened):
    """Its first write comes while half the store is there, in a workspace that is copied, and stands after the copy."""
    path, _, before = origin
    plane = planes(opened, target, clock_of(origin))
    written = []
    early = threading.Thread(target=lambda: written.append(plane.connect("worker").state.set("big", "blob", "early")))

    def meanwhile(table, _rows):
        if table == "blob":
            early.start()
        if table == "note":
            # Long enough for a write that does not wait.
            early.join(0.5)
            assert early.is_alive()

    transfer(path, target, meanwhile)
    early.join()
    assert [(entry.revision, entry.version) for entry in written] == [(before["default"]["revision"] + 1, 2)]
    agent = plane.connect("worker")
    assert agent.audit.verify().intact
    assert agent.audit.verify().events == len(before["default"]["events"]) + 1
    assert list(agent.audit.events(limit=1000))[:-1] == before["default"]["events"]


def test_an_empty_store_is_copied_too(target, tmp_path):
    open_database(str(tmp_path / "empty.db"), SystemClock()).close()
    copied = transfer(tmp_path / "empty.db", target)
    assert (copied.revisions, sum(table.rows for table in copied.tables)) == ({}, 0)
    open_database(target, SystemClock(), LOSSY).close()


def test_what_holds_no_store_is_no_source(tmp_path, postgres):
    with pytest.raises(InvalidInput, match="no file"):
        place_of(str(tmp_path / "absent.db"), LOSSY).source()
    (tmp_path / "empty.db").touch()
    with pytest.raises(InvalidInput, match="holds no store"):
        place_of(str(tmp_path / "empty.db"), LOSSY).source()
    with pytest.raises(InvalidInput, match="holds no store"):
        place_of(postgres.make_database("nothing"), LOSSY).source()
    postgres.drop_database("nothing")


def test_another_schema_than_this_librarys_is_refused(origin, tmp_path, monkeypatch):
    last = migrations("sqlite")[-1][0]
    newer = [*migrations("sqlite"), (last + 1, "SELECT 1")]
    monkeypatch.setattr("agentmemo.store.migrate.migrations", lambda _database: newer)
    with pytest.raises(InvalidInput, match=f"has the schema {last}, this library copies {last + 1}") as caught:
        place_of(str(origin[0]), LOSSY).source()
    assert "agentmemo migrate" in caught.value.next_call


def test_a_text_that_postgres_cannot_hold_is_named(postgres_url, tmp_path, opened):
    """The engine refuses such a text by now; a store of before may hold one."""
    source = planes(opened, tmp_path / "null.db")
    with source.connect().run("r", key="1") as run:
        run.finding("a b")
    source.engine.database.write(
        lambda tx: tx.write(
            "note_add",
            run=1,
            kind="finding",
            key="2",
            text="a\x00b",
            because="",
            step=None,
            now=tx.now,
            author=1,
            position=1,
        )
    )
    with pytest.raises(InvalidInput, match="A text in the table note") as caught:
        transfer(source.path, postgres_url)
    assert "replace" in caught.value.next_call


def test_no_column_is_forgotten(postgres_url):
    """Whoever adds a column or a table says here whether it is copied."""
    open_database(postgres_url, SystemClock(), LOSSY).close()
    known = {f"{table.name}.{column}" for table in TABLES for column in table.columns}
    for found in (columns_of_sqlite(), columns_of_postgres(postgres_url)):
        missing = {name for name in found - known if name not in LEFT_OUT and name.partition(".")[0] not in LEFT_OUT}
        assert missing == set()
        assert known <= found


def columns_of_sqlite():
    connection = apsw.Connection(":memory:")
    for _, script in migrations("sqlite"):
        connection.execute(script)
    sql = "SELECT s.name, c.name FROM sqlite_master s, pragma_table_info(s.name) c WHERE s.type = 'table'"
    rows = connection.execute(sql).fetchall()
    return {f"{table}.{column}" for table, column in rows if not table.startswith("entry_search")}


def columns_of_postgres(url):
    side = place_of(url, LOSSY).target(SystemClock())
    sql = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
    rows = side.query(sql)
    side.close()
    return {f"{table}.{column}" for table, column in rows}


def test_a_backup_of_a_database_is_a_file_to_copy_from(origin, postgres_url, another_url, tmp_path, opened):
    path, _, before = origin
    transfer(path, postgres_url)
    plane = planes(opened, postgres_url, clock_of(origin))
    done = plane.connect("worker").backup(str(tmp_path / "backup.db"))
    assert done.revision == before["default"]["revision"]
    assert done.bytes == (tmp_path / "backup.db").stat().st_size
    assert [file.name for file in tmp_path.iterdir()] == ["backup.db"]
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
    assert digests(tmp_path / "backup.db") == digests(path)
    transfer(tmp_path / "backup.db", another_url)
    assert view(planes(opened, another_url, clock_of(origin))) == before
    with agentmemo.connect(str(tmp_path / "backup.db"), agent="reader") as reader:
        assert reader.audit.verify().intact


def test_a_backup_that_dies_leaves_no_file(postgres_url, tmp_path, opened, monkeypatch):
    plane = planes(opened, postgres_url)
    plane.connect().state.set("n", "k", 1)

    def die(_partial):
        raise Unavailable("the disk is full", next_call="free space")

    monkeypatch.setattr("agentmemo.store.sqlite_copies._seal", die)
    with pytest.raises(Unavailable, match="disk is full"):
        plane.connect(person="dana").backup(str(tmp_path / "backup.db"))
    assert list(tmp_path.iterdir()) == []


def test_the_mark_is_the_only_trace_of_an_unfinished_copy(origin, target, postgres):
    transfer(origin[0], target)
    side = place_of(target, LOSSY).target(SystemClock())
    assert side.mark() is None
    assert side.query("SELECT count(*) FROM meta WHERE key = ?", (COPYING_KEY,)) == [(0,)]
    side.close()
