"""No rule of the linter is off without a reason beside it; that its rules hold is shown by `make check`."""

from __future__ import annotations

import re


def test_every_exemption_says_why(root):
    lines = (root / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if re.match(r'\s+"[A-Z]+\d*",', line)]
    assert rules
    assert [line for line in rules if not re.search(r",\s+# \w", line)] == []


def test_every_noqa_names_its_rule(python):
    bare = re.compile(r"#\s*noqa(?!:\s*[A-Z]+\d+)|#\s*type:\s*ignore(?!\[)")
    found = [
        f"{file.name}:{number}"
        for file in python
        for number, line in enumerate(file.text.splitlines(), 1)
        if bare.search(line) and "re.compile" not in line
    ]
    assert found == []
