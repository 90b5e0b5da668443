"""The summary as Markdown. The same summary gives the same bytes."""

import unicodedata
from collections.abc import Sequence

from analysis.model import Summary

_UNITS = ("bytes", "KiB", "MiB", "GiB")
_UNIT = 1024
_BAR_WIDTH = 30
_MONTHS_SHOWN = 24
_COPIES_SHOWN = 6


def render(title: str, summary: Summary) -> str:
    parts = [
        f"# Analysis of {literal(title)}",
        _overview(summary),
        *_code(summary),
        *_attention(summary),
        *_history(summary),
        *_contents(summary),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def literal(text: str) -> str:
    """Text by others as code that cannot break out of a table, a line or the reading direction."""
    shown = "".join(_visible(character) for character in text).replace("|", "\\|")
    if not shown.strip():
        return "` `"
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


def size_text(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < _UNIT:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= _UNIT
    return f"{size:.1f} {_UNITS[-1]}"


def _overview(summary: Summary) -> str:
    totals = summary.totals
    kinds = ", ".join(
        f"{count:,} {name.removeprefix('kind: ')}" for name, count in totals.items() if name.startswith("kind: ")
    )
    measures = f"{size_text(totals['bytes'])}, {totals['lines']:,} lines of text"
    marks = f"{totals['secrets']:,} likely secrets, {totals['todos']:,} marks such as TODO"
    lines = [
        f"Commit `{summary.commit}` of {summary.committed_at}.",
        f"- {totals['files']:,} tracked files ({kinds or 'none'}), {measures}",
        f"- {_counted(summary.commits_known, 'commit')} by {_counted(totals['authors'], 'author')}",
        f"- {marks}, {totals['duplicates']:,} sets of identical files",
    ]
    if summary.shallow:
        lines.append("- The clone is shallow: older history is not in it and not counted.")
    if summary.commits_read < summary.commits_known:
        lines.append(f"- History: the newest {summary.commits_read:,} of {summary.commits_known:,} commits were read.")
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def _code(summary: Summary) -> list[str]:
    languages = [[one.name, one.files, one.lines, size_text(one.bytes)] for one in summary.languages]
    spots = [[literal(one.path), one.commits, one.churn, one.lines] for one in summary.hot_spots]
    functions = [
        [literal(one.function.name), literal(one.path), one.function.line, one.function.lines]
        for one in summary.functions
    ]
    return [
        _section("Languages", ["Language", "Files", "Lines", "Size"], languages),
        _section("Hot spots", ["File", "Commits", "Lines changed", "Lines now"], spots, "Ordered by changed x now."),
        _section("Longest functions", ["Function", "File", "Line", "Lines"], functions),
    ]


def _attention(summary: Summary) -> list[str]:
    secrets = [[literal(one.path), one.mark.line, one.mark.name, one.mark.text] for one in summary.secrets]
    todos = [[literal(one.path), one.mark.line, one.mark.name, literal(one.mark.text)] for one in summary.todos]
    notes = [[literal(one.path), one.mark.name, one.mark.text] for one in summary.notes]
    shown = f"The first {len(todos)} of {summary.totals['todos']:,}." if len(todos) < summary.totals["todos"] else ""
    return [
        _section("Likely secrets", ["File", "Line", "Kind", "Length"], secrets, "Values are never stored or shown."),
        _section("Unfinished", ["File", "Line", "Mark", "Text"], todos, shown),
        _section("Read with limits", ["File", "Kind", "Limit"], notes),
    ]


def _history(summary: Summary) -> list[str]:
    authors = [[literal(one.name), one.commits, one.added, one.deleted] for one in summary.authors]
    recent = list(summary.months.items())[-_MONTHS_SHOWN:]
    most = max((count for _, count in recent), default=1)
    months = [[month, count, "#" * max(1, count * _BAR_WIDTH // most)] for month, count in recent]
    return [
        _section("Authors", ["Author", "Commits", "Added", "Deleted"], authors),
        _section("Activity by month", ["Month", "Commits", ""], months),
    ]


def _contents(summary: Summary) -> list[str]:
    largest = [[literal(one.path), size_text(one.size), one.kind] for one in summary.largest]
    binaries = [[literal(one.path), size_text(one.size), one.kind] for one in summary.binaries]
    duplicates = [
        [size_text(one.size), len(one.paths), ", ".join(literal(path) for path in one.paths[:_COPIES_SHOWN])]
        for one in summary.duplicates
    ]
    return [
        _section("Largest files", ["File", "Size", "Kind"], largest),
        _section("Binary files", ["File", "Size", "Kind"], binaries),
        _section("Identical files", ["Size", "Copies", "Files"], duplicates),
    ]


def _section(title: str, header: list[str], rows: Sequence[Sequence[object]], remark: str = "") -> str:
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    table = [header, ["---"] * len(header), *cells]
    body = "\n".join("| " + " | ".join(row) + " |" for row in table)
    return "\n\n".join(part for part in (f"## {title}", remark, body) if part)


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _visible(character: str) -> str:
    if character == " " or unicodedata.category(character)[0] not in "CZ":
        return character
    return character.encode("unicode_escape").decode()
