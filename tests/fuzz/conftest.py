"""The folder's own modules can be imported by name."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

# Chosen once for the run; its tests see none of its settings.
SEED = os.environ["AGENTMEMO_CRASH_SEED"]
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def chance(request):
    """Random numbers that a run with the same seed repeats."""
    return random.Random(f"{SEED}/{request.node.nodeid}")
