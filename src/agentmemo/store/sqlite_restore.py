"""Putting a backup in the place of a store, without ever being without one.

The backup is copied beside the store and the copy is checked: its pages, its references, its schema. Then the
store is locked against everybody, kept under another name, and overwritten through SQLite's own journal, so that a
crash leaves the old content or the new. Only a store that SQLite cannot read is renamed instead.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec

from agentmemo.clock import iso
from agentmemo.errors import Conflict, InvalidInput
from agentmemo.store.migrate import APPLICATION_ID, check_version, newest_version
from agentmemo.store.queries import migrations
from agentmemo.store.sqlite_files import map_error, refuse_network_file_system, try_lock

SIDECARS = ("", "-wal", "-shm", "-journal")
DAMAGED = (apsw.NotADBError, apsw.CorruptError)
BUSY = (apsw.BusyError, apsw.LockedError)


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """`kept` is what the store was renamed or copied to, `pepper` whether the file that proves keys is there."""

    path: str
    bytes: int
    schema: int
    events: int
    keys: int
    pepper: bool
    kept: str | None = None


def restore(source: Path, target: Path, *, force: bool, now_us: int) -> Restored:
    """Replace the store `target` by the backup `source`.

    Raises InvalidInput when the backup is not whole, Conflict when the store holds something and `force` is not
    given or when another process has it open, Unavailable when the disk refuses. Nothing is replaced before
    every check has passed. Repeating it is harmless.
    """
    if not source.is_file():
        raise InvalidInput(f"There is no file {source}.", next_call="Name what `agentmemo backup` wrote.")
    if target.exists() and source.samefile(target):
        raise InvalidInput(f"{source} is the store itself.", next_call="Name a backup of it.")
    refuse_network_file_system(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _checked_copy(source, target) as (copy, found):
            with _alone(target):
                kept = _replace(target, copy, force=force, now_us=now_us)
            _sync_directory(target.parent)
        return msgspec.structs.replace(found, bytes=target.stat().st_size, kept=str(kept) if kept else None)
    except apsw.Error as error:
        raise map_error(error, str(target)) from error
    except OSError as error:
        raise map_error(apsw.IOError(str(error)), str(target)) from error


@contextlib.contextmanager
def _checked_copy(source: Path, target: Path) -> Iterator[tuple[Path, Restored]]:
    """A copy beside the store that passed every check, and what it holds; it is gone afterwards."""
    copy = target.with_name(f"{target.name}.restoring-{os.getpid()}")
    try:
        _copy(source, copy)
        yield copy, _examine(copy, source, target)
    finally:
        for sidecar in SIDECARS:
            copy.with_name(copy.name + sidecar).unlink(missing_ok=True)


def _copy(source: Path, copy: Path) -> None:
    """Through SQLite, so that a log beside the source is part of it."""
    copy.unlink(missing_ok=True)
    copy.touch(mode=0o600)
    try:
        with _opened(source, apsw.SQLITE_OPEN_READONLY) as reading, _opened(copy) as writing:
            with writing.backup("main", reading, "main") as work:
                work.step()
            writing.pragma("journal_mode", "DELETE")
    except (*DAMAGED, apsw.CantOpenError) as error:
        raise InvalidInput(
            f"{source} is not a backup.",
            why=f"SQLite cannot read it ({type(error).__name__}); nothing was replaced.",
            next_call="Name what `agentmemo backup` wrote.",
        ) from error


def _examine(copy: Path, source: Path, target: Path) -> Restored:
    with _opened(copy) as connection:
        try:
            answer = str(connection.pragma("integrity_check"))
        except DAMAGED as error:
            answer = str(error)
        if answer != "ok":
            raise _not_whole(source, f"its pages are damaged: {' '.join(answer.split())[:200]}")
        if connection.pragma("application_id") != APPLICATION_ID:
            raise _not_whole(source, "it is an SQLite file of another program, or empty")
        if (reference := connection.execute("PRAGMA foreign_key_check").get) is not None:
            raise _not_whole(source, f"a row refers to one that is missing: {reference}")
        version = check_version(connection, str(source))
        if version <= newest_version() and (missing := sorted(_schema_of(version) - _schema(connection))):
            raise _not_whole(source, f"{' '.join(missing[0])} is missing from its schema")
        return Restored(
            path=str(target),
            bytes=0,
            schema=version,
            events=_number(connection, "SELECT count(*) FROM event"),
            keys=_number(connection, "SELECT count(*) FROM credential WHERE revoked_at IS NULL"),
            pepper=target.with_name(target.name + "-pepper").exists(),
        )


def _replace(target: Path, copy: Path, *, force: bool, now_us: int) -> Path | None:
    """Put the copy in place; returns where the former content is kept, None where there was none."""
    kept = _free_name(target, now_us)
    if not target.exists():
        # A log without its store would be taken for the new one's.
        return _put(copy, target, kept)
    try:
        with _opened(target) as store:
            _lock_out_others(store, target)
            holds = _holds_events(store, target)
            if holds and not force:
                raise _holds_something(target)
            if holds:
                kept.touch(mode=0o600)
                _overwrite(kept, store)
            with _opened(copy) as checked, store.backup("main", checked, "main") as work:
                work.step()
    except DAMAGED:
        # SQLite cannot read it, so there is no journal to go through: out of the way with it, whole.
        if not force:
            raise _holds_something(target) from None
        _refuse_live_workers(target)
        return _put(copy, target, kept)
    return kept if holds else None


def _put(copy: Path, target: Path, kept: Path) -> Path | None:
    """Rename what is there out of the way, if anything, and the copy into place."""
    parts = [sidecar for sidecar in SIDECARS if target.with_name(target.name + sidecar).exists()]
    for sidecar in parts:
        target.with_name(target.name + sidecar).rename(kept.with_name(kept.name + sidecar))
    with copy.open("rb+") as file:
        os.fsync(file.fileno())
    copy.replace(target)
    return kept if parts else None


def _lock_out_others(store: apsw.Connection, target: Path) -> None:
    """Every open connection to a store holds a shared lock, so the exclusive one proves that there is none."""
    store.pragma("locking_mode", "EXCLUSIVE")
    try:
        alone = store.pragma("journal_mode", "DELETE") == "delete"
    except BUSY:
        alone = False
    if not alone:
        raise _is_open(target)


def _holds_events(store: apsw.Connection, target: Path) -> bool:
    """False for a store in which nothing ever happened. Raises Conflict for another program's file."""
    if _number(store, "SELECT count(*) FROM sqlite_master") == 0:
        return False
    if store.pragma("application_id") != APPLICATION_ID:
        raise Conflict(
            f"{target} is an SQLite file of another program.",
            why="It is never replaced, not even by force.",
            next_call="Name another place with --data.",
        )
    return _number(store, "SELECT count(*) FROM (SELECT 1 FROM event LIMIT 1)") > 0


