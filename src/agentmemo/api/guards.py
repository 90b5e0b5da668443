"""Guards, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import guards, policies, precedents
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    change("guard.check", "POST /guards", "escalations:write", guards.CheckGuard, guards.GuardDecision,
            summary="May this call be made? Allow, deny, or ask a person first"),
    read("guard.reviews", "/guard-reviews", "escalations:read", guards.ListReviews, Page, items=guards.GuardReview,
          summary="What rules made of precedents decided, a sample for people to look at"),
    change("guard.object", "POST /guard-objections", "policies:write", guards.ObjectToReview,
            guards.GuardReview, summary="Object to what a rule decided; it rests from now on (a person's call)"),
    read("guard.precedents", "/precedents", "escalations:read", precedents.ListPrecedents, Page,
          items=precedents.Precedent, summary="What people have answered alike, and never otherwise"),
    change("guard.promote", "POST /precedents/{precedent}/rule", "policies:write", precedents.PromotePrecedent,
            policies.Policy, summary="Make a precedent a rule that expires (a person's call)"),
)  # fmt: skip
