"""Workflow documents as files: YAML where its library is installed, JSON everywhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgspec

from agentmemo.client import yaml_files
from agentmemo.errors import InvalidInput
from agentmemo.model.values import NOT_JSON
from agentmemo.model.workflows import WorkflowDocument, plain

YAML_ENDINGS = (".yaml", ".yml")


def document_in(file: Path) -> Any:
    """What a file holds, for `compile_document`. Raises InvalidInput for what cannot be read."""
    try:
        content = file.expanduser().read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{str(file)!r} cannot be read: {error.strerror}.", next_call="Name a .yaml or .json file."
        ) from None
    return parse(content, file.name)


def parse(content: bytes, name: str) -> Any:
    """By the ending of the name; what has none of YAML's is JSON."""
    if name.endswith(YAML_ENDINGS):
        return yaml_files.loads(content, name)
    try:
        return msgspec.json.decode(content)
    except NOT_JSON as error:
        raise InvalidInput(f"{name} is not JSON: {error}.", next_call="Correct it, or name a .yaml file.") from None


def as_text(document: WorkflowDocument) -> tuple[str, str]:
    """The name of its file and its text: YAML if it can be written here, else JSON."""
    if importlib.util.find_spec("yaml") is not None:
        return "workflow.yaml", yaml_files.dumps(plain(document))
    return "workflow.json", msgspec.json.format(msgspec.json.encode(plain(document)), indent=2).decode() + "\n"
