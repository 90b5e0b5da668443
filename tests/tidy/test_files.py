"""Names that say what is inside, and no trace of the machine a file was written on."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

EMPTY_WORDS = {"base", "common", "helper", "helpers", "manager", "service", "util", "utils"}
# Spelled in pieces, so that this file passes its own test.
TRACES = re.compile(
    "|".join(
        [
            r"(?<![\w.<>-])/(?:work|root|Users)" + r"/\w",
            r"(?<![\w.<>-])/home" + r"/(?!you\b|user\b)\w",
            r"/opt" + r"/(?:pypi|wheels)",
            r"pypi" + r"\.org",
            r"python" + r"hosted",
            r"npmjs" + r"\.(?:org|com)",
            r"deb\.debian" + r"\.org",
            r"proxy\.golang" + r"\.org",
        ]
    )
)


def test_file_names_say_something(tracked):
    empty = [file.name for file in tracked if EMPTY_WORDS & set(re.split(r"[_\W]+", PurePosixPath(file.name).stem))]
    assert empty == []


def test_no_machine_or_index_in_any_file(tracked):
    found = []
    for file in tracked:
        try:
            lines = file.text.splitlines()
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{file.name}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if TRACES.search(line)
        ]
    assert found == []


def test_changelog_has_an_unreleased_section(root):
    assert re.search(r"^## \[Unreleased\]$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
