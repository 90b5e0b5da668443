"""A caller that is too fast waits as long as the plane says, and sends the same request again."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agentmemo.api.operations import BY_NAME
from agentmemo.client.http_async import AsyncHttpTransport
from agentmemo.client.http_sync import HttpTransport
from agentmemo.client.http_tries import PAUSES_MAX
from agentmemo.errors import Unavailable

ADDRESS = ("http://127.0.0.1:1", "am_agent_x", 1 << 20)
WHOAMI = BY_NAME["access.whoami"]
DONE = (200, msgspec.json.encode({"workspace": "default", "actor": "agent:ann", "kind": "agent", "grants": []}))


def too_fast(**details):
    problem = {"code": "unavailable", "message": "Too fast.", "retry_safe": True, "details": details}
    return 429, msgspec.json.encode(problem)


@pytest.fixture(params=["sync", "async"])
def told(request, monkeypatch):
    """`told(answers)` is what came of a call that got them, how often it was sent, and how long it waited."""

    def call(answers):
        sent, waited = [], []

        def exchange(sending):
            sent.append(sending)
            return answers[min(len(sent), len(answers)) - 1]

        async def exchange_async(sending):
            return exchange(sending)

        async def wait_async(seconds):
            waited.append(seconds)

        if request.param == "sync":
            transport = HttpTransport(*ADDRESS)
            monkeypatch.setattr(transport, "_exchange", exchange)
            monkeypatch.setattr(transport._closed, "wait", waited.append)
            answer = transport.call(WHOAMI, WHOAMI.request())
        else:
            transport = AsyncHttpTransport(*ADDRESS)
            monkeypatch.setattr(transport, "_exchange", exchange_async)
            monkeypatch.setattr(transport._clock, "sleep_async", wait_async)
            answer = asyncio.run(transport.call(WHOAMI, WHOAMI.request()))
        assert len(set(map(id, sent))) == 1, "the same request, under the same key"
        return answer, len(sent), waited

    return call


def test_it_waits_and_sends_it_again(told):
    answer, sent, waited = told([too_fast(retry_after_seconds=0.5), too_fast(retry_after_seconds=2), DONE])
    assert (answer.actor, sent, waited) == ("agent:ann", 3, [0.5, 2.0])


@pytest.mark.parametrize("details", [{}, {"retry_after_seconds": "1"}, {"retry_after_seconds": 3600}])
def test_what_names_no_short_wait_is_raised(told, details):
    with pytest.raises(Unavailable):
        told([too_fast(**details), DONE])


def test_after_the_last_wait_it_is_sent_once_more(told):
    _, sent, waited = told([too_fast(retry_after_seconds=0.1)] * PAUSES_MAX + [DONE])
    assert (sent, len(waited)) == (PAUSES_MAX + 1, PAUSES_MAX)


def test_it_does_not_wait_for_ever(told):
    with pytest.raises(Unavailable) as raised:
        told([too_fast(retry_after_seconds=0.1)] * (PAUSES_MAX + 1))
    assert raised.value.retry_safe
