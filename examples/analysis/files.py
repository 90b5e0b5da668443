"""What one file holds. A batch of files is one step of the run."""

import re
from functools import partial

from analysis.functions import BRACED, NotParsedError, braced_functions, python_functions
from analysis.languages import language_of
from analysis.leaks import find_secrets, redact
from analysis.model import Entry, FileFacts, Function, Mark
from analysis.repository import read_blobs

READ_BYTES_MAX = 1024 * 1024
MARKS_MAX = 20
FUNCTIONS_KEPT = 5
_SNIFFED_BYTES = 8000
_TODO_TEXT_MAX = 100
_TODO = re.compile(r"\b(TODO|FIXME|HACK|XXX)\b(?![\"'`|\\])(?:\([^)\n]{1,40}\))?[^\w\n]*([^\n]{0,400})")
_WIDE_ENCODINGS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def analyse_files(repository: str, entries: list[Entry]) -> list[FileFacts]:
    """The facts of each entry, in the order given."""
    contents = read_blobs(repository, [entry for entry in entries if entry.kind == "file"], READ_BYTES_MAX)
    return [facts_of(entry, contents.get(entry.blob)) for entry in entries]


def facts_of(entry: Entry, content: bytes | None) -> FileFacts:
    known = partial(FileFacts, path=entry.path, blob=entry.blob, size=entry.size)
    if entry.kind != "file":
        return known(kind=entry.kind)
    if content is None:
        return known(kind="missing", notes=["its content is not in this clone"])
    if content.startswith(_LFS_POINTER):
        return known(kind="lfs")
    notes = [f"only the first {READ_BYTES_MAX:,} bytes were read"] if entry.size > len(content) else []
    text = _decode(content, notes)
    if text is None:
        return known(kind="binary")
    language = language_of(entry.path, text)
    return known(
        kind="text",
        language=language,
        lines=text.count("\n") + (not text.endswith("\n") and text != ""),
        todos=find_todos(text),
        secrets=find_secrets(text, MARKS_MAX),
        functions=_longest_functions(text, language, notes),
        notes=notes,
    )


def find_todos(text: str) -> list[Mark]:
    """The first TODO, FIXME, HACK and XXX marks; secrets on the same line are not repeated."""
    marks: list[Mark] = []
    for match in _TODO.finditer(text):
        if len(marks) == MARKS_MAX:
            break
        said = redact(match[2]).rstrip("*/-> \t")[:_TODO_TEXT_MAX]
        marks.append(Mark(line=text.count("\n", 0, match.start()) + 1, name=match[1], text=said))
    return marks


def _decode(content: bytes, notes: list[str]) -> str | None:
    """The text, or None for a binary file: one with a NUL near its start, as Git decides."""
    if wide := _WIDE_ENCODINGS.get(content[:2]):
        notes.append("it is UTF-16")
        return content[2:].decode(wide, "replace")
    if b"\0" in content[:_SNIFFED_BYTES]:
        return None
    text = content.decode("utf-8-sig", "replace")
    if text.count("\N{REPLACEMENT CHARACTER}") > content.count("\N{REPLACEMENT CHARACTER}".encode()) + bool(notes):
        notes.append("it is not UTF-8")
    return text.replace("\r\n", "\n")


def _longest_functions(text: str, language: str, notes: list[str]) -> list[Function]:
    try:
        if language == "Python":
            found = python_functions(text)
        else:
            found = braced_functions(text, language) if language in BRACED else []
    except NotParsedError:
        notes.append("its functions are unknown: it is not valid Python here")
        return []
    return sorted(found, key=lambda function: (-function.lines, function.line))[:FUNCTIONS_KEPT]