def _overwrite(place: Path, store: apsw.Connection) -> None:
    with _opened(place) as keeping, keeping.backup("main", store, "main") as work:
        work.step()


def _refuse_live_workers(target: Path) -> None:
    """Each process with an engine holds a lock here, also when its file became unreadable under it."""
    folder = target.with_name(target.name + "-workers")
    for trace in folder.iterdir() if folder.is_dir() else ():
        descriptor = try_lock(trace)
        if descriptor is None:
            raise _is_open(target)
        os.close(descriptor)


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the writers' lock, so that whoever opens the store meanwhile waits for the new one."""
    lock = target.with_name(target.name + "-lock")
    lock.touch(mode=0o600)
    descriptor = try_lock(lock)
    if descriptor is None:
        raise _is_open(target)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened(path: Path, flags: int = apsw.SQLITE_OPEN_READWRITE) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path), flags=flags)
    try:
        connection.set_busy_timeout(0)
        yield connection
    finally:
        connection.close()


def _schema(connection: apsw.Connection) -> set[tuple[str, str]]:
    """(table, column) of every table, and (index, its table)."""
    columns = """
        SELECT s.name, c.name FROM sqlite_master AS s, pragma_table_info(s.name) AS c WHERE s.type = 'table'
        UNION SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"""
    return {(str(first), str(second)) for first, second in connection.execute(columns)}


def _schema_of(version: int) -> set[tuple[str, str]]:
    """What the migrations up to a version make."""
    connection = apsw.Connection(":memory:")
    try:
        for number, script in migrations("sqlite"):
            if number <= version:
                connection.execute(script)
        return _schema(connection)
    finally:
        connection.close()


def _number(connection: apsw.Connection, query: str) -> int:
    return int(str(connection.execute(query).get))


def _free_name(target: Path, now_us: int) -> Path:
    moment = iso(now_us)[:19].replace("-", "").replace(":", "")
    for number in range(1, 1000):
        suffix = "" if number == 1 else f"-{number}"
        place = target.with_name(f"{target.name}.before-restore-{moment}Z{suffix}")
        if not place.exists():
            return place
    raise Conflict(f"Too many files are kept beside {target}.", next_call="Move them elsewhere.")


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_whole(source: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"{source} cannot be restored: {why}.",
        why="A backup is checked before anything is replaced; nothing was.",
        next_call="Name another backup.",
    )


def _holds_something(target: Path) -> Conflict:
    return Conflict(
        f"{target} holds something.",
        why="A restore never silently replaces a store.",
        next_call="Add --force: it is kept beside the new one under a name that says so.",
    )


def _is_open(target: Path) -> Conflict:
    return Conflict(
        f"Another process has {target} open.",
        why="It would go on with what it remembers of the old store.",
        next_call="Stop it (agentmemo up, workers, agents), then repeat the restore.",
        retry_safe=True,
    )
