"""What `doctor` looks at in an SQLite store: library, journal, disk, file system, every page of the file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from agentmemo.model.system import Finding
from agentmemo.store.sqlite_files import NETWORK_FILE_SYSTEMS, file_system_of

FREE_BYTES_LOW = 256 * 1024 * 1024
# Before it, two connections that checkpoint at the same instant can corrupt the file (sqlite.org/wal.html).
WAL_FIXED_IN = (3, 51, 3)


def findings(facts: dict[str, Any], path: Path | None) -> list[Finding]:
    found = [
        _sqlite(str(facts["sqlite"]), str(facts["apsw"])),
        _journal(str(facts["journal_mode"]), str(facts["synchronous"]), durable=path is not None),
    ]
    if path:
        found += [_free_space(path), _file_system(path), _integrity(str(facts["quick_check"]))]
    return found


def _finding(check: str, level: str, text: str, next_call: str = "") -> Finding:
    return Finding(check=check, level=level, text=text, next_call=next_call)


def _sqlite(library: str, binding: str) -> Finding:
    number = tuple(int(part) for part in library.split("."))
    if number < WAL_FIXED_IN:
        return _finding(
            "sqlite", "warn", f"SQLite {library} has the WAL-reset bug.", "pip install --upgrade apsw (3.51.3 or later)"
        )
    return _finding("sqlite", "ok", f"SQLite {library} through apsw {binding}.")


def _journal(mode: str, synchronous: str, *, durable: bool) -> Finding:
    if not durable:
        return _finding("journal", "warn", "The store is in memory: nothing survives this process.")
    if mode != "wal":
        return _finding("journal", "fail", f"journal_mode is {mode}, not wal.", "Run agentmemo doctor again.")
    if synchronous in ("OFF", "NORMAL"):
        return _finding("journal", "fail", f"synchronous is {synchronous}: a power cut can lose commits.", "Reopen it.")
    return _finding("journal", "ok", f"journal_mode wal, synchronous {synchronous}.")


def _free_space(path: Path) -> Finding:
    free = shutil.disk_usage(path.parent).free
    text = f"{free // (1024 * 1024)} MiB free on the disk of {path}."
    return _finding(
        "disk", "warn" if free < FREE_BYTES_LOW else "ok", text, "Free space." if free < FREE_BYTES_LOW else ""
    )


def _file_system(path: Path) -> Finding:
    kind = file_system_of(path.parent) or "unknown"
    if kind in NETWORK_FILE_SYSTEMS:
        return _finding("file system", "fail", f"{kind} is a network file system.", "Move the store to a local disk.")
    return _finding("file system", "ok", f"{kind}, local.")


def _integrity(answer: str) -> Finding:
    if answer != "ok":
        return _finding("integrity", "fail", f"The file is damaged: {answer}.", "agentmemo restore FILE")
    return _finding("integrity", "ok", "Every page of the file holds what SQLite wrote.")
