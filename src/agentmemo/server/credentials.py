"""The first keys of a plane: an agent's in a 0600 file, a person's shown once and never kept."""

from __future__ import annotations

from pathlib import Path

import msgspec

from agentmemo.api.operations import BY_NAME
from agentmemo.engine.dispatch import Engine
from agentmemo.errors import NotAuthenticated
from agentmemo.model.access import EVERYTHING, Caller, CreateKey, Key, ListKeys, RevokeKey, parse_key
from agentmemo.settings import default_agent, os_user
from agentmemo.store import access as rows
from agentmemo.store import secrets_file
from agentmemo.store.open import FILE_NAME

AGENT_FILE = "agent.key"
PERSON_DAYS = 365.0
_SERVER = Caller(kind="service", name="agentmemo", grants=(EVERYTHING,), door="server")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """`agent_key` and `person_key` are filled only by the start that made them; keep the person's at once."""

    agent_key_file: Path | None
    agent_key: str | None = None
    person_key: str | None = None


def ensure_credentials(engine: Engine) -> Credentials:
    """Make the first keys, or say where the agent's lies.

    Several servers may start on one store at once: one of them makes the keys. A key file that belongs to another
    store is replaced; one whose key was revoked is left alone, because that was somebody's decision.
    """
    path = key_file(engine.database.capabilities.beside)
    kept = secrets_file.read(path) if path else None
    if kept and _is_ours(engine, kept):
        return Credentials(agent_key_file=path)
    # It never expires: whoever can read the file can read the store beside it as well.
    agent = _create(engine, CreateKey(kind="agent", actor=default_agent(), label="first start", expires_in_days=None))
    if path is not None:
        if kept:
            path.unlink(missing_ok=True)
        secrets_file.write(path, str(agent.secret))
        if secrets_file.read(path) != agent.secret:
            # Another server was faster; its key is in the file.
            _revoke(engine, agent)
            return Credentials(agent_key_file=path)
    if _knows_a_person(engine):
        # Another machine's first start on a shared database: who answers for people is settled already.
        return Credentials(agent_key_file=path, agent_key=agent.secret)
    person = _create(
        engine, CreateKey(kind="person", actor=os_user(), label="first start", expires_in_days=PERSON_DAYS)
    )
    return Credentials(agent_key_file=path, agent_key=agent.secret, person_key=person.secret)


def key_file(database: Path | None) -> Path | None:
    """Where the agent's key of a store lies; None for a store in memory."""
    if database is None:
        return None
    name = "keys" if database.name == FILE_NAME else f"{database.name}-keys"
    return database.with_name(name) / AGENT_FILE


def _is_ours(engine: Engine, key: str) -> bool:
    try:
        _, public_id = parse_key(key)
    except NotAuthenticated:
        return False
    return engine.database.read(lambda tx: rows.find_credential(tx, public_id)) is not None


def _knows_a_person(engine: Engine) -> bool:
    """Whether somebody holds a person's key that is still good."""
    cursor: str | None = None
    now = engine.clock.now_us()
    while True:
        page = engine.call(BY_NAME["key.list"], _SERVER, ListKeys(cursor=cursor))
        if any(key.kind == "person" and not key.revoked_at and (key.expires_at or now) >= now for key in page.items):
            return True
        cursor = page.cursor
        if cursor is None:
            return False


def _create(engine: Engine, request: CreateKey) -> Key:
    return engine.call(BY_NAME["key.create"], _SERVER, request)  # type: ignore[no-any-return]


def _revoke(engine: Engine, key: Key) -> None:
    engine.call(BY_NAME["key.revoke"], _SERVER, RevokeKey(id=key.id, reason="another server made the first key"))
