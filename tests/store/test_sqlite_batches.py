"""What is particular to SQLite: batches without savepoints, and parameters bound by position."""

from __future__ import annotations

import threading

import apsw
import pytest

from agentmemo.clock import ManualClock
from agentmemo.errors import Unavailable
from agentmemo.store import queries
from agentmemo.store.jobs import Answered
from agentmemo.store.sqlite import SqliteDatabase, statement

WAIT = 60


@pytest.fixture
def database(tmp_path):
    opened = SqliteDatabase(tmp_path / "plane.db", ManualClock())
    yield opened
    opened.close()


def _add(tx, name):
    tx.one("workspace_add", name=name, blob_key=b"")
    return name


def _add_and_fail(tx, name):
    _add(tx, name)
    raise ValueError(name)


def _break(tx):
    _add(tx, "same")
    _add(tx, "same")


@pytest.mark.parametrize("failing", [lambda tx: _add_and_fail(tx, "bad"), _break], ids=["refusal", "constraint"])
def test_a_request_that_fails_after_it_wrote_undoes_only_itself(database, failing):
    answers = {}
    begun, go = threading.Event(), threading.Event()

    def hold(_tx):
        begun.set()
        go.wait(WAIT)

    def keep(name):
        def done(result, error):
            answers[name] = (result, error)

        return done

    # While the first request holds the writer, the other three gather, and so share a batch.
    holder = threading.Thread(target=database.write, args=[hold])
    holder.start()
    begun.wait(WAIT)
    database.submit(lambda tx: _add(tx, "before"), keep("before"))
    database.submit(failing, keep("failing"))
    database.submit(lambda tx: _add(tx, "after"), keep("after"))
    go.set()
    holder.join()
    database.write(lambda _tx: None)

    assert answers["before"] == ("before", None)
    assert answers["after"] == ("after", None)
    assert answers["failing"][0] is None
    assert answers["failing"][1] is not None
    assert [row[1] for row in database.read(lambda tx: tx.all("workspace_all"))] == ["before", "after"]


def test_a_refusal_that_wrote_nothing_leaves_its_batch_alone(database):
    def refuse(_tx):
        raise KeyError("no")

    with pytest.raises(KeyError):
        database.write(refuse)
    assert database.write(lambda tx: _add(tx, "next")) == "next"


def test_parameters_are_bound_in_the_order_sqlite_gives_them(database):
    connection = apsw.Connection(database.capabilities.file.as_posix())
    for name, (sql, *_) in queries.load("sqlite").items():
        cursor = connection.cursor()
        order = []
        cursor.exec_trace = lambda cursor, _sql, _bindings, order=order: order.extend(cursor.bindings_names) or False
        count = len(statement(sql).bind(_Every()))
        with pytest.raises(apsw.ExecTraceAbort):
            cursor.execute(sql, [None] * count)
        assert list(statement(sql).bind(_Every())) == order, name
    connection.close()


class _Every(dict):
    """Answers each name with itself."""

    def __missing__(self, name):
        return name


class _CloseBeforePut:
    """A queue that lets `close` run between the look whether the writer is closing and the queuing itself."""

    def __init__(self, inner, closer):
        self.inner, self.closer = inner, closer
        self.get, self.get_nowait = inner.get, inner.get_nowait

    def put(self, job):
        if job is not None:
            self.closer.start()
            self.closer.join(0.2)
        self.inner.put(job)


def test_nothing_is_queued_behind_the_end(database):
    writer = database._writer
    closer = threading.Thread(target=writer.close, daemon=True)
    writer._queue = _CloseBeforePut(writer._queue, closer)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(database.write(lambda tx: _add(tx, "last"))), daemon=True)
    asking.start()
    asking.join(WAIT)
    closer.join(WAIT)
    assert answers == ["last"]
    with pytest.raises(Unavailable):
        database.write(lambda tx: _add(tx, "too late"))


def test_those_answered_together_are_let_run_before_the_next_batch(monkeypatch):
    monkeypatch.setattr("agentmemo.store.jobs.RETURN_SECONDS", 60)
    answered, waited = Answered(3), threading.Event()
    for _ in range(3):
        answered.expect()

    def wait():
        answered.wait()
        waited.set()

    answered.runs()  # one is faster than the writer
    writer = threading.Thread(target=wait)
    writer.start()
    answered.runs()
    assert not waited.is_set()
    answered.runs()
    writer.join(60)
    assert waited.is_set()


def test_who_does_not_come_back_and_a_lone_caller_are_not_waited_for(monkeypatch):
    gone = Answered(2)
    gone.expect()
    gone.wait()
    monkeypatch.setattr("agentmemo.store.jobs.RETURN_SECONDS", None)  # for ever
    lone = Answered(1)
    lone.expect()
    lone.wait()


def test_a_crowd_is_let_run_once_all_of_it_has_its_answers(database):
    told, ran = [], threading.Event()

    class Crowd:
        def once_run(self, callback):
            told.append("run")
            callback()
            ran.set()

    crowd, begun, go = Crowd(), threading.Event(), threading.Event()

    def hold(_tx):
        begun.set()
        assert go.wait(60)

    def done(result, error):
        told.append(result)
        return crowd

    holder = threading.Thread(target=database.write, args=[hold])
    holder.start()
    assert begun.wait(60)
    for name in ("a", "b"):
        database.submit(lambda tx, name=name: _add(tx, name), done)
    go.set()
    assert ran.wait(60)
    holder.join(60)
    assert told == ["a", "b", "run"]


def test_a_read_that_outlives_its_database_closes_its_connection(database):
    begun, go = threading.Event(), threading.Event()

    def slow(tx):
        begun.set()
        assert go.wait(60)
        return tx

    found = []
    reader = threading.Thread(target=lambda: found.append(database.read(slow)))
    reader.start()
    assert begun.wait(60)
    database.close()
    go.set()
    reader.join(60)
    with pytest.raises(apsw.CursorClosedError):
        found[0].all("workspace_all")
