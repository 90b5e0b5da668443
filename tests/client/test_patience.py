"""A server that is away for a moment is waited for, once it was reached; then the call says how long it was tried."""

from __future__ import annotations

import asyncio
import signal

import msgspec
import pytest
from served import Server

import agentmemo
from agentmemo.api.lookup import operation_of
from agentmemo.api.operations import BY_NAME
from agentmemo.client import http_tries
from agentmemo.client.http_async import AsyncHttpTransport
from agentmemo.client.http_sync import HttpTransport
from agentmemo.client.transport import at_once
from agentmemo.errors import Unavailable
from agentmemo.model.state import SetEntry
from agentmemo.testing.ports import ReservedPort

SECONDS = 30.0
WHOAMI = BY_NAME["access.whoami"]
DONE = (200, msgspec.json.encode({"workspace": "default", "actor": "agent:ann", "kind": "agent", "grants": []}))
PROXY = (502, b"<html>Bad Gateway</html>")


def refused(**details):
    return 503, msgspec.json.encode({"code": "unavailable", "message": "No.", "retry_safe": True, "details": details})


class Line:
    """A transport whose exchanges come out as they are told to, the last of them again and again."""

    def __init__(self, colour, monkeypatch):
        self.sent, self.waited, self.now = [], [], 0.0
        self._colour = colour
        kind = {"sync": HttpTransport, "async": AsyncHttpTransport}[colour]
        self.transport = kind("http://127.0.0.1:1", "am_x", 1000, SECONDS)
        monkeypatch.setattr(http_tries, "monotonic", lambda: self.now)
        if colour == "sync":
            monkeypatch.setattr(self.transport, "_exchange", self._exchange)
            monkeypatch.setattr(self.transport._closed, "wait", self._wait)
        else:
            monkeypatch.setattr(self.transport, "_exchange", self._exchange_async)
            monkeypatch.setattr(self.transport._clock, "sleep_async", self._wait_async)

    def call(self, *outcomes, request=None):
        self.sent, self.waited, self._outcomes = [], [], outcomes
        request = request or WHOAMI.request()
        try:
            answer = self.transport.call(operation_of(type(request)), request)
            return answer if self._colour == "sync" else asyncio.run(answer)
        finally:
            assert len(set(map(id, self.sent))) == 1, "the same request, under the same key"

    def _exchange(self, sending):
        self.sent.append(sending)
        outcome = self._outcomes[min(len(self.sent), len(self._outcomes)) - 1]
        if isinstance(outcome, tuple):
            return outcome
        if isinstance(outcome, ConnectionRefusedError):
            raise self.transport._wire.unreachable(outcome) from outcome
        raise outcome

    async def _exchange_async(self, sending):
        return self._exchange(sending)

    def _wait(self, seconds):
        self.now += seconds
        self.waited += [seconds] * (seconds > 0)
        return False

    async def _wait_async(self, seconds):
        self._wait(seconds)


REFUSED, LOST = ConnectionRefusedError("refused"), ConnectionResetError("reset")


@pytest.fixture(params=["sync", "async"])
def line(request, monkeypatch):
    return Line(request.param, monkeypatch)


@pytest.mark.parametrize(
    "away", [REFUSED, LOST, PROXY, refused(retry_after_seconds=1)], ids=["no", "lost", "proxy", "503"]
)
def test_an_absence_is_waited_out(line, away):
    line.call(DONE)
    assert line.call(away, away, away, away, DONE).actor == "agent:ann"
    assert 3 <= len(line.waited) <= 4
    assert all(0 < seconds <= 1.5 * http_tries.LONGEST_SECONDS for seconds in line.waited)


@pytest.mark.parametrize("away", [REFUSED, LOST, PROXY], ids=["no", "lost", "proxy"])
def test_the_first_contact_fails_at_once(line, away):
    with pytest.raises(Unavailable) as raised:
        line.call(away)
    assert line.waited == []
    assert "tried_seconds" not in raised.value.details


def test_who_comes_again_anyway_does_not_wait(line):
    line.call(DONE)
    with at_once(), pytest.raises(Unavailable):
        line.call(REFUSED)
    assert line.waited == []
    assert line.call(REFUSED, DONE).actor == "agent:ann"


def test_it_says_how_long_it_was_tried_and_waits_once_for_each_absence(line):
    line.call(DONE)
    with pytest.raises(Unavailable, match="It was tried for 30 s") as raised:
        line.call(REFUSED)
    assert raised.value.retry_safe
    assert sum(line.waited) == pytest.approx(SECONDS)
    with pytest.raises(Unavailable):
        line.call(REFUSED)
    assert line.waited == []
    line.call(DONE)
    assert line.call(REFUSED, DONE).actor == "agent:ann"


def test_what_was_sent_once_may_have_happened(line):
    line.call(DONE)
    with pytest.raises(Unavailable, match="may or may not have happened") as raised:
        line.call(LOST, REFUSED, request=SetEntry(namespace="n", key="k", value=1))
    assert raised.value.details["in_doubt"]
    assert not raised.value.retry_safe


@pytest.mark.parametrize("outcome", [refused(), TimeoutError("late")], ids=["refusal", "late"])
def test_a_refusal_and_a_late_answer_are_told_at_once(line, outcome):
    line.call(DONE)
    with pytest.raises(Unavailable):
        line.call(outcome)
    assert (line.waited, len(line.sent)) == ([], 1)


class Restarted:
    """A server on a port of its own that is killed, and started again once somebody waits for it."""

    def __init__(self, path, port):
        self._path, self._port = path, port
        self.server = self.start()

    def start(self):
        return Server(self._path, self._port)

    def kill(self):
        self.server.stop(signal.SIGKILL)

    def wait(self, _seconds):
        if self.server.process.poll() is not None:
            self.server = self.start()

    async def sleep_async(self, seconds):
        self.wait(seconds)


@pytest.fixture
def restarted(tmp_path):
    with ReservedPort() as port:
        there = Restarted(tmp_path / "store", port.number)
        yield there
        there.kill()


def test_a_step_that_ends_while_the_server_restarts_is_kept(restarted, monkeypatch):
    def paid():
        restarted.kill()
        return {"answer": 42}

    with agentmemo.connect(restarted.server.url, key=restarted.server.key) as agent:
        monkeypatch.setattr(agent._plane.transport._closed, "wait", restarted.wait)
        with agent.run("job", "1") as run:
            assert run.step("ask", paid) == {"answer": 42}
            assert run.step("next", lambda: 2) == 2
        found = agent.runs.get(run.id)
        assert (found.state, found.epoch, found.attempt) == ("completed", 1, 1)
        assert [step.result for step in agent.runs.steps(run.id)] == [{"answer": 42}, 2]


def test_the_same_with_asyncio_and_a_watch_goes_on(restarted, monkeypatch):
    def paid():
        restarted.kill()
        return {"answer": 42}

    async def main():
        async with await agentmemo.connect_async(restarted.server.url, key=restarted.server.key) as agent:
            monkeypatch.setattr(agent._plane.transport._clock, "sleep_async", restarted.sleep_async)
            changes = agent.state.watch("n", after=(await agent.status()).revision)
            watching = asyncio.create_task(anext(changes))
            async with agent.run("job", "1") as run:
                assert await run.step("ask", paid) == {"answer": 42}
            await agent.state.set("n", "k", 1)
            assert (await watching).entry.value == 1
            await changes.aclose()
            assert (await agent.runs.get(run.id)).state == "completed"

    asyncio.run(main())
