"""Named queries: loaded from sql/*.sql, portable first, a database's own overrides second."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (?P<name>\w+)\s*$", re.MULTILINE)


def parse(text: str) -> dict[str, str]:
    """The statements of one file, by name; comment lines are dropped."""
    parts = _NAME.split(text)
    return {
        name: "\n".join(line for line in body.splitlines() if line.strip() and not line.lstrip().startswith("--"))
        .strip()
        .rstrip(";")
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


@cache
def load(database: str) -> dict[str, str]:
    """All queries for a database: the portable ones with its overrides on top."""
    root = resources.files("agentmemo.store") / "sql"
    queries: dict[str, str] = {}
    for folder in (root, root / database):
        for file in sorted(folder.iterdir(), key=lambda item: item.name):
            if file.name.endswith(".sql"):
                queries.update(parse(file.read_text(encoding="utf-8")))
    return queries


def migrations(database: str) -> list[tuple[int, str]]:
    """(number, script) of every migration, in order."""
    folder = resources.files("agentmemo.store") / "sql" / database / "migrations"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [(int(item.name.partition("_")[0]), item.read_text(encoding="utf-8")) for item in files]
