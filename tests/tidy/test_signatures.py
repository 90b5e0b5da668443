"""Options are spelled out: `**kwargs` would hide them from readers, types and completion."""

from __future__ import annotations

import ast

# `workflows.execute(name, /, **inputs)`: there the keywords are the workflow's own inputs.
INPUTS_AS_KEYWORDS = {("executions", "execute")}

# `transaction.one(name, **parameters)`: there they are what the named query binds.
BOUND_BY_QUERY = "src/agentmemo/store/"


def test_no_keyword_passthrough(package, ratchet):
    found = {
        f"{file.name}: {'.'.join(path)}"
        for file in package
        for path, function in public_functions(file.tree, ())
        if function.args.kwarg and (file.path.stem, function.name) not in INPUTS_AS_KEYWORDS
        if not (file.name.startswith(BOUND_BY_QUERY) and function.args.kwarg.arg == "parameters")
    }
    ratchet("keyword_passthrough", found)


def public_functions(node, path):
    """Functions reachable by public names; those inside other functions are nobody's interface."""
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", "")
        if not isinstance(name, str) or (name.startswith("_") and name not in {"__init__", "__call__"}):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (*path, name), child
        elif isinstance(child, ast.ClassDef):
            yield from public_functions(child, (*path, name))
