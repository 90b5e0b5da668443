"""The trail: no change without an event, no event without a change, and no edit that goes unseen."""

from __future__ import annotations

import shutil

import apsw
import case_calls
import evidence_scenarios
import execution_calls
import guard_calls
import ledger_calls
import psycopg
import pytest
import workflow_calls

from agentmemo import Grant, NotFound, PermissionDenied
from agentmemo.api.operations import BY_NAME, OPERATIONS
from agentmemo.clock import SECOND
from agentmemo.engine import handlers
from agentmemo.errors import Error
from agentmemo.model import (
    access,
    audit,
    escalations,
    handoffs,
    observations,
    policies,
    runs,
    state,
    system,
    webhooks,
)
from agentmemo.model.access import EVERYTHING, Caller, Claim
from agentmemo.testing import ManualPlane

promise = pytest.mark.promise
DANA = Caller(kind="person", name="dana", grants=(EVERYTHING,))


class World:
    """One plane seen from its engine, with what each operation needs to be possible."""

    def __init__(self, plane, tmp_path):
        self.plane = plane
        self.tmp_path = tmp_path
        self.worker = self.call("worker.register", runs.RegisterWorker()).id
        self.call("state.set", state.SetEntry(namespace="n", key="k", value=1))

    def call(self, name, request, claim=None):
        caller = DANA if claim is None else Caller(kind="person", name="dana", grants=(EVERYTHING,), claim=claim)
        return self.plane.engine.call(BY_NAME[name], caller, request)

    def run(self, key="1", **fields):
        claimed = self.call("run.start", runs.StartRun(name="r", key=key, worker=self.worker, **fields))
        return claimed.run.id, Claim(run=claimed.run.id, epoch=claimed.run.epoch)

    def parked(self):
        """A run that waits for a signal."""
        handle, claim = self.run()
        self.call("run.park", runs.ParkRun(run=handle, name="w", key="1", kind="signal", signal="go"), claim)
        return handle

    def asking(self):
        handle, claim = self.run()
        request = runs.ParkRun(run=handle, name="s", key="1", kind="person", question="in_doubt")
        self.call("run.park", request, claim)
        return handle

    def woken(self):
        handle = self.parked()
        self.call("run.signal", runs.SendSignal(run=handle, name="go"))
        return handle

    def key(self):
        return self.call("key.create", access.CreateKey(kind="agent", actor="bob")).id

    def schedule(self):
        return self.call("task.start", runs.StartTask(name="job", cron="* * * * *")).schedule.id

    def task(self):
        self.call("task.start", runs.StartTask(name="job"))

    def handoff(self):
        """Persons take work from what they announced; an agent of the same name is somebody else."""
        self.call("handoff.announce", handoffs.AnnounceReceiver(queues=["work"]))
        return self.call("handoff.create", handoffs.CreateHandoff(to_queue="work")).id

    def claimed(self):
        handle = self.handoff()
        self.call("handoff.claim", handoffs.ClaimHandoffs(handoff=handle, worker=self.worker))
        return handle

    def declined(self):
        handle = self.handoff()
        self.call("handoff.decline", handoffs.DeclineHandoff(handoff=handle, reason="no"))
        return handle

    def asked(self, **fields):
        request = escalations.CreateEscalation(severity="high", reason="Go?", key="k", **fields)
        return self.call("escalation.create", request).id

    def approval(self):
        return self.asked(kind="approval", context="c", action=escalations.Action(tool="t", arguments=1))

    def approved(self):
        handle = self.approval()
        self.call("inbox.answer", escalations.AnswerEscalation(escalation=handle, decision="approve"))
        return handle

    def acknowledged(self):
        handle = self.asked()
        self.call("inbox.acknowledge", escalations.AcknowledgeEscalation(escalation=handle))
        return handle

    def undelivered(self):
        """Answered, and the run failed before its code had the answer."""
        handle, claim = self.run()
        request = escalations.CreateEscalation(severity="high", reason="Go?", run=handle, name="escalate", key="1")
        asked = self.call("escalation.create", request, claim).id
        self.call("inbox.answer", escalations.AnswerEscalation(escalation=asked, decision="approve"))
        _, claim = self.run()
        self.call("run.release", runs.ReleaseRun(run=handle, error="broken"), claim)
        return asked

    def policy(self):
        self.call("policy.set", policies.SetPolicy(kind="severity", name="low", document={"fallback": "deny"}))

    def webhook(self):
        return self.call("webhook.create", webhooks.CreateWebhook(url="https://example.org/")).id


