"""The operation of a request, for whoever makes some: a noun's rows are loaded with the first of its requests."""

from __future__ import annotations

from importlib import import_module

from agentmemo.api.operation import Operation
from agentmemo.model.wire import Request

# The rows of a noun stand under the name of its file in the model, but for these.
_ELSEWHERE = {
    "cases": "workflows",
    "evidence_calls": "workflows",
    "executions": "workflows",
    "observations": "runs",
    "precedents": "guards",
    "repairs": "workflows",
    "trials": "workflows",
    "workflow_reports": "workflows",
    "workflow_versions": "workflows",
}
_known: dict[type[Request], Operation] = {}


def operation_of(kind: type[Request]) -> Operation:
    if kind not in _known:
        noun = kind.__module__.rpartition(".")[2]
        rows = import_module(f"agentmemo.api.{_ELSEWHERE.get(noun, noun)}").OPERATIONS
        _known.update({row.request: row for row in rows})
    return _known[kind]
