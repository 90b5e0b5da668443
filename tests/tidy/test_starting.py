"""What is never used is never loaded (decision 24): a process pays at its start for what it then does."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import agentmemo

LOADED = "\nimport json, sys; print(json.dumps([name for name in sys.modules]))"
CLOSED_PORT = "http://127.0.0.1:9"


def test_importing_the_package_loads_no_more_than_its_errors():
    loaded = loaded_by("import agentmemo")
    assert {name for name in loaded if name.startswith("agentmemo")} == {
        "agentmemo",
        "agentmemo.client",
        "agentmemo.client.current",
        "agentmemo.connect",
        "agentmemo.errors",
    }
    assert loaded.isdisjoint({"asyncio", "inspect", "msgspec", "pathlib"})


def test_every_public_name_is_there_and_loaded_from_where_the_type_checker_looks():
    tree = ast.parse(Path(agentmemo.__file__).read_text(encoding="utf-8"))
    checked = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        for alias in node.names
    }
    assert checked == agentmemo._HOMES
    assert set(agentmemo.__all__) <= set(dir(agentmemo))
    assert all(getattr(agentmemo, name).__name__ == name for name in agentmemo.__all__)


def loaded_by(code):
    answer = subprocess.run([sys.executable, "-c", code + LOADED], capture_output=True, text=True, check=True)
    return set(json.loads(answer.stdout.splitlines()[-1]))
