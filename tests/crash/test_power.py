"""Loss of power: whatever the disk had not made safe is lost, kept or spoiled, and nothing acknowledged is missing."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import time

import faulty
import power
import pytest
from disk import Record

from agentmemo.store import sqlite

# How many cuts at random points; `make torture POWER=n` sets it. Read before the suite's fixture takes it away.
SEED = os.environ["AGENTMEMO_CRASH_SEED"]
TORTURE = int(os.environ.get("AGENTMEMO_TORTURE_POWER", "0"))
CUTS = TORTURE or 60
CUTS_A_RECORD = 2_000
FULL_CHECKS = None if TORTURE else 12
# A planted fault shows within the first few cuts.
PLANTED_CUTS = 200


@pytest.fixture
def small(monkeypatch):
    for module, name, value in power.SMALL:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setenv("AGENTMEMO_UPKEEP_INTERVAL_SECONDS", "0.05")


def test_the_power_may_go_at_any_sync_and_between(small, tmp_path, memory, monkeypatch):
    """A failure prints its seed and the smallest loss, and leaves the record and the files of that loss."""
    begun, done, number = time.monotonic(), 0, 0
    while done < CUTS:
        chance = random.Random(f"{SEED}/power/{number}")
        place = tmp_path / str(number)
        monkeypatch.setattr(sqlite, "SYNCHRONOUS", "FULL")
        record = power.work_recorded(place / "disk", threads=chance.randint(2, 4) if TORTURE else 2)
        (place / "record.pickle").write_bytes(pickle.dumps(record))
        monkeypatch.setattr(sqlite, "SYNCHRONOUS", "OFF")
        cuts = power.Cuts(record, place / "disk", memory, place / "left", full_checks=FULL_CHECKS)
        points = [chance.randint(0, len(record.changes)) for _ in range(min(CUTS_A_RECORD, CUTS - done))]
        for point, worst in sorted([*_around_syncs(record), *[(point, False) for point in points]]):
            cuts.cut(point, chance, worst=worst)
        done += len(points)
        number += 1
        _tell(f"{done} of {CUTS} random cuts, {cuts.cuts - len(points)} at syncs, {cuts.commits} commits,"
              f" {cuts.full_checks} full checks, {time.monotonic() - begun:.0f} s")  # fmt: skip
        shutil.rmtree(place)


def test_what_a_failed_sync_lost_is_missed_by_nobody(small, durable_files, tmp_path, memory, chance, monkeypatch):
    """A sync that fails makes the system forget what it waited for: the next one succeeds and has not written it."""
    with faulty.new_disk(tmp_path / "disk") as disk:
        assert faulty.run_with_failing_syncs(disk, power.RecordedSide(disk)) > 3
    monkeypatch.setattr(sqlite, "SYNCHRONOUS", "OFF")
    cuts = power.Cuts(disk.record, disk.root, memory, tmp_path / "left", full_checks=FULL_CHECKS)
    for point, worst in _around_syncs(disk.record):
        cuts.cut(point, chance, worst=worst)


def _around_syncs(record: Record) -> list[tuple[int, bool]]:
    """Before a sync all that it waits for is lost; after it, anything but that."""
    return [(at + after, not after) for at in record.syncs() for after in (0, 1)]


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_what_is_not_flushed_is_seen_to_be_lost(small, tmp_path, memory, chance, monkeypatch, synchronous):
    """The test of the test: a store that does not flush at each commit loses what it acknowledged."""
    monkeypatch.setattr(sqlite, "SYNCHRONOUS", synchronous)
    record = power.work_recorded(tmp_path / "disk", cycle=power.briefly)
    cuts = power.Cuts(record, tmp_path / "disk", memory, tmp_path / "left", full_checks=0)
    with pytest.raises(AssertionError, match="which leaves"):
        for point in sorted(chance.randint(0, len(record.changes)) for _ in range(PLANTED_CUTS)):
            cuts.cut(point, chance)


def _tell(progress: str) -> None:
    if TORTURE:
        print(f"power: {progress}, seed {SEED}", flush=True)  # noqa: T201 - progress of a long run
