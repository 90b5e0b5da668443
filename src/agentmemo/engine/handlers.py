"""Which function performs which operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentmemo.api.operation import Operation
from agentmemo.api.operations import OPERATIONS
from agentmemo.engine import (
    access,
    audit,
    briefing,
    cases,
    comparisons,
    escalation_delivery,
    escalations,
    evidence_reads,
    execution_questions,
    executions,
    guards,
    handoff_create,
    handoff_limits,
    handoff_reads,
    handoffs,
    inbox,
    ledger,
    ledger_caps,
    ledger_reads,
    ledger_savings,
    observations,
    oversight,
    policies,
    precedents,
    repairs,
    reports,
    run_answers,
    run_reads,
    runs,
    state,
    steps,
    system,
    tasks,
    trials,
    waits,
    webhooks,
    workers,
    workflow_reports,
    workflows,
)
from agentmemo.model import escalations as escalation_model
from agentmemo.model import handoffs as handoff_model
from agentmemo.model import runs as run_model

Handler = Callable[..., Any]

HANDLERS: dict[str, Handler] = {
    "state.set": state.set_,
    "state.get": state.get,
    "state.delete": state.delete,
    "state.list": state.list_,
    "state.namespaces": state.namespaces,
    "state.search": state.search,
    "state.history": state.history,
    "state.diff": state.diff,
    "state.watch": state.watch,
    "run.start": runs.start,
    "run.resume": runs.resume,
    "run.get": run_reads.get,
    "run.find": run_reads.find,
    "run.list": run_reads.list_,
    "run.complete": runs.complete,
    "run.fail": runs.fail,
    "run.release": runs.release,
    "run.cancel": runs.cancel,
    "run.park": run_answers.park,
    "run.progress": run_reads.progress,
    "run.note": run_reads.note,
    "run.notes": run_reads.notes,
    "run.signal": waits.signal,
    "run.fork": runs.fork,
    "run.resolve": run_answers.resolve,
    "run.observe": observations.observe,
    "run.explain": run_reads.explain,
    "step.find": steps.find,
    "step.list": steps.list_,
    "step.start": steps.start,
    "step.complete": steps.complete,
    "step.fail": steps.fail,
    "task.start": tasks.start,
    "task.claim": tasks.claim,
    "task.schedules": tasks.schedules,
    "task.unschedule": tasks.unschedule,
    "worker.register": workers.register,
    "worker.heartbeat": workers.heartbeat,
    "worker.stop": workers.stop,
    "workflow.start": executions.start,
    "workflow.resume": executions.resume,
    "workflow.begin": executions.begin,
    "workflow.submit": executions.submit,
    "workflow.execution": executions.get,
    "workflow.executions": executions.list_,
    "workflow.attempts": executions.attempts,
    "workflow.counts": workflow_reports.counts,
    "workflow.rates": workflow_reports.rates,
    "briefing.get": briefing.get,
    "handoff.create": handoff_create.create,
    "handoff.get": handoff_reads.get,
    "handoff.find": handoff_reads.find,
    "handoff.list": handoff_reads.list_,
    "handoff.pending": handoff_reads.pending,
    "handoff.notices": handoff_reads.notices,
    "handoff.lineage": handoff_reads.lineage,
    "handoff.reference": handoff_reads.reference,
    "handoff.announce": handoffs.announce,
    "handoff.claim": handoffs.claim,
    "handoff.renew": handoffs.renew,
    "handoff.progress": handoffs.progress,
    "handoff.complete": handoffs.complete,
    "handoff.fail": handoffs.fail,
    "handoff.release": handoffs.release,
    "handoff.decline": handoffs.decline,
    "handoff.cancel": handoffs.cancel,
    "handoff.requeue": handoffs.requeue,
    "handoff.result": handoffs.receive,
    "handoff.limit": handoff_limits.set_limit,
    "handoff.limits": handoff_limits.limits,
    "escalation.create": execution_questions.create,
    "escalation.get": escalations.get,
    "escalation.list": escalations.list_,
    "escalation.withdraw": escalations.withdraw,
    "escalation.receive": escalations.receive,
    "escalation.redeem": escalations.redeem,
    "escalation.retry": escalation_delivery.retry,
    "inbox.list": inbox.list_,
    "inbox.acknowledge": inbox.acknowledge,
    "inbox.release": inbox.release,
    "inbox.answer": inbox.answer,
    "inbox.delegate": inbox.delegate,
    "inbox.snooze": inbox.snooze,
    "inbox.extend": inbox.extend,
    "inbox.comment": inbox.comment,
    "guard.check": guards.check,
    "guard.reviews": guards.reviews,
    "guard.object": guards.object_,
    "guard.precedents": precedents.list_,
    "guard.promote": precedents.promote,
    "ledger.reserve": ledger.reserve,
    "ledger.settle": ledger.settle,
    "ledger.void": ledger.void,
    "ledger.record": ledger.record,
    "ledger.list": ledger_reads.list_,
    "ledger.get": ledger_reads.get,
    "ledger.totals": ledger_reads.totals,
    "ledger.savings": ledger_savings.savings,
    "ledger.cap": ledger_caps.cap,
    "ledger.caps": ledger_caps.caps,
    "webhook.create": webhooks.create,
    "webhook.list": webhooks.list_,
    "webhook.delete": webhooks.delete,
    "webhook.deliveries": webhooks.deliveries,
    "policy.set": policies.set_,
    "policy.get": policies.get,
    "policy.list": policies.list_,
    "policy.versions": policies.versions,
    "policy.delete": policies.delete,
    "workflow.create": workflows.create,
    "workflow.get": workflows.get,
    "workflow.list": workflows.list_,
    "workflow.search": workflows.search,
    "workflow.versions": workflows.versions,
    "workflow.diff": workflows.diff_,
    "workflow.move": workflows.move,
    "workflow.schema": workflows.form,
    "workflow.add_cases": cases.add,
    "workflow.cases": cases.list_,
    "workflow.remove_case": cases.remove,
    "workflow.keep_case": cases.keep,
    "workflow.failures": cases.failures,
    "workflow.open_trial": trials.open_,
    "workflow.trial": trials.get,
    "workflow.trials": trials.list_,
    "workflow.trial_step": trials.step,
    "workflow.try_case": trials.try_case,
    "workflow.propose": repairs.propose,
    "workflow.regressions": repairs.get_regressions,
    "workflow.evidence": evidence_reads.get,
    "workflow.explain": evidence_reads.explain,
    "workflow.demote_model": evidence_reads.demote,
    "workflow.reset_model": evidence_reads.reset,
    "workflow.judge": comparisons.judge_step,
    "workflow.compare": comparisons.compare,
    "report.attention": reports.attention,
    "report.oversight": oversight.oversight,
    "audit.events": audit.events,
    "audit.get": audit.get,
    "audit.verify": audit.verify,
    "access.whoami": access.whoami,
    "key.create": access.create_key,
    "key.list": access.list_keys,
    "key.revoke": access.revoke_key,
    "key.rotate": access.rotate_key,
    "actor.list": access.list_actors,
    "actor.disable": access.set_disabled,
    "transaction.run": system.run_transaction,
    "system.status": system.status,
}

# Whether a change would find something, told by reading: whoever waits looks so after each commit of anybody's.
PEEKS: dict[str, Handler] = {
    "handoff.claim": handoffs.would_claim,
    "handoff.result": handoffs.would_receive,
    "task.claim": tasks.would_claim,
}

# Of these, what says something also where nothing came: it is looked at once more when the time is over.
TELLING = frozenset({"handoff.result"})

# These manage their transactions themselves: `(call, request) -> response`.
DIRECT: dict[str, Handler] = {"system.backup": system.backup, "system.diagnose": system.diagnose}

assert set(HANDLERS) | set(DIRECT) == {operation.name for operation in OPERATIONS}  # noqa: S101 - one table


def is_ready(operation: Operation, request: Any, response: Any) -> bool:
    """Whether a long-poll has something to say."""
    ready = _READY.get(operation.name)
    return ready is None or bool(ready(request, response))


def _has_changed(request: Any, response: Any) -> bool:
    after = request.after_updated
    # The wall clock may have been set back since.
    return response.state in ENDED or (after is not None and response.updated_at != after)


def _is_new(request: Any, response: Any) -> bool:
    """Somebody asked, answered or changed something since `after`, as the caller was told then."""
    return request.after is None or any(item.updated_at > request.after for item in response.items)


ENDED = frozenset(run_model.FINISHED + handoff_model.ENDED + escalation_model.ENDED)
_READY: dict[str, Callable[[Any, Any], Any]] = {
    # From now on: the answer is where "now" is. Asked again, it would be later, with changes lost between.
    "state.watch": lambda request, response: response.changes or request.after is None,
    "audit.events": lambda _, response: response.items,
    "run.get": _has_changed,
    "run.resume": lambda _, response: response.outcome != "waiting",
    "task.claim": lambda _, response: response.claimed,
    "handoff.get": _has_changed,
    "escalation.get": _has_changed,
    "inbox.list": _is_new,
    "handoff.pending": lambda _, response: response.items,
    "handoff.notices": lambda _, response: response.items,
    "handoff.claim": lambda request, response: response.handoffs or request.handoff,
    "handoff.result": lambda _, response: response.state in ENDED or response.notice_at,
}
