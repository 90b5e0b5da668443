"""What a run of 400 steps of 2 KB leaves on disk, per byte that was new: an agent whose conversation grows by each."""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

from harness import QUICK, Row, Target, contenders
from values import letters, prose

STEPS = 40 if QUICK else 400
SIZE = 2048
PEERS = {"langgraph": "LangGraph SqliteSaver", "dbos": "DBOS on SQLite"}
TEXTS: dict[str, Callable[[int, int], str]] = {"random letters": letters, "typical text": prose}
SETTINGS = f"{STEPS} steps of {SIZE} bytes in one run; growth of the file after a checkpoint"


def run() -> list[Row]:
    rows = []
    for kind in TEXTS:
        with contenders(__name__, ["ours", *PEERS]) as started:
            ratios = {}
            for name, contender in started.items():
                before = contender.measure(f"{kind}: size", 1, count=1)["rate"] and _size(contender, kind)
                contender.measure(kind, 1, count=1)
                ratios[name] = (_size(contender, kind) - before) / (STEPS * SIZE)
        rows += [
            Row(
                subject=f"bytes stored per unique byte, {kind}",
                unit="x",
                peer_name=title,
                ours=ratios.get("ours"),
                peer=ratios.get(name),
                target=Target(1.5, at_most=True) if name == "langgraph" else None,
                settings=SETTINGS,
                repetitions={"ours": [ratios.get("ours")], title: [ratios.get(name)]},
            )
            for name, title in PEERS.items()
        ]
    return rows
