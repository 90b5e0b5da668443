"""`agentmemo keys`: credentials, and the actors they belong to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TextIO

import msgspec
from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, Common, flag, group_of_commands
from agentmemo.cli.output import stamp, stamp_ago
from agentmemo.cli.values import read_grants, show_grants
from agentmemo.clock import SystemClock
from agentmemo.errors import InvalidInput
from agentmemo.model.access import Actor, Key

app = group_of_commands("keys", "Credentials and actors.")

Kind = Annotated[str, Parameter(help="agent, person or service.")]
Reason = Annotated[str, flag("Why, for the trail.")]
Out = Annotated[
    Path | None, Parameter(help="Write the key to this new file, readable by you alone, instead of printing it.")
]


@app.command
def create(
    kind: Kind,
    actor: str,
    /,
    *,
    label: Annotated[str, flag("What it is for.")] = "",
    grant: Annotated[
        Sequence[str],
        flag("Rights, such as `state:read,runs:*` or `state:*@team/*`; may be repeated."),
    ] = (),
    expires_in_days: Annotated[float, Parameter(help="Days until it ends.")] = 90.0,
    never_expires: Annotated[bool, flag("Without an end.")] = False,
    out: Out = None,
    common: Common = EVERYWHERE,
) -> None:
    """Create a key. It is shown once and never kept by the plane."""
    grants = read_grants(grant)
    with _private_file(out) as file, common.connect(deciding=True) as plane:
        made = plane.keys.create(
            kind, actor, label=label, grants=grants, expires_in_days=None if never_expires else expires_in_days
        )
        _hand_over(common, made, file, out)


@app.command(name="list")
def list_(*, common: Common = EVERYWHERE) -> None:
    """List keys, without their secrets."""
    with common.connect() as plane:
        found = list(plane.keys.list())
    if common.json:
        common.out.page(found, None)
        return
    now = SystemClock().now_us()
    rows = [
        (
            key.id,
            f"{key.kind}:{key.actor}",
            _state(key, now),
            stamp(key.expires_at) or "never",
            stamp(key.last_used_at) or "never",
            " ".join(filter(None, (key.label, show_grants(key.grants)))),
        )
        for key in found
    ]
    common.out.table(("key", "actor", "state", "expires", "last used", "for and rights…"), rows, empty="No keys.")


@app.command
def revoke(key_id: str, /, *, reason: Reason = "", common: Common = EVERYWHERE) -> None:
    """End a key now; whoever still uses it is refused."""
    with common.connect() as plane:
        found = plane.keys.revoke(key_id, reason=reason)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"Key {found.id} of {found.kind}:{found.actor} is revoked.")


@app.command
def rotate(
    key_id: str,
    /,
    *,
    overlap_hours: Annotated[float, Parameter(help="How long the old key goes on.")] = 24.0,
    out: Out = None,
    common: Common = EVERYWHERE,
) -> None:
    """Make a successor with the same rights; the old key ends after the overlap."""
    with _private_file(out) as file, common.connect(deciding=True) as plane:
        made = plane.keys.rotate(key_id, overlap_hours=overlap_hours)
        _hand_over(common, made, file, out)


@app.command
def whoami(*, common: Common = EVERYWHERE) -> None:
    """Say who you are to the plane, and what you may do."""
    with common.connect() as plane:
        found = plane.keys.whoami()
    if common.json:
        common.out.document(found)
        return
    pairs = (
        ("actor", f"{found.kind}:{found.actor}"),
        ("on behalf of", ", ".join(found.on_behalf_of)),
        ("workspace", found.workspace),
        ("rights", show_grants(found.grants)),
    )
    common.out.fields(pairs)


@app.command
def actors(*, common: Common = EVERYWHERE) -> None:
    """List everybody who ever acted here."""
    with common.connect() as plane:
        found = list(plane.keys.actors())
    if common.json:
        common.out.page(found, None)
        return
    rows = [
        (f"{actor.kind}:{actor.name}", stamp(actor.created_at), stamp(actor.disabled_at) or "no") for actor in found
    ]
    common.out.table(("actor", "since", "disabled"), rows, empty="No actors.")


@app.command
def disable(name: str, /, *, kind: Kind = "agent", reason: Reason = "", common: Common = EVERYWHERE) -> None:
    """Refuse every call of an actor from now on, and free what it holds: the kill switch."""
    with common.connect() as plane:
        _switched(common, plane.keys.disable(name, kind=kind, reason=reason))


@app.command
def enable(name: str, /, *, kind: Kind = "agent", reason: Reason = "", common: Common = EVERYWHERE) -> None:
    """Allow an actor's calls again."""
    with common.connect() as plane:
        _switched(common, plane.keys.enable(name, kind=kind, reason=reason))


def _switched(common: Common, actor: Actor) -> None:
    if common.json:
        common.out.document(actor)
    else:
        state = "enabled" if actor.disabled_at is None else f"disabled since {stamp_ago(actor.disabled_at)}"
        common.out.say(f"{actor.kind}:{actor.name} is {state}.")


def _state(key: Key, now: int) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "valid"


@contextlib.contextmanager
def _private_file(out: Path | None) -> Iterator[TextIO | None]:
    """The new file for a key, made before the key is, whose secret could else be lost; gone again on failure."""
    if out is None:
        yield None
        return
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidInput(
            f"The file {str(out)!r} cannot be made: {error.strerror}.",
            why="A key is only written to a new file.",
            next_call="Name a new file in a directory you may write to.",
        ) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        try:
            yield file
        except BaseException:
            out.unlink(missing_ok=True)
            raise


def _hand_over(common: Common, key: Key, file: TextIO | None, out: Path | None) -> None:
    secret = key.secret or ""
    if file is not None:
        file.write(secret + "\n")
        key = msgspec.structs.replace(key, secret=None)
    common.out.remark(
        f"Key {key.id} of {key.kind}:{key.actor}, until {stamp(key.expires_at) or 'revoked'}; "
        + (f"written to {out}." if file else "this is the only time it is shown:")
    )
    if common.json:
        common.out.document(key)
    elif file is None:
        common.out.say(secret)
