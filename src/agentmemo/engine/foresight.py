"""The point reads an operation will surely make, named before its transaction begins.

A database with round trips makes those of a whole batch in one. It is foresight only: what is missing here is read when
it is asked for, and what is too much costs one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentmemo.model import runs, state
from agentmemo.model.wire import Request
from agentmemo.store.database import Read

if TYPE_CHECKING:
    from agentmemo.engine.call import Call


def foresee(call: Call, request: Request) -> list[Read]:
    """The reads, each as (query, parameters) in full."""
    if call.engine.database.capabilities.local:
        return []
    reads: list[Read] = []
    caller = call.caller
    if caller.request_id:
        parameters = {"workspace": call.workspace, "actor": call.actor, "key": caller.request_id}
        reads.append(("request_find", parameters))
    if isinstance(request, state.SetEntry | state.DeleteEntry):
        namespace = call.engine.names.known_namespace(call.workspace, request.namespace)
        if namespace is not None:
            reads.append(("entry_head", {"namespace": namespace, "key": request.key}))
    elif caller.claim and isinstance(request, runs.StartStep | runs.CompleteStep | runs.FailStep):
        claim = caller.claim
        held = {"handle": request.run, "workspace": call.workspace, "epoch": claim.epoch, "holder": call.actor}
        reads.append(("run_held", held))
    stream = caller.claim.run if caller.claim else call.engine.stream_of(call.workspace)
    reads.append(("event_last_of_stream", {"stream": stream}))
    return reads
