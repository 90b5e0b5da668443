"""The primary dies under load and its synchronous standby takes over; the workers are not touched."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from arena import END_SECONDS, Arena

import agentmemo
from agentmemo.errors import Unavailable
from agentmemo.testing.postgres import OWNER, PostgresServer

PROCESSES, WORKERS = 2, 4
LOAD_SECONDS = 2.0
WAIT_SECONDS = 150.0


class Pair:
    """A primary and the standby whose word each commit waits for, under one address that names both."""

    def __init__(self):
        self.primary = PostgresServer().start()
        # Rewinding reads the log from where the two parted.
        self.primary.execute("ALTER SYSTEM SET wal_keep_size = '256MB'", "SELECT pg_reload_conf()")
        self.primary.make_database("arena")
        self.standby = self.primary.standby()
        # Only once it streams: until then every commit would wait for it.
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
        self._wait_until_synchronous()
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self.primary, self.standby))
        self.url = f"postgresql://{OWNER}@{hosts}/arena?target_session_attrs=read-write"

    def fail_over(self):
        self.primary.kill()
        self.standby.promote()

    def come_back_as_a_standby(self):
        """What a cluster manager does with an old primary before it lets it back: its own branch is cut off."""
        source = f"host=127.0.0.1 port={self.standby.port} user={OWNER} dbname=postgres"
        data = str(self.primary.data)
        self.primary.run("pg_rewind", "--target-pgdata", data, "--source-server", source, "--write-recovery-conf")
        self.primary.start()

    def close(self):
        self.standby.close()
        self.primary.close()

    def _wait_until_synchronous(self):
        end = time.monotonic() + WAIT_SECONDS
        while self.primary.execute("SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
            assert time.monotonic() < end, "the standby does not stream"
            time.sleep(0.02)


@pytest.fixture
def pair():
    made = Pair()
    yield made
    made.close()


@pytest.fixture
def arena(tmp_path, pair):
    made = Arena(tmp_path, pair.url)
    yield made
    made.end()


def test_a_failover_loses_nothing_and_the_workers_go_on(arena, pair):
    arena.serve(1)
    arena.work(PROCESSES, WORKERS)
    arena.work(1, 2, http=True, name="h")
    workers = PROCESSES * WORKERS + 2
    arena.wait_for_work(workers)
    time.sleep(LOAD_SECONDS)
    begun = time.monotonic()
    pair.fail_over()
    promoted = time.monotonic() - begun
    arena.wait_for_work(workers, after=time.time(), seconds=END_SECONDS)
    back = time.monotonic() - begun
    time.sleep(LOAD_SECONDS)
    arena.stop_workers()
    seconds = arena.finish()
    counts = arena.check()
    print(  # noqa: T201 - the figures are the point
        f"\nfailover: promoted {promoted:.1f} s after the kill, all {workers} workers at work after {back:.1f} s; "
        f"{counts['set']} sets, {counts['end']} steps, {counts['refused']} refusals; finished in {seconds:.1f} s"
    )
    assert back < END_SECONDS


@pytest.fixture
def connected(pair, tmp_path, monkeypatch):
    """Connections as patient as in production: on a busy machine whoever soon gives up does so for nothing."""
    monkeypatch.setenv("AGENTMEMO_DATA", str(tmp_path))
    made = []

    def connect(url=pair.url):
        made.append(agentmemo.connect(url, agent="a"))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


def port(agent):
    """Where the next connection of a client leads."""
    with agent._plane.transport.plane.engine.database._sessions.connect() as connection:
        return connection.info.port


def test_an_old_primary_that_comes_back_as_a_standby_is_passed_over(pair, connected):
    agent = connected()
    assert port(agent) == pair.primary.port
    agent.state.set("facts", "a", "before")
    pair.fail_over()
    assert agent.state.set("facts", "a", "after").version == 2
    pair.come_back_as_a_standby()
    for session in sessions(pair.standby):
        pair.standby.execute(f"SELECT pg_terminate_backend({session})")
    # Each connection is new, and the old primary is asked first: it takes no writes, so it is not the one.
    assert agent.state.set("facts", "a", "later").version == 3
    assert port(agent) == pair.standby.port
    assert [entry.value for entry in agent.state.history("facts", "a")] == ["later", "after", "before"]
    assert agent.audit.verify().intact


def test_an_old_primary_that_nobody_fenced_acknowledges_nothing(pair, connected, monkeypatch):
    """Its commits wait for a standby that left. Who is connected to the new one stays; only new ones go astray."""
    for name in ("WRITERS", "READERS"):
        monkeypatch.setenv(f"AGENTMEMO_POSTGRES_{name}", "1")
    monkeypatch.setenv("AGENTMEMO_UPKEEP_INTERVAL_SECONDS", "3600")
    agent = connected()
    agent.state.set("facts", "a", "before")
    pair.fail_over()
    assert agent.state.set("facts", "a", "after").version == 2
    assert agent.state.get("facts", "a") == "after"
    pair.primary.start()
    assert agent.state.set("facts", "a", "later").version == 3
    old = pair.primary.url("arena")
    refusals = []
    # Who is led astray soon gives up, so that what hangs is seen.
    monkeypatch.setenv("AGENTMEMO_POSTGRES_PATIENCE_SECONDS", "4")
    monkeypatch.setenv("AGENTMEMO_POSTGRES_STATEMENT_SECONDS", "1")

    def lost():
        # A client that is led astray hears that nobody knows, and never that its write is kept.
        try:
            connected(old).state.set("facts", "a", "astray")
        except Unavailable as error:
            refusals.append(error)

    thread = threading.Thread(target=lost)
    thread.start()
    thread.join(WAIT_SECONDS)
    assert [error.retry_safe for error in refusals] == [False]
    assert agent.state.get("facts", "a") == "later"


def sessions(server):
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'agentmemo'"
    with psycopg.connect(server.url()) as connection:
        return [row[0] for row in connection.execute(query).fetchall()]
