"""The source as the tidy tests see it: files of the repository, parsed once."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WRITTEN_BY_SCRIPTS = ("src/agentmemo/client/_sync/", "docs/reference/")


@dataclass(frozen=True)
class Source:
    path: Path
    name: str  # relative to the repository, with forward slashes

    @cached_property
    def text(self):
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self):
        return ast.parse(self.text, self.name)

    @property
    def module(self):
        """`agentmemo.store.state` for `src/agentmemo/store/state.py`."""
        return self.name.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def tracked():
    """Every file that is committed or would be: ignored files do not exist for these tests."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    names = sorted(set(filter(None, listed.stdout.split("\0"))))
    return [Source(ROOT / name, name) for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def python(tracked):
    """The Python files written by hand."""
    return [file for file in tracked if file.name.endswith(".py") and not file.name.startswith(WRITTEN_BY_SCRIPTS)]


@pytest.fixture(scope="session")
def package(python):
    return [file for file in python if file.name.startswith("src/agentmemo/")]


@pytest.fixture(scope="session")
def ratchet():
    """`ratchet(rule, found)`: what is found and what ratchet.toml lists must be equal, so the list can only shrink."""
    listed = tomllib.loads((Path(__file__).parent / "ratchet.toml").read_text(encoding="utf-8"))

    def check(rule, found):
        known = set(listed.get(rule, {}))
        new, gone = sorted(set(found) - known), sorted(known - set(found))
        assert not new, f"{rule}:\n  " + "\n  ".join(new)
        assert not gone, f"no longer needed in ratchet.toml [{rule}]:\n  " + "\n  ".join(gone)

    return check
