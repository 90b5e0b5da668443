"""The one way in: permission, preparation, one transaction, one check that the trail has it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from agentmemo import ids
from agentmemo.api.operation import Operation
from agentmemo.clock import Clock, monotonic
from agentmemo.engine import access, handoff_moves, liveness, workers
from agentmemo.engine.call import Call, Renewal
from agentmemo.engine.claims import held
from agentmemo.engine.foresight import foresee
from agentmemo.engine.handlers import DIRECT, HANDLERS, PEEKS, TELLING, is_ready
from agentmemo.engine.judge import Judge
from agentmemo.engine.names import Names
from agentmemo.engine.prepare import Prepared, check_characters, check_numbers, prepare
from agentmemo.engine.presence import Presence
from agentmemo.engine.prices import NoPrices, Prices
from agentmemo.engine.tallies import Tallies
from agentmemo.engine.waiting import Lines, place_of
from agentmemo.errors import IdempotencyMismatch, InvalidInput, PermissionDenied, Unavailable
from agentmemo.model.access import PERSON_ONLY, Caller, Claim, Grant, allows
from agentmemo.model.handoffs import Package
from agentmemo.model.kinds import described
from agentmemo.model.wire import Request, Response, check_words
from agentmemo.settings import Settings
from agentmemo.store import secrets_file
from agentmemo.store.database import Crowd, Database, Done, Transaction, wait_for

SYSTEM = Caller(kind="service", name="agentmemo", grants=(Grant(permissions=("*",)),), door="upkeep")
# Its answer repeats the value of its request, which a repeated request brings along: it is not stored twice.
REPEATS_ITS_VALUE = "state.set"
HEARTBEAT = "worker.heartbeat"
# The hot ones carry the epoch in the WHERE of their first write; for all others the claim is looked at first.
SELF_FENCED = frozenset({"step.start", "step.complete", "step.fail"})


class Engine:
    """The plane in one process. `call` waits for the answer, `submit` calls back; both are the same path."""

    def __init__(self, database: Database, settings: Settings, prices: Prices | None = None) -> None:
        self.database = database
        self.clock: Clock = database.clock
        self.settings = settings
        self.names = Names(database)
        self.incarnation = ids.mint("wrk", self.clock.now_us())
        self.presence = Presence(database.capabilities.beside)
        self.judge = Judge()
        self.prices: Prices = prices or NoPrices()
        self.denials = access.Denials(self)
        self.renewals: dict[tuple[int, str], Renewal] = {}
        # By actor: the workers that stand for it where it claimed without one of its own, here or at another server.
        self.unattended: dict[int, frozenset[str]] = {}
        # By worker: the claims (handle, epoch) that its heartbeats do not name, and since when by the boot clock.
        self.unnamed: dict[str, dict[tuple[str, int], int]] = {}
        # Of handoffs claimed here: whether results are checked, and the package if it is small. Both are fixed.
        self.carried: dict[str, tuple[int, Package | None]] = {}
        # By actor: where it took work from the last time. Receivers that somebody has called as: (workspace, address).
        self.receiving: dict[int, list[str]] = {}
        self.met: set[tuple[int, str]] = set()
        self.lines = Lines()
        # True at the start: whoever indexed before may have been stopped before it merged.
        self.index_grew = True
        self.tallies = Tallies()
        # How far retention has come in its round: the workspace, the position in each, the blob.
        self.pruned_to = 0
        self.versions_seen: dict[int, int] = {}
        self.swept_to = 0
        self.prices_reviewed_at: int | None = None
        self._disabled: frozenset[tuple[int, str, str]] = frozenset()
        self._peppers: list[bytes] | None = None
        self._streams: dict[int, str] = {}
        self._closed = threading.Event()
        self.refresh()

    def call(self, operation: Operation, caller: Caller, request: Any, *, seen: list[Call] | None = None) -> Any:
        """Perform an operation; with `wait_seconds` in the request, wait until there is something to say.

        `seen` gets the call, for whoever asks afterwards whether its answer was replayed.
        """
        if getattr(request, "wait_seconds", 0.0) > 0:
            return self._wait(operation, caller, request)
        call = self.admit(operation, caller, request)
        if seen is not None:
            seen.append(call)
        if operation.name in DIRECT:
            return DIRECT[operation.name](call, request)
        if not operation.mutating:
            self._keep_alive(call)
            handler = HANDLERS[operation.name]
            return self.database.read(lambda tx: handler(tx, call, request), snapshot=not operation.quick)
        work = self._work(operation, call, request)
        answer = self.database.write(work, lane=call.workspace, reads=foresee(call, request))
        self._after(operation, call, request)
        return answer

    def is_worth_asking(self, operation: Operation, caller: Caller, request: Any) -> bool:
        """Whether to try again what found nothing: a claim takes the writer only when there is something to take."""
        peek = PEEKS.get(operation.name)
        if peek is None:
            return True
        call = self.admit(operation, caller, request)
        found: bool = self.database.read(lambda tx: peek(tx, call, request), snapshot=False)
        return found

    def submit(self, operation: Operation, caller: Caller, request: Any, done: Done) -> Call:
        """A mutating operation without waiting; `done(response, error)` runs on the writer's thread."""
        call = self.admit(operation, caller, request)

        def committed(result: Any, error: BaseException | None) -> Crowd | None:
            if error is None:
                self._believe(call)
            return done(result, error)

        work = self._work(operation, call, request)
        self.database.submit(work, committed, lane=call.workspace, reads=foresee(call, request))
        return call

    def admit(self, operation: Operation, caller: Caller, request: Any) -> Call:
        """Resolve the caller and decide from grants and the requested name alone, before any data is touched."""
        workspace, _ = self.names.workspace(caller.workspace)
        actor = self.names.actor(workspace, caller.kind, caller.name)
        if (workspace, caller.kind, caller.name) in self._disabled:
            raise PermissionDenied(
                f"{caller.actor} is disabled.",
                why="Somebody used the kill switch for this actor.",
                next_call="Ask an administrator to enable it: agentmemo keys enable NAME.",
            )
        self.authorize(caller, operation, request)
        check_numbers(request)
        check_characters(request)
        check_words(request)
        return Call(self, caller, workspace, actor)

    def authorize(self, caller: Caller, operation: Operation, request: Any) -> None:
        """Raise PermissionDenied, and record the denial in a commit of its own, where grants do not cover the call."""
        permission = operation.permission
        if permission is None:
            return
        namespace = getattr(request, "namespace", None) if permission.startswith("state:") else None
        person_only = permission in PERSON_ONLY and caller.kind != "person"
        if not person_only and allows(caller.grants, permission, namespace):
            return
        self.denials.record(caller, operation, namespace)
        raise PermissionDenied(
            f"{caller.actor} may not {operation.name}" + (f" in {namespace!r}." if namespace else "."),
            why="Only a person can decide for a person." if person_only else f"No grant covers {permission}.",
            next_call="Use a person's key." if person_only else "Use a key with that grant, or ask for one.",
            details={"permission": permission, "namespace": namespace},
        )

    def _keep_alive(self, call: Call) -> None:
        """A read is a sign of life as well, of a caller that holds something and has no heartbeat."""
        workers_ = self.unattended.get(call.actor, ())
        if not any(liveness.is_renewal_due(call, worker) for worker in workers_):
            return

        def renewed(_: Any, error: BaseException | None) -> None:
            if error is None:
                self._believe(call)

        self.database.submit(lambda tx: liveness.sign_of_life(tx, call), renewed, lane=call.workspace)

    def _believe(self, call: Call) -> None:
        """The leases that the commit of a call renewed."""
        for worker, renewal in call.renewed:
            self.renewals[call.actor, worker] = renewal

    def _after(self, operation: Operation, call: Call, request: Any) -> None:
        """What this process must learn from a commit of its own."""
        self._believe(call)
        if operation.name == "actor.disable":
            self.refresh_disabled()
        elif operation.name == "worker.stop":
            self.presence.forget(request.worker)

    def refresh(self) -> None:
        """Learn what other processes did that this one must heed; done at the start and by upkeep, whoever leads."""
        self.refresh_disabled()
        liveness.read_unattended(self)

    def refresh_disabled(self) -> None:
        """Read the kill switches again; done at the start, after each use of one, and by upkeep."""

        def look(tx: Transaction) -> frozenset[tuple[int, str, str]]:
            return frozenset((workspace, kind, name) for workspace, kind, name in tx.all("actor_disabled"))

        self._disabled = self.database.read(look, snapshot=False)

    def perform(self, tx: Transaction, call: Call, prepared: Prepared) -> Any:
        """A buffered call inside another's transaction; it was authorized and prepared with it."""
        return HANDLERS[prepared.operation](tx, call, prepared.request)

    def pepper(self) -> bytes:
        """The secret under which credentials are hashed."""
        return self.peppers()[0]

    def peppers(self) -> list[bytes]:
        """It, and former ones: in a 0600 file beside the store, never in it."""
        if self._peppers is None:
            found = secrets_file.peppers(self.database.capabilities.beside)
            digests = [ids.keyed_hash(each, secrets_file.CHECKED).hex() for each in found]
            # The oldest first: of a new database the first one is believed.
            if not any(self.database.check_pepper(digest) for digest in reversed(digests)):
                raise Unavailable(
                    "The keys of this database were made with another secret than this machine has.",
                    why="Each server needs the same one; it is never kept in the database.",
                    next_call=f"Copy {secrets_file.place(self.database.capabilities.beside)} from the first server "
                    "here, or name it with AGENTMEMO_PEPPER_FILE.",
                    retry_safe=False,
                )
            self._peppers = found
        return self._peppers

    def stream_of(self, workspace: int) -> str:
        """The stream of what this process does in a workspace beside runs; each has one writer, so it has one order.

        The first workspace's is the incarnation itself.
        """
        stream = self._streams.get(workspace)
        if stream is None:
            made = self.incarnation if not self._streams else ids.mint("wrk", self.clock.now_us())
            stream = self._streams.setdefault(workspace, made)
        return stream

    def authenticate(self, key: str) -> Caller:
        return access.authenticate(self, key, self.peppers())

    def retire_workers_of(self, tx: Transaction, call: Call, kind: str, name: str) -> None:
        """End every worker of an actor, in the transaction that disables it."""
        for (worker,) in tx.all("worker_of_actor", workspace=call.workspace, kind=kind, name=name):
            workers.retire(tx, call, worker, f"{kind}:{name} was disabled", lost=False)

    def system_calls(self, wanted: Collection[int]) -> dict[int, Call]:
        """By workspace: a call of the plane itself, for the duties of time. Made before their transaction begins."""
        found = {}
        for workspace, name, *_ in self.database.read(lambda tx: tx.all("workspace_all")) if wanted else ():
            if workspace in wanted:
                caller = msgspec.structs.replace(SYSTEM, workspace=name)
                actor = self.names.actor(workspace, caller.kind, caller.name)
                found[workspace] = Call(self, caller, workspace, actor)
        return found

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            try:
                self.denials.flush()
            finally:
                self.database.close()
                self.presence.close()
                self.judge.close()

    def _work(self, operation: Operation, call: Call, request: Any) -> Callable[[Transaction], Any]:
        prepared = prepare(call, request)
        fingerprint = _fingerprint(operation, request) if call.caller.request_id else b""
        return lambda tx: self._apply(tx, operation, call, prepared, fingerprint)

    def _apply(self, tx: Transaction, operation: Operation, call: Call, request: Any, fingerprint: bytes) -> Any:
        """The inside of the transaction: answer a repeated request, fence, perform, insist on the event."""
        call.events = 0
        call.renewed.clear()
        if fingerprint and (answered := _answered(tx, operation, call, fingerprint)) is not None:
            call.replayed = True
            return _whole(operation, request, answered)
        if call.caller.claim and operation.name not in SELF_FENCED:
            _fence(tx, call, call.caller.claim)
        # A heart beats by itself, whatever became of who claimed something without one.
        if operation.name != HEARTBEAT:
            liveness.sign_of_life(tx, call)
        before = tx.changes()
        response = HANDLERS[operation.name](tx, call, request)
        if call.events == 0 and not operation.liveness and tx.changes() != before:
            raise RuntimeError(f"{operation.name} changed the store without an event; nothing was committed.")
        if fingerprint and call.events:
            _keep_answer(tx, operation, call, fingerprint, response)
        return response

    def _wait(self, operation: Operation, caller: Caller, request: Any) -> Any:
        seconds = min(request.wait_seconds, self.settings.wait_seconds_max)
        once = msgspec.structs.replace(request, wait_seconds=0.0)
        answer: list[Any] = [None]

        def attempt() -> bool | None:
            if answer[0] is not None and not self.is_worth_asking(operation, caller, once):
                return None
            answer[0] = self.call(operation, caller, once)
            return True if is_ready(operation, once, answer[0]) else None

        if operation.name not in PEEKS:
            wait_for(self.database, attempt, seconds)
            return answer[0]
        end = monotonic() + seconds
        line = self.lines.of_threads(place_of(operation, caller, request))
        if not attempt() and line.acquire(timeout=max(0.0, end - monotonic())):
            try:
                wait_for(self.database, attempt, end - monotonic())
            finally:
                line.release()
        if operation.name in TELLING and not is_ready(operation, once, answer[0]):
            return self.call(operation, caller, once)
        return answer[0]


