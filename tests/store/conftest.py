"""Every database there is, by the capabilities it declares."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import msgspec
import pytest

# Its helpers are shared by the tests of this folder.
sys.path.insert(0, str(Path(__file__).parent))

import pooler
from line import Line
from stand import Stand

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
if pooler.PROGRAM:
    # By default settings: what does not work there is found out.
    DATABASES["postgres pooled"] = {"durable", "concurrent_reads", "shared"}
LOSSY = Settings(postgres_allow_lossy=True, postgres_patience_seconds=60.0)
BARE = msgspec.structs.replace(LOSSY, postgres_prepare=False, postgres_notify=False)

SEED_VARIABLE = "AGENTMEMO_LINE_SEED"
# Read before the suite's own fixture takes every AGENTMEMO_ variable out of the environment.
SEED = int(os.environ.get(SEED_VARIABLE) or int.from_bytes(os.urandom(4), "big"))
# What the first `count` rows of a table meet; a sequence keeps counting when its transaction is undone.
FAULT = """
CREATE SEQUENCE fault_count;
CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('fault_count') <= {count} THEN {what}; END IF; RETURN NEW;
END $$;
CREATE CONSTRAINT TRIGGER fault AFTER INSERT ON {table} {when} FOR EACH ROW EXECUTE FUNCTION fault();
"""


def pytest_report_header():
    without = "" if pooler.PROGRAM else "; no PgBouncer here, so nothing is tested behind one"
    return f"line seed: {SEED_VARIABLE}={SEED}{without}"


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


@pytest.fixture(scope="session")
def pooler_in_front(postgres):
    """A PgBouncer in transaction mode before the session's PostgreSQL."""
    made = pooler.Pooler(postgres)
    yield made
    made.close()


@pytest.fixture
def make(kind, request):
    if kind == "postgres pooled":
        opened = request.getfixturevalue("opened_postgres")
        url = request.getfixturevalue("pooler_in_front").url("tests")
        return lambda: opened(LOSSY, url)
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


@pytest.fixture
def stand(postgres_url):
    """Planes on the empty database. Whatever a test did to them, the trail is whole afterwards."""
    made = Stand(postgres_url)
    yield made
    checked = made.trusted().audit.verify()
    made.close()
    assert checked.intact, checked.first_fault


@pytest.fixture
def line(postgres_url):
    made = Line(postgres_url)
    yield made
    made.end()


@pytest.fixture
def fault(postgres, postgres_url):
    """`fault(table, count, what, when)`: the first `count` rows of a table meet it."""

    def arm(table, count, what, when=""):
        postgres.execute(FAULT.format(table=table, count=count, what=what, when=when), database="tests")

    yield arm
    postgres.execute("DROP FUNCTION IF EXISTS fault CASCADE", "DROP SEQUENCE IF EXISTS fault_count", database="tests")


@pytest.fixture
def chance(request):
    """Chance that can be repeated: the seed is in the report's header, and each test has a stream of its own."""
    return random.Random(f"{SEED}/{request.node.name}")
