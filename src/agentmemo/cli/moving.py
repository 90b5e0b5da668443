"""Stores as a whole: copying one to another place, and bringing its schema up to date."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from agentmemo.cli.options import EVERYWHERE, HTTP, Common, flag
from agentmemo.cli.output import Output, printable, write
from agentmemo.clock import SystemClock, monotonic
from agentmemo.errors import InvalidInput
from agentmemo.settings import from_environment
from agentmemo.store import secrets_file
from agentmemo.store.migrate import Plan
from agentmemo.store.open import is_postgres, place_of
from agentmemo.store.transfer import Copied, Source, Target
from agentmemo.store.transfer import copy as copy_store

TELL_SECONDS = 2.0
# The target had it already, or got it now, or has another one, or this machine has none.
HELD, COPIED, OTHER, ABSENT = "held", "copied", "other", "absent"


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """`pepper` says where the file is that proves the keys: see HELD to ABSENT."""

    copied: Copied
    pepper: str
    pepper_file: str


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """`applied` is empty with --plan and where nothing was missing."""

    plan: Plan
    applied: list[int]


def copy(
    source: Annotated[str, Parameter(help="A path, sqlite:///path or postgresql://...; also a backup.")],
    target: Annotated[str, Parameter(help="The same; nothing, an empty database, or an unfinished copy of it.")],
    /,
    *,
    common: Common = EVERYWHERE,
) -> None:
    """Copy a whole store: state with its history, runs, the trail, keys and schedules.

    Work on the source may go on: the copy holds the revisions that are named at the end. It is compared with the source
    before it can be opened. When it is interrupted, the same command goes on where it stopped.
    """
    settings = from_environment()
    begun, ended = place_of(_of_a_store(source), settings), place_of(_of_a_store(target), settings)
    reading = begun.source()
    try:
        filling = ended.target(SystemClock())
        try:
            copied = copy_store(reading, filling, _Progress(common.out).tell)
        finally:
            filling.close()
    finally:
        reading.close()
    found = Moved(copied=copied, pepper=_bring_pepper(reading, filling), pepper_file=str(_pepper_of(filling)))
    if common.json:
        common.out.document(found)
        return
    _show(common.out, found)


def migrate(
    *,
    plan: Annotated[bool, flag("Only show what is missing, with its SQL; nothing is changed.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """Bring the schema of a store up to date, in one transaction. Opening a store does the same.

    Processes of the version before go on working during and after it.
    """
    target = common.target
    if target is not None and target.startswith(HTTP):
        raise InvalidInput(
            "A schema is brought up to date where the store is.",
            next_call="agentmemo migrate --data PATH, or --database postgresql://...",
        )
    place = place_of(target, from_environment())
    found = place.plan() if plan else place.migrate(SystemClock())
    applied = [] if plan else [number for number, _ in found.missing]
    if common.json:
        common.out.document(Migrated(plan=found, applied=applied))
        return
    if applied:
        common.out.say(f"{found.database} had schema {found.version} and now has {found.newest}.")
        return
    common.out.say(f"{found.database} has schema {found.version}, the newest is {found.newest}.")
    for number, script in found.missing:
        common.out.say(f"\n-- migration {number}\n{script.rstrip()}")


class _Progress:
    """A line on standard error for each table that takes longer, and now and then one of how far it is."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._told = monotonic()

    def tell(self, table: str, rows: int) -> None:
        if monotonic() - self._told >= TELL_SECONDS:
            self._told = monotonic()
            # JSON goes to standard output; whoever waits for it may still look here.
            write(sys.stderr, printable(f"{table}: {rows} rows"))


def _of_a_store(target: str) -> str:
    if target.startswith(HTTP):
        raise InvalidInput(
            f"{target} is the address of a plane, not of a store.",
            why="A copy reads and writes the store itself.",
            next_call=f"agentmemo backup FILE --url {target}, then agentmemo copy FILE TARGET on the plane's machine.",
        )
    if not is_postgres(target) and target.removeprefix("sqlite:///") == ":memory:":
        raise InvalidInput("A store in memory is not copied.", next_call="Name a file or a database.")
    return target


def _pepper_of(side: Source) -> str:
    return str(secrets_file.place(side.beside))


def _bring_pepper(source: Source, target: Target) -> str:
    """Give the target the secret that the keys were made with, if this machine has it and the target none."""
    here, there = secrets_file.place(source.beside), secrets_file.place(target.beside)
    assert here is not None  # noqa: S101 - both lie somewhere
    assert there is not None  # noqa: S101 - as above
    known, held = secrets_file.read(here), secrets_file.read(there)
    if held is not None:
        return HELD if held == known else OTHER
    if known is None:
        return ABSENT
    secrets_file.write(there, known)
    return COPIED


def _show(out: Output, found: Moved) -> None:
    copied = found.copied
    out.table(
        ("table", "rows", ""),
        [(each.name, str(each.rows), "kept" if each.resumed else "") for each in copied.tables],
        empty="",
    )
    revisions = ", ".join(f"{name} at revision {revision}" for name, revision in copied.revisions.items())
    out.say(f"{copied.target} holds {revisions or 'nothing'}, as {copied.source} did; {copied.seconds:.1f} s.")
    if copied.keys and found.pepper in {OTHER, ABSENT}:
        out.remark(
            f"The {copied.keys} keys in it need the pepper file of the store they come from, as {found.pepper_file}, "
            "or new ones: agentmemo keys create."
        )
