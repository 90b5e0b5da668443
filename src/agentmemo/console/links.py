"""Pages of one-time links: GET shows, POST decides. Nobody is signed in here; the link says whose answer it is."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agentmemo.console.frame import Console, Page, check_token, cookie_name, error_page, read_form, segment, status_of
from agentmemo.console.sessions import new_nonce
from agentmemo.errors import Error, InvalidInput, NotFound
from agentmemo.model.escalations import AnswerEscalation
from agentmemo.model.notifications import Shown

NONCE_SECONDS = 72 * 3600


class Door(Protocol):
    """What the server does for these pages; every call may block."""

    def look(self, token: str, code: str = "") -> Shown: ...

    def answer(self, token: str, code: str, request: AnswerEscalation) -> None: ...


class LinkPages:
    def __init__(self, console: Console, door: Door | None) -> None:
        self._console = console
        self._door = door

    async def show(self, request: Request) -> Response:
        """Only looks, however often it is fetched."""
        return await self._page(request)

    async def act(self, request: Request) -> Response:
        """Show a secret question to whoever has the code, or answer. Nothing is chosen beforehand."""
        token = request.path_params["link"]
        form: dict[str, str] = {}
        try:
            form = await read_form(request)
            nonce = request.cookies.get(_nonce_name(request), "")
            check_token(form, self._console.sessions.sign_in_token(nonce) if nonce else new_nonce())
            code = form.get("code", "").strip()
            if form.get("act") == "show":
                return await self._page(request, code=code)
            await asyncio.to_thread(self._known().answer, token, code, _answer(form))
        except Error as error:
            return await self._page(request, error=error, sent=form)
        return RedirectResponse(f"/answer/{segment(token)}", status_code=HTTPStatus.SEE_OTHER)

    async def _page(
        self, request: Request, *, code: str = "", error: Error | None = None, sent: dict[str, str] | None = None
    ) -> Response:
        try:
            shown = await asyncio.to_thread(self._known().look, request.path_params["link"], code)
        except Error as refused:
            if not code:
                return self._console.render(request, error_page(refused))
            return await self._page(request, error=refused)
        # One form cookie for all links of a browser, so that looking at another does not spoil a form.
        nonce = request.cookies.get(_nonce_name(request)) or new_nonce()
        page = Page(
            template="link.html",
            title=shown.message.question,
            section="",
            status=HTTPStatus.OK if error is None else status_of(error),
            data={
                "shown": shown,
                "message": shown.message,
                "link": request.path_params["link"],
                "error": error.to_dict() if error else None,
                "comment": (sent or {}).get("comment", ""),
                "form_token": self._console.sessions.sign_in_token(nonce),
            },
        )
        response = self._console.render(request, page)
        response.headers["x-robots-tag"] = "none"
        response.set_cookie(
            _nonce_name(request),
            nonce,
            max_age=NONCE_SECONDS,
            path="/answer",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    def _known(self) -> Door:
        if self._door is None:
            raise NotFound("Links are not answered here.", next_call="Sign in and look at the inbox.")
        return self._door


def _answer(form: dict[str, str]) -> AnswerEscalation:
    """The way to answer that was chosen, for the question that was shown."""
    decision, _, choice = form.get("decision", "").partition(" ")
    if not decision:
        raise InvalidInput("No answer was chosen.", next_call="Choose one of the answers, then send.")
    return AnswerEscalation(
        escalation="",
        decision=decision,
        choice=choice or None,
        comment=form.get("comment", "").strip(),
        seen=form.get("seen") or None,
    )


def _nonce_name(request: Request) -> str:
    # A name with __Host- must have the path /, and this one is for links alone.
    return f"{cookie_name(request).removeprefix('__Host-')}-link"
