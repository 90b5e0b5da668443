"""The values every contender stores: the same in every subject and every repetition."""

from __future__ import annotations

import json
import random
import string
from typing import Any

KEYS = 10_000
KEYS_READ = 1_000
_TEXT = """the agent read the report and found that the build fails because a test expects the old name of the field so
it changed the query ran the suite again wrote down what it had tried and asked the reviewer to look at the result"""
_WORDS = _TEXT.split()


def one_kb(seed: int) -> dict[str, Any]:
    """A JSON object of 1,024 bytes, most of it random letters."""
    source = random.Random(seed)
    value = {
        "agent": f"agent-{seed % 10_000:04d}",
        "status": "running",
        "step": seed % 100,
        "tags": ["alpha", "beta", "gamma"],
        "score": round(source.random(), 6),
        "note": "",
    }
    left = 1024 - len(json.dumps(value, separators=(",", ":")))
    value["note"] = "".join(source.choice(string.ascii_letters + " ") for _ in range(left))
    return value


def letters(seed: int, size: int) -> str:
    """Random letters: what compression can hardly help."""
    source = random.Random(seed)
    return "".join(source.choices(string.ascii_letters + string.digits + "+/", k=size))


def prose(seed: int, size: int) -> str:
    """Words in random order, each value unlike the others: what agents write."""
    source = random.Random(seed)
    return " ".join(source.choices(_WORDS, k=size))[:size]


VALUES = [one_kb(seed) for seed in range(64)]
