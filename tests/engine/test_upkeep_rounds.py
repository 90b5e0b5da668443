"""Slow duties go on in batches until nothing is left, and never keep the others waiting for long."""

from __future__ import annotations

import pytest

from agentmemo import InvalidTransition, ids
from agentmemo.embedded import LocalPlane, connection_for, local_caller
from agentmemo.engine import handoff_time, workers
from agentmemo.engine.upkeep import duties, loop
from agentmemo.store import blobs

REQUESTS = 7


@pytest.fixture
def old_requests(plane, monkeypatch):
    """Answers kept long enough, more than a batch of them. Returns how many are left."""
    monkeypatch.setattr(duties, "BATCH", 2)
    plane.advance(61)
    workspace, _ = plane.engine.names.workspace("default")

    def add(tx):
        for number in range(REQUESTS):
            tx.write(
                "request_add",
                workspace=workspace,
                actor=1,
                key=str(number),
                fingerprint=b"",
                summary="",
                answer=b"",
                now=0,
            )

    plane.engine.database.write(add)

    def left():
        find = [("request_find", {"workspace": 1, "actor": 1, "key": str(number)}) for number in range(REQUESTS)]
        return sum(len(rows) for rows in plane.engine.database.read(lambda tx: tx.fetch(*find)))

    return left


def test_a_batch_has_a_limit(plane, old_requests):
    assert duties.prune(plane.engine) == 2
    assert old_requests() == REQUESTS - 2


def test_a_slow_duty_is_repeated_until_nothing_is_left(plane, old_requests):
    plane.advance(61)
    assert old_requests() == 0


def test_what_many_batches_left_is_done_in_the_next_round(plane, old_requests, monkeypatch):
    monkeypatch.setattr(loop, "ROUNDS_MAX", 2)
    plane.advance(61)
    assert old_requests() == REQUESTS - 4
    plane.upkeep()
    assert old_requests() == 0
    plane.upkeep()
    # That round found nothing left, so the duty rests until its interval is over.
    monkeypatch.setattr(loop, "SLOW_DUTIES", (lambda _engine: pytest.fail("too early"),))
    plane.upkeep()


def test_of_a_very_long_value_its_beginning_is_indexed(plane, monkeypatch):
    """All of one of 64 MiB would keep every other write waiting."""
    monkeypatch.setattr(duties, "INDEXED_CHARACTERS", 3000)
    agent = plane.connect()
    agent.state.set("n", "long", {"first": "early " * 400, "then": ["filling " * 400, "late"]})
    plane.upkeep()
    assert [match.entry.key for match in agent.state.search("early")] == ["long"]
    assert [match.entry.key for match in agent.state.search("late")] == []


def test_every_blob_that_a_round_met_goes_in_it(plane, monkeypatch):
    """It comes to the same blobs again only after all the others, which may take a day."""
    monkeypatch.setattr(duties, "BATCH", 2)
    database = plane.engine.database
    workspace, _ = plane.engine.names.workspace("default")
    for _ in range(5):
        blobs.pack(database, workspace, b"k" * 32, ids.random_bytes(2 * blobs.INLINE_BYTES_MAX), None)
    plane.clock.advance(25 * 3600)
    assert duties.sweep_blobs(plane.engine) == 5


def refusing(patch, module, name, handle):
    """A duty that cannot be done for one thing, for a reason that the store has no part in."""
    do = getattr(module, name)

    def refuse(tx, call, what, *rest, **options):
        if what == handle:
            raise InvalidTransition("It cannot be done.")
        return do(tx, call, what, *rest, **options)

    patch.setattr(module, name, refuse)


def test_what_is_refused_keeps_no_other_duty_from_being_done(plane, monkeypatch):
    sender = plane.connect("sender")
    made = [sender.handoff.create(to_agent="nobody", pickup_by=plane.clock.now_us()).id for _ in range(2)]
    refusing(monkeypatch, handoff_time, "time_came", made[0])
    plane.advance(1)
    assert [sender.handoff.get(handle).rung for handle in made] == [0, 1]


def test_a_dead_worker_that_cannot_be_retired_keeps_no_other(plane, monkeypatch):
    runs = [agent.run("job", key=agent.actor).__enter__() for agent in map(plane.connect, ("one", "two"))]
    refusing(monkeypatch, workers, "retire", runs[0].record.worker)
    for link in plane._links:
        link.beats = False
    plane.advance(plane.settings.lease_seconds + 1)
    looking = plane.connect("looking")
    assert [looking.runs.get(run.id).state for run in runs] == ["running", "pending"]


def test_what_a_dead_process_held_is_to_be_had_by_whoever_opens_the_store(plane, monkeypatch):
    monkeypatch.setattr(loop.Upkeep, "_loop", lambda _upkeep: None)  # its first round might come in time
    sent = plane.connect("a").handoff.create(to_agent="b")
    assert plane.connect("b").handoff.claim(sent.id)
    plane.restart()
    local = LocalPlane(str(plane.path), plane.clock, plane.settings)
    heir = connection_for(local, local_caller("b", None, "default"))
    assert heir.handoff.claim(sent.id).attempt == 2
    heir.close()
