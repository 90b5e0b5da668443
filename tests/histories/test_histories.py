"""A short history over every way to a store; `make torture HISTORIES=n` records long ones."""

from __future__ import annotations

import os
from functools import partial

import pytest
from verdict import check
from ways import Http, Planes, Processes, Threads

from agentmemo.clock import SystemClock
from agentmemo.embedded import LocalPlane, connection_for, local_caller
from agentmemo.settings import Settings

# Read before the suite's own fixture takes every AGENTMEMO_ variable out of the environment.
SEED = os.environ["AGENTMEMO_CRASH_SEED"]


@pytest.fixture
def planes(postgres_url):
    """Two on one database, as two servers are."""
    made = [LocalPlane(postgres_url, SystemClock(), Settings(postgres_allow_lossy=True)) for _ in range(2)]
    for plane in made:
        plane.kept = True  # also while nobody is connected to it
    yield made
    for plane in made:
        plane.close()


@pytest.fixture
def connects(planes):
    return [partial(connect, plane) for plane in planes]


def connect(plane, name):
    return connection_for(plane, local_caller(name, None, "default"))


def test_threads_on_a_file(tmp_path):
    is_right(Threads("threads", tmp_path, str(tmp_path / "store.db")))


def test_processes_on_a_file_of_which_one_is_killed(tmp_path):
    way = Processes("processes", tmp_path, str(tmp_path / "store.db"), 2)
    way.harms = [way.kill]
    is_right(way, harm=True)


def test_clients_of_a_server_that_is_killed(tmp_path):
    way = Http("http", tmp_path, str(tmp_path / "store.db"))
    way.harms = [way.kill]
    is_right(way, harm=True)


def test_two_planes_on_postgres(tmp_path, connects):
    is_right(Planes("planes", tmp_path, connects))


def is_right(way, *, harm=False):
    try:
        history = way.record(SEED, clients=8, actions=16, harm=harm)
    finally:
        way.close()
    faults = check(history)
    if faults:
        history.save(way.folder / "history.json")
    assert faults == [], "\n".join([history.name, *map(str, faults)])
    assert len(history.record.watched) > 8
