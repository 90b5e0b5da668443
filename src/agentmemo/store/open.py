"""The one place that picks a database."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeGuard

from agentmemo.clock import Clock
from agentmemo.errors import InvalidInput, Unavailable
from agentmemo.settings import Settings, data_directory, refuse_bare_address
from agentmemo.store.database import Database
from agentmemo.store.migrate import Plan, plan
from agentmemo.store.sqlite import SqliteDatabase
from agentmemo.store.sqlite_transfer import SqliteSource, SqliteTarget
from agentmemo.store.transfer import Source, Target

FILE_NAME = "agentmemo.db"


def database_path(target: str | None) -> Path | None:
    """The file a target means: None is the data directory's, a directory gets agentmemo.db, ":memory:" is None."""
    if target is None:
        return data_directory() / FILE_NAME
    text = target.removeprefix("sqlite:///") if target.startswith("sqlite:///") else target
    if text == ":memory:":
        return None
    if "://" in text:
        scheme = text.partition("://")[0]
        raise InvalidInput(
            f"Unknown target {scheme}://.",
            next_call="Use a path, sqlite:///path, postgresql://host/name, http://host:port or https://host:port.",
        )
    if text == target:
        refuse_bare_address(text)
    path = Path(text).expanduser()
    is_directory = path.is_dir() or (not path.suffix and not path.exists())
    return (path / FILE_NAME if is_directory else path).absolute()


def is_postgres(target: str | None) -> TypeGuard[str]:
    return target is not None and target.startswith(("postgresql://", "postgres://"))


class Place(Protocol):
    """Where a store lies or may lie: what can be done there besides using it."""

    def open(self, clock: Clock) -> Database: ...

    def source(self) -> Source:
        """The store to copy from, as it is now. Raises InvalidInput where there is none."""
        ...

    def target(self, clock: Clock) -> Target:
        """The store to fill; made where there is none. Raises Conflict while others write there."""
        ...

    def plan(self) -> Plan:
        """What bringing its schema up to date would do. Nothing is changed."""
        ...

    def migrate(self, clock: Clock) -> Plan:
        """Do it, whole or not at all. Returns what was to be done."""
        ...


class SqlitePlace:
    def __init__(self, target: str | None) -> None:
        self._path = database_path(target)

    def open(self, clock: Clock) -> Database:
        return SqliteDatabase(self._path, clock)

    def source(self) -> Source:
        return SqliteSource(self._file())

    def target(self, clock: Clock) -> Target:
        return SqliteTarget(self._file(), clock)

    def plan(self) -> Plan:
        return plan(self._file())

    def migrate(self, clock: Clock) -> Plan:
        found = self.plan()
        self.open(clock).close()
        return found

    def _file(self) -> Path:
        if self._path is None:
            raise InvalidInput("A store in memory has no place.", next_call="Name a file or a database.")
        return self._path


def place_of(target: str | None, settings: Settings | None = None) -> Place:
    """The one that a target means. Raises InvalidInput for the address of a plane, which is no store."""
    if is_postgres(target):
        try:
            from agentmemo.store.postgres_place import PostgresPlace
        except ImportError as error:
            raise Unavailable(
                f"PostgreSQL needs the package {error.name}.",
                next_call="Install it: pip install 'agentmemo[postgres]'.",
                retry_safe=False,
            ) from error
        return PostgresPlace(target, settings or Settings())
    return SqlitePlace(target)


def open_database(target: str | None, clock: Clock, settings: Settings | None = None) -> Database:
    return place_of(target, settings).open(clock)
