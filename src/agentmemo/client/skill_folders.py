"""Agent Skills as folders and files: read into a draft, and written from a version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentmemo.client import yaml_files
from agentmemo.client.workflow_files import as_text, document_in
from agentmemo.errors import InvalidInput
from agentmemo.model.workflow_rules import compile_document
from agentmemo.model.workflow_skill import draft_of, skill_of, split_front
from agentmemo.model.workflow_versions import Workflow
from agentmemo.model.workflows import WorkflowDocument, walk

BYTES_MAX = 1024 * 1024
SKILL_FILE = "SKILL.md"
SOP_ENDING = ".sop.md"
WHOLE = ("references/workflow.yaml", "references/workflow.json")


def read(path: Path, *, designed_by: str | None, tools: list[str]) -> dict[str, Any] | WorkflowDocument:
    """A document from a SKILL.md, the folder that it is in, or a .sop.md. Raises InvalidInput for what is neither."""
    file = path / SKILL_FILE if path.is_dir() else path
    if file.name == SKILL_FILE:
        for name in WHOLE:
            if (whole := file.parent / name).is_file():
                return _granted(compile_document(document_in(whole)), tools)
    text = _text(file)
    if file.name.endswith(SOP_ENDING):
        front, body, known_as = "", text, file.name.removesuffix(SOP_ENDING)
    else:
        front, body = split_front(text)
        known_as = file.resolve().parent.name
    said = yaml_files.loads(front, f"The front matter of {file.name}") if front.strip() else {}
    if not isinstance(said, dict):
        raise InvalidInput(f"The front matter of {file.name} is no list of fields.", next_call="Write `name: ...`.")
    made: dict[str, Any] = draft_of(said, body, known_as=known_as, designed_by=designed_by, tools=tools)
    return made


def write(into: Path, workflow: Workflow) -> Path:
    """The folder `into`/name with SKILL.md and references/; files of the same names are replaced."""
    document = compile_document(workflow.document)
    name, whole = as_text(document)
    place = f"references/{name}"
    skill = skill_of(document, {"state": workflow.state}, place)
    folder = into / skill.name
    (folder / "references").mkdir(parents=True, exist_ok=True)
    for stale in WHOLE:
        (folder / stale).unlink(missing_ok=True)
    for file, text in (skill.files | {place: whole}).items():
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
    return folder


def _granted(document: WorkflowDocument, tools: list[str]) -> WorkflowDocument:
    """A document that comes from elsewhere is refused with tools that nobody named here."""
    used = set(document.tools)
    for step in walk(document.steps):
        used.update(filter(None, [step.tool, *step.tools, *(check.tool for check in step.checks)]))
    if missing := sorted(used - set(tools)):
        raise InvalidInput(
            f"{document.name} uses tools that it was not given: {', '.join(missing)}.",
            why="What comes from elsewhere gains no tools by saying so.",
            next_call=f"Look at what it does with them; to give them, name them: tools={sorted(used)}.",
            details={"tools": missing},
        )
    return document


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{str(file)!r} cannot be read: {error.strerror}.", next_call="Name a SKILL.md, its folder, or a .sop.md."
        ) from None
    if len(content) > BYTES_MAX:
        raise InvalidInput(f"{file.name} has more than {BYTES_MAX} bytes.", next_call="Leave out what is no step.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{file.name} is not UTF-8: {error.reason}.", next_call="Convert it to UTF-8 first."
        ) from None
