"""What the analysis finds. Every struct is plain JSON when stored."""

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One tracked path at the commit. `blob` names its content, so content is read by id, never by path."""

    path: str
    blob: str
    size: int
    kind: str  # file, symlink, submodule


class Inventory(msgspec.Struct, frozen=True):
    commit: str
    committed_at: str
    commits: int
    shallow: bool
    entries: list[Entry]


class Author(msgspec.Struct, frozen=True):
    name: str
    commits: int
    added: int
    deleted: int


class Churn(msgspec.Struct, frozen=True):
    commits: int
    lines: int


class History(msgspec.Struct, frozen=True):
    """A stretch of commits. Authors are told apart by e-mail, months are UTC, merges count as commits only."""

    commits: int
    authors: dict[str, Author]
    months: dict[str, int]
    churn: dict[str, Churn]


class Mark(msgspec.Struct, frozen=True):
    """A place in a file: a TODO with its text, or a likely secret with its rule and never its value."""

    line: int
    name: str
    text: str


class Function(msgspec.Struct, frozen=True):
    name: str
    line: int
    lines: int


class FileFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """`kind` is text, binary, lfs, symlink, submodule or missing; `notes` says what limits the answer."""

    path: str
    blob: str
    size: int
    kind: str
    language: str = ""
    lines: int = 0
    notes: list[str] = []
    todos: list[Mark] = []
    secrets: list[Mark] = []
    functions: list[Function] = []


class Language(msgspec.Struct, frozen=True):
    name: str
    files: int
    lines: int
    bytes: int


class HotSpot(msgspec.Struct, frozen=True):
    path: str
    commits: int
    churn: int
    lines: int


class Located(msgspec.Struct, frozen=True):
    path: str
    mark: Mark


class LongFunction(msgspec.Struct, frozen=True):
    path: str
    function: Function


class Duplicate(msgspec.Struct, frozen=True):
    size: int
    paths: list[str]


class Summary(msgspec.Struct, frozen=True):
    """All the report says. Lists are the top of their kind; `totals` counts everything."""

    commit: str
    committed_at: str
    totals: dict[str, int]
    commits_read: int
    commits_known: int
    shallow: bool
    languages: list[Language]
    hot_spots: list[HotSpot]
    authors: list[Author]
    months: dict[str, int]
    secrets: list[Located]
    todos: list[Located]
    functions: list[LongFunction]
    largest: list[Entry]
    duplicates: list[Duplicate]
    binaries: list[Entry]
    notes: list[Located]
