"""Real processes on real files, killed with SIGKILL. Only here do tests use real time."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

import pytest

# workload.py is a program that runs alone; the tests share its names.
sys.path.insert(0, str(Path(__file__).parent))

import power
from children import Plane, kills

# Read before the suite's own fixture takes every AGENTMEMO_ variable out of the environment.
SEED = os.environ["AGENTMEMO_CRASH_SEED"]


def pytest_configure(config):
    config.addinivalue_line("markers", "crash: real processes that are killed; minutes, not milliseconds")


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker("crash")


def pytest_terminal_summary(terminalreporter):
    if kills:
        terminalreporter.write_line(f"crash: {len(kills)} processes died by SIGKILL")


@pytest.fixture
def chance(request):
    """Chance that can be repeated: the seed is in the report's header, and each test has a stream of its own."""
    return random.Random(f"{SEED}/{request.node.name}")


@pytest.fixture
def memory():
    """A place for stores, in memory where there is some."""
    with tempfile.TemporaryDirectory(dir=power.QUICK_PLACE) as place:
        yield Path(place) / "left"


@pytest.fixture
def crashing(tmp_path):
    """A store and the processes that work on it; whatever still runs at the end is ended."""
    plane = Plane(tmp_path)
    yield plane
    plane.end_all()
