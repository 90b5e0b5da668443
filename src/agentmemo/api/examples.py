"""One body for each operation that takes more than its path says, as the description shows it."""

from __future__ import annotations

from typing import Any

from agentmemo.api.operations import BY_NAME

HANDLE = "run_01j9x2k7m3q8w4ez"
_QUESTION = {
    "severity": "high",
    "reason": "The migration locks a table.",
    "suggested_actions": [{"id": "wait", "label": "Wait for tonight"}, {"id": "go_on", "label": "Go on"}],
}
_DOCUMENT = {
    "name": "triage",
    "designed_by": "claude",
    "steps": [{"id": "fetch", "kind": "tool", "tool": "fetch_issue", "input": {"number": "$inputs.number"}}],
}
_BODIES: dict[str, dict[str, Any]] = {
    "state.set": {"value": {"commit": "abc123"}},
    "run.start": {"name": "nightly", "key": "2026-11-23", "inputs": {"repo": "acme/api"}, "worker": "wrk_..."},
    "run.park": {"name": "approval", "key": "1", "kind": "signal", "signal": "approved", "seconds": 3600},
    "run.complete": {"result": {"files": 3}},
    "run.fail": {"reason": "The repository is gone."},
    "run.cancel": {"reason": "Not needed any more."},
    "run.progress": {"percent": 40, "text": "Two of five files"},
    "run.note": {"kind": "finding", "text": "The limit is per account.", "because": "429 after 60 calls"},
    "run.observe": {"tool": "search", "arguments": {"query": "rate limit"}, "result": {"found": 0}},
    "run.signal": {"name": "approved", "value": {"by": "ann"}},
    "run.fork": {"reason": "Again, with another model."},
    "step.start": {"effect": "write"},
    "step.complete": {"result": {"sent": True}},
    "step.fail": {"error": "The server did not answer."},
    "task.start": {"inputs": {"repo": "acme/api"}, "key": "2026-11-23"},
    "task.claim": {"worker": "wrk_...", "tasks": ["nightly"]},
    "workflow.create": {"document": _DOCUMENT},
    "workflow.start": {"inputs": {"number": 17}},
    "workflow.begin": {"step": "fetch", "attempt": 1},
    "workflow.submit": {"step": "fetch", "result": {"title": "The limit is too low"}},
    "workflow.move": {"version": "sha256:...", "to": "shadow", "reason": "To be watched first."},
    "handoff.create": {"to_agent": "reviewer", "goal": "Review the change.", "context": {"commit": "abc123"}},
    "handoff.announce": {"capabilities": ["review"], "queues": ["reviews"]},
    "handoff.claim": {"limit": 1, "lease_seconds": 600},
    "handoff.complete": {"result": {"approved": True}},
    "handoff.fail": {"reason": "The commit is not there.", "epoch": 1},
    "handoff.release": {"reason": "Out of time.", "epoch": 1},
    "handoff.decline": {"reason": "Not my language."},
    "handoff.cancel": {"reason": "Not needed any more."},
    "handoff.limit": {"to": "agent:reviewer", "concurrency": 3},
    "escalation.create": _QUESTION,
    "escalation.withdraw": {"reason": "It answered itself."},
    "escalation.redeem": {"tool": "deploy", "arguments": {"to": "production"}},
    "inbox.answer": {"decision": "choose", "choice": "go_on", "comment": "The tests are green."},
    "inbox.delegate": {"to": "ben"},
    "inbox.comment": {"text": "Who asked for this?"},
    "guard.check": {"tool": "deploy", "arguments": {"to": "production"}},
    "ledger.reserve": {
        "id": "use_01j9x2k7m3q8w4ez",
        "model": "claude-sonnet-4-5",
        "input_tokens": 900,
        "max_output_tokens": 400,
    },
    "ledger.settle": {"usage": {"input_tokens": 900, "output_tokens": 120}},
    "ledger.record": {"model": "claude-sonnet-4-5", "usage": {"input_tokens": 900, "output_tokens": 120}},
    "ledger.cap": {"scope": "workspace", "nanousd": 5_000_000_000, "per": "day"},
    "webhook.create": {"url": "https://hooks.example.org/agentmemo"},
    "policy.set": {"document": {"steps": [{"targets": ["person:ana"]}]}, "comment": "Ana first."},
    "key.create": {"kind": "agent", "actor": "reviewer", "grants": [{"permissions": ["state:read"]}]},
    "transaction.run": {
        "calls": [{"operation": "state.set", "request": {"namespace": "github_sync", "key": "last", "value": 1}}]
    },
}
EXAMPLES: dict[type[Any], dict[str, Any]] = {BY_NAME[name].request: body for name, body in _BODIES.items()}
PARAMETER_EXAMPLES = {"namespace": "github_sync", "key": "last_commit_hash", "run": HANDLE, "text": "rate limit"}
