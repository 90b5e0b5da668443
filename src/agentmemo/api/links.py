"""Where an answer leads: the OpenAPI links from what one operation returns to what another takes."""

from __future__ import annotations

from typing import Any

from agentmemo.api.operation import Operation
from agentmemo.api.operations import OPERATIONS
from agentmemo.model import (
    access,
    audit,
    escalations,
    executions,
    guards,
    handoffs,
    ledger,
    policies,
    precedents,
    runs,
    state,
    webhooks,
    workflow_versions,
)

REFERENCE = "#/components/links/"
_ID = {"id": "/id"}
_ESCALATION = {"escalation": {"escalation": "/id"}, "inbox": {"escalation": "/id"}}
_STARTED = {"run": {"run": "/run/id"}, "step": {"run": "/run/id"}}
# What a struct names, by the noun of the operations that take it: a field of theirs, and where it stands in the struct.
LEADS: dict[type[Any], dict[str, dict[str, str]]] = {
    state.Entry: {"state": {"namespace": "/namespace", "key": "/key"}},
    state.NamespaceInfo: {"state": {"namespace": "/name"}},
    runs.Run: {"run": {"run": "/id", "name": "/name", "key": "/key"}, "step": {"run": "/id"}},
    runs.Claimed: _STARTED,
    runs.StartedTask: _STARTED,
    runs.Step: {"step": {"run": "/run", "name": "/name", "key": "/key"}},
    runs.Schedule: {"task": _ID},
    runs.Worker: {"worker": {"worker": "/id"}, "run": {"worker": "/id"}, "task": {"worker": "/id"}},
    executions.Execution: {
        "workflow": {"execution": "/id", "step": "/next_step/step", "attempt": "/next_step/attempt"}
    },
    handoffs.Handoff: {"handoff": {"handoff": "/id"}},
    handoffs.ClaimedHandoffs: {"handoff": {"handoff": "/handoffs/0/id", "epoch": "/handoffs/0/epoch"}},
    escalations.Escalation: _ESCALATION,
    guards.GuardDecision: {noun: {"escalation": "/escalation"} for noun in _ESCALATION},
    guards.GuardReview: {"guard": {"revision": "/revision"}},
    precedents.Precedent: {"guard": {"precedent": "/id"}},
    ledger.LedgerRow: {"ledger": _ID},
    webhooks.Webhook: {"webhook": _ID},
    policies.Policy: {"policy": {"kind": "/kind", "name": "/name"}},
    workflow_versions.Workflow: {"workflow": {"name": "/name", "version": "/version"}},
    audit.Event: {"audit": _ID},
    access.Key: {"key": _ID},
    access.Actor: {"actor": {"kind": "/kind", "name": "/name"}},
}
# Named alike, but something new: a fork has a key of its own, a reservation its own handle. And the revision by which a
# tool binds its arguments is none of the plane's.
APART = frozenset({("run.fork", "key"), ("ledger.reserve", "id"), ("guard.check", "revision")})
# Whoever opened a run goes on under its claim.
_CLAIM = "{$response.body#/run/id}@{$response.body#/run/epoch}"


def links_from(operation: Operation) -> dict[str, dict[str, str]]:
    """The links of one operation's answer, as references to `all_links`."""
    kind, many = operation.items or operation.response, operation.items is not None
    if kind not in LEADS:
        return {}
    names = [_name(kind, target, many=many) for target in _targets(kind) if _is_news(operation, kind, target)]
    return {name: {"$ref": REFERENCE + name} for name in names}


def all_links() -> dict[str, dict[str, Any]]:
    """Every link that some answer has, once for a struct alone and once for the first of a page."""
    used = {name for operation in OPERATIONS for name in links_from(operation)}
    every = (
        (_name(kind, target, many=many), _link(kind, target, many=many))
        for kind in LEADS
        for many in (False, True)
        for target in _targets(kind)
    )
    return {name: link for name, link in every if name in used}


def _is_news(source: Operation, kind: type[Any], target: Operation) -> bool:
    """Whoever named a run to complete it learns no new handle; whoever put an entry under its key has just made it."""
    makes = source.method == "PUT" and source.path.endswith("}")
    return makes or not set(_given(kind, target)) <= _in_path(source)


def _targets(kind: type[Any]) -> list[Operation]:
    """The operations that something the struct names leads to."""
    return [operation for operation in OPERATIONS if _given(kind, operation)]


def _given(kind: type[Any], target: Operation) -> dict[str, str]:
    """The fields of the target that the struct fills; none unless it fills what the path needs to be found."""
    named = LEADS[kind].get(target.noun, {})
    given = {name: place for name, place in named.items() if name in target.request.__struct_fields__}
    given = {name: place for name, place in given.items() if (target.name, name) not in APART}
    in_path = _in_path(target)
    return given if not in_path or in_path & set(given) else {}


def _link(kind: type[Any], target: Operation, *, many: bool) -> dict[str, Any]:
    start = "$response.body#/items/0" if many else "$response.body#"
    given = _given(kind, target)
    in_path = _in_path(target)
    parameters = {f"path.{name}": start + place for name, place in given.items() if name in in_path}
    others = {name: start + place for name, place in given.items() if name not in in_path}
    described: dict[str, Any] = {"operationId": target.name}
    if target.method in {"POST", "PUT"} and others:
        described["requestBody"] = others
    elif others:
        parameters |= {f"query.{name}": place for name, place in others.items()}
    if kind is runs.Claimed and target.mutating:
        parameters["header.AgentMemo-Claim"] = _CLAIM
    return described | {"parameters": parameters}


def _in_path(operation: Operation) -> set[str]:
    return {part[1:-1] for part in operation.path.split("/") if part.startswith("{")}


def _name(kind: type[Any], target: Operation, *, many: bool) -> str:
    return f"{kind.__name__}{'Page' if many else ''}.{target.name}"