def _fence(tx: Transaction, call: Call, claim: Claim) -> None:
    if claim.run.startswith("hof_"):
        if not ids.is_handle(claim.run, "hof"):
            raise InvalidInput(
                "A claim names its handoff in full.", next_call="Send the handle that the claim was answered with."
            )
        handoff_moves.held(tx, call, claim.run, claim.epoch)
    else:
        held(tx, call, claim.run)


def _fingerprint(operation: Operation, request: Request) -> bytes:
    return hashlib.sha256(operation.name.encode() + msgspec.json.encode(request, order="sorted")).digest()


def _answered(tx: Transaction, operation: Operation, call: Call, fingerprint: bytes) -> Any:
    """The stored answer to a request id seen in the last 24 hours; the same id with other content is refused."""
    row = tx.one("request_find", workspace=call.workspace, actor=call.actor, key=call.caller.request_id)
    if row is None:
        return None
    known, summary, answer = row
    if known != fingerprint:
        raise IdempotencyMismatch(
            f"The request id {call.caller.request_id} was used before for something else.",
            why="An idempotency key stands for one request with one body.",
            next_call="Send this request with a new key.",
            details={"first": summary, "operation": operation.name},
        )
    return msgspec.json.decode(answer, type=described(operation.response or Response))


def _whole(operation: Operation, request: Any, answer: Any) -> Any:
    """The stored answer with what it left out because the repeated request brings it again."""
    if operation.name == REPEATS_ITS_VALUE:
        return msgspec.structs.replace(answer, value=request.value.original)
    return answer


def _keep_answer(tx: Transaction, operation: Operation, call: Call, fingerprint: bytes, response: Any) -> None:
    if operation.name == REPEATS_ITS_VALUE:
        response = msgspec.structs.replace(response, value=None)
    # A secret is shown once and never kept: a repeated request gets the key without it.
    elif getattr(response, "secret", None) is not None:
        response = msgspec.structs.replace(response, secret=None)
    tx.write(
        "request_add",
        workspace=call.workspace,
        actor=call.actor,
        key=call.caller.request_id,
        fingerprint=fingerprint,
        summary=operation.name,
        answer=msgspec.json.encode(response),
        now=tx.now,
    )
