"""Reports, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, read
from agentmemo.model import reports

OPERATIONS: tuple[Operation, ...] = (
    read("report.attention", "/reports/attention", "escalations:read", reports.GetAttention, reports.Attention,
          summary="What asking people cost: how often, how fast, how many approved, who is asked too much"),
    read("report.oversight", "/reports/oversight", "policies:read", reports.GetOversight, reports.Oversight,
          summary="Requirements of human oversight, and how the plane is configured for each"),
)  # fmt: skip