def under_claim(operation, make):
    """A scenario for an operation of a run's holder."""

    def prepare(world):
        handle, claim = world.run()
        return lambda: world.call(operation, make(handle), claim)

    return prepare


def of(operation, make, prepare=lambda _world: None):
    """A scenario: prepare the world, then perform the operation with the request made of what was prepared."""

    def scenario(world):
        found = prepare(world)
        return lambda: world.call(operation, make(world, found))

    return scenario


def held(operation, kind, **fields):
    """A scenario for an operation of a handoff's holder."""
    return of(operation, lambda _w, handle: kind(handoff=handle, epoch=1, **fields), World.claimed)


# operation -> (its scenario, the events it records, in order)
SCENARIOS = {
    "state.set": (of("state.set", lambda _w, _f: state.SetEntry(namespace="n", key="k", value=2)), ["state.set"]),
    "state.delete": (
        of("state.delete", lambda _w, _f: state.DeleteEntry(namespace="n", key="k")),
        ["state.delete"],
    ),
    "run.start": (of("run.start", lambda w, _f: runs.StartRun(name="r", key="1", worker=w.worker)), ["run.start"]),
    "run.resume": (
        of("run.resume", lambda w, f: runs.ResumeRun(run=f, epoch=1, worker=w.worker), World.woken),
        ["run.claim"],
    ),
    "run.complete": (under_claim("run.complete", lambda r: runs.CompleteRun(run=r, result=1)), ["run.complete"]),
    "run.fail": (under_claim("run.fail", lambda r: runs.FailRun(run=r, reason="x")), ["run.fail"]),
    "run.release": (under_claim("run.release", lambda r: runs.ReleaseRun(run=r, error="x")), ["run.release"]),
    "run.cancel": (of("run.cancel", lambda _w, f: runs.CancelRun(run=f, reason="x"), World.parked), ["run.cancel"]),
    "run.park": (
        under_claim("run.park", lambda r: runs.ParkRun(run=r, name="s", key="1", kind="timer", seconds=5.0)),
        ["run.park"],
    ),
    "run.progress": (under_claim("run.progress", lambda r: runs.SetProgress(run=r, percent=5.0)), ["run.progress"]),
    "run.note": (
        under_claim("run.note", lambda r: runs.AddNote(run=r, kind="finding", text="x")),
        ["note.finding"],
    ),
    "run.signal": (
        of("run.signal", lambda _w, f: runs.SendSignal(run=f, name="go"), World.parked),
        ["run.signal", "run.wake"],
    ),
    "run.fork": (of("run.fork", lambda _w, f: runs.ForkRun(run=f), World.parked), ["run.fork"]),
    "run.resolve": (
        of("run.resolve", lambda _w, f: runs.ResolveRun(run=f, decision="retry"), World.asking),
        ["run.resolve", "run.wake", "escalation.decide"],
    ),
    "handoff.create": (
        of("handoff.create", lambda _w, _f: handoffs.CreateHandoff(to_agent="dana", context=1)),
        ["handoff.create"],
    ),
    "handoff.announce": (
        of("handoff.announce", lambda _w, _f: handoffs.AnnounceReceiver(queues=["q"])),
        ["handoff.announce"],
    ),
    "handoff.claim": (
        of("handoff.claim", lambda w, _f: handoffs.ClaimHandoffs(worker=w.worker), World.handoff),
        ["handoff.claim"],
    ),
    "handoff.progress": (held("handoff.progress", handoffs.SetHandoffProgress, percent=5.0), ["handoff.progress"]),
    "handoff.complete": (held("handoff.complete", handoffs.CompleteHandoff, result=1), ["handoff.complete"]),
    "handoff.fail": (held("handoff.fail", handoffs.FailHandoff, reason="x"), ["handoff.fail"]),
    "handoff.release": (held("handoff.release", handoffs.ReleaseHandoff, reason="x"), ["handoff.release"]),
    "handoff.decline": (held("handoff.decline", handoffs.DeclineHandoff, reason="x"), ["handoff.decline"]),
    "handoff.cancel": (
        of("handoff.cancel", lambda _w, f: handoffs.CancelHandoff(handoff=f, reason="x"), World.handoff),
        ["handoff.cancel"],
    ),
    "handoff.requeue": (
        of("handoff.requeue", lambda _w, f: handoffs.RequeueHandoff(handoff=f), World.declined),
        ["handoff.requeue"],
    ),
    "handoff.result": (
        of("handoff.result", lambda _w, f: handoffs.ReceiveResult(handoff=f), World.declined),
        ["handoff.receive"],
    ),
    "handoff.limit": (
        of("handoff.limit", lambda _w, _f: handoffs.SetHandoffLimit(to="dana", concurrency=2)),
        ["handoff.limit"],
    ),
    "escalation.create": (
        of("escalation.create", lambda _w, _f: escalations.CreateEscalation(severity="high", reason="Go?")),
        ["escalation.create", "escalation.climb"],
    ),
    "escalation.withdraw": (
        of(
            "escalation.withdraw",
            lambda _w, f: escalations.WithdrawEscalation(escalation=f, reason="x"),
            World.asked,
        ),
        ["escalation.withdraw"],
    ),
    "escalation.receive": (
        of("escalation.receive", lambda _w, f: escalations.ReceiveAnswer(escalation=f), World.approved),
        ["escalation.apply"],
    ),
    "escalation.redeem": (
        of(
            "escalation.redeem",
            lambda _w, f: escalations.RedeemApproval(escalation=f, tool="t", arguments=1),
            World.approved,
        ),
        ["escalation.redeem"],
    ),
    "escalation.retry": (
        of("escalation.retry", lambda _w, f: escalations.RetryDelivery(escalation=f), World.undelivered),
        ["escalation.retry"],
    ),
    "inbox.acknowledge": (
        of("inbox.acknowledge", lambda _w, f: escalations.AcknowledgeEscalation(escalation=f), World.asked),
        ["inbox.acknowledge"],
    ),
    "inbox.release": (
        of("inbox.release", lambda _w, f: escalations.ReleaseEscalation(escalation=f), World.acknowledged),
        ["escalation.release"],
    ),
    "inbox.answer": (
        of(
            "inbox.answer",
            lambda _w, f: escalations.AnswerEscalation(escalation=f, decision="approve"),
            World.asked,
        ),
        ["inbox.answer", "escalation.decide"],
    ),
    "inbox.delegate": (
        of("inbox.delegate", lambda _w, f: escalations.DelegateEscalation(escalation=f, to="dana"), World.asked),
        ["inbox.delegate"],
    ),
    "inbox.snooze": (
        of(
            "inbox.snooze",
            lambda w, f: escalations.SnoozeEscalation(escalation=f, until=w.plane.clock.now_us() + SECOND),
            World.asked,
        ),
        ["inbox.snooze"],
    ),
    "inbox.extend": (
        of("inbox.extend", lambda _w, f: escalations.ExtendEscalation(escalation=f), World.asked),
        ["inbox.extend"],
    ),
    "inbox.comment": (
        of("inbox.comment", lambda _w, f: escalations.CommentEscalation(escalation=f, text="x"), World.asked),
        ["inbox.comment"],
    ),
    "policy.set": (
        of(
            "policy.set",
            lambda _w, _f: policies.SetPolicy(kind="severity", name="low", document={"fallback": "deny"}),
        ),
        ["policy.set"],
    ),
    "policy.delete": (
        of("policy.delete", lambda _w, _f: policies.DeletePolicy(kind="severity", name="low"), World.policy),
        ["policy.delete"],
    ),
    "webhook.create": (
        of("webhook.create", lambda _w, _f: webhooks.CreateWebhook(url="https://example.org/")),
        ["webhook.create"],
    ),
    "webhook.delete": (
        of("webhook.delete", lambda _w, f: webhooks.DeleteWebhook(id=f), World.webhook),
        ["webhook.delete"],
    ),
    "run.observe": (
        under_claim("run.observe", lambda r: observations.ObserveCall(run=r, number=1, tool="ls")),
        ["run.observe"],
    ),
    "step.start": (
        under_claim("step.start", lambda r: runs.StartStep(run=r, name="s", key="1", effect="write")),
        ["step.start"],
    ),
    "step.complete": (
        under_claim("step.complete", lambda r: runs.CompleteStep(run=r, name="s", key="1", result=1)),
        ["step.complete"],
    ),
    "step.fail": (
        under_claim("step.fail", lambda r: runs.FailStep(run=r, name="s", key="1", error="x")),
        ["step.fail"],
    ),
    "task.start": (of("task.start", lambda _w, _f: runs.StartTask(name="job")), ["run.start"]),
    "task.claim": (
        of("task.claim", lambda w, _f: runs.ClaimTask(worker=w.worker, tasks=["job"]), World.task),
        ["run.claim"],
    ),
    "task.unschedule": (
        of("task.unschedule", lambda _w, f: runs.DeleteSchedule(id=f), World.schedule),
        ["task.unschedule"],
    ),
    "worker.register": (of("worker.register", lambda _w, _f: runs.RegisterWorker()), ["worker.register"]),
    "worker.stop": (
        of("worker.stop", lambda w, _f: runs.StopWorker(worker=w.worker), World.run),
        ["worker.stop", "run.release"],
    ),
    "key.create": (of("key.create", lambda _w, _f: access.CreateKey(kind="agent", actor="bob")), ["key.create"]),
    "key.revoke": (of("key.revoke", lambda _w, f: access.RevokeKey(id=f), World.key), ["key.revoke"]),
    "key.rotate": (of("key.rotate", lambda _w, f: access.RotateKey(id=f), World.key), ["key.create"]),
    "actor.disable": (
        of("actor.disable", lambda _w, _f: access.SetActorDisabled(name="bob"), World.key),
        ["actor.disable"],
    ),
    "transaction.run": (
        of(
            "transaction.run",
            lambda _w, _f: system.RunTransaction(
                calls=[
                    runs.BufferedCall(operation="state.set", request={"namespace": "n", "key": "a", "value": 1}),
                    runs.BufferedCall(operation="state.delete", request={"namespace": "n", "key": "k"}),
                ]
            ),
        ),
        ["state.set", "state.delete"],
    ),
    "system.backup": (
        of("system.backup", lambda w, _f: system.Backup(path=str(w.tmp_path / "copy.db"))),
        ["system.backup"],
    ),
}
for calls in (guard_calls, ledger_calls, workflow_calls, execution_calls, evidence_scenarios, case_calls):
    SCENARIOS |= calls.scenarios(of)
