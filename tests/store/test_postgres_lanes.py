"""Lanes and batches: who waits for whom, who harms whom, and what a request sees of the others in its batch."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import psycopg
import pytest
from stand import WAIT_SECONDS, until, versions

from agentmemo.api.lookup import operation_of
from agentmemo.embedded import connection_for, local_caller, under
from agentmemo.errors import InvalidTransition, LeaseLost, NotFound, VersionConflict
from agentmemo.model.access import Claim
from agentmemo.model.runs import CompleteStep, FailStep, RegisterWorker, ReleaseRun, StartRun, StartStep
from agentmemo.model.state import DeleteEntry, SetEntry
from agentmemo.store.postgres_lanes import BATCH_MAX

FORKING = Path(__file__).with_name("forking.py")
CALLER = local_caller("a", None, "default")


class Batch:
    """Requests that wait while the writer is busy, so that it takes them all at once."""

    def __init__(self, engine, lane):
        self._engine = engine
        self._lane = lane
        self._go = threading.Event()
        self._count = 0
        self.answers = {}
        begun = threading.Event()

        def busy(_tx):
            begun.set()
            self._go.wait(WAIT_SECONDS)

        engine.database.submit(busy, lambda *_: None, lane=lane)
        assert begun.wait(WAIT_SECONDS)

    def call(self, request, *, claim=None, request_id=None):
        caller = under(CALLER, claim, None)
        if request_id:
            caller = msgspec.structs.replace(caller, request_id=request_id)
        self._count += 1
        self._engine.submit(operation_of(type(request)), caller, request, partial(self._answered, self._count))

    def work(self, work):
        self._count += 1
        self._engine.database.submit(work, partial(self._answered, self._count), lane=self._lane)

    def commit(self):
        """Let it go; the answers in the order of submission, errors among them."""
        commits = self._engine.database.counters()["commits"]
        self._go.set()
        until(lambda: len(self.answers) == self._count)
        assert self._engine.database.counters()["commits"] - commits >= 1
        return [self.answers[number] for number in range(1, self._count + 1)]

    def _answered(self, number, result, error):
        assert number not in self.answers, "answered twice"
        self.answers[number] = error if error is not None else result


@pytest.fixture
def engine(stand):
    """Its names are known: to make one is a write, which would wait for the busy writer."""
    found = stand.plane(postgres_writers=2).engine
    workspace, _ = found.names.workspace("default")
    found.names.actor(workspace, CALLER.kind, CALLER.name)
    found.names.intern_namespace(workspace, "counters")
    return found


@pytest.fixture
def workspace(engine):
    return engine.names.workspace("default")[0]


@pytest.fixture
def batch(engine, workspace):
    return Batch(engine, workspace)


@pytest.fixture
def claim(engine):
    """A run that this process holds."""
    worker = engine.call(operation_of(RegisterWorker), CALLER, RegisterWorker()).id
    opening = StartRun(name="job", key="1", worker=worker)
    run = engine.call(operation_of(StartRun), CALLER, opening).run
    return Claim(run=run.id, epoch=run.epoch)


def put(key="counter", value=1, **options):
    return SetEntry(namespace="counters", key=key, value=value, **options)


@contextmanager
def turn_taken(url, workspace):
    """Somebody else's turn, for as long as the block lasts."""
    with psycopg.connect(url) as other:
        other.execute("SELECT position FROM turn WHERE workspace = %s FOR UPDATE", (workspace,))
        yield
        other.rollback()


def test_a_workspace_that_is_held_holds_up_no_other(stand, postgres_url):
    plane = stand.plane(postgres_writers=2)
    held, free = (connection_for(plane, local_caller("a", None, name)) for name in ("default", "other"))
    held.state.set("counters", "counter", 0)
    done = []
    thread = threading.Thread(target=lambda: done.append(held.state.set("counters", "counter", 1)))
    with turn_taken(postgres_url, plane.engine.names.workspace("default")[0]):
        thread.start()
        for number in range(20):
            assert free.state.set("counters", "counter", number).version == number + 1
        assert done == []
    thread.join()
    assert done[0].version == 2
    assert free.audit.verify().intact


def test_a_request_is_made_when_its_turn_has_come(stand, postgres_url):
    """Not when its batch began to wait: what was committed meanwhile would be later than what follows it."""
    plane = stand.plane(postgres_writers=2)
    held, free = (connection_for(plane, local_caller("a", None, name)) for name in ("default", "other"))
    held.state.set("counters", "counter", 0)
    done = []
    thread = threading.Thread(target=lambda: done.append(held.state.set("counters", "counter", 1)))
    with turn_taken(postgres_url, plane.engine.names.workspace("default")[0]):
        thread.start()
        for number in range(20):
            free.state.set("counters", "counter", number)
        released = plane.clock.now_us()
    thread.join()
    assert done[0].written_at >= released


