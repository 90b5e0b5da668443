"""The prompts of designers: documents that ship with the package, to be read by people too."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

HASH_SHOWN = 16


@cache
def prompt(kind: str) -> str:
    """The prompt of that name: design, repair."""
    return (resources.files("agentmemo.executor") / "prompts" / f"{kind}.md").read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    """What tells one prompt from another, as `designed_by.prompt_hash` keeps it."""
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_SHOWN]