# What changes leases only, and so leaves no event.
LIVENESS = {
    "worker.heartbeat": lambda world: runs.Heartbeat(worker=world.worker),
    "handoff.renew": lambda world: handoffs.RenewHandoff(handoff=world.claimed(), epoch=1),
}


@pytest.fixture
def world(plane, tmp_path):
    return World(plane, tmp_path)


def trail(world):
    return world.call("audit.events", audit.ListEvents(limit=1000)).items


@promise("trail.every_change")
@pytest.mark.parametrize("name", [operation.name for operation in OPERATIONS if operation.mutating])
def test_every_mutating_operation_records_exactly_its_events(world, name):
    if name in LIVENESS:
        request = LIVENESS[name](world)
        before = trail(world)
        world.call(name, request)
        assert trail(world) == before
        return
    scenario, expected = SCENARIOS[name]
    perform = scenario(world)
    before = len(trail(world))
    perform()
    recorded = trail(world)[before:]
    assert [event.operation for event in recorded] == expected
    for event in recorded:
        assert (event.actor, event.outcome, event.door) == ("person:dana", "ok", "python")
        assert event.subject["kind"]
        assert event.at == world.plane.clock.now_us()
    assert world.call("audit.verify", audit.VerifyTrail()).intact


@promise("trail.every_change")
@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - {"system.backup"}))
def test_a_refused_operation_records_nothing(world, name):
    """With the wrong claim or a thing that is not there, nothing is changed and nothing is recorded."""
    scenario, _ = SCENARIOS[name]
    perform = scenario(world)
    before = trail(world)
    stale = Claim(run="run_0000000000000000", epoch=9)
    caller = Caller(kind="person", name="dana", grants=(EVERYTHING,), claim=stale)
    engine = world.plane.engine
    seen = []
    original = world.call
    world.call = lambda operation, request, _claim=None: seen.append((operation, request))
    perform()
    world.call = original
    ((operation, request),) = seen
    with pytest.raises(Error):
        engine.call(BY_NAME[operation], caller, request)
    assert trail(world) == before


