"""PostgreSQL's own tools save a live plane: what they bring back is whole, and work goes on there."""

from __future__ import annotations

import shutil
import threading

import pytest
from filled import check_it_goes_on, fill, planes, view

from agentmemo.clock import ManualClock
from agentmemo.testing.postgres import PostgresServer

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@pytest.fixture
def opened():
    made = []
    yield made
    for plane in made:
        plane.close()


class Writing:
    """Two writers that go on until the end of the block, each in a workspace of its own."""

    def __init__(self, plane):
        self._plane = plane
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(name,)) for name in ("default", "other")]
        self.acknowledged = {"default": 0, "other": 0}

    def _write(self, workspace):
        agent = self._plane.connect("busy", workspace=workspace)
        while not self._over.is_set():
            number = self.acknowledged[workspace] + 1
            with agent.transaction() as transaction:
                transaction.state.set("busy", "a", number)
                transaction.state.set("busy", "b", number)
            self.acknowledged[workspace] = number

    def wait_for(self, more):
        """Until both have written that many more."""
        goal = {name: count + more for name, count in self.acknowledged.items()}
        while any(self.acknowledged[name] < count for name, count in goal.items()):
            assert all(thread.is_alive() for thread in self._threads)
            self._over.wait(0.005)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._over.set()
        for thread in self._threads:
            thread.join()


def check_both_halves(plane, at_least, at_most):
    """What was written together is there together, and it is what was acknowledged before the moment of the copy."""
    for workspace in ("default", "other"):
        agent = plane.connect("reader", workspace=workspace)
        assert agent.audit.verify().intact
        both = agent.state.get("busy", "a"), agent.state.get("busy", "b")
        assert both[0] == both[1]
        assert at_least[workspace] <= both[0] <= at_most[workspace] + 1
        assert agent.status().revision == agent.audit.verify().events


def test_a_dump_of_a_live_plane_restores_to_a_whole_store(postgres, postgres_url, opened):
    plane = planes(opened, postgres_url)
    fill(plane)
    before = view(plane)
    file = postgres.folder / "live.dump"
    with Writing(plane) as writing:
        writing.wait_for(5)
        at_least = dict(writing.acknowledged)
        postgres.run("pg_dump", "-Fc", "-f", str(file), postgres_url)
        at_most = dict(writing.acknowledged)
        writing.wait_for(1)
    url = postgres.make_database("restored")
    postgres.run("pg_restore", "--exit-on-error", "--no-owner", "-d", url, str(file))
    copy = planes(opened, url, ManualClock(plane.clock.now_us()))
    check_both_halves(copy, at_least, at_most)
    seen = view(copy)
    assert seen["default"]["runs"] == before["default"]["runs"]
    assert seen["default"]["events"][: len(before["default"]["events"])] == before["default"]["events"]
    check_it_goes_on(copy, seen)
    opened.remove(copy)
    copy.close()
    postgres.drop_database("restored")


@pytest.fixture
def primary():
    """A server that archives its log; its folder is open to the user it runs as."""
    server = PostgresServer(settings={"archive_mode": "on", "wal_level": "replica", **FAST})
    kept = server.folder / "archive"
    kept.mkdir()
    if server.user:
        shutil.chown(kept, server.user)
    server.settings["archive_command"] = f"cp %p {kept}/%f"
    with server:
        yield server


def test_point_in_time_recovery_brings_back_exactly_what_was(primary, opened):
    """A base backup, then work, a moment with a name, more work, an accident. What stands at that moment comes back."""
    primary.make_database("plane")
    plane = planes(opened, primary.url("plane"))
    fill(plane)
    recovered = PostgresServer(settings=FAST)
    with Writing(plane) as writing:
        writing.wait_for(2)
        source = f"host=127.0.0.1 port={primary.port} user=agentmemo"
        recovered.run("pg_basebackup", "-D", str(recovered.data), "-d", source, "-X", "none", "-c", "fast", "--no-sync")
        writing.wait_for(5)
    moment = view(plane)
    acknowledged = dict(writing.acknowledged)
    primary.execute("SELECT pg_create_restore_point('before the accident')")
    with Writing(plane) as accident:
        accident.wait_for(5)
    primary.execute("SELECT pg_switch_wal()", "CHECKPOINT")
    plane.close()
    opened.remove(plane)
    primary.stop()  # its last act is to archive what is left of the log
    (recovered.data / "recovery.signal").touch()
    if recovered.user:
        shutil.chown(recovered.data / "recovery.signal", recovered.user)
    recovered.settings |= {
        "restore_command": f"cp {primary.folder}/archive/%f %p",
        "recovery_target_name": "before the accident",
        "recovery_target_action": "promote",
    }
    with recovered:
        wait_until_writable(recovered)
        copy = planes(opened, recovered.url("plane"), ManualClock(plane.clock.now_us()))
        assert view(copy) == moment
        check_both_halves(copy, acknowledged, {name: count - 1 for name, count in acknowledged.items()})
        check_it_goes_on(copy, moment)
        opened.remove(copy)
        copy.close()


def wait_until_writable(server):
    for _ in range(3000):
        if server.execute("SELECT pg_is_in_recovery()") == [(False,)]:
            return
        threading.Event().wait(0.02)
    raise AssertionError((server.folder / "log").read_text(errors="replace")[-2000:])
