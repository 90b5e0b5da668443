"""The locks answer for every dependency that pyproject.toml names, by hash and without an address."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

SETS = {"run": ["build"], "dev": ["build", "dev"], "bench": ["build", "bench"]}


@pytest.mark.parametrize("lock", SETS)
def test_lock_satisfies_the_project(root, lock):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *extras["server"], *extras["cli"], *extras["postgres"]]
    for group in SETS[lock]:
        wanted += project["dependency-groups"][group]
    text = (root / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE))
    unmet = [
        line
        for line in wanted
        for requirement in [Requirement(line)]
        if not requirement.specifier.contains(pinned.get(requirement.name, "0.dev0"))
    ]
    assert unmet == [], "run `make lock`"
    assert all(re.match(r"[\w.-]+==|    --hash=sha256:", line) for line in text.splitlines())
