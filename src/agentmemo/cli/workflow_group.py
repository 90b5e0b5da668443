"""`agentmemo workflow`, with the commands of all that belongs to workflows."""

from __future__ import annotations

from agentmemo.cli import executions, workflow_evidence, workflow_repair, workflow_reports, workflows

app = workflows.app
executions.register(app)
workflow_evidence.register(app)
workflow_repair.register(app)
workflow_reports.register(app)
