"""A disk that fails: what it hits is refused as Unavailable, nothing is half there, and nobody has to start again."""

from __future__ import annotations

import itertools
import shutil

import faulty
import power
import pytest
from disk import KINDS, Disk, Fault

from agentmemo.testing import ManualPlane

# Of each kind; `make torture FAULTS=all` makes every call fail.
CALLS = 1
OPENINGS_EVERY = 20


@pytest.fixture
def small(monkeypatch, durable_files):
    for module, name, value in power.SMALL:
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("scene", faulty.SCENES)
def test_any_call_may_fail(small, memory, chance, scene):
    """Once, and from then on until the disk is mended."""
    cases = faulty.cases_of(scene, memory)
    for kind, full in [*itertools.product(KINDS, [False]), ("write", True)]:
        found = [case for case in cases if (case.fault.kind, case.fault.full) == (kind, full)]
        for case in chance.sample(found, min(CALLS, len(found))):
            try:
                faulty.run(case, memory)
            except Exception as error:
                raise AssertionError(f"{case}: {error}") from error


def test_who_opens_a_failing_disk_again_and_again_is_left_with_no_open_files(small, memory):
    with faulty.new_disk(memory) as disk:
        disk.fail(Fault())
        plane = ManualPlane(disk.root / faulty.STORE)
        reads = disk.calls["read"]
        plane.close()
        for number in range(1, reads, OPENINGS_EVERY):
            shutil.rmtree(disk.root / "plane")
            disk.fail(Fault("read", number))
            assert faulty.refusal(lambda: ManualPlane(disk.root / faulty.STORE)), number
            disk.heal()
            assert not faulty.open_files(disk), number


def test_a_full_disk_refuses_writes_and_serves_reads(small, tmp_path):
    disk = Disk(tmp_path)
    with disk.plugged_in():
        plane = ManualPlane(tmp_path / faulty.STORE)
        agent = plane.connect()
        agent.state.set("facts", "before", 1)
        disk.fail(Fault("write", 1, full=True, lasting=True))
        for _ in range(2):
            with pytest.raises(faulty.Unavailable, match="is full") as refused:
                agent.state.set("facts", "during", 2)
        assert refused.value.retry_safe
        assert agent.state.get("facts", "before") == 1
        disk.heal()
        assert agent.state.set("facts", "during", 3).version == 1
        plane.close()


def test_a_backup_of_which_the_trail_could_not_tell_is_made_again(small, tmp_path):
    disk, copy = Disk(tmp_path), tmp_path / "copy.db"
    with disk.plugged_in():
        plane = ManualPlane(tmp_path / faulty.STORE)
        agent = plane.connect()
        disk.fail(Fault("write", 1, of="store.db-wal", lasting=True))
        assert faulty.refusal(lambda: agent.backup(str(copy)))
        assert not copy.exists()
        disk.heal()
        assert agent.backup(str(copy)).bytes == copy.stat().st_size
        plane.close()


def test_a_checkpoint_that_fails_refuses_nobody(small, tmp_path, caplog):
    """The log holds what was acknowledged; that it cannot be moved into the file yet is told to whoever runs this."""
    disk = Disk(tmp_path)
    with disk.plugged_in():
        plane = ManualPlane(tmp_path / faulty.STORE)
        agent = plane.connect()
        disk.fail(Fault("sync", 1, lasting=True, of="store.db"))
        for number in range(60):
            assert agent.state.set("facts", "counted", number).version == number + 1
        assert disk.failed
        assert "could not be moved into the file" in caplog.text
        disk.heal()
        failed = disk.failed
        for number in range(60, 120):
            agent.state.set("facts", "counted", number)
        assert disk.failed == failed
        assert agent.audit.verify().intact
        plane.close()
