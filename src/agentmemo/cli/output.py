"""What a command prints: one JSON document, JSON lines, or text and tables for people.

Text that others wrote is shown with its control characters spelled out, so that a stored value can never move
the cursor or recolour the terminal of whoever looks at it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

import msgspec

from agentmemo.clock import SECOND, SystemClock, iso
from agentmemo.errors import Error

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_MAX = 100
CELL_MAX = 400
_IDENTIFIER_MAX = 44
# C0 and C1 controls, DEL, and the marks that reverse the reading direction.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Output:
    """Standard output takes results, standard error takes remarks and errors."""

    def __init__(self, *, json: bool) -> None:
        self.json = json

    def document(self, value: Any) -> None:
        """The whole result as JSON, indented where a person reads it."""
        content = msgspec.json.encode(value)
        if sys.stdout.isatty():
            content = msgspec.json.format(content, indent=2)
        write(sys.stdout, content.decode())

    def line(self, value: Any) -> None:
        """One of many JSON documents, on a line of its own, at once."""
        write(sys.stdout, msgspec.json.encode(value).decode())
        sys.stdout.flush()

    def say(self, text: str) -> None:
        write(sys.stdout, printable(text))

    def flush(self) -> None:
        """What was said is seen now; for commands that go on."""
        sys.stdout.flush()

    def remark(self, text: str) -> None:
        """Beside the result; a program that asked for JSON does not need it."""
        if not self.json:
            write(sys.stderr, printable(text))

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """`name  value` lines; empty values are left out."""
        shown = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            indented = printable(value).replace("\n", "\n" + " " * (width + 2))
            write(sys.stdout, f"{name:<{width}}  {indented}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
        """Columns in at most 100 characters. One whose name ends in `…` is cut to fit; the others are whole."""
        found = [[flat(cell) for cell in row] for row in rows]
        if not found:
            self.remark(empty)
            return
        write(sys.stdout, render_table(columns, found))

    def page(self, items: Sequence[Any], cursor: str | None) -> None:
        """A page of a list as JSON."""
        self.document({"items": list(items), "cursor": cursor})

    def more(self, cursor: str | None) -> None:
        if cursor:
            self.remark(f"There is more: repeat it with --cursor {cursor}")


def render_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from rich.table import Table
    from rich.text import Text

    screen = console(sys.stdout)
    table = Table(box=None, pad_edge=False, expand=any(name.endswith("…") for name in columns), header_style="bold")
    for name in columns:
        if name.endswith("…"):
            table.add_column(name[:-1].upper(), ratio=1, no_wrap=True, overflow="ellipsis", min_width=8)
        else:
            table.add_column(name.upper(), overflow="fold", max_width=_IDENTIFIER_MAX)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    with screen.capture() as captured:
        screen.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def console(stream: TextIO) -> Console:
    """A console of at most 100 columns, plain unless it is a terminal that wants colours (see no-color.org)."""
    from rich.console import Console

    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    found = Console(file=stream, color_system=colours, highlight=False, markup=False, emoji=False)
    found.width = min(found.width, WIDTH_MAX) if found.is_terminal else WIDTH_MAX
    return found


@contextlib.contextmanager
def working(text: str, out: Output) -> Iterator[None]:
    """Show on a terminal that something goes on; files, pipes and JSON see nothing of it."""
    if out.json or not sys.stdout.isatty():
        yield
        return
    from rich.text import Text

    with console(sys.stdout).status(Text(text)):
        yield


def report(error: Error, *, json: bool) -> None:
    """An expected error on standard error: the problem as JSON, or what, why and what to do next."""
    if json:
        write(sys.stderr, msgspec.json.encode(error.to_dict()).decode())
        return
    lines = [f"agentmemo: {error.message}"]
    lines += [f"  why:  {error.why}"] if error.why else []
    lines += [f"  next: {error.next_call}"] if error.next_call else []
    write(sys.stderr, printable("\n".join(lines)))


def write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")


def prepare_streams() -> None:
    """UTF-8 for files and pipes; a terminal keeps its encoding and gets escapes for what it cannot show."""
    for stream in (sys.stdout, sys.stderr):
        change = getattr(stream, "reconfigure", None)
        if change is not None:
            change(encoding=stream.encoding if stream.isatty() else "utf-8", errors="backslashreplace")


def printable(text: str) -> str:
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def flat(text: str) -> str:
    """On one line, for a table."""
    return printable(" ".join(text[:CELL_MAX].split()))


def brief(value: Any) -> str:
    """A value as JSON on one line, for a table."""
    return "" if value is None else msgspec.json.encode(value).decode(errors="replace")[:CELL_MAX]


def pretty(value: Any) -> str:
    """A value as indented JSON, for reading."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def stamp(at_us: int | None) -> str:
    """`2026-11-23 14:01:58Z`."""
    return "" if at_us is None else iso(at_us)[:19].replace("T", " ") + "Z"


def stamp_ago(at_us: int | None) -> str:
    """The same with how far from now, where that decides what to do."""
    return "" if at_us is None else f"{stamp(at_us)} ({distance(at_us, SystemClock().now_us())})"


def distance(at_us: int, now_us: int) -> str:
    """`3 min ago`, `in 2 h`, `now`."""
    seconds = abs(at_us - now_us) // SECOND
    for size, unit in _UNITS:
        if seconds >= size:
            text = f"{seconds // size} {unit}"
            return f"in {text}" if at_us > now_us else f"{text} ago"
    return "now"
