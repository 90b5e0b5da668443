"""One request and its answer on a connection without a socket."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from agentmemo.server.exchange import COPIED_BYTES, Exchange

LENGTH = (b"content-length", b"2")


class Connection:
    """What is written, piece by piece."""

    def __init__(self):
        self.transport = SimpleNamespace(write=self._write, is_closing=lambda: self.closed)
        self.written, self.closed, self.answers = [], False, 0
        self.writing_paused = self.logs_access = False

    def usual_headers(self):
        return [(b"date", b"today")]

    def answered(self):
        self.answers += 1

    def pause_reading(self):
        pass

    resume_reading = pause_reading

    def _write(self, data):
        self.written.append(data)

    def close(self):
        self.closed = True


def ask(application, method="GET", **given):
    """What the application's answer looks like on the connection."""
    connection = Connection()
    exchange = Exchange(
        connection, {"method": method, "http_version": "1.1"}, **{"keep_alive": True, "expects_continue": False} | given
    )
    exchange.end()
    asyncio.run(exchange.run(application))
    return connection


def answering(*pieces, status=200, headers=()):
    async def application(_scope, _receive, send):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for at, piece in enumerate(pieces):
            await send({"type": "http.response.body", "body": piece, "more_body": at < len(pieces) - 1})

    return application


def test_head_and_body_leave_together():
    connection = ask(answering(b"{}", headers=[LENGTH]))
    assert connection.written == [b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\n\r\n{}"]
    assert (connection.answers, connection.closed) == (1, False)


def test_a_large_body_is_not_copied():
    body = b"x" * (COPIED_BYTES + 1)
    assert ask(answering(body, headers=[(b"content-length", b"%d" % len(body))])).written[1] is body


def test_what_has_no_length_comes_in_chunks():
    first, *rest = ask(answering(b"abc", b"", b"d")).written
    assert first.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert rest == [b"1\r\nd\r\n0\r\n\r\n"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304)])
def test_some_answers_have_a_head_alone(method, status):
    (only,) = ask(answering(b"", status=status), method).written
    assert only.endswith(b"date: today\r\n\r\n")


def test_the_last_answer_says_so_once():
    for given in ({"keep_alive": False}, {"headers": [(b"connection", b"close")]}):
        connection = ask(answering(b"{}", headers=[LENGTH, *given.pop("headers", [])]), **given)
        assert connection.written[0].count(b"connection: close") == 1
        assert connection.closed


@pytest.mark.parametrize(
    "application",
    [
        answering(b"{}", headers=[LENGTH, (b"location", b"/\r\nset-cookie: a=b")]),
        answering(b"{}", headers=[(b"content-length", b"3")]),
        answering(b"{}", headers=[(b"content-length", b"1")]),
        answering(),
    ],
    ids=["a line end in a header", "too short", "too long", "no body"],
)
def test_an_answer_that_is_none_ends_the_connection(application, caplog):
    connection = ask(application)
    assert b"set-cookie" not in b"".join(connection.written)
    assert connection.closed
    assert caplog.records


def test_a_fault_outside_of_an_operation_is_answered(caplog):
    async def fails(_scope, _receive, _send):
        raise ZeroDivisionError

    connection = ask(fails)
    assert connection.written[0].startswith(b"HTTP/1.1 500 ")
    assert connection.closed
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


def test_a_body_is_asked_for_and_comes_in_parts():
    async def scenario():
        connection = Connection()
        exchange = Exchange(
            connection, {"method": "PUT", "http_version": "1.1"}, keep_alive=True, expects_continue=True
        )
        first = asyncio.ensure_future(exchange.receive())
        other = asyncio.ensure_future(exchange.receive())
        await asyncio.sleep(0)
        assert connection.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
        exchange.take(b"a")
        assert await first == {"type": "http.request", "body": b"a", "more_body": True}
        exchange.take(b"b")
        exchange.end()
        assert await other == {"type": "http.request", "body": b"b", "more_body": False}
        after = asyncio.ensure_future(exchange.receive())
        await asyncio.sleep(0)
        assert not after.done()
        exchange.hang_up()
        assert await after == {"type": "http.disconnect"}

    asyncio.run(scenario())
