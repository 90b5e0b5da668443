"""The trail, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, read
from agentmemo.model import audit
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    read("audit.events", "/events", "audit:read", audit.ListEvents, Page, items=audit.Event, watch=True,
          summary="The trail, filtered"),
    read("audit.get", "/events/{id}", "audit:read", audit.GetEvent, audit.Event, summary="One event"),
    read("audit.verify", "/verification", "audit:read", audit.VerifyTrail, audit.TrailCheck,
          summary="Check every stream's chain"),
)  # fmt: skip
