"""Errors are part of the interface: each one raised names the next valid call."""

from __future__ import annotations

import ast

from agentmemo.errors import CLASSES

NAMES = {cls.__name__ for cls in CLASSES}


def test_every_error_names_the_next_call(package):
    silent = [
        f"{file.name}:{node.lineno}: {node.func.id}"
        for file in package
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES
        if "next_call" not in {keyword.arg for keyword in node.keywords}
        # A test's own plane speaks to the author of the test.
        if "/testing/" not in file.name
    ]
    assert silent == []
