"""Time comes from clock.py and chance from ids.py, so that a ManualClock rules everything."""

from __future__ import annotations

import ast

HOMES = {"src/agentmemo/clock.py", "src/agentmemo/ids.py"}
MODULES = {"random", "secrets", "uuid"}
NAMES = {
    "asyncio.sleep", "datetime.date.today", "datetime.datetime.now", "datetime.datetime.today",
    "datetime.datetime.utcnow", "os.getrandom", "os.urandom", "time.clock_gettime", "time.clock_gettime_ns",
    "time.monotonic", "time.monotonic_ns", "time.sleep", "time.time", "time.time_ns",
}  # fmt: skip


def test_only_clock_and_ids_know_the_real_world(package, ratchet):
    found = {f"{file.name}: {name}" for file in package if file.name not in HOMES for name in real_world(file.tree)}
    ratchet("clock_and_randomness", found)


def real_world(tree):
    known = {}  # local name -> what it stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    yield from (full for full in known.values() if full.partition(".")[0] in MODULES or full in NAMES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            full = f"{known.get(first, '')}.{rest}"
            if full in NAMES:
                yield full
