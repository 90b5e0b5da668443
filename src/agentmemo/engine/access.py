"""Keys, actors and denials."""

from __future__ import annotations

import threading

from agentmemo import ids
from agentmemo.api.operation import Operation
from agentmemo.api.operations import BY_NAME
from agentmemo.clock import SECOND
from agentmemo.engine import audit
from agentmemo.engine.call import Call, EngineContext, not_found
from agentmemo.engine.state import check_limit
from agentmemo.errors import InvalidInput, NotAuthenticated, PermissionDenied
from agentmemo.model import access as model
from agentmemo.model.audit import DENIED
from agentmemo.model.pages import Page, make_cursor, read_cursor
from agentmemo.store import access as rows
from agentmemo.store.database import Transaction

DAY = 86_400 * SECOND
KEY_DAYS_MAX = 3650.0
OVERLAP_HOURS_MAX = 24.0 * 365
USED_EVERY = 60 * SECOND
NOBODYS_NAMESPACE = -1


def authenticate(engine: EngineContext, text: str, peppers: list[bytes]) -> model.Caller:
    """The caller a key stands for. Raises NotAuthenticated; the checksum is tested before the store is asked."""
    kind, public_id = model.parse_key(text)
    credential = engine.database.read(lambda tx: rows.find_credential(tx, public_id), snapshot=False)
    now = engine.clock.now_us()
    digests = [ids.keyed_hash(pepper, text.encode()) for pepper in peppers]
    proven = credential is not None and any(ids.same_bytes(credential.hash, digest) for digest in digests)
    if credential is None or not proven or credential.kind != kind:
        raise NotAuthenticated(
            "The key is not known here.",
            why="It was never made on this plane, or its secret is wrong.",
            next_call="Make one: agentmemo keys create.",
        )
    if credential.revoked_at is not None or (credential.expires_at is not None and credential.expires_at <= now):
        raise NotAuthenticated(
            "The key is revoked." if credential.revoked_at else "The key has expired.",
            next_call="Ask for a new one: agentmemo keys create.",
        )
    if credential.last_used_at is None or now - credential.last_used_at > USED_EVERY:
        engine.database.submit(
            lambda tx: tx.write("credential_used", id=public_id, now=tx.now), _ignore, lane=credential.workspace
        )
    return model.Caller(
        workspace=credential.workspace_name,
        kind=kind,
        name=credential.actor,
        grants=rows.grants_of(credential),
        key=public_id,
    )


def create_key(tx: Transaction, call: Call, request: model.CreateKey) -> model.Key:
    """A new credential. Nobody can grant more than they hold."""
    model.check_actor(request.actor, request.kind)
    default = [model.EVERYTHING] if request.kind == "person" else [model.AGENT_DEFAULT]
    grants = request.grants if request.grants is not None else default
    model.check_grants(grants, request.kind)
    _check_handing_on(call, request.kind, grants)
    days = request.expires_in_days
    if days is not None and not 0 < days <= KEY_DAYS_MAX:
        raise InvalidInput(
            f"expires_in_days is above 0 and at most {KEY_DAYS_MAX:.0f}, not {days}.", next_call="Send None for no end."
        )
    expires_at = None if days is None else tx.now + round(days * DAY)
    return _issue(tx, call, request.kind, request.actor, request.label, grants, expires_at=expires_at)


def list_keys(tx: Transaction, call: Call, request: model.ListKeys) -> Page:
    limit = check_limit(request.limit)
    after = read_cursor(request.cursor, "key.list", None, "")
    found = rows.list_credentials(tx, call.workspace, after, limit + 1)
    cursor = make_cursor("key.list", None, found[limit - 1].id) if len(found) > limit else None
    return Page(items=found[:limit], cursor=cursor)


def revoke_key(tx: Transaction, call: Call, request: model.RevokeKey) -> model.Key:
    key = _key(tx, call, request.id)
    if key.revoked_at is None:
        tx.write("credential_revoke", expect=1, workspace=call.workspace, id=key.id, at=tx.now)
        audit.record(tx, call, "key.revoke", {"kind": "key", "id": key.id}, reason=request.reason)
    return _key(tx, call, request.id)


