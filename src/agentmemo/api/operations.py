"""The one table of operations. HTTP routes, OpenAPI, wire calls, CLI verbs, permission and audit are made from it.

Its rows stand by noun beside this file, so that a client loads those that it uses (`lookup.py`).
"""

from __future__ import annotations

from agentmemo.api import (
    access,
    audit,
    escalations,
    guards,
    handoffs,
    ledger,
    policies,
    reports,
    runs,
    state,
    system,
    webhooks,
    workflows,
)
from agentmemo.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    state.OPERATIONS
    + runs.OPERATIONS
    + workflows.OPERATIONS
    + handoffs.OPERATIONS
    + escalations.OPERATIONS
    + guards.OPERATIONS
    + ledger.OPERATIONS
    + webhooks.OPERATIONS
    + policies.OPERATIONS
    + reports.OPERATIONS
    + audit.OPERATIONS
    + access.OPERATIONS
    + system.OPERATIONS
)
BY_NAME: dict[str, Operation] = {operation.name: operation for operation in OPERATIONS}
