"""Knowing a run's epoch is not holding it, and only persons make persons' keys."""

from __future__ import annotations

import msgspec
import pytest

from agentmemo.api.lookup import operation_of
from agentmemo.embedded import local_caller
from agentmemo.errors import LeaseLost, NotFound, PermissionDenied
from agentmemo.model import runs as model
from agentmemo.model.access import EVERYTHING, Caller, Claim, CreateKey, RotateKey


def call(plane, caller, request):
    return plane.engine.call(operation_of(type(request)), caller, request)


@pytest.mark.parametrize(
    "make",
    [
        lambda run: model.CompleteStep(run=run, name="charge", key="1", result="forged"),
        lambda run: model.StartStep(run=run, name="charge", key="1", effect="write"),
        lambda run: model.FailStep(run=run, name="charge", key="1", error="forged"),
        lambda run: model.CompleteRun(run=run, result="forged"),
        lambda run: model.ReleaseRun(run=run),
        lambda run: model.SetProgress(run=run, percent=1.0),
    ],
)
def test_another_actor_with_the_right_epoch_is_refused(plane, make):
    with plane.connect("holder").run("job", key="1") as run:
        forged = msgspec.structs.replace(
            local_caller("other", None, "default"), claim=Claim(run=run.id, epoch=run.epoch)
        )
        with pytest.raises(LeaseLost):
            call(plane, forged, make(run.id))
        assert run.step("charge", lambda: "real") == "real"


def test_a_shortened_handle_is_no_claim(plane):
    with plane.connect("holder").run("job", key="1") as run:
        short = msgspec.structs.replace(
            local_caller("holder", None, "default"), claim=Claim(run=run.id[:14], epoch=run.epoch)
        )
        with pytest.raises(NotFound):
            call(plane, short, model.SetProgress(run=run.id[:14], percent=1.0))


def test_a_parent_exists_and_is_kept_by_its_whole_handle(plane):
    agent = plane.connect("a")
    with pytest.raises(NotFound):
        agent._plane.call(model.StartTask(name="t", parent="run_0000000000000000"))
    with pytest.raises(LeaseLost, match="was cancelled: enough"), agent.run("job", key="1") as run:
        child = agent._plane.call(model.StartTask(name="t", parent=run.id[:16])).run
        assert child.parent == run.id
        agent.runs.cancel(run.id, "enough")
    assert agent.runs.get(child.id).state == "cancelled"


@pytest.mark.parametrize("kind", ["agent", "service"])
def test_only_a_person_makes_or_rotates_a_persons_key(plane, kind):
    person = call(plane, local_caller(None, "ada", "default"), CreateKey(kind="person", actor="ada"))
    caller = Caller(kind=kind, name="x", key="abcdefgh", grants=(EVERYTHING,))
    for request in (CreateKey(kind="person", actor="eve"), RotateKey(id=person.id)):
        with pytest.raises(PermissionDenied):
            call(plane, caller, request)


def test_a_refused_call_does_not_count_as_a_renewal(plane):
    agent = plane.connect("a")
    with agent.run("job", key="1") as run:
        plane.engine.renewals.clear()
        with pytest.raises(LeaseLost):
            agent._plane.call(
                model.SetProgress(run=run.id, percent=1.0),
                claim=Claim(run=run.id, epoch=99),
                as_worker=run.record.worker,
            )
        assert plane.engine.renewals == {}
