"""Every database there is, by the capabilities it declares."""

from __future__ import annotations

import pytest

from agentmemo.clock import ManualClock
from agentmemo.store.sqlite import SqliteDatabase

# `shared`: several processes may have it open at once.
DATABASES = {"sqlite file": {"durable", "concurrent_reads", "shared"}, "sqlite memory": set()}


def pytest_generate_tests(metafunc):
    if "kind" not in metafunc.fixturenames:
        return
    wanted = {name for marker in metafunc.definition.iter_markers("needs") for name in marker.args}
    metafunc.parametrize("kind", [kind for kind, able in DATABASES.items() if wanted <= able])


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def opened(path, clock):
    """`opened()` opens the file; whatever it opened is closed at the end."""
    made = []

    def open_one(target=path):
        made.append(SqliteDatabase(target, clock))
        return made[-1]

    yield open_one
    for database in made:
        database.close()


@pytest.fixture
def database(kind, opened):
    return opened(None) if kind == "sqlite memory" else opened()


@pytest.fixture
def another(database, opened):
    return opened()
