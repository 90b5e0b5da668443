"""The plane itself: its health, its limits and many-operations-at-once."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.model.runs import BufferedCall
from agentmemo.model.wire import Request, Response


class GetStatus(Request, kw_only=True):
    """How the plane is doing."""


class Status(Response, kw_only=True):
    version: str
    database: str
    store: str = ""
    revision: int
    runs: dict[str, int]
    entries: int
    bytes_on_disk: int
    handoffs: dict[str, int] = {}
    escalations: dict[str, int] = {}  # undecided ones by severity, and `undelivered` answers
    overdue: list[str]


class Backup(Request, kw_only=True):
    """Write a consistent copy of the store to a file on the plane's machine."""

    path: str


class BackupDone(Response, kw_only=True):
    """The copy holds everything up to `revision`, and what was written while it was made may be in it."""

    path: str
    bytes: int
    revision: int


class RunTransaction(Request, kw_only=True):
    """Several operations in one commit or none. No reads inside; results come after the commit."""

    calls: list[BufferedCall]


class TransactionDone(Response, kw_only=True):
    results: list[Any]
    revision: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `doctor`: level is ok, warn or fail."""

    check: str
    level: str
    text: str
    next_call: str = ""


class Diagnose(Request, kw_only=True):
    """Look at libraries, file, disk, clock and the oldest unfinished work."""


class Diagnosis(Response, kw_only=True):
    findings: list[Finding]