def test_a_busy_workspace_lets_a_quiet_one_in_between(stand):
    engine = stand.plane(postgres_writers=1).engine
    busy, quiet = (engine.names.workspace(name)[0] for name in ("busy", "quiet"))
    order = []
    batch = Batch(engine, busy)
    for _ in range(4 * BATCH_MAX):
        batch.work(lambda _tx: None)
    engine.database.submit(lambda _tx: None, lambda *_: order.append(len(batch.answers)), lane=quiet)
    batch.commit()
    assert order[0] <= 2 * BATCH_MAX, "the quiet one waited for the whole queue"


def test_a_refusal_harms_no_other_of_its_batch(batch, stand):
    for number in range(10):
        batch.call(put(value=number, if_version=number))
        batch.call(put(value="refused", if_version=0 if number else 7))
        batch.call(put("other", number))
    answers = batch.commit()
    assert [type(answer) for answer in answers[1::3]] == [VersionConflict] * 10
    assert [answer.version for answer in answers[::3]] == list(range(1, 11))
    assert [answer.version for answer in answers[2::3]] == list(range(1, 11))
    trusted = stand.trusted()
    assert [value for _, value in versions(trusted)] == list(range(10))
    assert [value for _, value in versions(trusted, "other")] == list(range(10))


@pytest.mark.parametrize("reason", ["a bug", "the database"])
def test_a_spoiled_batch_runs_the_others(batch, stand, workspace, reason):
    """What was sent cannot be taken back alone: everything is undone and runs again, one after another."""

    def spoil(tx):
        if reason == "a bug":
            tx.run("namespace_add", workspace=workspace, name="spoiled")
            raise ZeroDivisionError
        tx.run("namespace_add", workspace=workspace, name="counters")

    for number in range(5):
        batch.call(put(value=number))
    batch.work(spoil)
    for number in range(5, 10):
        batch.call(put(value=number))
    answers = batch.commit()
    assert isinstance(answers.pop(5), Exception)
    assert [answer.version for answer in answers] == list(range(1, 11))
    trusted = stand.trusted()
    assert [value for _, value in versions(trusted)] == list(range(10))
    assert "spoiled" not in [found.name for found in trusted.state.namespaces()]


def test_what_cannot_be_sent_harms_no_other(batch, stand):
    """Found out only when the writes go out, perhaps on behalf of a later request."""

    def unsendable(tx):
        tx.write("worker_renew", id="wrk_none", lease_until=0, boot_id="\ud800")

    batch.call(put(value="before"))
    batch.work(unsendable)
    batch.call(put(value="after"))
    first, refused, last = batch.commit()
    assert isinstance(refused, Exception)
    assert (first.version, last.version) == (1, 2)
    assert [value for _, value in versions(stand.trusted())] == ["before", "after"]