def rotate_key(tx: Transaction, call: Call, request: model.RotateKey) -> model.Key:
    """A successor with the same rights; both are valid during the overlap."""
    old = _key(tx, call, request.id)
    if old.revoked_at is not None:
        raise InvalidInput(f"Key {old.id} is revoked.", next_call="Create a new key.")
    # The successor's secret is shown to the caller, so it is handed on as a new key would be.
    _check_handing_on(call, old.kind, old.grants)
    if not 0 <= request.overlap_hours <= OVERLAP_HOURS_MAX:
        raise InvalidInput(
            f"overlap_hours is 0 to {OVERLAP_HOURS_MAX:.0f}, not {request.overlap_hours}.", next_call="Use 24."
        )
    lifetime = old.expires_at - old.created_at if old.expires_at else None
    end = tx.now + round(request.overlap_hours * 3600 * SECOND)
    tx.write("credential_expire", workspace=call.workspace, id=old.id, at=end)
    expires_at = tx.now + lifetime if lifetime else None
    return _issue(tx, call, old.kind, old.actor, old.label, old.grants, expires_at=expires_at, replaces=old.id)


def set_disabled(tx: Transaction, call: Call, request: model.SetActorDisabled) -> model.Actor:
    """The kill switch. It ends the actor's workers too, so what they held can be taken over."""
    actor = rows.find_actor(tx, call.workspace, request.kind, request.name)
    if actor is None:
        raise not_found("actor", f"{request.kind}:{request.name}")
    tx.write(
        "actor_set_disabled",
        expect=1,
        workspace=call.workspace,
        kind=request.kind,
        name=request.name,
        disabled_at=tx.now if request.disabled else None,
    )
    audit.record(
        tx,
        call,
        "actor.disable" if request.disabled else "actor.enable",
        {"kind": "actor", "id": f"{request.kind}:{request.name}"},
        reason=request.reason,
    )
    if request.disabled:
        call.engine.retire_workers_of(tx, call, request.kind, request.name)
    return next(found for _, found in rows.list_actors(tx, call.workspace, actor - 1, 1))


def list_actors(tx: Transaction, call: Call, request: model.ListActors) -> Page:
    limit = check_limit(request.limit)
    after = read_cursor(request.cursor, "actor.list", None, 0)
    found = rows.list_actors(tx, call.workspace, after, limit + 1)
    cursor = make_cursor("actor.list", None, found[limit - 1][0]) if len(found) > limit else None
    return Page(items=[actor for _, actor in found[:limit]], cursor=cursor)


def whoami(_tx: Transaction, call: Call, _request: model.Identify) -> model.Identity:
    caller = call.caller
    return model.Identity(
        actor=caller.name,
        kind=caller.kind,
        workspace=caller.workspace,
        grants=list(caller.grants),
        on_behalf_of=list(caller.on_behalf_of),
    )


