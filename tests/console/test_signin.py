"""Signing in, staying signed in, and being let out."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from agentmemo.console.sessions import IDLE_SECONDS, LIFETIME_SECONDS
from agentmemo.errors import Unavailable


def test_a_persons_key_opens_the_console(world, open_tab):
    tab = open_tab()
    tab.go("/runs?state=running")
    assert tab.page.url.endswith("/sign-in?next=%2Fruns%3Fstate%3Drunning")
    tab.page.get_by_label("Key").fill(world.person_key.secret)
    tab.page.get_by_role("button", name="Sign in").click()
    assert tab.page.url == f"{world.url}/runs?state=running"
    assert "Signed in: ada" in tab.text(".foot")


def test_a_wrong_key_is_refused_with_the_reason(world, open_tab):
    tab = open_tab().sign_in("am_person_nonsense")
    assert "The key is malformed." in tab.text("[role=alert]")
    assert "Bearer" not in tab.text("[role=alert]")
    secret = world.person_key.secret
    other = world.admin.keys.create("person", "bob")
    world.admin.keys.revoke(other.id)
    tab.sign_in(other.secret)
    assert "The key is revoked." in tab.text("[role=alert]")
    assert secret not in tab.page.content()
    assert other.secret not in tab.page.content()


def test_the_key_of_an_agent_is_refused(world, open_tab):
    tab = open_tab().sign_in(world.agent_key.secret)
    assert "This is the key of an agent. The console is for people" in tab.text("[role=alert]")
    tab.go("/runs")
    assert "/sign-in" in tab.page.url


def test_the_cookie_is_hardened_and_holds_no_key(world, tab):
    cookies = {cookie["name"]: cookie for cookie in tab.context.cookies()}
    assert set(cookies) == {f"agentmemo-{world.url.rpartition(':')[2]}"}
    cookie = next(iter(cookies.values()))
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert len(cookie["value"]) == 43
    assert world.person_key.secret not in cookie["value"]


def test_signing_out_ends_the_session(world, tab):
    cookies = tab.context.cookies()
    tab.page.get_by_role("button", name="Sign out").click()
    assert tab.page.url == f"{world.url}/sign-in"
    tab.context.add_cookies(cookies)
    tab.go("/runs")
    assert "/sign-in" in tab.page.url


def test_a_session_ends_when_idle_and_after_its_lifetime(world, tab):
    world.clock.advance(IDLE_SECONDS - 1)
    tab.go("/runs")
    assert tab.page.url.endswith("/runs")
    world.clock.advance(IDLE_SECONDS + 1)
    tab.go("/runs")
    assert "/sign-in" in tab.page.url
    tab.sign_in()
    for _ in range(LIFETIME_SECONDS // IDLE_SECONDS):
        tab.go("/runs")
        assert tab.page.url.endswith("/runs")
        world.clock.advance(IDLE_SECONDS - 1)
    world.clock.advance(IDLE_SECONDS - 1)
    tab.go("/runs")
    assert "/sign-in" in tab.page.url


def test_a_revoked_key_ends_its_sessions_at_once(world, tab):
    tab.go("/runs")
    assert tab.page.url.endswith("/runs")
    world.admin.keys.revoke(world.person_key.id)
    tab.go("/runs")
    assert "/sign-in" in tab.page.url


def test_nobody_is_sent_elsewhere_after_signing_in(world, open_tab):
    for elsewhere in ("//example.org/x", "https://example.org", "/\\example.org"):
        tab = open_tab()
        tab.page.goto(f"{world.url}/sign-in?next={elsewhere}")
        tab.page.get_by_label("Key").fill(world.person_key.secret)
        tab.page.get_by_role("button", name="Sign in").click()
        assert tab.page.url == f"{world.url}/"


def test_a_link_from_another_site_finds_the_session(world, tab):
    tab.page.route(
        "http://elsewhere.test/",
        lambda route: route.fulfill(content_type="text/html", body=f'<a href="{world.url}/runs">runs</a>'),
    )
    tab.page.goto("http://elsewhere.test/")
    tab.page.get_by_role("link").click()
    tab.page.get_by_role("heading", level=1).wait_for()
    assert tab.page.url == f"{world.url}/runs"


def test_scripts_get_a_problem_instead_of_the_form(world, open_tab):
    answer = open_tab().context.request.get(f"{world.url}/runs.json")
    assert answer.status == 401
    assert answer.json()["code"] == "not_authenticated"


def test_over_https_the_cookie_is_bound_to_the_host(world):
    async def ask():
        messages = []
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "https", "path": "/sign-in", "raw_path": b"/sign-in", "root_path": "", "query_string": b"",
            "headers": [(b"host", b"console.test")], "client": ("127.0.0.1", 1), "server": ("console.test", 443),
        }  # fmt: skip
        await world.app(scope, None, lambda message: collect(messages, message))
        return dict(messages[0]["headers"])[b"set-cookie"].decode()

    async def collect(messages, message):
        messages.append(message)

    cookie = run_in_thread(ask)
    assert cookie.startswith("__Host-agentmemo-form=")
    for part in ("Secure", "HttpOnly", "Path=/", "SameSite=strict"):
        assert part in cookie
    assert "Domain" not in cookie


def run_in_thread(function):
    """Playwright keeps an event loop in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, function()).result()


def test_a_store_that_cannot_answer_does_not_sign_anybody_out(world, tab, monkeypatch):
    def away(key):
        raise Unavailable("The store cannot answer now.", next_call="Try again.")

    console = world.app.state.console
    known = console.authenticate
    monkeypatch.setattr(console, "authenticate", away)
    assert tab.page.goto(f"{world.url}/runs").status == 503
    assert "The store cannot answer now." in tab.page.content()
    monkeypatch.setattr(console, "authenticate", known)
    assert tab.page.goto(f"{world.url}/runs").status == 200
    assert tab.page.url.endswith("/runs")


def test_a_disabled_person_is_signed_out_with_the_reason(world, tab):
    world.admin.keys.disable("ada", kind="person", reason="left")
    tab.go("/runs")
    assert "/sign-in" in tab.page.url
