"""What every test may ask for, and the rule that CI accepts no unexplained skip."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import settings

from agentmemo.engine import dispatch, judge
from agentmemo.store import migrate, sqlite
from agentmemo.testing.postgres import PostgresServer

# What the tests of several folders share.
sys.path.insert(0, str(Path(__file__).with_name("shared")))

# node id pattern -> why CI may skip it. Everything else that skips makes a CI run fail.
ALLOWED_SKIPS: dict[str, str] = {
    "tests/store/test_postgres_pooler.py::*": "PgBouncer is the system's, and not every machine can be given it",
}

# How long an example takes says more of the machine than of us.
settings.register_profile("agentmemo", deadline=None)
settings.load_profile("agentmemo")

# Tests need a quick store more than one that outlives the machine; what safety is worth is shown with durable ones.
QUICK_FILES, SAFE_FILES = "OFF", sqlite.SYNCHRONOUS
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chosen once and inherited by every process of the run, so that one line of the report repeats it.
SEED_VARIABLE = "AGENTMEMO_CRASH_SEED"
SEED = os.environ.setdefault(SEED_VARIABLE, str(int.from_bytes(os.urandom(4), "big")))
# Of these folders single tests take seconds. They are begun first, so that nobody waits at the end for another's last.
LONG = ("crash", "frameworks", "console", "tidy")
_skips = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session", autouse=True)
def _own_data(tmp_path_factory):
    """No test reads or writes the data of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AGENTMEMO_")]:
            patch.delenv(name)
        patch.setenv("AGENTMEMO_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_files():
    """Files that this process opens are made in haste and wait for no disk, but for `durable_files`.

    Those of processes it starts are as in production.
    """
    import ready_schema

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "SYNCHRONOUS", QUICK_FILES)
        patch.setattr(sqlite, "migrate", ready_schema.give)
        yield


class SharedJudge(judge.Judge):
    """One process judges for all planes of this one: it keeps nothing between questions, and takes long to start."""

    lock = threading.Lock()
    child = None

    def __init__(self):
        self._lock = self.lock

    @property
    def _child(self):
        return SharedJudge.child

    @_child.setter
    def _child(self, child):
        SharedJudge.child = child

    def close(self):
        """With the session."""


@pytest.fixture(scope="session", autouse=True)
def _one_judge():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "Judge", SharedJudge)
        yield
        judge.Judge.close(SharedJudge())


@pytest.fixture
def durable_files(monkeypatch):
    """Files are as safe as in production, and made as there."""
    monkeypatch.setattr(sqlite, "SYNCHRONOUS", SAFE_FILES)
    monkeypatch.setattr(sqlite, "migrate", migrate.migrate)


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL of this session's own."""
    with PostgresServer(settings=QUICK) as server:
        server.make_database("tests")
        yield server


@pytest.fixture
def postgres_url(postgres, monkeypatch):
    """The address of an empty database. It is not durable: what durability is worth is shown elsewhere."""
    monkeypatch.setenv("AGENTMEMO_POSTGRES_ALLOW_LOSSY", "true")
    postgres.clean("tests")
    return postgres.url("tests")


@pytest.fixture(scope="session")
def chromium():
    """The path of a Chromium for playwright's `executable_path`."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    return path or pytest.skip("no Chromium on this machine: apt-get install chromium-headless-shell")


@pytest.fixture(scope="session")
def local_model(tmp_path_factory):
    """The address of a small model on this machine, one for all test processes; `local_model.NAME` is its name."""
    import local_model

    if not local_model.is_installed():
        pytest.skip("no model on this machine: make test installs one")
    place = tmp_path_factory.getbasetemp()
    with local_model.running((place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "model") as address:
        yield address


def pytest_report_header():
    return f"seed: {SEED_VARIABLE}={SEED}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.parent.name not in LONG)


def pytest_configure(config):
    config.stash[_skips] = {}
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(_SkipGate(config), "skip-gate")


class _SkipGate:
    def __init__(self, config):
        self._skips = config.stash[_skips]

    def pytest_runtest_logreport(self, report):
        self._note(report)

    def pytest_collectreport(self, report):
        self._note(report)

    def _note(self, report):
        allowed = any(fnmatch(report.nodeid, pattern) for pattern in ALLOWED_SKIPS)
        if report.skipped and not hasattr(report, "wasxfail") and not allowed:
            self._skips[report.nodeid] = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else "")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if self._skips and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for node, reason in self._skips.items():
            terminalreporter.write_line(f"CI refuses this skip: {node}: {reason}", red=True)
