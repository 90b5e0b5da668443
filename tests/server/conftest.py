"""The application called in this process, and real servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from dataclasses import dataclass

import msgspec
import pytest
from served import SECONDS, Server

from agentmemo.api.operations import BY_NAME
from agentmemo.model.access import EVERYTHING, Caller, CreateKey
from agentmemo.server.app import create_app
from agentmemo.testing import ManualPlane

ADMIN = Caller(kind="service", name="tests", grants=(EVERYTHING,), door="tests")


@pytest.fixture
def plane(tmp_path):
    made = ManualPlane(tmp_path / "agentmemo.db")
    yield made
    made.close()


@pytest.fixture
def key(plane):
    """`key(kind, actor, grants)` makes a key; its text is what a caller sends."""

    def make(kind="agent", actor="ann", grants=None, expires_in_days=90.0):
        request = CreateKey(kind=kind, actor=actor, grants=grants, expires_in_days=expires_in_days)
        return plane.engine.call(BY_NAME["key.create"], ADMIN, request)

    return make


@pytest.fixture
def app(plane):
    return create_app(plane.local)


@pytest.fixture
def http(app, key):
    with asyncio.Runner() as runner:
        made = Http(app, runner, key().secret)
        yield made


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def data(self):
        return msgspec.json.decode(self.body)

    @property
    def code(self):
        assert self.headers["content-type"] == "application/problem+json", self.body
        assert self.data["status"] == self.status
        return self.data["code"]


class Http:
    """Calls the application without a socket, with the raw path and chunks as a server would hand them on."""

    def __init__(self, app, runner, secret):
        self.app, self.runner, self.secret = app, runner, secret

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def put(self, path, body=None, **options):
        return self.call("PUT", path, body, **options)

    def post(self, path, body=None, **options):
        return self.call("POST", path, body, **options)

    def delete(self, path, **options):
        return self.call("DELETE", path, **options)

    def call(self, method, path, body=None, **options):
        return self.runner.run(self.send(method, path, body, **options))

    async def send(self, method, path, body=None, *, headers=None, key=..., chunks=None, client=("127.0.0.1", 1)):
        content = chunks if chunks is not None else [body if isinstance(body, bytes) else _json(body)]
        inbox = [
            {"type": "http.request", "body": chunk, "more_body": at < len(content) - 1}
            for at, chunk in enumerate(content)
        ]
        sent = []

        async def receive():
            if not inbox:
                await asyncio.Event().wait()
            return inbox.pop(0)

        async def send(message):
            sent.append(message)

        scope = self.scope(method, path, headers, key) | {"client": client}
        if chunks is None:
            scope["headers"].append((b"content-length", b"%d" % len(content[0])))
        await self.app(scope, receive, send)
        self.unread = len(inbox)
        start, *rest = sent
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], found, b"".join(message["body"] for message in rest))

    async def waiting(self, count):
        """Until so many long-polls and streams wait for a commit."""
        while self.app.hub._waiting < count:  # noqa: ASYNC110 - there is no event for somebody beginning to wait
            await asyncio.sleep(0)

    def scope(self, method, path, headers=None, key=...):
        raw, _, query = path.encode().partition(b"?")
        secret = self.secret if key is ... else key
        given = {"authorization": f"Bearer {secret}"} if secret else {}
        given |= headers or {}
        return {
            "type": "http",
            "method": method,
            "path": path.partition("?")[0],
            "raw_path": raw,
            "query_string": query,
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        }

    @contextlib.asynccontextmanager
    async def stream(self, path, headers=None, key=...):
        """An open response of server-sent events; leaving hangs up."""
        made = EventStream()
        scope = self.scope("GET", path, {"accept": "text/event-stream"} | (headers or {}), key)
        task = asyncio.create_task(self.app(scope, made.receive, made.send))
        try:
            yield made
        finally:
            made.hang_up()
            ended, _ = await asyncio.wait({task}, timeout=SECONDS)  # which, unlike others, ends it by no means itself
            assert ended, "it goes on though its client is gone"
            task.result()


class EventStream:
    def __init__(self):
        self.status = None
        self.content_type = None
        self.last_id = None
        self.comments = 0
        self._pieces = asyncio.Queue()
        self._text = ""
        self._gone = asyncio.Event()

    async def receive(self):
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.content_type = dict(message["headers"])[b"content-type"].decode()
        else:
            self._pieces.put_nowait(message["body"].decode())
            if not message.get("more_body"):
                self._pieces.put_nowait(None)

    def hang_up(self):
        self._gone.set()

    async def block(self):
        """The next block of lines as a dict; None at the end."""
        while "\n\n" not in self._text:
            piece = await asyncio.wait_for(self._pieces.get(), SECONDS)
            if piece is None:
                return None
            self._text += piece
        block, _, self._text = self._text.partition("\n\n")
        self.comments += sum(line.startswith(":") for line in block.splitlines())
        lines = [line for line in block.splitlines() if not line.startswith(":")]
        found = dict(line.split(": ", 1) for line in lines)
        self.last_id = found.get("id", self.last_id)
        return found

    async def event(self):
        """The next event with data; None at the end."""
        while (found := await self.block()) is not None:
            if "data" in found:
                return found | {"data": json.loads(found["data"])}
        return None


@pytest.fixture
def start(tmp_path):
    """`start()` runs a server on this test's store; all end with the test."""
    made = []

    def run(name="agentmemo.db"):
        made.append(Server(tmp_path / name))
        return made[-1]

    yield run
    for server in made:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    # Short waits, because what is generated by chance waits by chance.
    made = Server(tmp_path_factory.mktemp("served") / "agentmemo.db", AGENTMEMO_WAIT_SECONDS_MAX="0.2")
    yield made
    # The signal is raised again after the server left in good order; it had nothing to complain about.
    assert made.stop() == (-signal.SIGTERM, "")


def _json(body):
    return b"" if body is None else msgspec.json.encode(body)
