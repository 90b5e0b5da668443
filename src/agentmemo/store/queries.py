"""Named queries: loaded from sql/*.sql, portable first, a database's own overrides second."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

# Not by importlib.resources, which takes longer to load than all the queries.
_SQL = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (?P<name>\w+)(?:; by (?P<by>[a-z_, ]+?))?(?P<id>; id first)?[ ]*$", re.MULTILINE)


class Query(NamedTuple):
    """One named statement. `by` names the parameters that say which row it is about, where it is about one.

    A change `by` other values of what a read is `by` does not meet it: by that a database with round trips reads rows
    beforehand and writes many at once (`postgres_transaction.py`). `id_first` says that a row begins with the `id` by
    which other statements know it.
    """

    sql: str
    by: tuple[str, ...] = ()
    id_first: bool = False


def parse(text: str) -> dict[str, Query]:
    """The statements of one file, by name; comment lines are dropped."""
    parts = _NAME.split(text)
    return {
        name: Query(_body(body), tuple(by.replace(" ", "").split(",")) if by else (), bool(id_first))
        for name, by, id_first, body in zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True)
    }


@cache
def load(database: str) -> dict[str, Query]:
    """All queries for a database: the portable ones with its overrides on top. An override keeps what it is `by`.

    One that begins with WHERE keeps what comes before that, too.
    """
    queries: dict[str, Query] = {}
    for folder in (_SQL, _SQL / database):
        for file in sorted(folder.iterdir(), key=lambda item: item.name):
            if file.name.endswith(".sql"):
                for name, query in parse(file.read_text(encoding="utf-8")).items():
                    known = queries.get(name)
                    queries[name] = known._replace(sql=_overridden(known.sql, query.sql)) if known else query
    return queries


def migrations(database: str) -> list[tuple[int, str]]:
    """(number, script) of every migration, in order."""
    folder = _SQL / database / "migrations"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [(int(item.name.partition("_")[0]), item.read_text(encoding="utf-8")) for item in files]


def _overridden(portable: str, own: str) -> str:
    return portable.partition("WHERE ")[0] + own if own.startswith("WHERE ") else own


def _body(text: str) -> str:
    kept = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("--"))
    return "\n".join(kept).strip().rstrip(";")
