"""What scripts write is what they would write now."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("script", ["generate_sync.py", "generate_reference.py"])
def test_generated_files_are_current(root, script):
    result = subprocess.run(
        [sys.executable, f"scripts/{script}", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
