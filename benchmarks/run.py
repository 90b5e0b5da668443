"""`make bench`: ours beside the peers, in one run, as one table and as benchmarks/latest.json.

BENCH_SECONDS (2) per repetition, BENCH_REPETITIONS (3), BENCH_QUICK=1 for a smoke run. Arguments name the subjects
to run. A figure counts only on a machine that does nothing else; the ratio survives more than the figure does.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
import traceback
from pathlib import Path
from types import ModuleType

from harness import QUICK, REPETITIONS, SECONDS, Row, figure, time_left
from subjects import (
    bytes_stored,
    escalations,
    evidence,
    executions,
    extremes,
    fsyncs,
    growth,
    growth_postgres,
    handoffs,
    handoffs_fairness,
    handoffs_idle,
    handoffs_postgres,
    handoffs_recovery,
    http_client,
    parked,
    queue_postgres,
    starting,
    state_embedded,
    state_http,
    state_postgres,
    steps,
    steps_postgres,
    stuck,
    takeover,
    two_servers,
    workflow_search,
)

SUBJECTS = (
    starting,
    stuck,
    evidence,
    workflow_search,
    executions,
    takeover,
    parked,
    bytes_stored,
    growth,
    growth_postgres,
    extremes,
    fsyncs,
    steps,
    state_http,
    http_client,
    queue_postgres,
    state_embedded,
    state_postgres,
    steps_postgres,
    two_servers,
    handoffs,
    handoffs_postgres,
    handoffs_idle,
    handoffs_fairness,
    handoffs_recovery,
    escalations,
)
LATEST = Path(__file__).parent / "latest.json"
HEADINGS = ("subject", "unit", "ours", "peer", "", "ratio", "target", "met")


def main() -> int:
    wanted = sys.argv[1:]
    chosen = [module for module in SUBJECTS if not wanted or _name(module) in wanted]
    if not chosen:
        print(f"Subjects: {', '.join(_name(module) for module in SUBJECTS)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failed = False
    for module in chosen:
        if time_left() < 0:
            print(f"No time left for {_name(module)}.", file=sys.stderr)
            continue
        print(f"{_name(module)} ...", file=sys.stderr, flush=True)
        try:
            rows += module.run()
        except Exception:  # noqa: BLE001 - one subject must not cost the figures of the others
            traceback.print_exc()
            failed = True
    _show(rows)
    LATEST.write_text(json.dumps(_report(rows), indent=1) + "\n")
    return int(failed)


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _show(rows: list[Row]) -> None:
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for settings in dict.fromkeys(row.settings for row in rows if row.settings):
        print(f"  {settings}")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.subject,
        row.unit,
        figure(row.ours),
        figure(row.peer),
        row.peer_name or row.note,
        f"{row.ratio:.1f}x" if row.ratio else "-",
        str(row.target or "-"),
        {True: "yes", False: "NO", None: "-"}[row.met],
    )


def _report(rows: list[Row]) -> dict[str, object]:
    return {
        "at": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "seconds": SECONDS,
        "repetitions": REPETITIONS,
        "quick": QUICK,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "rows": [row.as_data() for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())