class Denials:
    """Records denials in commits of their own. Repeated read denials are counted and written once a window.

    The names of namespaces are the caller's choice: a window keeps `NAMES_MAX` of them for each caller and operation,
    and counts what comes under further ones together, without a name. A count that could not be written is kept.
    """

    NAMES_MAX = 20

    def __init__(self, engine: EngineContext) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        # (caller, operation) -> namespace -> when its window began, and how many came since the last was written.
        self._counted: dict[tuple[model.Caller, str], dict[str | None, tuple[int, int]]] = {}

    def record(self, caller: model.Caller, operation: Operation, namespace: str | None) -> None:
        if operation.mutating:
            self._write(caller, operation.name, namespace, 1)
            return
        who = (_identity_of(caller), operation.name)
        with self._lock:
            now = self._engine.clock.boot_us()
            names = self._counted.setdefault(who, {})
            if namespace not in names and not self._has_room(names, now):
                namespace = None
            since, waiting = names.get(namespace, (0, 0))
            if not self._is_over(since, now):
                names[namespace] = (since, waiting + 1)
                return
            names[namespace] = (now, 0)
        self._write_or_keep(caller, who, namespace, waiting + 1)

    def flush(self) -> None:
        """Write what was counted; called by upkeep and at the end. Raises what the store raises, and loses nothing."""
        with self._lock:
            keys = [(who, namespace) for who, names in self._counted.items() for namespace in names]
        for who, namespace in keys:
            if count := self._take(who, namespace):
                self._write_or_keep(who[0], who, namespace, count)

    def _is_over(self, since: int, now: int) -> bool:
        return now - since >= round(self._engine.settings.denial_window_seconds * SECOND)

    def _has_room(self, names: dict[str | None, tuple[int, int]], now: int) -> bool:
        for name in [name for name, (since, waiting) in names.items() if not waiting and self._is_over(since, now)]:
            del names[name]
        return len(names) < self.NAMES_MAX

    def _take(self, who: tuple[model.Caller, str], namespace: str | None) -> int:
        """What was counted and is to be written now; a key whose window is over is forgotten."""
        with self._lock:
            names = self._counted.get(who, {})
            since, waiting = names.pop(namespace, (0, 0))
            if not self._is_over(since, self._engine.clock.boot_us()):
                names[namespace] = (since, 0)
            elif not names:
                self._counted.pop(who, None)
            return waiting

    def _write_or_keep(
        self, caller: model.Caller, who: tuple[model.Caller, str], namespace: str | None, count: int
    ) -> None:
        try:
            self._write(caller, who[1], namespace, count)
        except BaseException:
            with self._lock:
                names = self._counted.setdefault(who, {})
                since, waiting = names.get(namespace, (0, 0))
                names[namespace] = (since, waiting + count)
            raise

    def _write(self, caller: model.Caller, operation: str, namespace: str | None, count: int) -> None:
        engine = self._engine
        workspace, _ = engine.names.workspace(caller.workspace)
        actor = engine.names.actor(workspace, caller.kind, caller.name)
        call = Call(engine, caller, workspace, actor)
        subject = {"kind": "operation", "permission": BY_NAME[operation].permission or ""}
        if namespace is not None:
            subject["namespace"] = namespace[:256]

        def write(tx: Transaction) -> None:
            # A name nobody has written to has no number; only who may read everything sees that it was asked for.
            number = None if namespace is None else call.namespace(tx, namespace) or NOBODYS_NAMESPACE
            audit.record(
                tx,
                call,
                operation,
                subject,
                stream=engine.stream_of(workspace),
                namespace=number,
                outcome=DENIED,
                count=count,
            )

        engine.database.write(write, lane=workspace)


def _issue(
    tx: Transaction,
    call: Call,
    kind: str,
    actor: str,
    label: str,
    grants: list[model.Grant],
    *,
    expires_at: int | None,
    replaces: str | None = None,
) -> model.Key:
    public_id = "".join(ids.ALPHABET[byte & 31] for byte in ids.random_bytes(8))
    secret = model.compose_key(kind, public_id, ids.random_bytes())
    actor_id = rows.find_actor(tx, call.workspace, kind, actor) or rows.add_actor(tx, call.workspace, kind, actor)
    key = model.Key(
        id=public_id,
        kind=kind,
        actor=actor,
        label=label,
        grants=grants,
        created_at=tx.now,
        expires_at=expires_at,
        secret=secret,
    )
    rows.add_credential(tx, call.workspace, actor_id, key, ids.keyed_hash(call.engine.pepper(), secret.encode()))
    subject = {"kind": "key", "id": public_id, "actor": f"{kind}:{actor}"}
    audit.record(tx, call, "key.create", subject | ({"replaces": replaces} if replaces else {}))
    return key


def _check_handing_on(call: Call, kind: str, grants: list[model.Grant]) -> None:
    """Refuse a key with more rights than the caller's, and a person's key to whoever is no person."""
    # The plane itself makes the first person's key when it starts; no credential stands for the plane.
    the_plane = call.caller.kind == "service" and call.caller.key is None
    if kind == "person" and call.caller.kind != "person" and not the_plane:
        raise PermissionDenied(
            f"{call.caller.actor} cannot make a person's key.",
            why="Only a person can: an agent or a service must never answer for one.",
            next_call="Let the person make it: agentmemo keys create.",
        )
    if not model.attenuates(grants, call.caller.grants):
        raise PermissionDenied(
            "The new key would hold more rights than yours.",
            why="Rights are only ever handed on, never made.",
            next_call="Grant a part of your own rights.",
        )


def _key(tx: Transaction, call: Call, public_id: str) -> model.Key:
    key = rows.get_credential(tx, call.workspace, public_id)
    if key is None:
        raise not_found("key", public_id)
    return key


def _identity_of(caller: model.Caller) -> model.Caller:
    """The caller without what differs between its calls, so that equal denials count together."""
    return model.Caller(
        workspace=caller.workspace, kind=caller.kind, name=caller.name, key=caller.key, door=caller.door
    )


def _ignore(_result: object, _error: BaseException | None) -> None:
    """The time of last use is a convenience; failing to note it must not fail the call."""
