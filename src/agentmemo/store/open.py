"""The one place that picks a database."""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

from agentmemo.clock import Clock
from agentmemo.errors import InvalidInput, Unavailable
from agentmemo.settings import Settings, data_directory
from agentmemo.store.database import Database
from agentmemo.store.sqlite import SqliteDatabase

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
    path = Path(text).expanduser()
    is_directory = path.is_dir() or (not path.suffix and not path.exists())
    return (path / FILE_NAME if is_directory else path).absolute()


def is_postgres(target: str | None) -> TypeGuard[str]:
    return target is not None and target.startswith(("postgresql://", "postgres://"))


def open_database(target: str | None, clock: Clock, settings: Settings | None = None) -> Database:
    if is_postgres(target):
        try:
            from agentmemo.store.postgres import PostgresDatabase
        except ImportError as error:
            raise Unavailable(
                f"PostgreSQL needs the package {error.name}.",
                next_call="Install it: pip install 'agentmemo[postgres]'.",
                retry_safe=False,
            ) from error
        return PostgresDatabase(target, clock, settings)
    return SqliteDatabase(database_path(target), clock)
