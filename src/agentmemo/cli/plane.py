"""The plane itself: status, briefing, doctor, backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from agentmemo.cli import exits
from agentmemo.cli.options import EVERYWHERE, HTTP, Common, flag
from agentmemo.cli.output import report
from agentmemo.clock import SystemClock
from agentmemo.errors import InvalidInput, Unavailable
from agentmemo.model.system import Diagnosis, Finding
from agentmemo.store.open import database_path, is_postgres
from agentmemo.store.sqlite_restore import Restored
from agentmemo.store.sqlite_restore import restore as restore_store

_MIB = 1024 * 1024


def status(*, common: Common = EVERYWHERE) -> None:
    """Show how the plane is doing: its runs, its size, and what is overdue."""
    with common.connect() as plane:
        found = plane.status()
    if common.json:
        common.out.document(found)
        return
    runs = ", ".join(f"{count} {state}" for state, count in sorted(found.runs.items()))
    pairs = (
        ("version", found.version),
        ("store", found.store),
        ("database", f"{found.database}, {found.bytes_on_disk / _MIB:.1f} MiB"),
        ("revision", str(found.revision)),
        ("entries", str(found.entries)),
        ("runs", runs or "none"),
        ("overdue", "\n".join(found.overdue)),
    )
    common.out.fields(pairs)


def briefing(
    of: Annotated[str | None, Parameter(help="The agent; you, when left out.")] = None,
    /,
    *,
    common: Common = EVERYWHERE,
) -> None:
    """Print what an agent needs to know when it starts: unfinished work, what failed, what waits, the next call."""
    with common.connect() as plane:
        found = plane.briefing(of)
    if common.json:
        common.out.document(found)
    else:
        common.out.say(found.text)


def doctor(*, common: Common = EVERYWHERE) -> int:
    """Check libraries, file, disk, clock and the oldest unfinished work. Ends with 1 when something is wrong."""
    try:
        with common.connect() as plane:
            found = plane.diagnose()
    except Unavailable as error:
        # What keeps the store from opening is the diagnosis.
        finding = Finding(check="store", level="fail", text=error.message, next_call=error.next_call)
        common.out.document(Diagnosis(findings=[finding])) if common.json else report(error, json=False)
        return exits.UNAVAILABLE
    if common.json:
        common.out.document(found)
    else:
        for each in found.findings:
            common.out.say(f"{each.level:<4}  {each.check}: {each.text}")
            if each.next_call and each.level != "ok":
                common.out.say(f"      next: {each.next_call}")
    return exits.FAILED if any(each.level == "fail" for each in found.findings) else exits.DONE


def backup(
    file: Annotated[Path, Parameter(help="A new file; one that exists is never overwritten.")],
    /,
    *,
    common: Common = EVERYWHERE,
) -> None:
    """Write a consistent, checked copy of the store to a new file, while work goes on.

    Over HTTP the file is made on the plane's machine, so name it by its whole path.
    """
    remote = common.target is not None and common.target.startswith(HTTP)
    place = file if remote else file.expanduser().absolute()
    with common.connect() as plane:
        found = plane.backup(str(place))
    if common.json:
        common.out.document(found)
    else:
        common.out.say(f"{found.path} holds revision {found.revision}, {found.bytes / _MIB:.1f} MiB.")


def restore(
    file: Annotated[Path, Parameter(help="What `agentmemo backup` wrote.")],
    /,
    *,
    force: Annotated[bool, flag("Replace a store that holds something; it is kept aside.")] = False,
    common: Common = EVERYWHERE,
) -> None:
    """Put a backup in the place of the store.

    The backup is checked before anything is replaced, a store that another process has open is refused, and what
    was there is kept beside it under a name that says so.
    """
    target = common.target
    if is_postgres(target):
        raise InvalidInput(
            "A backup is put into a PostgreSQL database by copying it.",
            why="The database must be empty; it is never replaced.",
            next_call=f"agentmemo copy {file} postgresql://...",
        )
    path = None if target is not None and target.startswith(HTTP) else database_path(target)
    if path is None:
        raise InvalidInput(
            "A store is restored on its own machine, while no plane runs on it.",
            next_call=f"agentmemo restore {file} --data PATH",
        )
    found = restore_store(file.expanduser().absolute(), path, force=force, now_us=SystemClock().now_us())
    if common.json:
        common.out.document(found)
        return
    common.out.say(f"{found.path} holds the {found.events} events of {file}, {found.bytes / _MIB:.1f} MiB.")
    if found.kept:
        common.out.say(f"What was there before is kept in {found.kept}.")
    _warn_of_keys(common, found)


def _warn_of_keys(common: Common, found: Restored) -> None:
    if found.keys and not found.pepper:
        common.out.remark(
            f"The {found.keys} keys in it need the file {Path(found.path).name}-pepper of the store they come from, "
            "or new ones: agentmemo keys create."
        )
