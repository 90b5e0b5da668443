"""The point reads an operation will surely make, named before its transaction begins.

A database with round trips makes those of a whole batch in one. It is foresight only: what is missing here is read when
it is asked for, and what is too much costs one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentmemo import ids
from agentmemo.model import handoffs, runs, state, system
from agentmemo.model.wire import Request
from agentmemo.store.database import Read

if TYPE_CHECKING:
    from agentmemo.engine.call import Call


def foresee(call: Call, request: Request) -> list[Read]:
    """The reads, each as (query, parameters) in full."""
    if call.engine.database.capabilities.local:
        return []
    caller, workspace = call.caller, call.workspace
    reads: list[Read] = []
    if caller.request_id:
        reads.append(("request_find", {"workspace": workspace, "actor": call.actor, "key": caller.request_id}))
    if isinstance(request, state.SetEntry | state.DeleteEntry):
        namespace = call.engine.names.known_namespace(workspace, request.namespace)
        if namespace is not None:
            reads.append(("entry_head", {"namespace": namespace, "key": request.key}))
    if isinstance(request, runs.StartRun | runs.StartTask) and request.key is not None:
        reads.append(("run_find", {"workspace": workspace, "name": request.name, "key": request.key}))
    stream = call.engine.stream_of(workspace)
    if isinstance(request, handoffs.CreateHandoff) and request.key is not None:
        reads.append(("handoff_find", {"workspace": workspace, "key": request.key}))
    reads += _of_handoff(workspace, request)
    for buffered in request.calls if isinstance(request, runs.CompleteStep | system.RunTransaction) else ():
        reads += _of_handoff(workspace, buffered.request)
    if caller.claim and isinstance(request, runs.StartStep | runs.CompleteStep | runs.FailStep):
        claim = caller.claim
        held = {"handle": request.run, "workspace": workspace, "epoch": claim.epoch, "holder": call.actor}
        reads.append(("run_held", held))
        stream = claim.run
    elif (handle := caller.claim.run if caller.claim else getattr(request, "run", None)) and ids.is_handle(
        handle, "run"
    ):
        reads.append(("run_get", {"workspace": workspace, "handle": handle}))
        stream = handle
    reads.append(("event_last_of_stream", {"stream": stream}))
    return reads


def _of_handoff(workspace: int, request: Request | dict[str, Any]) -> list[Read]:
    """What a move of a handoff looks at, whether it is sent alone or among others."""
    given = request.get("handoff") if isinstance(request, dict) else getattr(request, "handoff", None)
    if not isinstance(given, str) or not ids.is_handle(given, "hof"):
        return []
    return [
        ("handoff_get", {"workspace": workspace, "handle": given}),
        ("event_last_of_stream", {"stream": given}),
    ]