@promise("trail.reads")
@pytest.mark.parametrize("name", [o.name for o in OPERATIONS if not o.mutating and not o.request.__struct_fields__])
def test_reads_record_nothing(world, name):
    before = trail(world)
    world.call(name, BY_NAME[name].request())
    assert trail(world) == before


@promise("trail.dispatcher")
def test_a_change_without_an_event_is_not_committed(world, monkeypatch):
    def silent(tx, call, request):
        tx.one("actor_add", workspace=call.workspace, kind="agent", name="ghost", now=tx.now)

    monkeypatch.setitem(handlers.HANDLERS, "state.set", silent)
    with pytest.raises(RuntimeError, match="without an event"):
        world.call("state.set", state.SetEntry(namespace="n", key="k", value=3))
    actors = world.call("actor.list", access.ListActors()).items
    assert "ghost" not in [actor.name for actor in actors]


@promise("trail.event")
def test_an_event_says_what_who_when_and_under_which_claim(surface, agent):
    with agent.run("r", key="1") as run:
        entry = agent.state.set("n", "k", {"secret": "value"})
        events = list(agent.audit.events(run=run.id))
        assert [e.sequence for e in events] == [1, 2]
        event = events[1]
        assert (event.operation, event.run, event.epoch, event.revision) == ("state.set", run.id, 1, entry.revision)
        assert (event.from_version, event.to_version) == (0, 1)
        assert event.subject == {"kind": "entry", "namespace": "n", "key": "k"}
        assert event.previous_hash == events[0].hash
        assert set(event.commitments) == {"value"}
    assert agent.audit.get(event.id) == event
    with pytest.raises(NotFound):
        agent.audit.get("evt_0000000000000000")
    found = surface.plane.engine.database.read(lambda tx: tx.all("event_leaves", low=0, high=1 << 62, limit=1000))
    assert len(found) > 2
    assert all(b"secret" not in leaf for *_, leaf in found)


