"""Signing in with a person's key, and out. The key travels in a POST body only, and is never shown again."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agentmemo.console.frame import Console, Page, check_token, cookie_name, read_form
from agentmemo.console.sessions import LIFETIME_SECONDS, new_nonce
from agentmemo.errors import Error, NotAuthenticated

NONCE_SECONDS = 3600


class SignIn:
    def __init__(self, console: Console) -> None:
        self._console = console

    async def form(self, request: Request) -> Response:
        """The empty form."""
        return self._show(request, request.query_params.get("next", ""))

    async def sign_in(self, request: Request) -> Response:
        """Check the key and open a session. Every refusal says why, on the form."""
        sessions = self._console.sessions
        try:
            form = await read_form(request)
            nonce = request.cookies.get(_nonce_name(request), "")
            check_token(form, sessions.sign_in_token(nonce) if nonce else new_nonce())
        except Error as error:
            return self._show(request, "", error)
        key = form.get("key", "").strip()
        following = form.get("next", "")
        try:
            if not key:
                raise NotAuthenticated("No key was given.", next_call="Paste the whole key: am_person_...")
            connection, _ = await self._console.identify(key)
        except Error as error:
            return self._show(request, following, error)
        await connection.close()
        sessions.close(request.cookies.get(cookie_name(request), ""))
        response = RedirectResponse(local(following), status_code=HTTPStatus.SEE_OTHER)
        _set_cookie(request, response, cookie_name(request), sessions.open(key), LIFETIME_SECONDS)
        _set_cookie(request, response, _nonce_name(request), "", 0)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session. Without a valid form of its own it stays."""
        token = request.cookies.get(cookie_name(request), "")
        found = self._console.sessions.find(token)
        if found is not None:
            try:
                check_token(await read_form(request), found[0].csrf)
            except Error as error:
                return self._show(request, "", error)
            self._console.sessions.close(token)
        response = RedirectResponse("/sign-in", status_code=HTTPStatus.SEE_OTHER)
        _set_cookie(request, response, cookie_name(request), "", 0)
        return response

    def _show(self, request: Request, following: str, error: Error | None = None) -> Response:
        nonce = new_nonce()
        page = Page(
            template="signin.html",
            title="Sign in",
            section="",
            status=HTTPStatus.OK if error is None else HTTPStatus.FORBIDDEN,
            data={
                "error": error.to_dict() if error else None,
                "next": following,
                "form_token": self._console.sessions.sign_in_token(nonce),
            },
        )
        response = self._console.render(request, page)
        _set_cookie(request, response, _nonce_name(request), nonce, NONCE_SECONDS)
        return response


def local(address: str) -> str:
    """A path of this console, or Home: nobody is sent elsewhere after signing in."""
    fine = address.startswith("/") and not address.startswith("//") and "\\" not in address and address.isprintable()
    return address if fine else "/"


def _nonce_name(request: Request) -> str:
    return f"{cookie_name(request)}-form"


def _set_cookie(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
