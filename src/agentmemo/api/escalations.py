"""Questions to people: the agent's side, and the inbox, as rows of the table of operations."""

from __future__ import annotations

from agentmemo.api.operation import Operation, change, read
from agentmemo.model import escalations
from agentmemo.model.pages import Page

OPERATIONS: tuple[Operation, ...] = (
    change("escalation.create", "POST /escalations", "escalations:write", escalations.CreateEscalation,
            escalations.Escalation, summary="Ask a person; in a run, park it until the answer"),
    read("escalation.get", "/escalations/{escalation}", "escalations:read", escalations.GetEscalation,
          escalations.Escalation, watch=True, summary="A question with its votes, waiters and answer"),
    read("escalation.list", "/escalations", "escalations:read", escalations.ListEscalations, Page,
          items=escalations.Escalation, summary="Questions, newest first"),
    change("escalation.withdraw", "POST /escalations/{escalation}/withdrawal", "escalations:write",
            escalations.WithdrawEscalation, escalations.Escalation, summary="Take a question back"),
    change("escalation.receive", "POST /escalations/{escalation}/receipt", "escalations:write",
            escalations.ReceiveAnswer, escalations.Escalation, summary="Say that the answer has arrived"),
    change("escalation.redeem", "POST /escalations/{escalation}/redemption", "escalations:write",
            escalations.RedeemApproval, escalations.Escalation,
            summary="Use an approval for exactly the action that was approved"),
    change("escalation.retry", "POST /escalations/{escalation}/retry", "escalations:answer",
            escalations.RetryDelivery, escalations.Escalation, summary="Deliver an answer again that did not arrive"),
    read("inbox.list", "/inbox", "escalations:read", escalations.ListInbox, Page, items=escalations.Escalation,
          summary="What people have to look at, the most urgent first"),
    change("inbox.acknowledge", "POST /inbox/{escalation}/acknowledgement", "escalations:answer",
            escalations.AcknowledgeEscalation, escalations.Escalation, summary="Say that you are on it"),
    change("inbox.release", "POST /inbox/{escalation}/release", "escalations:answer",
            escalations.ReleaseEscalation, escalations.Escalation, summary="Give it back to the others"),
    change("inbox.answer", "POST /inbox/{escalation}/answer", "escalations:answer", escalations.AnswerEscalation,
            escalations.Escalation, summary="Decide, or vote where several must agree (a person's call)"),
    change("inbox.delegate", "POST /inbox/{escalation}/delegation", "escalations:answer",
            escalations.DelegateEscalation, escalations.Escalation, summary="Hand it to another person"),
    change("inbox.snooze", "POST /inbox/{escalation}/snooze", "escalations:answer", escalations.SnoozeEscalation,
            escalations.Escalation, summary="Look at it later"),
    change("inbox.extend", "POST /inbox/{escalation}/extension", "escalations:answer",
            escalations.ExtendEscalation, escalations.Escalation, summary="Move the deadline, once"),
    change("inbox.comment", "POST /inbox/{escalation}/comments", "escalations:answer",
            escalations.CommentEscalation, escalations.Escalation, summary="Say something without deciding"),
)  # fmt: skip
