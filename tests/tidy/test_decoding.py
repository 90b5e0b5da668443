"""Whatever is decoded into a struct while threads run was described to the codec by one of them (`model/kinds.py`)."""

from __future__ import annotations

import ast

# A process that judges and one that reads its settings have one thread.
ALONE = ("agentmemo.engine.judge_process", "agentmemo.settings", "agentmemo.model.kinds")
DECODING = {"decode", "convert", "Decoder"}
PLAIN = {"dict", "list", "str", "Any"}


def test_structs_are_described_before_they_are_decoded_into(package):
    found = [
        f"{file.module}:{call.lineno}"
        for file in package
        if file.module not in ALONE
        for function in ast.walk(file.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in ast.walk(function)
        if (kind := kind_of(call)) is not None and not is_harmless(kind)
    ]
    assert found == [], "wrap the type: described(...)"


def kind_of(call):
    """What a call decodes into; None where it does not."""
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in DECODING):
        return None
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    match ast.unparse(call.func):
        case "msgspec.json.decode" | "msgspec.msgpack.decode":
            return named.get("type")
        case "msgspec.convert":
            return call.args[1]
        case "msgspec.json.Decoder" | "msgspec.msgpack.Decoder":
            return call.args[0] if call.args else None
    return None


def is_harmless(kind):
    if isinstance(kind, ast.Call):
        return ast.unparse(kind.func) == "described"
    return {name.id for name in ast.walk(kind) if isinstance(name, ast.Name)} <= PLAIN
