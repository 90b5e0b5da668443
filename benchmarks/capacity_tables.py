"""`python benchmarks/capacity_tables.py` writes the tables of docs/scale.md anew, from benchmarks/capacity.json."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import capacity_model

HERE = Path(__file__).parent
# What upkeep did meanwhile, divided by thousands of operations.
NOTHING = 0.01
PAGE = HERE.parent / "docs" / "scale.md"
COSTS = {
    "operation": "operation",
    "batch": "batch",
    "client_us": "client µs",
    "server_us": "database µs",
    "turn_us": "turn µs",
    "round_trips": "round trips",
    "wal_bytes": "WAL bytes",
    "rows_added": "rows added",
}
NEEDS = {
    "agents": "agents",
    "operations_per_second": "operations/s",
    "workspaces": "workspaces",
    "processes": "processes",
    "server_cores": "cores for them",
    "database_cores": "database cores",
    "wal_megabytes_per_second": "WAL MB/s",
    "gigabytes_per_day": "GB a day",
    "databases": "databases",
    "weakest": "gives way first",
}


def main() -> None:
    found = json.loads((HERE / "capacity.json").read_text())
    costs, idle = found["costs"], found["idle"]
    tables = {
        "when": _when(found),
        "costs": _table(COSTS, costs),
        "needs": _table(NEEDS, capacity_model.needs(costs, idle)),
        "workspace": _table(
            {"what": "one workspace, full batches", "most": "at most"},
            [{"what": name, "most": most} for name, most in capacity_model.one_workspace(costs).items()],
        ),
    }
    text = PAGE.read_text()
    for name, table in tables.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        text, count = place.subn(lambda match, new=table: match[1] + new + match[2], text)
        if count != 1:
            raise RuntimeError(f"{PAGE.name} has {count} places for {name}")
    PAGE.write_text(text)


def _when(found: dict[str, Any]) -> str:
    date, load = found["at"][:10], found["load_average"][1]
    return (
        f"Measured on {date} with PostgreSQL 18 and Python {found['python']}, server and clients on one shared\n"
        f"machine of {found['cores']} cores (load {load:.1f}), over loopback, fsync on, values of 1 KB."
    )


def _table(columns: dict[str, str], rows: Sequence[dict[str, Any]]) -> str:
    lines = [list(columns.values()), ["---"] + ["---:"] * (len(columns) - 1)]
    lines += [[_shown(row[name]) for name in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value >= NOTHING else "-"


if __name__ == "__main__":
    main()
