"""The pytest plugin: with AgentMemo installed, any test may ask for `plane`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmemo.testing.plane import ManualPlane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ManualPlane]:
    """A ready embedded plane on a temporary file, with a ManualClock and upkeep run by hand."""
    made = ManualPlane(tmp_path / "plane.db")
    yield made
    made.close()
