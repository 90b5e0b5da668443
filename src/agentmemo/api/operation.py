"""What an operation is."""

from __future__ import annotations

import msgspec

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


def read(
    name: str,
    path: str,
    permission: str | None,
    request: type[Request],
    response: type[Response],
    *,
    items: type[Response] | None = None,
    quick: bool = False,
    watch: bool = False,
    summary: str,
) -> Operation:
    return Operation(
        name=name,
        method="GET",
        path=path,
        permission=permission,
        request=request,
        response=response,
        items=items,
        quick=quick,
        watch=watch,
        summary=summary,
    )


def change(
    name: str,
    route: str,
    permission: str,
    request: type[Request],
    response: type[Response],
    *,
    liveness: bool = False,
    buffered: bool = False,
    summary: str,
) -> Operation:
    method, path = route.split(" ")
    return Operation(
        name=name,
        method=method,
        path=path,
        permission=permission,
        request=request,
        response=response,
        mutating=True,
        liveness=liveness,
        buffered=buffered,
        summary=summary,
    )
