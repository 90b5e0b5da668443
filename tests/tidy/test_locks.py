"""The locks answer for every dependency that pyproject.toml names, by hash and without an address."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

SERVED = ["server", "cli", "postgres", "models"]
# The extras and the groups that each lock is made of.
SETS = {
    "installer": (None, ["installer"]),  # alone, before the others
    "run": (SERVED, ["build"]),
    "dev": (SERVED, ["build", "dev"]),
    "bench": (SERVED, ["build", "bench"]),
    "models": (None, ["models-test"]),  # laid over another environment, so without what that has
    "frameworks": (["checks", "postgres"], ["build", "frameworks"]),
}


@pytest.mark.parametrize("lock", SETS)
def test_lock_satisfies_the_project(root, lock):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras, groups = SETS[lock]
    wanted = [] if extras is None else [*project["project"]["dependencies"]]
    for extra in extras or ():
        wanted += project["project"]["optional-dependencies"][extra]
    for group in groups:
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