def test_writes_of_a_batch_keep_the_order_of_their_submission(batch, engine):
    before = engine.database.counters()
    for number in range(BATCH_MAX):
        batch.call(put(f"key-{number % 7}", number))
    answers = batch.commit()
    revisions = [answer.revision for answer in answers]
    assert revisions == list(range(revisions[0], revisions[0] + BATCH_MAX))
    assert [answer.version for answer in answers] == [number // 7 + 1 for number in range(BATCH_MAX)]
    after = engine.database.counters()
    # The busy one, and the batch.
    assert after["commits"] - before["commits"] <= 2


# What was read beforehand for a whole batch is not true any more once the batch itself has changed it.


def test_two_sets_of_one_key(batch):
    batch.call(put(value="a"))
    batch.call(put(value="b"))
    batch.call(put(value="c", if_version=2))
    batch.call(put(value="d", if_version=2))
    *answers, refused = batch.commit()
    assert [answer.version for answer in answers] == [1, 2, 3]
    assert isinstance(refused, VersionConflict)


def test_set_delete_and_set_again(batch, stand):
    batch.call(DeleteEntry(namespace="counters", key="counter"))
    batch.call(put(value="a"))
    batch.call(DeleteEntry(namespace="counters", key="counter", if_version=1))
    batch.call(DeleteEntry(namespace="counters", key="counter"))
    batch.call(put(value="b"))
    missing, first, deleted, missing_again, last = batch.commit()
    assert isinstance(missing, NotFound)
    assert isinstance(missing_again, NotFound)
    assert [answer.version for answer in (first, deleted, last)] == [1, 2, 3]
    assert versions(stand.trusted()) == [(1, "a"), (2, None), (3, "b")]


def test_one_request_sent_twice(batch, stand):
    """The client repeats what it has no answer to; both may be in one batch."""
    batch.call(put(value="a"), request_id="req_1")
    batch.call(put(value="a"), request_id="req_1")
    batch.call(put(value="b"), request_id="req_2")
    answers = batch.commit()
    assert [answer.version for answer in answers] == [1, 1, 2]
    assert versions(stand.trusted()) == [(1, "a"), (2, "b")]


def test_a_step_that_starts_and_ends_in_one_batch(claim, batch, stand):
    step = {"run": claim.run, "name": "send", "key": "1", "effect": "write"}
    batch.call(StartStep(**step), claim=claim)
    batch.call(CompleteStep(**step, result="sent"), claim=claim)
    batch.call(CompleteStep(**step | {"name": "next"}, result="too"), claim=claim)
    batch.call(FailStep(**step, error="late"), claim=claim)
    started, completed, following, late = batch.commit()
    assert (started.state, completed.state) == ("started", "completed")
    assert isinstance(late, InvalidTransition)
    assert (started.number, completed.number, following.number) == (1, 1, 2)
    trusted = stand.trusted()
    steps = [(found.name, found.state, found.number) for found in trusted.runs.steps(claim.run)]
    assert steps == [("send", "completed", 1), ("next", "completed", 2)]
    assert trusted.runs.get(claim.run).steps == 2


def test_a_stale_claim_in_the_midst_of_a_batch(claim, batch, stand):
    """The claim is lost to a release in the same batch; what comes after it is refused."""
    step = {"run": claim.run, "key": "1"}
    batch.call(CompleteStep(**step, name="before", result=1), claim=claim)
    batch.call(ReleaseRun(run=claim.run), claim=claim)
    batch.call(CompleteStep(**step, name="after", result=2), claim=claim)
    batch.call(put(value="stale"), claim=claim)
    batch.call(put(value="free"))
    completed, released, late, stale, free = batch.commit()
    assert (completed.state, released.state, free.version) == ("completed", "pending", 1)
    assert isinstance(late, LeaseLost)
    assert isinstance(stale, LeaseLost)
    assert [found.name for found in stand.trusted().runs.steps(claim.run)] == ["before"]


def test_another_process_in_between_is_seen(stand):
    """What a process remembers of a workspace holds only while nobody else writes there."""
    agents = [stand.agent(name=name) for name in ("one", "two")]
    for number in range(6):
        agent = agents[number % 2]
        assert agent.state.set("counters", "counter", number).version == number + 1
        # An exception gives the run back, for the other to go on with.
        with suppress(ZeroDivisionError), agent.run("shared", "1", max_attempts=10) as run:
            run.decide(f"round {number}", because="it is my turn")
            raise ZeroDivisionError
    trusted = stand.trusted()
    found = [event.operation for event in trusted.audit.events(run=run.id)]
    assert found.count("run.claim") == 5
    assert found.count("run.release") == 6
    assert trusted.runs.get(run.id).epoch == 6


def test_what_a_failover_lost_is_not_built_upon(stand, postgres):
    """The standby had not got our last commit, and as much was written there before we are back."""
    plane = stand.plane(postgres_writers=1)
    victim, first = (connection_for(plane, local_caller("a", None, name)) for name in ("default", "other"))
    other = stand.agent(name="b")
    other.state.set("counters", "counter", 0)
    first.state.set("counters", "counter", 0)
    victim.state.set("counters", "counter", 1)
    victim.state.set("counters", "lost", 1)
    postgres.execute(
        "UPDATE turn SET position = position - 1 WHERE position = (SELECT position FROM entry WHERE key = 'lost')",
        "DELETE FROM event WHERE position = (SELECT position FROM entry WHERE key = 'lost')",
        "DELETE FROM entry_version WHERE position = (SELECT position FROM entry WHERE key = 'lost')",
        "DELETE FROM entry WHERE key = 'lost'",
        database="tests",
    )
    other.state.set("counters", "counter", 2)
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tests' AND pid <> pg_backend_pid()"
    )
    first.state.set("counters", "counter", 1)
    victim.state.set("counters", "counter", 3)
    assert victim.audit.verify().intact


def test_a_forked_child_leaves_its_parents_connections_alone(postgres_url):
    done = subprocess.run([sys.executable, str(FORKING), postgres_url], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["the child is refused", "the parent goes on"], done.stderr
    assert done.stderr == ""