@promise("trail.filter")
def test_events_are_filtered(surface, agent):
    other = surface.connect("other")
    began = surface.plane.clock.now_us()
    agent.state.set("n", "apple", 1)
    surface.plane.clock.advance(10)
    other.state.set("m", "pear", 1)
    agent.state.delete("n", "apple")

    def keys(**options):
        return [(e.operation, e.subject["key"]) for e in agent.audit.events(**options) if "key" in e.subject]

    assert keys(actor="other") == [("state.set", "pear")]
    assert keys(type="state.delete") == [("state.delete", "apple")]
    assert keys(type="state.*", namespace="n") == [("state.set", "apple"), ("state.delete", "apple")]
    assert keys(namespace="nowhere") == keys(actor="nobody") == []
    assert keys(until=began + 1) == [("state.set", "apple")]
    assert keys(since=began + 1) == [("state.set", "pear"), ("state.delete", "apple")]
    assert keys(text="PEAR") == [("state.set", "pear")]
    assert keys(newest_first=True, limit=1) == [
        ("state.delete", "apple"),
        ("state.set", "pear"),
        ("state.set", "apple"),
    ]
    cursor = agent.audit.events(limit=1).cursor
    with pytest.raises(Error):
        agent.audit.events(limit=1, actor="other", cursor=cursor)


