"""The plane itself: status, doctor, backup, transactions."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from agentmemo import clock
from agentmemo.engine import audit
from agentmemo.engine.call import Call
from agentmemo.errors import InvalidInput
from agentmemo.model import system as model
from agentmemo.settings import VERSION
from agentmemo.store.database import Transaction
from agentmemo.store.sqlite_files import NETWORK_FILE_SYSTEMS, file_system_of

FREE_BYTES_LOW = 256 * 1024 * 1024
# Before it, two connections that checkpoint at the same instant can corrupt the file (sqlite.org/wal.html).
WAL_FIXED_IN = (3, 51, 3)
CLOCK_EARLIEST = 1_735_689_600_000_000  # 2025-01-01: a clock before it was never set
HOUR = 3600 * clock.SECOND


def status(tx: Transaction, call: Call, _request: model.GetStatus) -> model.Status:
    entries = tx.one("entry_count", workspace=call.workspace)
    path = call.engine.database.capabilities.file
    return model.Status(
        version=VERSION,
        database=call.engine.database.capabilities.name,
        revision=audit.revision(audit.last_position(tx, call.workspace)),
        runs=dict(tx.all("run_count_by_state", workspace=call.workspace)),
        entries=entries[0] if entries else 0,
        bytes_on_disk=_bytes_on_disk(path),
        overdue=[f"{handle} {name}" for handle, name in tx.all("run_overdue", workspace=call.workspace)],
    )


def run_transaction(tx: Transaction, call: Call, request: model.RunTransaction) -> model.TransactionDone:
    """The buffered operations one after another in this one transaction."""
    if not request.calls:
        raise InvalidInput("The transaction holds no operation.", next_call="Add at least one.")
    results = [call.engine.perform(tx, call, prepared) for prepared in request.calls]
    return model.TransactionDone(results=results, revision=audit.revision(audit.last_position(tx, call.workspace)))


def backup(call: Call, request: model.Backup) -> model.BackupDone:
    """Copy the store online; the copy passes an integrity check before it gets its name."""
    path = Path(request.path).expanduser()
    if not path.is_absolute():
        raise InvalidInput(f"{request.path!r} is not an absolute path.", next_call="Name a file by its whole path.")
    if path.exists():
        raise InvalidInput(f"{path} exists.", why="A backup never overwrites.", next_call="Name a new file.")
    database = call.engine.database
    # Read before the copy: it holds all up to here. Its own event comes afterwards, and is not in it.
    revision = audit.revision(database.read(lambda tx: audit.last_position(tx, call.workspace)))
    size = database.backup(path)
    subject = {"kind": "system", "id": "backup"}
    database.write(
        lambda tx: audit.record(tx, call, "system.backup", subject, reason=str(path)), lane=call.workspace
    )
    return model.BackupDone(path=str(path), bytes=size, revision=revision)


def diagnose(call: Call, _request: model.Diagnose) -> model.Diagnosis:
    facts = call.engine.database.facts()
    path = call.engine.database.capabilities.file
    findings = [
        _finding("versions", "ok", f"AgentMemo {VERSION}, Python {sys.version.split()[0]}."),
        _sqlite(str(facts["sqlite"]), str(facts["apsw"])),
        _journal(str(facts["journal_mode"]), str(facts["synchronous"]), durable=path is not None),
        _clock(call.engine.clock.now_us()),
    ]
    if path:
        findings += [_free_space(path), _file_system(path), _integrity(call)]
    findings.append(_oldest(call))
    return model.Diagnosis(findings=findings)


def _finding(check: str, level: str, text: str, next_call: str = "") -> model.Finding:
    return model.Finding(check=check, level=level, text=text, next_call=next_call)


def _sqlite(library: str, binding: str) -> model.Finding:
    number = tuple(int(part) for part in library.split("."))
    if number < WAL_FIXED_IN:
        return _finding(
            "sqlite", "warn", f"SQLite {library} has the WAL-reset bug.", "pip install --upgrade apsw (3.51.3 or later)"
        )
    return _finding("sqlite", "ok", f"SQLite {library} through apsw {binding}.")


def _journal(mode: str, synchronous: str, *, durable: bool) -> model.Finding:
    if not durable:
        return _finding("journal", "warn", "The store is in memory: nothing survives this process.")
    if mode != "wal":
        return _finding("journal", "fail", f"journal_mode is {mode}, not wal.", "Run agentmemo doctor again.")
    if synchronous in ("OFF", "NORMAL"):
        return _finding("journal", "fail", f"synchronous is {synchronous}: a power cut can lose commits.", "Reopen it.")
    return _finding("journal", "ok", f"journal_mode wal, synchronous {synchronous}.")


def _clock(now: int) -> model.Finding:
    if now < CLOCK_EARLIEST:
        return _finding("clock", "fail", f"The clock says {clock.iso(now)}.", "Set the machine's clock.")
    return _finding("clock", "ok", f"{clock.iso(now)}.")


def _free_space(path: Path) -> model.Finding:
    free = shutil.disk_usage(path.parent).free
    text = f"{free // (1024 * 1024)} MiB free on the disk of {path}."
    return _finding(
        "disk", "warn" if free < FREE_BYTES_LOW else "ok", text, "Free space." if free < FREE_BYTES_LOW else ""
    )


def _file_system(path: Path) -> model.Finding:
    kind = file_system_of(path.parent) or "unknown"
    if kind in NETWORK_FILE_SYSTEMS:
        return _finding("file system", "fail", f"{kind} is a network file system.", "Move the store to a local disk.")
    return _finding("file system", "ok", f"{kind}, local.")


def _integrity(call: Call) -> model.Finding:
    answer = call.engine.database.facts()["quick_check"]
    if answer != "ok":
        return _finding("integrity", "fail", f"The file is damaged: {answer}.", "agentmemo restore FILE")
    return _finding("integrity", "ok", "Every page of the file holds what SQLite wrote.")


def _oldest(call: Call) -> model.Finding:
    def look(tx: Transaction) -> model.Finding:
        row = tx.one("run_oldest_unfinished", workspace=call.workspace)
        if row is None:
            return _finding("oldest unfinished", "ok", "Nothing is unfinished.")
        handle, name, state, at = row
        hours = (tx.now - at) / HOUR
        level = "warn" if hours > call.engine.settings.overdue_hours else "ok"
        text = f"{name} ({handle}) is {state} since {clock.iso(at)}, {hours:.1f} h."
        return _finding("oldest unfinished", level, text, f"agentmemo runs explain {handle}")

    return call.engine.database.read(look)


def _bytes_on_disk(path: Path | None) -> int:
    if path is None:
        return 0
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
