"""The pytest plugin: with AgentMemo installed, any test may ask for `plane`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmemo.testing.plane import ManualPlane


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(capability): a fact of the store contract that needs a capability")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ManualPlane]:
    """A ready embedded plane on a temporary file, with a ManualClock and upkeep run by hand."""
    made = ManualPlane(tmp_path / "plane.db")
    yield made
    made.close()
