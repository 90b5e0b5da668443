"""Every database there is, by the capabilities it declares."""

from __future__ import annotations

import pytest

from agentmemo.clock import ManualClock
from agentmemo.settings import Settings
from agentmemo.store.postgres import PostgresDatabase
from agentmemo.store.sqlite import SqliteDatabase

# `shared`: several processes may have it open at once.
DATABASES = {
    "sqlite file": {"durable", "concurrent_reads", "shared"},
    "sqlite memory": set(),
    "postgres": {"durable", "concurrent_reads", "shared"},
    # What a pooler or a distributed engine lacks is switched off.
    "postgres bare": {"durable", "concurrent_reads", "shared"},
}
LOSSY = Settings(postgres_allow_lossy=True, postgres_patience_seconds=5.0)
BARE = Settings(postgres_allow_lossy=True, postgres_patience_seconds=5.0, postgres_prepare=False, postgres_notify=False)


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
def opened_postgres(postgres_url, clock):
    """`opened_postgres()` opens the empty database; whatever it opened is closed at the end."""
    made = []

    def open_one(settings=LOSSY, url=postgres_url):
        made.append(PostgresDatabase(url, clock, settings))
        return made[-1]

    yield open_one
    for database in made:
        database.close()


@pytest.fixture
def make(kind, request):
    if kind.startswith("postgres"):
        opened = request.getfixturevalue("opened_postgres")
        return lambda: opened(LOSSY if kind == "postgres" else BARE)
    opened = request.getfixturevalue("opened")
    return (lambda: opened(None)) if kind == "sqlite memory" else opened


@pytest.fixture
def database(make):
    return make()


@pytest.fixture
def another(database, make):
    return make()
