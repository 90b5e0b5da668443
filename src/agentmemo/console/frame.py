"""The frame every page stands in: who asks, what a page is, how it becomes HTML or JSON, and how errors are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agentmemo import errors
from agentmemo.client._async.connection import AsyncConnection
from agentmemo.clock import Clock, iso
from agentmemo.console import waiting, words
from agentmemo.console.icons import Icons
from agentmemo.console.sessions import Session, Sessions, same
from agentmemo.errors import Error, InvalidInput, LimitExceeded, NotAuthenticated, PermissionDenied
from agentmemo.model import notification_forms
from agentmemo.model.access import Identity, allows

Authenticate = Callable[[str], AsyncConnection]
FORM_BYTES_MAX = 256 * 1024
FORM_FIELDS_MAX = 100
LIVE_HEADER = "agentmemo-live"
HTTP_OF: dict[type[Error], int] = {
    InvalidInput: 400,
    NotAuthenticated: 401,
    PermissionDenied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    LimitExceeded: 413,
    errors.Unavailable: 503,
}


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler answers: the template's name and its data, which the .json twin shows unchanged."""

    template: str
    title: str
    section: str
    data: dict[str, Any]
    status: int = 200


class Visit:
    """One request of a signed-in person."""

    __slots__ = ("connection", "form", "identity", "now", "questions", "request", "session")

    def __init__(
        self, request: Request, session: Session, connection: AsyncConnection, identity: Identity, now: int
    ) -> None:
        self.request = request
        self.session = session
        self.connection = connection
        self.identity = identity
        self.now = now
        self.form: Mapping[str, str] = {}
        self.questions = 0

    async def count_questions(self) -> None:
        """How many open questions the navigation speaks of, where the person may see the plane's totals."""
        if self.may("system:read") and self.may("escalations:read"):
            known = (await self.connection.status()).escalations
            self.questions = sum(known.get(severity, 0) for severity in words.SEVERITIES)

    def may(self, permission: str) -> bool:
        """Whether the person's grants cover it; asked before a part of a page that would be denied."""
        return allows(tuple(self.identity.grants), permission)

    def asked(self, name: str) -> str | None:
        """A query parameter; an empty one counts as left out."""
        return self.request.query_params.get(name) or None


Handler = Callable[[Visit], Awaitable[Page]]
Act = Callable[[Visit], Awaitable[str]]


class Console:
    """What all pages share."""

    def __init__(self, authenticate: Authenticate, clock: Clock) -> None:
        self.authenticate = authenticate
        self.clock = clock
        self.sessions = Sessions(clock)
        self._templates = environment()

    def show(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint for a page, as HTML or, where the path ends in .json, as its data."""

        async def endpoint(request: Request) -> Response:
            try:
                visit = await self.visit(request)
            except NotAuthenticated as error:
                return self.not_signed_in(request, error)
            except Error as error:
                # The store cannot answer now; the session is as good as before.
                return self.render(request, error_page(error))
            try:
                page = await handler(visit)
                if not wants_json(request):
                    await visit.count_questions()
            except Error as error:
                page = error_page(error)
            finally:
                await visit.connection.close()
            return self.render(request, page, visit)

        return endpoint

    def act(self, handler: Act) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that changes something: the form's token is checked, then the browser is sent on."""

        async def endpoint(request: Request) -> Response:
            try:
                visit = await self.visit(request)
            except NotAuthenticated as error:
                return self.not_signed_in(request, error)
            except Error as error:
                # The store cannot answer now; the session is as good as before.
                return self.render(request, error_page(error))
            try:
                visit.form = await read_form(request)
                check_token(visit.form, visit.session.csrf)
                where = await handler(visit)
            except Error as error:
                return self.render(
                    request, error_page(error, visit.form, back=request.url.path.rpartition("/")[0]), visit
                )
            finally:
                await visit.connection.close()
            return RedirectResponse(where, status_code=HTTPStatus.SEE_OTHER)

        return endpoint

    async def visit(self, request: Request, *, touch: bool = True) -> Visit:
        """The session's person, authenticated anew; what a page does by itself is no activity. NotAuthenticated."""
        token = request.cookies.get(cookie_name(request), "")
        found = self.sessions.find(token, touch=touch and LIVE_HEADER not in request.headers)
        if found is None:
            raise NotAuthenticated("You are not signed in.", next_call="Sign in with a person's key.")
        session, key = found
        try:
            connection, identity = await self.identify(key)
        except PermissionDenied as error:
            self.sessions.close(token)
            raise NotAuthenticated(error.message, why=error.why, next_call=error.next_call) from error
        except NotAuthenticated:
            self.sessions.close(token)
            raise
        return Visit(request, session, connection, identity, self.clock.now_us())

    async def identify(self, key: str) -> tuple[AsyncConnection, Identity]:
        """A connection of a person. Raises NotAuthenticated, also for the key of anybody else."""
        try:
            connection = await asyncio.to_thread(self.authenticate, key)
        except NotAuthenticated as error:
            # A person pastes a key and sends no headers.
            pasted = "Paste the whole key: am_person_...; agentmemo keys create person NAME makes a new one."
            raise NotAuthenticated(error.message, why=error.why, next_call=pasted) from None
        try:
            identity = await connection.keys.whoami()
        except Error:
            await connection.close()
            raise
        if identity.kind != "person":
            await connection.close()
            raise NotAuthenticated(
                f"This is the key of {'an agent' if identity.kind == 'agent' else 'a service'}.",
                why="The console is for people; nobody but a person decides here.",
                next_call="Sign in with a person's key: agentmemo keys create person NAME.",
            )
        return connection, identity

    def not_signed_in(self, request: Request, error: NotAuthenticated) -> Response:
        if wants_json(request):
            return as_json(error.to_dict(), HTTPStatus.UNAUTHORIZED)
        if request.headers.get("sec-fetch-site") == "cross-site" and request.method == "GET":
            # A strict cookie is not sent when a link of another site leads here; asking again from here brings it.
            return Response(status_code=HTTPStatus.OK, headers={"Refresh": "0", "Content-Type": "text/html"})
        where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = "/sign-in" if request.method != "GET" or where == "/" else f"/sign-in?{urlencode({'next': where})}"
        return RedirectResponse(target, status_code=HTTPStatus.SEE_OTHER)

    def render(self, request: Request, page: Page, visit: Visit | None = None) -> Response:
        if wants_json(request):
            return as_json({"title": page.title, **page.data}, page.status)
        now = visit.now if visit else self.clock.now_us()
        template = self._templates.get_template(page.template)
        content = template.render(
            page.data
            | {
                "title": page.title,
                "section": page.section,
                "now": now,
                "icons": Icons(),
                "csrf": visit.session.csrf if visit else "",
                "open_questions": visit.questions if visit else 0,
                "who": visit.identity.actor if visit else "",
                "workspace": visit.identity.workspace if visit else "",
                "json_address": twin(request) if page.status == HTTPStatus.OK and visit else "",
            }
        )
        return Response(content, page.status, media_type="text/html")


def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=words.visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"states": words.STATES, "questions": words.QUESTIONS, "wakes": words.WAKES}
    made.globals |= {"severities": words.SEVERITIES}
    made.filters |= {
        "utc": _utc,
        "utc_minutes": _utc_minutes,
        "with_times": _with_times,
        "iso": iso,
        "pretty": words.pretty,
        "preview": words.preview,
        "size": words.size,
        "money": words.money,
        "duration": words.duration,
        "count": words.count,
        "number": words.number_word,
        "sentence": words.sentence,
        "look": words.run_look,
        "run_title": words.run_title,
        "handoff_look": words.handoff_look,
        "handoff_title": words.handoff_title,
        "receiver": words.receiver,
        "trust_of": words.trust_of,
        "step_name": words.step_name,
        "actor": words.actor_name,
        "slug": words.slug,
        "with_commas": "{:,}".format,
        "segment": segment,
        "query": address,
        "combined": combined,
    }
    made.globals |= {
        "between": words.between,
        "byline": words.byline,
        "drawing": waiting.drawing,
        "is_handoff": words.is_handoff,
        "option_line": notification_forms.option_line,
        "over_line": notification_forms.over_line,
        "reasons": notification_forms.reasons,
        "is_escalation": words.is_escalation,
        "merged": merged,
    }
    return made


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def address(fields: Mapping[str, Any]) -> str:
    """`?a=1&b=2` of the fields that are set."""
    return "?" + urlencode({name: value for name, value in fields.items() if value not in (None, "")})