@promise("trail.private")
def test_one_event_is_hidden_as_its_namespace_is(surface, agent):
    entry = agent.state.set("private", "k", 1)
    event = agent.audit.events(namespace="private")[0]
    assert event.revision == entry.revision
    guest = surface.connect(
        "guest", grants=[Grant(permissions=("audit:read",)), Grant(permissions=("state:read",), namespaces=("team/*",))]
    )
    with pytest.raises(NotFound):
        guest.audit.get(event.id)
    assert event.id not in [e.id for e in guest.audit.events()]


# {text} and {bytes} are how each database turns a leaf into text and back.
EDITS = {
    "an edited leaf": "UPDATE event SET leaf = {bytes}(replace({text}, '\"k3\"', '\"k9\"'))",
    "an edited actor": "UPDATE event SET leaf = {bytes}(replace({text}, '\"agent\"', '\"angel\"')) "
    "WHERE position = (SELECT max(position) - 1 FROM event)",
    "a removed event": "DELETE FROM event WHERE position = (SELECT max(position) - 2 FROM event)",
    "a removed beginning": "DELETE FROM event WHERE position = (SELECT min(position) FROM event)",
    "two swapped events": """
        UPDATE event SET position = position + 1000000 WHERE position >= (SELECT max(position) - 1 FROM event);
        UPDATE event SET position = position - 1000000 + 1 WHERE position = (SELECT max(position) - 1 FROM event);
        UPDATE event SET position = position - 1000000 - 1 WHERE position = (SELECT max(position) FROM event);
    """,
}


@promise("trail.verify")
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_of_the_file_is_seen(plane, tmp_path, edit):
    agent = plane.connect()
    for number in range(6):
        agent.state.set("n", f"k{number}", number)
    whole = agent.audit.verify()
    assert (whole.intact, whole.first_fault) == (True, "")
    assert whole.events >= 6
    plane.close()
    if plane.engine.database.capabilities.file is None:
        with psycopg.connect(plane.path, autocommit=True) as server:
            server.execute(
                "CREATE FUNCTION pg_temp.to_bytes(t text) RETURNS bytea LANGUAGE sql AS "
                "$$ SELECT convert_to(t, 'UTF8') $$"
            )
            server.execute(edit.format(text="convert_from(leaf, 'UTF8')", bytes="pg_temp.to_bytes").encode())
        copy = plane.path
    else:
        copy = tmp_path / "edited.db"
        shutil.copy(plane.path, copy)
        connection = apsw.Connection(str(copy))
        connection.create_scalar_function("text_to_bytes", lambda text: text.encode(), 1)
        connection.execute(edit.format(text="CAST(leaf AS TEXT)", bytes="text_to_bytes"))
        connection.close()
    edited = ManualPlane(copy, settings=plane.settings)
    found = edited.connect().audit.verify()
    edited.close()
    assert not found.intact
    assert found.first_fault


@promise("trail.follow")
def test_the_trail_is_followed_as_it_grows(surface, agent):
    after = agent.status().revision
    assert len(agent.audit.events(after=after, type="state.*")) == 0
    agent.state.set("n", "k", 1)
    found = agent.audit.events(after=after, type="state.*", wait_seconds=20)
    assert [e.subject["key"] for e in found] == ["k"]


@promise("access.deny")
def test_a_denial_does_not_stand_in_for_a_change(world):
    guest = Caller(name="guest", grants=())
    before = len(trail(world))
    with pytest.raises(PermissionDenied):
        world.plane.engine.call(BY_NAME["state.set"], guest, state.SetEntry(namespace="n", key="k", value=9))
    recorded = trail(world)[before:]
    assert [(e.operation, e.outcome, e.actor) for e in recorded] == [("state.set", "denied", "agent:guest")]
    assert world.call("state.get", state.GetEntry(namespace="n", key="k")).value == 1


@promise("trail.every_change")
def test_every_operation_has_its_scenario():
    assert set(SCENARIOS) == {o.name for o in OPERATIONS if o.mutating} - set(LIVENESS)
    assert set(LIVENESS) == {o.name for o in OPERATIONS if o.liveness}
