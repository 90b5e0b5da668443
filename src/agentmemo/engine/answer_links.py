"""One-time links: a person answers from a message, without signing in. Looking never uses one up.

The token exists in its message only; the store has a keyed hash of it. A link is used in the transaction of the
answer it gives, so that both happen or none does.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

from agentmemo import ids
from agentmemo.clock import SECOND
from agentmemo.engine.call import Call, EngineContext
from agentmemo.errors import NotFound, PermissionDenied
from agentmemo.model import notifications as model
from agentmemo.model.access import LinkUse
from agentmemo.store.access import add_actor, find_actor
from agentmemo.store.database import Transaction

TOKEN_CHARACTERS = 43  # 256 bits
HOUR_US = 3600 * SECOND


class Link(NamedTuple):
    """What stands in the message, and nowhere else."""

    token: str
    code: str


class LinkRow(NamedTuple):
    workspace: int
    workspace_name: str
    escalation: int
    handle: str
    notification: str
    person: int
    person_kind: str
    person_name: str
    code: str
    misses: int
    expires_at: int
    used_at: int | None
    secret: str


def make_link(
    tx: Transaction, call: Call, *, escalation: int, notification: str, person: str, deadline: int | None
) -> Link:
    """A link for one person in one message, good until the deadline and for 72 hours at most."""
    pepper = call.engine.pepper()
    token = base64.urlsafe_b64encode(ids.random_bytes()).decode().rstrip("=")
    code = ids.digits(model.CODE_DIGITS)
    actor = find_actor(tx, call.workspace, "person", person) or add_actor(tx, call.workspace, "person", person)
    latest = tx.now + model.LINK_HOURS * HOUR_US
    tx.write(
        "answer_link_add",
        hash=_hash(pepper, token),
        workspace=call.workspace,
        escalation=escalation,
        notification=notification,
        person=actor,
        code=_code_hash(pepper, token, code),
        secret=_secret_id(pepper),
        expires_at=min(latest, deadline) if deadline is not None and deadline > tx.now else latest,
    )
    return Link(token, code)


def look(tx: Transaction, peppers: list[bytes], token: str) -> LinkRow | None:
    """What a token stands for, also once it was used or has expired; it changes nothing."""
    if len(token) != TOKEN_CHARACTERS:
        return None
    rows = (tx.one("answer_link_get", hash=_hash(pepper, token)) for pepper in peppers)
    return next((LinkRow(*row) for row in rows if row), None)


def check(engine: EngineContext, token: str, code: str, *, guarded: bool) -> tuple[LinkRow, LinkUse]:
    """Whether a link may answer now. A wrong code counts, in a commit of its own, and after a few the link is dead.

    Raises NotFound for what is no link, and PermissionDenied for one that must not be used.
    """
    peppers = engine.peppers()
    found = engine.database.read(lambda tx: look(tx, peppers, token), snapshot=False)
    if found is None:
        raise no_link()
    check_alive(found, engine.clock.now_us())
    if code:
        # Compared and counted one by one: many guesses at once are as many guesses.
        found, fits = engine.database.write(lambda tx: _try(tx, peppers, token, code), lane=found.workspace)
        if not fits:
            raise _wrong_code(found.misses)
        check_alive(found, engine.clock.now_us())
    elif guarded:
        # A form that was sent without one is no guess, but what a scanner does.
        raise _wrong_code(found.misses)
    return found, LinkUse(hash=_hash(_secret_of(found, peppers), token), coded=bool(code))


def use(tx: Transaction, call: Call, *, escalation: int, guarded: bool) -> None:
    """Use up the link that the caller came by, inside the transaction of the answer; whoever came otherwise is fine.

    Raises NotFound where it belongs to another question, and PermissionDenied where it must not be used (any more).
    """
    link = call.caller.link
    if link is None:
        return
    row = tx.one("answer_link_get", hash=link.hash)
    found = LinkRow(*row) if row else None
    if found is None or (found.workspace, found.escalation, found.person) != (call.workspace, escalation, call.actor):
        raise no_link()
    check_alive(found, tx.now)
    if guarded and not link.coded:
        raise _wrong_code(found.misses)
    if not tx.run("answer_link_use", hash=link.hash, most=model.MISSES_MAX, now=tx.now):
        raise _used()


def _try(tx: Transaction, peppers: list[bytes], token: str, code: str) -> tuple[LinkRow, bool]:
    """The link after one guess, and whether it was right."""
    found = look(tx, peppers, token)
    if found is None:
        raise no_link()
    pepper = _secret_of(found, peppers)
    if ids.same_bytes(_code_hash(pepper, token, code).encode(), found.code.encode()):
        return found, True
    tx.run("answer_link_miss", hash=_hash(pepper, token), most=model.MISSES_MAX)
    return found._replace(misses=found.misses + 1), False


def _secret_of(found: LinkRow, peppers: list[bytes]) -> bytes:
    """The one of the plane's secrets under which a link was hashed."""
    return next((pepper for pepper in peppers if _secret_id(pepper) == found.secret), peppers[0])


def _secret_id(pepper: bytes) -> str:
    """Tells one secret from another without revealing anything of it."""
    return ids.keyed_hash(pepper, b"answer links").hex()[:16]


def _hash(pepper: bytes, token: str) -> bytes:
    return ids.keyed_hash(pepper, f"answer link {token}".encode())


def _code_hash(pepper: bytes, token: str, code: str) -> str:
    return ids.keyed_hash(pepper, f"answer code {token} {code}".encode()).hex()


def check_alive(found: LinkRow, now: int) -> None:
    """Raise PermissionDenied for a link that can answer no more."""
    if found.used_at is not None:
        raise _used()
    if found.misses >= model.MISSES_MAX:
        raise PermissionDenied(
            "This link is locked.",
            why=f"Its code was mistyped {model.MISSES_MAX} times.",
            next_call="Sign in and answer from the inbox.",
        )
    if found.expires_at <= now:
        raise PermissionDenied(
            "This link has expired.",
            why=f"A link is good until the question's deadline, and for {model.LINK_HOURS} hours at most.",
            next_call="Sign in and look at the inbox.",
        )


def no_link() -> NotFound:
    return NotFound(
        "This is no link to a question.",
        why="It was cut, mistyped, or is older than what is kept.",
        next_call="Open it from the message again, or sign in and look at the inbox.",
    )


def _used() -> PermissionDenied:
    return PermissionDenied(
        "This link was used before.",
        why="A link answers once.",
        next_call="Open it to see what was decided. To answer something else, sign in.",
    )


def _wrong_code(misses: int) -> PermissionDenied:
    left = max(0, model.MISSES_MAX - misses)
    return PermissionDenied(
        "The code does not fit.",
        why="It stands in the message that brought this link, so that no program can answer in your place.",
        next_call=f"Type the {model.CODE_DIGITS} digits from the message; {left} tries are left.",
    )
