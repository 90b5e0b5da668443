"""State: versioned JSON entries under (namespace, key), their changes, and who may be believed."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from agentmemo.errors import InvalidInput, PermissionDenied
from agentmemo.model.wire import Request, Response

ORIGINS = ("agent", "tool", "external", "human")
TRUST_BY_ORIGIN = {"human": "verified", "agent": "agent", "tool": "agent", "external": "external"}
NAMESPACE_MAX = 256
KEY_MAX = 1024
PAGE_MAX = 1000
_WORD = re.compile(r"[^\W_]+")
_ACCENT = re.compile("(?<=[A-Za-z])[\u0300-\u036f]+")
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, surrogates, line and paragraph separators


class Entry(Response, kw_only=True):
    """One version of one key, with where it comes from. Times are UTC microseconds."""

    namespace: str
    key: str
    value: Any
    version: int
    revision: int
    author: str
    written_at: int
    origin: str
    trust: str
    run: str | None = None
    expires_at: int | None = None
    size_bytes: int = 0
    deleted: bool = False


class Change(Response, kw_only=True):
    """What a watch yields: `kind` is set, delete or expire."""

    revision: int
    namespace: str
    key: str
    version: int
    kind: str
    entry: Entry


class NamespaceInfo(Response, kw_only=True):
    name: str
    entries: int


class Match(Response, kw_only=True):
    """A search result: the entry and the matching piece of text."""

    entry: Entry
    snippet: str


class Difference(Response, kw_only=True):
    """What became of a key between two revisions: added, changed or removed."""

    key: str
    change: str
    before: Any = None
    after: Any = None
    before_version: int | None = None
    after_version: int | None = None


class SetEntry(Request, kw_only=True):
    """PUT a value. `if_version=0` means the key must be absent."""

    namespace: str
    key: str
    value: Any
    if_version: int | None = None
    ttl_seconds: float | None = None
    origin: str = "agent"


class GetEntry(Request, kw_only=True):
    namespace: str
    key: str
    version: int | None = None
    as_of: int | None = None


class DeleteEntry(Request, kw_only=True):
    namespace: str
    key: str
    if_version: int | None = None


class ListEntries(Request, kw_only=True):
    namespace: str
    prefix: str = ""
    cursor: str | None = None
    limit: int = 100


class ListNamespaces(Request, kw_only=True):
    prefix: str = ""
    cursor: str | None = None
    limit: int = 1000


class SearchEntries(Request, kw_only=True):
    text: str
    namespace: str | None = None
    cursor: str | None = None
    limit: int = 20


class ListVersions(Request, kw_only=True):
    namespace: str
    key: str
    cursor: str | None = None
    limit: int = 100


class DiffNamespace(Request, kw_only=True):
    """Compare two moments, each a revision."""

    namespace: str
    since: int
    until: int | None = None


class WatchNamespace(Request, kw_only=True):
    """Changes after a revision; `wait_seconds` long-polls until there is one."""

    namespace: str
    prefix: str = ""
    after: int | None = None
    limit: int = 100
    wait_seconds: float = 0.0


class Changes(Response, kw_only=True):
    """Gap-free: ask again with `after=next`. An `after` that was compacted away or never was is told: RevisionGone."""

    changes: list[Change]
    next: int


def check_name(text: str, what: str, limit: int) -> str:
    """A namespace or key: 1 to `limit` characters, no control characters, no lone surrogates."""
    if not text or len(text) > limit:
        raise InvalidInput(
            f"A {what} has 1 to {limit} characters, not {len(text)}.", next_call=f"Choose another {what}."
        )
    # The common case costs one C call; isprintable() is false for controls, surrogates and odd spaces.
    if not text.isprintable():
        for position, char in enumerate(text):
            if unicodedata.category(char) in _UNFIT:
                raise InvalidInput(
                    f"The {what} holds a control character or lone surrogate at position {position}.",
                    next_call=f"Choose a {what} of printable text.",
                )
    return text


def trust_of(origin: str, actor_kind: str) -> str:
    """How far a value may be believed. It follows from its origin; no writer can set it."""
    if origin not in ORIGINS:
        raise InvalidInput(f"Unknown origin {origin!r}.", next_call=f"Use one of: {', '.join(ORIGINS)}.")
    if origin == "human" and actor_kind != "person":
        raise PermissionDenied(
            "Only a person's credential can write with origin 'human'.",
            why="An agent must not pass its words off as a person's.",
            next_call="Write with origin='agent', 'tool' or 'external'.",
        )
    return TRUST_BY_ORIGIN[origin]


def words_of(text: str, *, fold: bool) -> list[str]:
    """The words of a text for search, split at everything else; `fold` takes case and accents off them."""
    if fold and not text.isascii():
        plain = unicodedata.normalize("NFD", text)
        text = unicodedata.normalize("NFC", _ACCENT.sub("", plain))
    return _WORD.findall(text.lower() if fold else text)
