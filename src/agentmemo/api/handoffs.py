"""Handoffs, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import handoffs, state
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    change("handoff.create", "POST /handoffs", "handoffs:write", handoffs.CreateHandoff, handoffs.Handoff,
            buffered=True, summary="Hand work over to an agent, a capability or a queue"),
    read("handoff.get", "/handoffs/{handoff}", "handoffs:read", handoffs.GetHandoff, handoffs.Handoff,
          watch=True, summary="A handoff, optionally waiting for a change"),
    read("handoff.find", "/handoff-keys/{key}", "handoffs:read", handoffs.FindHandoff, handoffs.Handoff,
          summary="A handoff by its key"),
    read("handoff.list", "/handoffs", "handoffs:read", handoffs.ListHandoffs, Page, items=handoffs.Handoff,
          summary="Handoffs, newest first"),
    read("handoff.pending", "/pending-handoffs", "handoffs:read", handoffs.ListPending, Page,
          items=handoffs.Handoff, watch=True, summary="What is offered to you, in the order of claiming"),
    read("handoff.notices", "/handoff-notices", "handoffs:read", handoffs.ListNotices, Page,
          items=handoffs.Handoff, watch=True, summary="What you handed over and have to hear about"),
    read("handoff.lineage", "/handoffs/{handoff}/lineage", "handoffs:read", handoffs.ListLineage, Page,
          items=handoffs.Handoff, summary="Everything that came of one first handoff"),
    read("handoff.reference", "/handoffs/{handoff}/references/{namespace}/{key}", "handoffs:read",
          handoffs.ReadReference, state.Entry, summary="An entry that a handoff names, at its pinned version"),
    change("handoff.announce", "PUT /handoff-receiver", "handoffs:write", handoffs.AnnounceReceiver,
            handoffs.Receiver, summary="Say which capabilities and queues you take work from"),
    change("handoff.claim", "POST /handoff-claims", "handoffs:write", handoffs.ClaimHandoffs,
            handoffs.ClaimedHandoffs, summary="Claim what is offered to you, or a handoff by its handle"),
    change("handoff.renew", "POST /handoffs/{handoff}/renewal", "handoffs:write", handoffs.RenewHandoff,
            handoffs.Handoff, liveness=True, summary="Renew the lease of a claim"),
    change("handoff.progress", "PUT /handoffs/{handoff}/progress", "handoffs:write", handoffs.SetHandoffProgress,
            handoffs.Handoff, buffered=True, summary="Show how far the work is"),
    change("handoff.complete", "POST /handoffs/{handoff}/completion", "handoffs:write", handoffs.CompleteHandoff,
            handoffs.Handoff, buffered=True, summary="End with a result, which is checked"),
    change("handoff.fail", "POST /handoffs/{handoff}/failure", "handoffs:write", handoffs.FailHandoff,
            handoffs.Handoff, buffered=True, summary="End for good without a result"),
    change("handoff.release", "POST /handoffs/{handoff}/release", "handoffs:write", handoffs.ReleaseHandoff,
            handoffs.Handoff, buffered=True, summary="Give a claim back to be offered again"),
    change("handoff.decline", "POST /handoffs/{handoff}/refusal", "handoffs:write", handoffs.DeclineHandoff,
            handoffs.Handoff, buffered=True, summary="Say no: others are asked, or the sender is told"),
    change("handoff.cancel", "POST /handoffs/{handoff}/cancellation", "handoffs:write", handoffs.CancelHandoff,
            handoffs.Handoff, buffered=True, summary="Call work back; its holder is told at the next call"),
    change("handoff.requeue", "POST /handoffs/{handoff}/requeue", "handoffs:write", handoffs.RequeueHandoff,
            handoffs.Handoff, summary="Offer again what ended without a result"),
    change("handoff.result", "POST /handoffs/{handoff}/receipt", "handoffs:write", handoffs.ReceiveResult,
            handoffs.Handoff, summary="The sender's look at what came of it, which counts as received"),
    change("handoff.limit", "PUT /handoff-limits", "handoffs:admin", handoffs.SetHandoffLimit,
            handoffs.HandoffLimit, summary="Bound how much a receiver holds and claims"),
    read("handoff.limits", "/handoff-limits", "handoffs:read", handoffs.ListHandoffLimits, Page,
          items=handoffs.HandoffLimit, summary="The receivers' limits"),
)  # fmt: skip
