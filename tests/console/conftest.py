"""A plane with a console on a free port, and a Chromium that looks at it."""

from __future__ import annotations

import os
import threading
import time

import pytest
import uvicorn
from playwright.sync_api import expect, sync_playwright

from agentmemo.api.operations import BY_NAME
from agentmemo.clock import SECOND, ManualClock
from agentmemo.console.app import create_console
from agentmemo.embedded import EmbeddedTransport, LocalPlane, connection_for
from agentmemo.embedded_async import connection_for_async
from agentmemo.engine.upkeep import duties
from agentmemo.model import runs as model
from agentmemo.model.access import EVERYTHING, Caller, Claim
from agentmemo.server.links import Links
from agentmemo.settings import Settings

START = 1_795_442_520_000_000  # Monday 23 November 2026, 14:02 UTC
# Nothing takes as long, on a busy machine too.
PATIENCE_SECONDS = 60
PATIENCE_MS = PATIENCE_SECONDS * 1000
ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


expect.set_options(timeout=PATIENCE_MS)


class World:
    """One plane, its console, and an agent that works on it."""

    def __init__(self, path, grants=None, settings=None):
        self.clock = ManualClock(START)
        self.plane = LocalPlane(str(path), self.clock, settings or Settings(), upkeep=False)
        self.plane.users, self.plane.kept = 1, True
        self.admin = connection_for(self.plane, Caller(kind="person", name="root", grants=(EVERYTHING,)))
        self._others = {}
        self.agent = self.other("code-review")
        self.person_key = self.admin.keys.create("person", "ada", grants=grants)
        self.agent_key = self.admin.keys.create("agent", "code-review")
        self._raw = EmbeddedTransport(self.plane, Caller(kind="agent", name="code-review", grants=(EVERYTHING,)))
        self.app = create_console(self.authenticate, clock=self.clock, door=Links(self.plane.engine))
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.app,
                host="127.0.0.1",
                port=0,
                log_level="error",
                ws="none",
                timeout_graceful_shutdown=1,
                # Never over between two requests: what is sent just as a connection closes is lost.
                timeout_keep_alive=PATIENCE_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._server.run, name="console-server")
        self._thread.start()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._server.started:
            assert time.monotonic() < deadline, "the console did not start"
            self._thread.join(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def other(self, name):
        """A connection of an agent of this name; the same one each time."""
        if name not in self._others:
            caller = Caller(kind="agent", name=name, grants=(EVERYTHING,))
            self._others[name] = connection_for(self.plane, caller)
        return self._others[name]

    def later(self, seconds):
        """Time passes, and what it causes to handoffs happens. Nobody's lease ends of it."""
        self.clock.advance(seconds)
        duties.watch_handoffs(self.plane.engine)

    def at(self, seconds):
        """UTC microseconds so long from now."""
        return self.clock.now_us() + round(seconds * SECOND)

    def authenticate(self, key):
        return connection_for_async(self.plane, self.plane.engine.authenticate(key))

    def call(self, operation, request, claim=None, worker=None):
        return self._raw.call(BY_NAME[operation], request, claim=claim, worker=worker)

    def open(self, name, key, **more):
        """A run in the hands of a worker that says nothing more: (run, claim, worker)."""
        worker = self.call("worker.register", model.RegisterWorker(lease_seconds=10.0, host="build-3", process=880)).id
        claimed = self.call("run.start", model.StartRun(name=name, key=key, worker=worker, **more))
        return claimed.run, Claim(run=claimed.run.id, epoch=claimed.run.epoch), worker

    def step(self, claim, worker, name, result=None, *, seconds=1.0, effect="none"):
        started = self.clock.now_us()
        self.clock.advance(seconds)
        request = model.CompleteStep(
            run=claim.run, name=name, key="1", result=result, effect=effect, started_at=started
        )
        return self.call("step.complete", request, claim, worker)

    def ask(self, claim, worker, question, detail, step="post", key="1"):
        request = model.ParkRun(run=claim.run, name=step, key=key, kind="person", question=question, detail=detail)
        return self.call("run.park", request, claim, worker)

    def doubtful(self, name="review", key="pr-1287", step="post"):
        """A run whose worker died while a write was out, and that now asks whether it happened."""
        _, claim, worker = self.open(name, key)
        self.step(claim, worker, "fetch", {"files": 14})
        self.call("step.start", model.StartStep(run=claim.run, name=step, key="1", effect="write"), claim, worker)
        self.clock.advance(60)
        run, claim, worker = self.open(name, key)
        self.ask(claim, worker, "in_doubt", f"write step {step}/1 may or may not have happened.", step)
        return run.id

    def close(self):
        self._server.should_exit = True
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the console did not stop"
        for connection in self._others.values():
            connection.close()
        self.plane.close()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "plane.db")
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(chromium):
    """One Chromium per file: while Playwright runs, no other test could use asyncio.run."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=chromium, args=[*ARGUMENTS, *(["--no-sandbox"] if root else [])], timeout=PATIENCE_MS
        )
        yield launched
        launched.close()


class Tab:
    """A page of the browser that fails the test when the browser complains."""

    def __init__(self, browser, world, **options):
        self.world = world
        self.context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 720}), **options)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.complaints = []
        self.dialogs = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))

    def _hear(self, message):
        # The browser logs every answer of 400 and above; the tests that provoke one look at its page.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def go(self, path):
        return self.page.goto(self.world.url + path)

    def sign_in(self, key=None):
        self.go("/sign-in")
        self.page.get_by_label("Key").fill(key or self.world.person_key.secret)
        self.page.get_by_role("button", name="Sign in").click()
        return self

    def text(self, selector="main"):
        # Before its style has come, a page's words are not set apart.
        self.page.wait_for_load_state()
        return " ".join(self.page.locator(selector).inner_text().split())

    def json(self, path):
        answer = self.context.request.get(self.world.url + path)
        assert answer.status == 200, answer.text()
        return answer.json()

    def close(self):
        self.context.close()


@pytest.fixture(scope="session")
def make_world():
    """For a file whose tests share one plane."""
    return World


@pytest.fixture(scope="session")
def make_tab():
    """For a file whose tests share a signed-in person."""
    return Tab


@pytest.fixture
def open_tab(browser, world):
    tabs = []

    def opened(**options):
        tab = Tab(browser, world, **options)
        tabs.append(tab)
        return tab

    yield opened
    for tab in tabs:
        tab.close()
    assert [complaint for tab in tabs for complaint in tab.complaints] == []
    assert [dialog for tab in tabs for dialog in tab.dialogs] == []


@pytest.fixture
def tab(open_tab):
    return open_tab().sign_in()
