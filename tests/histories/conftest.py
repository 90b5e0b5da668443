"""What was recorded, and what a store could do wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The programs of this folder share its files with the tests.
sys.path.insert(0, str(Path(__file__).parent))

from history import History


@pytest.fixture(scope="session")
def recorded():
    """Twelve clients of a server that was killed and started again in the middle."""
    return History.load(Path(__file__).with_name("recorded.json"))
