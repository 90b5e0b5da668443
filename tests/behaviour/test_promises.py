"""The manifest of promises and the tests that show them name each other."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

HERE = Path(__file__).parent


def manifest():
    spec = importlib.util.spec_from_file_location("behaviour_promises", HERE / "promises.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PROMISES


def cited():
    """(test, promises it cites) of every test in this folder but these two."""
    for file in sorted(HERE.glob("test_*.py")):
        if file == Path(__file__):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and is_test(node):
                yield f"{file.name}::{node.name}", list(promises_of(node))


def is_test(node):
    return node.name.startswith("Test" if isinstance(node, ast.ClassDef) else "test_")


def promises_of(node):
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).rpartition(".")[2] == "promise":
            yield from (argument.value for argument in decorator.args)


def test_every_test_cites_a_known_promise():
    known = manifest()
    assert [test for test, found in cited() if not found] == []
    assert {name for _, found in cited() for name in found} - known.keys() == set()


def test_every_promise_is_shown():
    shown = {name for _, found in cited() for name in found}
    assert manifest().keys() - shown == set()


def test_no_sentence_is_said_twice():
    sentences = [promise.sentence for promise in manifest().values()]
    assert len(sentences) == len(set(sentences))
    assert all(promise.source for promise in manifest().values())
