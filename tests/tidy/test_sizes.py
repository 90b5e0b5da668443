"""Functions and files stay short enough to read at once, families shallow enough to hold in mind."""

from __future__ import annotations

import ast

FUNCTION_LINES = 70
FILE_LINES = 600
INHERITANCE_DEPTH = 2


def functions(tree):
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_functions_are_short(python, ratchet):
    long = {
        f"{file.name}: {function.name}"
        for file in python
        for function in functions(file.tree)
        if function.end_lineno - function.lineno + 1 > FUNCTION_LINES
    }
    ratchet("long_functions", long)


def test_files_are_short(python, ratchet):
    ratchet("long_files", {file.name for file in python if len(file.text.splitlines()) > FILE_LINES})


def test_inheritance_is_shallow(package, ratchet):
    bases = {}
    for file in package:
        names = imported_names(file)
        for node in ast.walk(file.tree):
            if isinstance(node, ast.ClassDef):
                bases[f"{file.module}.{node.name}"] = [resolve(base, file, names) for base in node.bases]

    def depth(name):
        return 1 + max((depth(base) for base in bases.get(name, ()) if base in bases), default=0)

    deep = {name for name in bases if depth(name) > INHERITANCE_DEPTH and not name.startswith("agentmemo.errors.")}
    ratchet("deep_inheritance", deep)


def imported_names(file):
    """Local name -> full name, for everything the file imports from the package."""
    names = {}
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def resolve(base, file, names):
    if isinstance(base, ast.Subscript):  # Page[Entry]
        return resolve(base.value, file, names)
    first, *rest = ast.unparse(base).split(".")
    return ".".join([names.get(first, f"{file.module}.{first}"), *rest])
