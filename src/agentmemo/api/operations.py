"""The one table of operations. HTTP routes, OpenAPI, wire calls, CLI verbs, permission and audit are made from it."""

from __future__ import annotations

from typing import Any

import msgspec

from agentmemo.model import (
    access,
    audit,
    cases,
    escalations,
    evidence_calls,
    executions,
    guards,
    handoffs,
    ledger,
    observations,
    policies,
    precedents,
    repairs,
    reports,
    runs,
    savings,
    state,
    system,
    trials,
    webhooks,
    workflow_diff,
    workflow_reports,
    workflow_versions,
)
from agentmemo.model.pages import Page
from agentmemo.model.wire import Request, Response


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a caller can ask for.

    `path` holds request fields in braces; the other fields travel in the query (GET, DELETE) or the body.
    `items` is the type inside a Page. `quick` reads are point look-ups that may run on a server's event loop.
    `liveness` marks calls that change only leases, which the trail does not record. `watch` can be streamed.
    """

    name: str
    method: str
    path: str
    permission: str | None
    request: type[Request]
    response: type[Response] | None
    items: type[Response] | None = None
    mutating: bool = False
    quick: bool = False
    liveness: bool = False
    watch: bool = False
    buffered: bool = False
    summary: str = ""

    @property
    def noun(self) -> str:
        return self.name.partition(".")[0]


def _read(name: str, path: str, permission: str | None, request: Any, response: Any, **more: Any) -> Operation:
    return Operation(
        name=name, method="GET", path=path, permission=permission, request=request, response=response, **more
    )


def _change(name: str, route: str, permission: str, request: Any, response: Any, **more: Any) -> Operation:
    method, path = route.split(" ")
    return Operation(
        name=name,
        method=method,
        path=path,
        permission=permission,
        request=request,
        response=response,
        mutating=True,
        **more,
    )


_STATE = (
    _change(
        "state.set", "PUT /state/{namespace}/{key}", "state:write", state.SetEntry, state.Entry,
        buffered=True, summary="Write a value under a key",
    ),
    _read(
        "state.get", "/state/{namespace}/{key}", "state:read", state.GetEntry, state.Entry,
        quick=True, summary="Read an entry, also by version or as of a revision",
    ),
    _change(
        "state.delete", "DELETE /state/{namespace}/{key}", "state:write", state.DeleteEntry, state.Entry,
        buffered=True, summary="Delete a key; its versions go on",
    ),
    _read(
        "state.list", "/state/{namespace}", "state:read", state.ListEntries, Page,
        items=state.Entry, summary="List entries by key prefix",
    ),
    _read(
        "state.namespaces", "/namespaces", "state:read", state.ListNamespaces, Page,
        items=state.NamespaceInfo, summary="List the namespaces you may read",
    ),
    _read(
        "state.search", "/search", "state:read", state.SearchEntries, Page,
        items=state.Match, summary="Full-text search over keys and values",
    ),
    _read(
        "state.history", "/history/{namespace}/{key}", "state:read", state.ListVersions, Page,
        items=state.Entry, summary="Versions of a key, newest first",
    ),
    _read(
        "state.diff", "/diff/{namespace}", "state:read", state.DiffNamespace, Page,
        items=state.Difference, summary="What changed between two revisions",
    ),
    _read(
        "state.watch", "/changes/{namespace}", "state:read", state.WatchNamespace, state.Changes,
        watch=True, summary="Changes after a revision, by long-poll or as server-sent events",
    ),
)  # fmt: skip

_EXECUTIONS = (
    _change(
        "workflow.start", "POST /workflows/{name}/executions", "workflows:execute",
        executions.StartExecution, executions.Execution, summary="Execute a workflow, by whoever asks or by the plane",
    ),
    _change(
        "workflow.resume", "POST /executions/{execution}/resumption", "workflows:execute",
        executions.ResumeExecution, executions.Execution, summary="Go on with an execution",
    ),
    _change(
        "workflow.begin", "POST /executions/{execution}/attempts", "workflows:execute",
        executions.BeginStep, executions.Begun, summary="Reserve what an attempt may cost, and announce its effect",
    ),
    _change(
        "workflow.submit", "POST /executions/{execution}/results", "workflows:execute",
        executions.SubmitStep, executions.Execution, summary="Hand in a step's output, checked and kept",
    ),
    _read(
        "workflow.execution", "/executions/{execution}", "workflows:read", executions.GetExecution,
        executions.Execution, summary="An execution, with its next step",
    ),
    _read(
        "workflow.attempts", "/executions/{execution}/attempts", "workflows:read", executions.ListAttempts, Page,
        items=executions.StepAttempt, summary="What became of each attempt at the steps of an execution",
    ),
    _read(
        "workflow.executions", "/executions", "workflows:read", executions.ListExecutions, Page,
        items=executions.Execution, summary="Executions, newest first",
    ),
    _read(
        "workflow.counts", "/workflow-counts", "workflows:read", workflow_reports.CountExecutions,
        workflow_reports.ExecutionCounts, summary="How many executions there were of each version, and how they ended",
    ),
    _read(
        "workflow.rates", "/workflows/{name}/rates", "workflows:read", workflow_reports.GetRates,
        workflow_reports.PassRates, summary="What passed at each step by each model, over time",
    ),
)  # fmt: skip

_RUNS = (
    _change("run.start", "POST /runs", "runs:write", runs.StartRun, runs.Claimed, summary="Open a run by its key"),
    _change(
        "run.resume", "POST /runs/{run}/resumption", "runs:write", runs.ResumeRun, runs.Claimed,
        summary="Claim a parked run again",
    ),
    _read(
        "run.get", "/runs/{run}", "runs:read", runs.GetRun, runs.Run,
        watch=True, summary="A run, optionally waiting for a change",
    ),
    _read("run.find", "/run-keys/{name}/{key}", "runs:read", runs.FindRun, runs.Run, summary="A run by name and key"),
    _read("run.list", "/runs", "runs:read", runs.ListRuns, Page, items=runs.Run, summary="Runs, newest first"),
    _change(
        "run.complete", "POST /runs/{run}/completion", "runs:write", runs.CompleteRun, runs.Run,
        summary="Finish a run with its result",
    ),
    _change(
        "run.fail", "POST /runs/{run}/failure", "runs:write", runs.FailRun, runs.Run, summary="Fail a run for good"
    ),
    _change(
        "run.release", "POST /runs/{run}/release", "runs:write", runs.ReleaseRun, runs.Run,
        summary="Give a run back, with or without an error",
    ),
    _change(
        "run.cancel", "POST /runs/{run}/cancellation", "runs:write", runs.CancelRun, runs.Run,
        summary="Cancel a run and its children; the holder sees it at its next call",
    ),
    _change(
        "run.park", "POST /runs/{run}/waits", "runs:write", runs.ParkRun, runs.Parked,
        summary="Wait for a time, a signal, a child or a person, holding nothing",
    ),
    _change(
        "run.progress", "PUT /runs/{run}/progress", "runs:write", runs.SetProgress, runs.Run,
        summary="Show how far a run is",
    ),
    _change(
        "run.note", "POST /runs/{run}/notes", "runs:write", runs.AddNote, runs.Note,
        buffered=True, summary="Record a decision, a finding or a failed approach",
    ),
    _read("run.notes", "/runs/{run}/notes", "runs:read", runs.ListNotes, Page, items=runs.Note,
          summary="A run's notes"),
    _change(
        "run.observe", "POST /runs/{run}/observations", "runs:write", observations.ObserveCall, observations.Observed,
        summary="Tell of a call and its result, and hear whether the run is stuck",
    ),
    _change(
        "run.signal", "POST /runs/{run}/signals", "runs:write", runs.SendSignal, runs.Run,
        buffered=True, summary="Send a named signal; it is kept until the run waits for it",
    ),
    _change("run.fork", "POST /runs/{run}/forks", "runs:write", runs.ForkRun, runs.Run, summary="Fork before a step"),
    _change(
        "run.resolve", "POST /runs/{run}/resolution", "runs:decide", runs.ResolveRun, runs.Run,
        summary="Decide the question a run waits for (a person's call)",
    ),
    _read(
        "run.explain", "/runs/{run}/explanation", "runs:read", runs.ExplainRun, runs.Explanation,
        summary="Why a run is not moving and what will move it",
    ),
    _read(
        "step.find", "/runs/{run}/steps/{name}/{key}", "runs:read", runs.FindStep, runs.Step,
        quick=True, summary="A step by name and key",
    ),
    _read("step.list", "/runs/{run}/steps", "runs:read", runs.ListSteps, Page, items=runs.Step,
          summary="A run's steps"),
    _change(
        "step.start", "POST /runs/{run}/steps/{name}/{key}/start", "runs:write", runs.StartStep, runs.Step,
        summary="Announce a step whose effect leaves the store",
    ),
    _change(
        "step.complete", "PUT /runs/{run}/steps/{name}/{key}/result", "runs:write", runs.CompleteStep, runs.Step,
        summary="Record a step's result with everything buffered in it",
    ),
    _change(
        "step.fail", "PUT /runs/{run}/steps/{name}/{key}/failure", "runs:write", runs.FailStep, runs.Step,
        summary="Record a failed attempt",
    ),
    _change("task.start", "POST /tasks/{name}/runs", "runs:write", runs.StartTask, runs.StartedTask,
            summary="Start registered code now, later or by cron"),
    _change("task.claim", "POST /claims", "runs:write", runs.ClaimTask, runs.ClaimedTask,
            summary="Claim the next ready run of some tasks"),
    _read("task.schedules", "/schedules", "runs:read", runs.ListSchedules, Page, items=runs.Schedule,
          summary="Cron schedules"),
    _change("task.unschedule", "DELETE /schedules/{id}", "runs:write", runs.DeleteSchedule, runs.Schedule,
            summary="Delete a cron schedule"),
    _change("worker.register", "POST /workers", "runs:write", runs.RegisterWorker, runs.Worker,
            summary="Announce a worker incarnation"),
    _change("worker.heartbeat", "POST /workers/{worker}/heartbeat", "runs:write", runs.Heartbeat,
            runs.HeartbeatAnswer, liveness=True, summary="Renew a worker's lease"),
    _change("worker.stop", "DELETE /workers/{worker}", "runs:write", runs.StopWorker, runs.Worker,
            summary="End a worker; its runs are released at once"),
    _read("briefing.get", "/briefing", "runs:read", runs.GetBriefing, runs.Briefing,
          summary="What an agent needs to know when it starts"),
)  # fmt: skip

_HANDOFFS = (
    _change("handoff.create", "POST /handoffs", "handoffs:write", handoffs.CreateHandoff, handoffs.Handoff,
            buffered=True, summary="Hand work over to an agent, a capability or a queue"),
    _read("handoff.get", "/handoffs/{handoff}", "handoffs:read", handoffs.GetHandoff, handoffs.Handoff,
          watch=True, summary="A handoff, optionally waiting for a change"),
    _read("handoff.find", "/handoff-keys/{key}", "handoffs:read", handoffs.FindHandoff, handoffs.Handoff,
          summary="A handoff by its key"),
    _read("handoff.list", "/handoffs", "handoffs:read", handoffs.ListHandoffs, Page, items=handoffs.Handoff,
          summary="Handoffs, newest first"),
    _read("handoff.pending", "/pending-handoffs", "handoffs:read", handoffs.ListPending, Page,
          items=handoffs.Handoff, watch=True, summary="What is offered to you, in the order of claiming"),
    _read("handoff.notices", "/handoff-notices", "handoffs:read", handoffs.ListNotices, Page,
          items=handoffs.Handoff, watch=True, summary="What you handed over and have to hear about"),
    _read("handoff.lineage", "/handoffs/{handoff}/lineage", "handoffs:read", handoffs.ListLineage, Page,
          items=handoffs.Handoff, summary="Everything that came of one first handoff"),
    _read("handoff.reference", "/handoffs/{handoff}/references/{namespace}/{key}", "handoffs:read",
          handoffs.ReadReference, state.Entry, summary="An entry that a handoff names, at its pinned version"),
    _change("handoff.announce", "PUT /handoff-receiver", "handoffs:write", handoffs.AnnounceReceiver,
            handoffs.Receiver, summary="Say which capabilities and queues you take work from"),
    _change("handoff.claim", "POST /handoff-claims", "handoffs:write", handoffs.ClaimHandoffs,
            handoffs.ClaimedHandoffs, summary="Claim what is offered to you, or a handoff by its handle"),
    _change("handoff.renew", "POST /handoffs/{handoff}/renewal", "handoffs:write", handoffs.RenewHandoff,
            handoffs.Handoff, liveness=True, summary="Renew the lease of a claim"),
    _change("handoff.progress", "PUT /handoffs/{handoff}/progress", "handoffs:write", handoffs.SetHandoffProgress,
            handoffs.Handoff, buffered=True, summary="Show how far the work is"),
    _change("handoff.complete", "POST /handoffs/{handoff}/completion", "handoffs:write", handoffs.CompleteHandoff,
            handoffs.Handoff, buffered=True, summary="End with a result, which is checked"),
    _change("handoff.fail", "POST /handoffs/{handoff}/failure", "handoffs:write", handoffs.FailHandoff,
            handoffs.Handoff, buffered=True, summary="End for good without a result"),
    _change("handoff.release", "POST /handoffs/{handoff}/release", "handoffs:write", handoffs.ReleaseHandoff,
            handoffs.Handoff, buffered=True, summary="Give a claim back to be offered again"),
    _change("handoff.decline", "POST /handoffs/{handoff}/refusal", "handoffs:write", handoffs.DeclineHandoff,
            handoffs.Handoff, buffered=True, summary="Say no: others are asked, or the sender is told"),
    _change("handoff.cancel", "POST /handoffs/{handoff}/cancellation", "handoffs:write", handoffs.CancelHandoff,
            handoffs.Handoff, buffered=True, summary="Call work back; its holder is told at the next call"),
    _change("handoff.requeue", "POST /handoffs/{handoff}/requeue", "handoffs:write", handoffs.RequeueHandoff,
            handoffs.Handoff, summary="Offer again what ended without a result"),
    _change("handoff.result", "POST /handoffs/{handoff}/receipt", "handoffs:write", handoffs.ReceiveResult,
            handoffs.Handoff, summary="The sender's look at what came of it, which counts as received"),
    _change("handoff.limit", "PUT /handoff-limits", "handoffs:admin", handoffs.SetHandoffLimit,
            handoffs.HandoffLimit, summary="Bound how much a receiver holds and claims"),
    _read("handoff.limits", "/handoff-limits", "handoffs:read", handoffs.ListHandoffLimits, Page,
          items=handoffs.HandoffLimit, summary="The receivers' limits"),
)  # fmt: skip

_ESCALATIONS = (
    _change("escalation.create", "POST /escalations", "escalations:write", escalations.CreateEscalation,
            escalations.Escalation, summary="Ask a person; in a run, park it until the answer"),
    _read("escalation.get", "/escalations/{escalation}", "escalations:read", escalations.GetEscalation,
          escalations.Escalation, watch=True, summary="A question with its votes, waiters and answer"),
    _read("escalation.list", "/escalations", "escalations:read", escalations.ListEscalations, Page,
          items=escalations.Escalation, summary="Questions, newest first"),
    _change("escalation.withdraw", "POST /escalations/{escalation}/withdrawal", "escalations:write",
            escalations.WithdrawEscalation, escalations.Escalation, summary="Take a question back"),
    _change("escalation.receive", "POST /escalations/{escalation}/receipt", "escalations:write",
            escalations.ReceiveAnswer, escalations.Escalation, summary="Say that the answer has arrived"),
    _change("escalation.redeem", "POST /escalations/{escalation}/redemption", "escalations:write",
            escalations.RedeemApproval, escalations.Escalation,
            summary="Use an approval for exactly the action that was approved"),
    _change("escalation.retry", "POST /escalations/{escalation}/retry", "escalations:answer",
            escalations.RetryDelivery, escalations.Escalation, summary="Deliver an answer again that did not arrive"),
)  # fmt: skip

_INBOX = (
    _read("inbox.list", "/inbox", "escalations:read", escalations.ListInbox, Page, items=escalations.Escalation,
          summary="What people have to look at, the most urgent first"),
    _change("inbox.acknowledge", "POST /inbox/{escalation}/acknowledgement", "escalations:answer",
            escalations.AcknowledgeEscalation, escalations.Escalation, summary="Say that you are on it"),
    _change("inbox.release", "POST /inbox/{escalation}/release", "escalations:answer",
            escalations.ReleaseEscalation, escalations.Escalation, summary="Give it back to the others"),
    _change("inbox.answer", "POST /inbox/{escalation}/answer", "escalations:answer", escalations.AnswerEscalation,
            escalations.Escalation, summary="Decide, or vote where several must agree (a person's call)"),
    _change("inbox.delegate", "POST /inbox/{escalation}/delegation", "escalations:answer",
            escalations.DelegateEscalation, escalations.Escalation, summary="Hand it to another person"),
    _change("inbox.snooze", "POST /inbox/{escalation}/snooze", "escalations:answer", escalations.SnoozeEscalation,
            escalations.Escalation, summary="Look at it later"),
    _change("inbox.extend", "POST /inbox/{escalation}/extension", "escalations:answer",
            escalations.ExtendEscalation, escalations.Escalation, summary="Move the deadline, once"),
    _change("inbox.comment", "POST /inbox/{escalation}/comments", "escalations:answer",
            escalations.CommentEscalation, escalations.Escalation, summary="Say something without deciding"),
)  # fmt: skip

_GUARDS = (
    _change("guard.check", "POST /guards", "escalations:write", guards.CheckGuard, guards.GuardDecision,
            summary="May this call be made? Allow, deny, or ask a person first"),
    _read("guard.reviews", "/guard-reviews", "escalations:read", guards.ListReviews, Page, items=guards.GuardReview,
          summary="What rules made of precedents decided, a sample for people to look at"),
    _change("guard.object", "POST /guard-objections", "policies:write", guards.ObjectToReview,
            guards.GuardReview, summary="Object to what a rule decided; it rests from now on (a person's call)"),
    _read("guard.precedents", "/precedents", "escalations:read", precedents.ListPrecedents, Page,
          items=precedents.Precedent, summary="What people have answered alike, and never otherwise"),
    _change("guard.promote", "POST /precedents/{precedent}/rule", "policies:write", precedents.PromotePrecedent,
            policies.Policy, summary="Make a precedent a rule that expires (a person's call)"),
)  # fmt: skip

_LEDGER = (
    _change("ledger.reserve", "POST /ledger/reservations", "ledger:write", ledger.ReserveUsage, ledger.LedgerRow,
            summary="Set aside the most that a model call can cost, before it is made"),
    _change("ledger.settle", "POST /ledger/{id}/settlement", "ledger:write", ledger.SettleUsage, ledger.LedgerRow,
            buffered=True, summary="Say what a reserved call used"),
    _change("ledger.void", "POST /ledger/{id}/void", "ledger:write", ledger.VoidUsage, ledger.LedgerRow,
            buffered=True, summary="Say that a reserved call was never made"),
    _change("ledger.record", "PUT /ledger/{id}", "ledger:write", ledger.RecordUsage, ledger.LedgerRow,
            buffered=True, summary="Write down a model call that was made"),
    _read("ledger.list", "/ledger", "ledger:read", ledger.ListUsage, Page, items=ledger.LedgerRow,
          summary="Model calls, newest first"),
    _read("ledger.get", "/ledger/{id}", "ledger:read", ledger.GetUsage, ledger.LedgerRow,
          summary="One model call, with the unit prices of then"),
    _read("ledger.totals", "/ledger-totals", "ledger:read", ledger.GetTotals, ledger.Totals,
          summary="What was spent, by model, workflow, agent, role or day"),
    _read("ledger.savings", "/ledger-savings/{workflow}", "ledger:read", ledger.GetSavings, savings.Savings,
          summary="What a workflow saves against a smart model, with everything that it costs"),
    _change("ledger.cap", "PUT /ledger-caps", "ledger:cap", ledger.SetCap, ledger.Cap,
            summary="Bound what may be spent, or lift the bound (a person's call)"),
    _read("ledger.caps", "/ledger-caps", "ledger:read", ledger.ListCaps, Page, items=ledger.Cap,
          summary="The caps, and what counts against them"),
)  # fmt: skip

_WEBHOOKS = (
    _change("webhook.create", "POST /webhooks", "handoffs:write", webhooks.CreateWebhook, webhooks.Webhook,
            summary="Be told over HTTP of offered work and of what came of your own; the secret is shown once"),
    _read("webhook.list", "/webhooks", "handoffs:read", webhooks.ListWebhooks, Page, items=webhooks.Webhook,
          summary="Webhooks, without secrets"),
    _change("webhook.delete", "DELETE /webhooks/{id}", "handoffs:write", webhooks.DeleteWebhook, webhooks.Webhook,
            summary="Stop calling a webhook"),
    _read("webhook.deliveries", "/webhook-deliveries", "handoffs:read", webhooks.ListDeliveries, Page,
          items=webhooks.Delivery, summary="What was sent, newest first"),
)  # fmt: skip

_POLICIES = (
    _change("policy.set", "PUT /policies/{kind}/{name}", "policies:write", policies.SetPolicy, policies.Policy,
            summary="Rule something beforehand: a new version of a document (a person's call)"),
    _read("policy.get", "/policies/{kind}/{name}", "policies:read", policies.GetPolicy, policies.Policy,
          summary="What is ruled now, or was by a version"),
    _read("policy.list", "/policies", "policies:read", policies.ListPolicies, Page, items=policies.Policy,
          summary="Everything that is ruled now"),
    _read("policy.versions", "/policies/{kind}/{name}/versions", "policies:read", policies.ListPolicyVersions, Page,
          items=policies.Policy, summary="Versions of a document, newest first"),
    _change("policy.delete", "DELETE /policies/{kind}/{name}", "policies:write", policies.DeletePolicy,
            policies.Policy, summary="Rule it no longer; its versions stay (a person's call)"),
)  # fmt: skip

_WORKFLOWS = (
    _change("workflow.create", "POST /workflows", "workflows:write", workflow_versions.CreateWorkflow,
            workflow_versions.Workflow, summary="Keep a document as a draft; the same again is the version there is"),
    _read("workflow.list", "/workflows", "workflows:read", workflow_versions.ListWorkflows, Page,
          items=workflow_versions.Workflow, summary="Workflows by name, without their documents"),
    _read("workflow.search", "/workflow-search", "workflows:read", workflow_versions.SearchWorkflows, Page,
          items=workflow_versions.Candidate, summary="Workflows by what somebody wants done; nothing is started"),
    _read("workflow.schema", "/workflow-schema", "workflows:read", workflow_versions.GetWorkflowFormat,
          workflow_versions.WorkflowFormat, summary="The JSON Schema of a document"),
    _read("workflow.get", "/workflows/{name}", "workflows:read", workflow_versions.GetWorkflow,
          workflow_versions.Workflow, summary="A version with its document; the active one, else the newest draft"),
    _read("workflow.versions", "/workflows/{name}/versions", "workflows:read",
          workflow_versions.ListWorkflowVersions, Page, items=workflow_versions.Workflow,
          summary="Versions of a workflow, newest first"),
    _read("workflow.diff", "/workflows/{name}/diff", "workflows:read", workflow_versions.DiffWorkflow,
          workflow_diff.WorkflowDiff, summary="What is different, and which steps keep their evidence"),
    _change("workflow.move", "POST /workflows/{name}/moves", "workflows:move", workflow_versions.MoveWorkflow,
            workflow_versions.Workflow, summary="Move a version: to the right by evidence, to the left by a person"),
    _read("workflow.evidence", "/workflows/{name}/evidence", "workflows:read", evidence_calls.GetEvidence,
          evidence_calls.WorkflowEvidence, summary="What is known of each model at each step, and who does it"),
    _read("workflow.explain", "/workflows/{name}/explanation", "workflows:read", evidence_calls.ExplainWorkflow,
          evidence_calls.WorkflowExplanation,
          summary="Which model does which step, why, and what would change it, in words"),
    _change("workflow.demote_model", "POST /workflows/{name}/demotions", "workflows:move", evidence_calls.DemoteModel,
            evidence_calls.WorkflowEvidence, summary="Take a model off a step; a person's call"),
    _change("workflow.reset_model", "POST /workflows/{name}/resets", "workflows:move", evidence_calls.ResetModel,
            evidence_calls.WorkflowEvidence, summary="Let a model be tested at a step anew; a person's call"),
    _change("workflow.judge", "POST /executions/{execution}/verdicts", "workflows:move", evidence_calls.JudgeStep,
            evidence_calls.Comparison, summary="Say whether what a step gave is right; a person's call"),
    _change("workflow.compare", "POST /executions/{execution}/comparisons", "workflows:execute",
            evidence_calls.CompareStep, evidence_calls.Comparison,
            summary="Hand in what a model said that was asked beside a step"),
)  # fmt: skip

_TRIALS = (
    _change("workflow.add_cases", "POST /workflows/{name}/cases", "workflows:write", cases.AddCases, cases.CasesAdded,
            summary="Keep cases to try a workflow on; the same case is kept once"),
    _read("workflow.cases", "/workflows/{name}/cases", "workflows:read", cases.ListCases, Page, items=cases.Case,
          summary="Cases of a workflow, newest first"),
    _change("workflow.remove_case", "DELETE /workflows/{name}/cases/{case}", "workflows:move", cases.RemoveCase,
            cases.Case, summary="Try nothing on a case any more (a person's call)"),
    _change("workflow.keep_case", "POST /executions/{execution}/cases", "workflows:write", cases.KeepCase, cases.Case,
            summary="Make a case of an execution that happened, or of one step of it"),
    _read("workflow.failures", "/workflows/{name}/failures", "workflows:read", cases.ListFailures, Page,
          items=cases.Failures, summary="What failed lately, by step and check, newest first"),
    _change("workflow.open_trial", "POST /workflows/{name}/trials", "workflows:execute", trials.OpenTrial, trials.Trial,
            summary="Begin a trial on cases, or go on with one"),
    _read("workflow.trial", "/trials/{trial}", "workflows:read", trials.GetTrial, trials.Trial,
          summary="A trial, with what it has shown so far"),
    _read("workflow.trials", "/trials", "workflows:read", trials.ListTrials, Page, items=trials.Trial,
          summary="Trials, newest first"),
    _read("workflow.trial_step", "/trials/{trial}/step", "workflows:read", trials.GetTrialStep, executions.NextStep,
          summary="The step of a case, as a model is to do it in a trial"),
    _change("workflow.try_case", "POST /trials/{trial}/cases", "workflows:execute", trials.TryCase, trials.Trial,
            summary="Hand in what came of a case: compared, settled and kept"),
    _change("workflow.propose", "POST /workflows/{name}/proposals", "workflows:write", repairs.Propose,
            workflow_versions.Workflow, summary="A draft with a few edits made to a version"),
    _read("workflow.regressions", "/workflows/{name}/regressions", "workflows:read", repairs.GetRegressions,
          repairs.Regressions, summary="What worked before and does not in a version"),
)  # fmt: skip

_REPORTS = (
    _read("report.attention", "/reports/attention", "escalations:read", reports.GetAttention, reports.Attention,
          summary="What asking people cost: how often, how fast, how many approved, who is asked too much"),
    _read("report.oversight", "/reports/oversight", "policies:read", reports.GetOversight, reports.Oversight,
          summary="Requirements of human oversight, and how the plane is configured for each"),
)  # fmt: skip

_AUDIT = (
    _read("audit.events", "/events", "audit:read", audit.ListEvents, Page, items=audit.Event, watch=True,
          summary="The trail, filtered"),
    _read("audit.get", "/events/{id}", "audit:read", audit.GetEvent, audit.Event, summary="One event"),
    _read("audit.verify", "/verification", "audit:read", audit.VerifyTrail, audit.TrailCheck,
          summary="Check every stream's chain"),
)  # fmt: skip

_ACCESS = (
    _read("access.whoami", "/whoami", None, access.Identify, access.Identity, summary="Who this credential is"),
    _change("key.create", "POST /keys", "access:admin", access.CreateKey, access.Key,
            summary="Create a key, shown once"),
    _read("key.list", "/keys", "access:read", access.ListKeys, Page, items=access.Key, summary="Keys, without secrets"),
    _change("key.revoke", "DELETE /keys/{id}", "access:admin", access.RevokeKey, access.Key, summary="End a key now"),
    _change("key.rotate", "POST /keys/{id}/rotation", "access:admin", access.RotateKey, access.Key,
            summary="A successor key; the old one ends after the overlap"),
    _read("actor.list", "/actors", "access:read", access.ListActors, Page, items=access.Actor, summary="Actors"),
    _change("actor.disable", "PUT /actors/{kind}/{name}/disabled", "access:admin", access.SetActorDisabled,
            access.Actor, summary="Kill switch: refuse every call of an actor, or allow them again"),
)  # fmt: skip

_SYSTEM = (
    _change("transaction.run", "POST /transactions", "state:write", system.RunTransaction, system.TransactionDone,
            summary="Several operations in one commit or none"),
    _read("system.status", "/status", "system:read", system.GetStatus, system.Status, summary="How the plane is doing"),
    _read("system.diagnose", "/diagnosis", "system:read", system.Diagnose, system.Diagnosis, summary="doctor"),
    _change("system.backup", "POST /backups", "system:admin", system.Backup, system.BackupDone,
            summary="A consistent copy of the store on the plane's machine"),
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (
    _STATE
    + _RUNS
    + _EXECUTIONS
    + _HANDOFFS
    + _ESCALATIONS
    + _INBOX
    + _GUARDS
    + _LEDGER
    + _WEBHOOKS
    + _POLICIES
    + _WORKFLOWS
    + _TRIALS
    + _REPORTS
    + _AUDIT
    + _ACCESS
    + _SYSTEM
)
BY_NAME: dict[str, Operation] = {operation.name: operation for operation in OPERATIONS}
# Each operation has a request type of its own, so the request says which operation is meant.
BY_REQUEST: dict[type[Request], Operation] = {operation.request: operation for operation in OPERATIONS}
