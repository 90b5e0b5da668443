"""Record histories over every way to a store, and check each.

    python run.py --histories 1000 [--seed N] [--clients 32] [--actions 10] [--only http] [--keep FOLDER]
    python run.py --check FOLDER    look again at what was kept

A history that is wrong is kept in a file, and its faults are printed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from history import History
from verdict import check
from ways import Http, Processes, Threads, Way

from agentmemo.testing.postgres import PostgresServer

# What is shown is order, and no disk: a killed process loses nothing that PostgreSQL was told.
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
LOSSY = "AGENTMEMO_POSTGRES_ALLOW_LOSSY"
PROGRESS = 10


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--histories", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**31))
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--actions", type=int, default=10)
    parser.add_argument("--only")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--check", type=Path)
    wanted = parser.parse_args()
    if wanted.check:
        return check_kept(wanted.check)
    print(f"seed {wanted.seed}, {wanted.clients} clients, {wanted.actions} actions each", flush=True)
    os.environ[LOSSY] = "true"
    with tempfile.TemporaryDirectory() as folder, PostgresServer(settings=QUICK) as postgres:
        ways = all_ways(Path(folder), postgres, wanted.only)
        try:
            return torture(ways, wanted)
        finally:
            for way in ways:
                way.close()


def all_ways(folder: Path, postgres: PostgresServer, only: str | None) -> list[Way]:
    shared, served = postgres.make_database("shared"), postgres.make_database("served")
    lossy = {LOSSY: "true"}
    makers = {
        "threads": lambda name: Threads(name, folder, str(folder / "threads.db")),
        "processes": lambda name: Processes(name, folder, str(folder / "processes.db")),
        "http": lambda name: Http(name, folder, str(folder / "http.db")),
        "postgres-processes": lambda name: Processes(name, folder, shared, 2, **lossy),
        "postgres-http": lambda name: Http(name, folder, served, 2, **lossy),
    }
    ways = [make(name) for name, make in makers.items() if only in {None, name}]
    for way in ways:
        if "://" in way.target:
            way.harms.append(lambda chance: end_sessions(postgres, chance))
    return ways


def end_sessions(postgres: PostgresServer, chance: random.Random) -> None:
    """Their commits may or may not have happened; whoever sent them has to find out."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'agentmemo' AND pid <> pg_backend_pid()"
    found = [row[0] for row in postgres.execute(query)]
    for process in chance.sample(found, min(3, len(found))):
        postgres.execute(f"SELECT pg_terminate_backend({process})")


def torture(ways: list[Way], wanted: argparse.Namespace) -> int:
    counts: Counter[str] = Counter()
    begun, wrong = time.monotonic(), 0
    for number in range(wanted.histories):
        way = ways[number % len(ways)]
        harm = bool(way.harms) and number // len(ways) % 2 == 1
        history = way.record(f"{wanted.seed}-{number}", wanted.clients, wanted.actions, harm=harm)
        if wanted.keep:
            history.save(wanted.keep / f"{wanted.seed}-{number}.json")
        faults = check(history)
        counts.update({way.name: 1, "harmed": harm, "calls": len(history.ops)})
        counts["without answer"] += sum(op.is_open for op in history.ops)
        counts["changes"] += len(history.record.watched)
        if faults:
            wrong += 1
            place = Path(f"history-{wanted.seed}-{number}.json").absolute()
            history.save(place)
            print(f"WRONG: {history.name}, kept in {place}", *faults[:5], sep="\n", flush=True)
        if (number + 1) % PROGRESS == 0 or number + 1 == wanted.histories:
            seconds = time.monotonic() - begun
            print(f"{number + 1} histories, {seconds:.0f} s, wrong {wrong}: {dict(counts)}", flush=True)
    return min(wrong, 1)


def check_kept(folder: Path) -> int:
    wrong, paths = 0, sorted(folder.glob("*.json"))
    for path in paths:
        history = History.load(path)
        if faults := check(history):
            wrong += 1
            print(f"WRONG: {path}, {history.name}", *faults[:5], sep="\n", flush=True)
    print(f"{len(paths)} histories, wrong {wrong}")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
