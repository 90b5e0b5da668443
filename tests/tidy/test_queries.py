"""Named queries: each is used, each used one exists, and portable text stays the rule."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

NAME = re.compile(r"^-- name: (\w+)", re.MULTILINE)
PARAMETER = re.compile(r"(?<!:):([a-z_]\w*)")
BY = re.compile(r"; by ([a-z_, ]+?)(?:; id first)?\n")
CALLS = {"all", "one", "run", "write"}
OVERRIDES_AT_MOST = 0.25  # above it, split into one folder per database


@pytest.fixture(scope="session")
def queries(tracked):
    """(folder, name) -> text; the folder is '' for portable queries."""
    found, twice = {}, []
    for file in tracked:
        folder = re.fullmatch(r"src/agentmemo/store/sql/(?:(\w+)/)?[\w/]+\.sql", file.name)
        if not folder or "/migrations/" in file.name:
            continue
        _, *parts = NAME.split(file.text)
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            twice += [name] if (folder[1] or "", name) in found else []
            found[folder[1] or "", name] = text
    assert twice == [], "defined twice"
    return found


@pytest.fixture(scope="session")
def sources(package):
    return list(package)


def test_every_query_is_used(queries, sources):
    words = {node.value for file in sources for node in ast.walk(file.tree) if isinstance(node, ast.Constant)}
    assert sorted({name for _, name in queries} - words) == []


def test_every_used_query_exists(queries, sources):
    defined = {name for _, name in queries}
    missing = [
        f"{file.name}:{node.lineno}: {node.args[0].value}"
        for file in sources
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS
        if isinstance(node.func.value, ast.Name) and node.func.value.id in {"tx", "transaction"}
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
        if node.args[0].value not in defined
    ]
    assert missing == []


def test_what_is_foreseen_can_be_read_for_many(queries, sources):
    """A read beforehand is made for a whole batch at once: without a form for that, each call of a batch would fail."""
    (foresight,) = [file for file in sources if file.name.endswith("engine/foresight.py")]
    named = {
        node.elts[0].value
        for node in ast.walk(foresight.tree)
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant)
        if isinstance(node.elts[1], ast.Dict)
    }
    assert "handoff_get" in named
    assert sorted(name for name in named if "unnest" not in queries.get(("postgres", name), "")) == []


def test_overrides_take_the_same_parameters(queries):
    differing = {
        f"{folder}: {name}"
        for (folder, name), text in queries.items()
        if folder and ("", name) in queries
        if set(PARAMETER.findall(text)) != set(PARAMETER.findall(queries["", name]))
    }
    assert differing == set()


def test_a_query_is_by_what_it_is_asked_with(queries):
    """A database with round trips rests on it: a name that is no parameter would let two rows pass for one."""
    strange = {
        (folder, name)
        for (folder, name), text in queries.items()
        if (by := BY.match(text)) and not set(by[1].replace(" ", "").split(",")) <= set(PARAMETER.findall(text))
    }
    assert strange == set()


def test_what_begins_with_its_id_does(queries):
    portable = [
        text for (folder, _), text in queries.items() if not folder and text.partition("\n")[0].endswith("id first")
    ]
    assert len(portable) >= 3
    assert all(text.partition("\n")[2].startswith("SELECT id,") for text in portable)


def test_most_queries_are_portable(queries):
    names = {name for _, name in queries}
    special = Counter(folder for folder, _ in queries if folder)
    print({folder: f"{count} of {len(names)} overridden" for folder, count in special.items()})  # noqa: T201 - reported
    assert all(count <= OVERRIDES_AT_MOST * len(names) for count in special.values()), dict(special)
