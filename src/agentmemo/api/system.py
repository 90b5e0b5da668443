"""The plane itself, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import system

OPERATIONS: tuple[Operation, ...] = (
    change("transaction.run", "POST /transactions", "state:write", system.RunTransaction, system.TransactionDone,
            summary="Several operations in one commit or none"),
    read("system.status", "/status", "system:read", system.GetStatus, system.Status, summary="How the plane is doing"),
    read("system.diagnose", "/diagnosis", "system:read", system.Diagnose, system.Diagnosis, summary="doctor"),
    change("system.backup", "POST /backups", "system:admin", system.Backup, system.BackupDone,
            summary="A consistent copy of the store on the plane's machine"),
)  # fmt: skip
