"""The console: pages for people, served by the plane itself, whole without JavaScript."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentmemo.clock import Clock, SystemClock
from agentmemo.console import (
    answering,
    decide,
    escalation,
    events,
    execution,
    handoff,
    handoffs,
    home,
    inbox,
    links,
    reports,
    reviews,
    run,
    runs,
    savings,
    signin,
    state,
    together,
    workflow,
    workflow_acts,
    workflows,
)
from agentmemo.console.frame import Authenticate, Console, Handler, error_page
from agentmemo.console.live import Live
from agentmemo.errors import Error, InvalidInput, NotFound

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; img-src 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def create_console(
    authenticate: Authenticate, *, clock: Clock | None = None, door: links.Door | None = None
) -> Starlette:
    """The console as an ASGI application, to be mounted at "/".

    `authenticate(key)` returns a connection that acts as that key's caller or raises NotAuthenticated. It is called
    in a thread at each request, so a revoked key ends its sessions at once; the connection is closed afterwards.
    `door` answers one-time links; without it there are none.
    """
    console = Console(authenticate, clock or SystemClock())
    entrance = signin.SignIn(console)
    pages = links.LinkPages(console, door)
    routes = [
        *_page(console, "/", home.home, "/home.json"),
        *_inbox(console),
        *_page(console, "/runs", runs.runs),
        Route("/runs/{run}/live", Live(console).run),
        Route("/runs/{run}/answer", console.act(decide.answer), methods=["POST"]),
        Route("/runs/{run}/cancel", console.act(decide.cancel), methods=["POST"]),
        Route("/runs/{run}/fork", console.act(decide.fork), methods=["POST"]),
        *_page(console, "/runs/{run}", run.run),
        *_page(console, "/handoffs", handoffs.handoffs),
        Route("/handoffs/{handoff}/live", Live(console).handoff),
        Route("/handoffs/{handoff}/cancel", console.act(decide.cancel_handoff), methods=["POST"]),
        Route("/handoffs/{handoff}/requeue", console.act(decide.requeue), methods=["POST"]),
        *_page(console, "/handoffs/{handoff}", handoff.handoff),
        *_workflows(console),
        *_page(console, "/state/entry", state.entry),
        *_page(console, "/state", state.state),
        *_page(console, "/reviews", reviews.reviews),
        Route("/reviews/objection", console.act(reviews.object_), methods=["POST"]),
        *_page(console, "/reports", reports.reports),
        *_page(console, "/events", events.events),
        *_page(console, "/events/{event}", events.event),
        Route("/answer/{link}", pages.show, methods=["GET"]),
        Route("/answer/{link}", pages.act, methods=["POST"]),
        Route("/sign-in", entrance.form, methods=["GET"]),
        Route("/sign-in", entrance.sign_in, methods=["POST"]),
        Route("/sign-out", entrance.sign_out, methods=["POST"]),
        Mount("/static", StaticFiles(directory=Path(__file__).with_name("static"))),
    ]

    async def refused(request: Request, error: Exception) -> Response:
        return await _refused(console, request, error)

    async def broken(request: Request, _error: Exception) -> Response:
        response = console.render(request, error_page(Error(
            "This page could not be made.",
            why="The console met a fault of its own; the server's log has the details.",
            next_call="Load the page again. What was acknowledged is safe.",
            retry_safe=True,
        )))  # fmt: skip
        harden(response.headers)
        return response

    app = Starlette(
        routes=routes,
        middleware=[Middleware(Hardened)],
        exception_handlers={HTTPException: refused, Exception: broken},
    )
    app.state.console = console
    return app


def _page(console: Console, path: str, handler: Handler, twin: str = "") -> list[Route]:
    """A page and its .json twin, which comes first so that `{run}` does not take the ending for itself."""
    endpoint = console.show(handler)
    return [Route(twin or f"{path}.json", endpoint), Route(path, endpoint)]


def _inbox(console: Console) -> list[Route]:
    """The questions to people, and what a person does with one."""
    acts = {
        "answer": answering.answer,
        "acknowledge": answering.acknowledge,
        "release": answering.release,
        "delegate": answering.delegate,
        "snooze": answering.snooze,
        "extend": answering.extend,
        "comment": answering.comment,
        "retry": answering.retry,
    }
    return [
        *_page(console, "/inbox", inbox.inbox),
        *_page(console, "/inbox/together", together.together),
        Route("/inbox/together", console.act(together.answer), methods=["POST"]),
        Route("/inbox/live", Live(console).inbox),
        Route("/inbox/{escalation}/live", Live(console).question),
        *(Route(f"/inbox/{{escalation}}/{name}", console.act(act), methods=["POST"]) for name, act in acts.items()),
        *_page(console, "/inbox/{escalation}", escalation.escalation),
    ]


def _workflows(console: Console) -> list[Route]:
    """Workflows, their executions, and what they save."""
    live = Live(console)
    return [
        *_page(console, "/workflows", workflows.workflows),
        Route("/workflows/live", live.workflows),
        Route("/workflows/{name}/live", live.workflow),
        Route("/workflows/{name}/start", console.act(workflow_acts.start), methods=["POST"]),
        Route("/workflows/{name}/move", console.act(workflow_acts.move), methods=["POST"]),
        *_page(console, "/workflows/{name}/move", workflow_acts.confirm),
        *_page(console, "/workflows/{name}/compare", workflow_acts.compare),
        *_page(console, "/workflows/{name}", workflow.workflow),
        Route("/executions/{run}/live", live.run),
        *_page(console, "/executions/{execution}", execution.execution),
        *_page(console, "/savings", savings.savings),
        *_page(console, "/savings/{name}", savings.of_workflow),
    ]


async def _refused(console: Console, request: Request, error: Exception) -> Response:
    """What the router found no page for."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    known: Error = NotFound(f"There is no page {request.url.path}.", next_call="Start at Home.")
    if error.status_code != 404:  # noqa: PLR2004 - the router says 404 or 405
        known = InvalidInput(
            f"{request.url.path} does not answer {request.method}.",
            why="What changes something is sent by a form.",
            next_call="Start at Home.",
        )
    try:
        visit = await console.visit(request)
    except Error:
        return console.render(request, error_page(known, status=error.status_code))
    await visit.connection.close()
    return console.render(request, error_page(known, status=error.status_code), visit)


class Hardened:
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                harden(MutableHeaders(scope=message), static=scope["path"].startswith("/static/"))
            await send(message)

        await self._app(scope, receive, sent)


def harden(headers: MutableHeaders, *, static: bool = False) -> None:
    """Pages are never kept by a cache; style sheet and script are asked for again by their tag."""
    for name, value in HEADERS.items():
        headers[name] = value
    headers["cache-control"] = "no-cache" if static else "no-store"
