"""Server-sent events: they say that something happened to a run, handoff or question, and the page fetches itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from agentmemo.console.frame import Console, Visit, error_page
from agentmemo.errors import Error, NotAuthenticated, RevisionGone
from agentmemo.model.audit import Event
from agentmemo.model.escalations import Escalation
from agentmemo.model.executions import RUN_PREFIX
from agentmemo.model.handoffs import Handoff
from agentmemo.model.runs import Run

WAIT_SECONDS = 10.0
ROUNDS = 30  # then the browser comes back by itself, so that no stream outlives a server that wants to stop for long
BATCH = 100
OF_INBOX = ("escalation.", "inbox.")
OF_WORKFLOWS = ("workflow.", "evidence.")
Find = Callable[[Visit], Awaitable[Run | Handoff | Escalation]]
Concerns = Callable[[Event], bool]


class Live:
    def __init__(self, console: Console) -> None:
        self._console = console

    async def run(self, request: Request) -> Response:
        """`change` events with the number of new entries in the run's trail after a revision."""
        return await self._follow(request, lambda visit: visit.connection.runs.get(request.path_params["run"]))

    async def handoff(self, request: Request) -> Response:
        """The same for a handoff."""
        return await self._follow(request, lambda visit: visit.connection.handoff.get(request.path_params["handoff"]))

    async def question(self, request: Request) -> Response:
        """The same for an escalation."""
        return await self._follow(request, lambda visit: visit.connection.inbox.get(request.path_params["escalation"]))

    async def inbox(self, request: Request) -> Response:
        """The same for whatever happens to any escalation."""
        return await self._follow(request, None, lambda event: event.operation.startswith(OF_INBOX))

    async def workflows(self, request: Request) -> Response:
        """The same for all workflows and their executions."""
        return await self._follow(request, None, lambda event: _is_of_workflow(event, None))

    async def workflow(self, request: Request) -> Response:
        """The same for one workflow and its executions."""
        name = request.path_params["name"]
        return await self._follow(request, None, lambda event: _is_of_workflow(event, name))

    async def _follow(self, request: Request, find: Find | None, concerns: Concerns = lambda _: True) -> Response:
        try:
            visit = await self._console.visit(request, touch=False)
        except NotAuthenticated:
            return Response(status_code=204)  # tells the browser not to come back
        except Error as error:
            return self._console.render(request, error_page(error))
        after = request.headers.get("last-event-id") or visit.asked("after") or "0"
        try:
            handle = (await find(visit)).id if find else None
        except Error as error:
            await visit.connection.close()
            return self._console.render(request, error_page(error), visit)
        if not visit.may("audit:read") or not after.isdigit():
            await visit.connection.close()
            return Response(status_code=204)
        return StreamingResponse(self._changes(visit, handle, int(after), concerns), media_type="text/event-stream")

    async def _changes(self, visit: Visit, handle: str | None, after: int, concerns: Concerns) -> AsyncIterator[bytes]:
        connection = visit.connection
        try:
            yield b"retry: 1000\n\n"
            for _ in range(ROUNDS):
                try:
                    page = await connection.audit.events(
                        run=handle, after=after, wait_seconds=WAIT_SECONDS, limit=BATCH
                    )
                except RevisionGone as gone:
                    # The store was restored behind the page: it fetches itself, and goes on from what there is.
                    after = gone.details["newest"] if "newest" in gone.details else gone.details["oldest"]
                    yield _change(after, 0)
                    continue
                if not page.items:
                    yield b": nothing new\n\n"
                    # Asked anew, so that a revoked key or an ended session ends the stream as well.
                    await (await self._console.visit(visit.request, touch=False)).connection.close()
                    continue
                after = page.items[-1].revision
                new = sum(concerns(event) for event in page.items)
                yield _change(after, new) if new else f"id: {after}\n\n".encode()  # an id alone is kept, and no more
        except Error:
            yield b"event: end\ndata: {}\n\n"
        finally:
            await connection.close()


def _change(revision: int, new: int) -> bytes:
    data = msgspec.json.encode({"new": new, "revision": revision}).decode()
    return f"id: {revision}\nevent: change\ndata: {data}\n\n".encode()


def _is_of_workflow(event: Event, name: str | None) -> bool:
    """Whether it happened to a workflow or to the run of an execution: to any, or to the one called `name`."""
    subject = event.subject
    of_run = str(subject.get("name", "")).startswith(RUN_PREFIX)
    if not (of_run or event.operation.startswith(OF_WORKFLOWS)):
        return False
    known = (subject.get("id"), subject.get("workflow"), str(subject.get("name", "")).removeprefix(RUN_PREFIX))
    return name is None or name in known
