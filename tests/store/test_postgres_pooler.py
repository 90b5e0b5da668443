"""Behind a pooler in transaction mode: sessions are shared, so nothing may be left in one or expected of one."""

from __future__ import annotations

import threading

import pytest
from stand import WAIT_SECONDS, until


def test_every_connection_learns_of_a_pooler(stand):
    """Each was made before anybody knew, so each is told once by the server; no caller hears of it."""
    plane = stand.plane(postgres_writers=2)
    database = plane.engine.database

    def forget_what_was_prepared(wire):
        wire._pg.exec_(b"") if wire is None else None
        wire.command(b"DEALLOCATE ALL")

    both = threading.Barrier(2)

    def work(tx):
        both.wait(WAIT_SECONDS)
        forget_what_was_prepared(tx._wire)
        return len(tx.all("workspace_all"))

    def once(tx):
        return len(tx.all("workspace_all"))

    answers = []

    def answered(result, error):
        answers.append(error or result)

    for lane in (1, 2):
        database.submit(work, answered, lane=lane)
    until(lambda: len(answers) == 2)
    for lane in (1, 2):
        database.submit(once, answered, lane=lane)
    until(lambda: len(answers) == 4)
    assert answers == [0, 0, 0, 0]


def test_one_name_stands_for_one_statement(postgres_url, stand):
    """A pooler may hand us a session in which somebody else prepared something under our name."""
    first, second = (stand.plane().engine.database for _ in range(2))
    first.read(lambda tx: tx.all("workspace_all"))
    second.read(lambda tx: tx.one("duty_get", name="x"))
    prepared = {}
    for database in (first, second):
        with Sessions(postgres_url, Settings()).connect():
            pass

        def look(tx):
            for name, sql in tx._wire._prepared.items():
                prepared.setdefault(sql, set()).add(name)

        database.read(look)
    assert all(len(names) == 1 for names in prepared.values()), prepared
