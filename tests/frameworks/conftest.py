"""Agents of three frameworks, each in a process of its own, in an environment that the development tools never see."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from relays import MODULES, Nursery, Relay

ROOT = Path(__file__).resolve().parents[2]
# The Makefile says where it made that environment.
PYTHON = Path(os.environ.get("FRAMEWORKS_PYTHON") or ROOT / ".venv-frameworks/bin/python")


@pytest.fixture(scope="session")
def frameworks_python():
    return PYTHON if PYTHON.exists() else pytest.skip(f"no {PYTHON}: `make test` makes it")


@pytest.fixture(scope="session")
def nurseries(frameworks_python, tmp_path_factory):
    """Importing the frameworks takes seconds of both processors, so it is done once for all of a run's workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "nurseries").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = {name: Nursery(frameworks_python, name, folder) for name in MODULES}
        for nursery in found.values():
            nursery.wait_ready()
    yield found
    for nursery in found.values():
        nursery.close()


@pytest.fixture
def make_relay(nurseries, tmp_path):
    """`make_relay(target)`: a relay with nobody started; whatever still runs at the end is ended."""
    made = []

    def make(target=None):
        made.append(Relay(nurseries, tmp_path / f"relay-{len(made)}", target))
        return made[-1]

    yield make
    for relay in made:
        relay.end_all()


@pytest.fixture
def relay(make_relay):
    return make_relay()
