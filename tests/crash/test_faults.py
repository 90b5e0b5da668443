"""A disk that fails: what it hits is refused as Unavailable, nothing is half there, and nobody has to start again."""

from __future__ import annotations

import os
import time

import faulty
import power
import pytest
from disk import KINDS, Disk, Fault

from agentmemo.testing import ManualPlane

# Read before the suite's fixture takes it out of the environment: with `make torture POWER=n` every call fails once.
EVERY_CALL = bool(os.environ.get("AGENTMEMO_TORTURE_POWER"))
CALLS = 2
WAYS = [*KINDS, "full"]


@pytest.fixture
def small(monkeypatch, durable_files):
    for module, name, value in power.SMALL:
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("way", WAYS)
def test_any_call_may_fail(small, tmp_path, chance, way):
    """Once, and from then on until the disk is mended."""
    kind, full = ("write", True) if way == "full" else (way, False)
    calls = range(1, faulty.calls_of(tmp_path / "disk")[kind] + 1)
    faults = [Fault(kind, number, full, lasting) for number in calls for lasting in (False, True)]
    begun, refused = time.monotonic(), 0
    for fault in faults if EVERY_CALL else chance.sample(faults, min(CALLS, len(faults))):
        with faulty.new_disk(tmp_path / "disk") as disk:
            try:
                refused += bool(faulty.run(disk, fault))
            except Exception as error:
                raise AssertionError(f"{fault} of {len(calls)} calls: {error}") from error
            assert disk.failed, fault
    if EVERY_CALL:
        seconds = time.monotonic() - begun
        told = f"faults: {len(faults)} of {way}, {refused} refused somebody, {seconds:.0f} s"
        print(told, flush=True)  # noqa: T201 - progress of a long run


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
