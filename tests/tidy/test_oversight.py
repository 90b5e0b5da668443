"""The oversight report claims nothing that no test shows."""

from __future__ import annotations

import re

from agentmemo.engine.oversight import LOOKS
from agentmemo.model.oversight import REQUIREMENTS


def test_every_named_test_exists_and_is_of_its_requirement(root):
    for requirement in REQUIREMENTS:
        path, _, name = requirement.test.partition("::")
        text = (root / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", text, re.MULTILINE), requirement.test
        assert name.startswith("test_" + requirement.id.removeprefix("APTS-").replace("-", "_").lower())


def test_every_requirement_is_looked_at():
    assert list(LOOKS) == [requirement.id for requirement in REQUIREMENTS]
