"""A listener that fails harms nobody else, and the watch over other processes outlives every error."""

from __future__ import annotations

import threading

import pytest

from agentmemo.store import sqlite

WAIT = 60


def _write(database, name):
    database.write(lambda tx: tx.one("workspace_add", name=name, blob_key=b""))


def _fail():
    raise RuntimeError("Event loop is closed")


@pytest.mark.parametrize("writer", ["own", "other"])
def test_a_failing_listener_does_not_silence_the_others(opened, writer):
    database, other = opened(), opened()
    heard = threading.Semaphore(0)
    database.listen(_fail)
    database.listen(heard.release)
    for name in ("one", "two"):
        _write(database if writer == "own" else other, name)
        assert heard.acquire(timeout=WAIT)


def test_a_failing_listener_does_not_keep_the_hint_from_other_processes(opened, monkeypatch):
    database = opened()
    sent = []
    monkeypatch.setattr(database._hints, "send", lambda: sent.append(1))
    database.listen(_fail)
    _write(database, "one")
    database.write(lambda _tx: None)
    assert sent == [1]


def test_the_watch_goes_on_after_an_error(opened, monkeypatch):
    monkeypatch.setattr(sqlite, "WATCH_AGAIN_SECONDS", 0.001)
    database, other = opened(), opened()
    heard, failed = threading.Semaphore(0), threading.Event()
    wait = database._hints.wait

    def fail_once(seconds):
        if not failed.is_set():
            failed.set()
            raise OSError(5, "Input/output error")
        wait(seconds)

    monkeypatch.setattr(database._hints, "wait", fail_once)
    database.listen(heard.release)
    assert failed.wait(WAIT)
    _write(other, "one")
    assert heard.acquire(timeout=WAIT)
