"""Policies, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import policies
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    change("policy.set", "PUT /policies/{kind}/{name}", "policies:write", policies.SetPolicy, policies.Policy,
            summary="Rule something beforehand: a new version of a document (a person's call)"),
    read("policy.get", "/policies/{kind}/{name}", "policies:read", policies.GetPolicy, policies.Policy,
          summary="What is ruled now, or was by a version"),
    read("policy.list", "/policies", "policies:read", policies.ListPolicies, Page, items=policies.Policy,
          summary="Everything that is ruled now"),
    read("policy.versions", "/policies/{kind}/{name}/versions", "policies:read", policies.ListPolicyVersions, Page,
          items=policies.Policy, summary="Versions of a document, newest first"),
    change("policy.delete", "DELETE /policies/{kind}/{name}", "policies:write", policies.DeletePolicy,
            policies.Policy, summary="Rule it no longer; its versions stay (a person's call)"),
)  # fmt: skip
