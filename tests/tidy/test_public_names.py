"""The package's face: adding or losing a name is a decision, taken here."""

from __future__ import annotations

import pytest

import agentmemo

PUBLIC = []


def test_public_names():
    if not hasattr(agentmemo, "__all__"):
        pytest.skip("the package has no face yet")
    assert sorted(agentmemo.__all__) == sorted(PUBLIC)
    assert [name for name in PUBLIC if not hasattr(agentmemo, name)] == []