def combined(fields: Mapping[str, Any], version: int, against: int | None = None) -> dict[str, Any]:
    """An entry's address with the version to show and the one to compare it with."""
    return {**fields, "version": version, "against": against}


def merged(*fields: Mapping[str, Any]) -> dict[str, Any]:
    """Several of an address's fields as one; of the same name the last one counts."""
    return {name: value for each in fields for name, value in each.items()}


def twin(request: Request) -> str:
    """Where this page's data is."""
    path = "/home" if request.url.path == "/" else request.url.path
    return f"{path}.json" + (f"?{request.url.query}" if request.url.query else "")


def wants_json(request: Request) -> bool:
    return request.url.path.endswith(".json")


def as_json(data: Any, status: int) -> Response:
    return Response(msgspec.json.encode(data), status, media_type="application/json")


def cookie_name(request: Request) -> str:
    """`__Host-` where it is allowed. Browsers share cookies among the ports of a host, so the port is in the name."""
    if request.url.scheme == "https":
        return "__Host-agentmemo"
    return f"agentmemo-{request.url.port or 80}"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises InvalidInput or LimitExceeded."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidInput("The console reads forms only.", next_call="Scripts call the API under /v1.")
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > FORM_BYTES_MAX:
            raise LimitExceeded(f"A form has at most {FORM_BYTES_MAX} bytes.", next_call="Shorten the text.")
    try:
        pairs = parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict")
    except ValueError:
        raise InvalidInput("The form is malformed.", next_call="Load the page again and send its form.") from None
    return dict(pairs)


def check_token(form: Mapping[str, str], expected: str) -> None:
    """Raise PermissionDenied unless the form came from a page of this session."""
    if not same(form.get("token", ""), expected):
        raise PermissionDenied(
            "This form does not come from your session.",
            why="Its token is missing or belongs to another sign-in; nothing was done.",
            next_call="Load the page again and send its form.",
        )


def status_of(error: Error) -> int:
    return next((code for kind, code in HTTP_OF.items() if isinstance(error, kind)), 500)


def error_page(
    error: Error, form: Mapping[str, str] | None = None, *, status: int | None = None, back: str = ""
) -> Page:
    """What happened to your act, what is safe, what you sent, and the next step."""
    sent = {name: text for name, text in (form or {}).items() if name not in {"token", "key"} and text.strip()}
    status = status or status_of(error)
    act = form is not None
    return Page(
        template="error.html",
        title="Not saved" if act else "Not shown",
        section="",
        status=status,
        data={"error": error.to_dict(), "status": status, "sent": sent, "act": act, "back": back},
    )


@pass_context
def _utc(context: Context, at_us: int) -> Markup:
    return words.time_tag(at_us, context["now"])


@pass_context
def _utc_minutes(context: Context, at_us: int) -> Markup:
    return words.time_tag(at_us, context["now"], seconds=False)


@pass_context
def _with_times(context: Context, text: str) -> Markup:
    return words.with_times(text, context["now"])
