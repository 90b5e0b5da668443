"""A connection of the server, in one process with its client: what of an answer has left, and what has not."""

from __future__ import annotations

import asyncio
import re
import socket
from types import SimpleNamespace

import pytest
from served import SECONDS
from uvicorn.config import Config
from uvicorn.server import ServerState

from agentmemo.server.protocol import LEAVING_SECONDS, READ_BYTES_MIN, Bounds, Protocol

SOON = 0.05
BODY = b"x" * 4096
HEAD_SECONDS, BODY_SECONDS, STALLED_SECONDS = 1, 10, 100
GET = b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n"
PUT = b"PUT /a HTTP/1.1\r\nhost: x\r\n"
CHUNKED = PUT + b"transfer-encoding: chunked\r\n"
WHOLE = PUT + b"content-length: 3\r\n\r\nabc"
UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAM\r\n"


def test_who_leaves_the_end_of_an_answer_unread_is_cut_off():
    """Too little for the transport to pause, and yet what a closing connection would wait for."""
    asked = answered = 0
    state = ServerState()

    async def application(_scope, _receive, send):
        nonlocal answered
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4096")]})
        await send({"type": "http.response.body", "body": BODY})
        answered += 1

    def protocol():
        bounds = Bounds(8000, SECONDS, SECONDS, SOON, 1)
        return Protocol(bounds, config=config, server_state=state, app_state={})

    def unsent():
        return sum(each.transport.get_write_buffer_size() for each in state.connections)

    async def scenario():
        nonlocal asked
        loop = asyncio.get_running_loop()
        there = await loop.create_server(protocol, "127.0.0.1", 0)
        there.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            async with there, asyncio.timeout(SECONDS):
                await loop.sock_connect(client, there.sockets[0].getsockname())
                while not unsent():
                    await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                    asked += 1
                    while answered < asked:  # noqa: ASYNC110 - as there is no event for it
                        await asyncio.sleep(0)
                assert not any(each.writing_paused for each in state.connections)
                # Not by its silence: on a busy machine that may be over between two requests of this test.
                for each in list(state.connections):
                    each.shutdown()
                while state.connections:  # noqa: ASYNC110
                    await asyncio.sleep(0)

    config = Config(application, timeout_keep_alive=SECONDS, lifespan="off", log_config=None)
    config.load()
    config.loaded_app = application
    asyncio.run(scenario())


class Line:
    """A connection without a socket, whose clock is moved by hand: the transport and the timers of a loop."""

    def __init__(self, application, *, keep_alive=SECONDS):
        self.now, self.timers, self.written, self.unsent = 0.0, [], b"", 0
        self.paused = self.closed = self.aborted = self.ended = False
        config = Config(application, timeout_keep_alive=keep_alive, lifespan="off", log_config=None)
        config.load()
        config.loaded_app = application
        bounds = Bounds(8000, HEAD_SECONDS, BODY_SECONDS, STALLED_SECONDS, 100)
        self.protocol = Protocol(bounds, config=config, server_state=ServerState(), app_state={}, _loop=self)
        self.protocol.connection_made(self)
        self.feed, self.eof = self.protocol.data_received, self.protocol.eof_received
        self.create_task = asyncio.ensure_future

    def time(self):
        return self.now

    def call_later(self, seconds, callback, *arguments):
        due = self.now + seconds
        timer = SimpleNamespace(
            when=lambda: due, run=lambda: callback(*arguments), cancel=lambda: setattr(timer, "run", None)
        )
        self.timers.append(timer)
        return timer

    def advance(self, seconds):
        self.now += seconds
        for timer in [each for each in self.timers if each.when() <= self.now]:
            self.timers.remove(timer)
            if timer.run is not None:
                timer.run()

    async def settle(self):
        for _ in range(20):
            await asyncio.sleep(0)
        return self.written

    def statuses(self):
        return [int(found) for found in re.findall(rb"HTTP/1.1 (\d+)", self.written)]

    def get_extra_info(self, _name):
        return None

    def get_write_buffer_size(self):
        return self.unsent

    def is_closing(self):
        return self.closed

    def write(self, data):
        assert not self.ended
        self.written += data

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.ended = True

    def close(self):
        self.closed = self.ended = True

    def abort(self):
        self.closed = self.aborted = True
        self.protocol.connection_lost(ConnectionAbortedError())


async def echo(scope, receive, send):
    """Answers what it was sent, with the names of the headers; without a length where the path says so."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    names = b",".join(name for name, _ in scope["headers"])
    told = b"%b %b %b %b;" % (scope["method"].encode(), scope["raw_path"], names, body)
    headers = [] if scope["path"] == "/stream" else [(b"content-length", b"%d" % len(told))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


def waiting(until):
    """As `echo`, once that has come to pass."""

    async def application(scope, receive, send):
        await until.wait()
        await echo(scope, receive, send)

    return application


async def waits_for_news(_scope, receive, _send):
    """A long-poll that finds nothing before its caller is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def exchanged(*pieces):
    """What a connection is left like by these pieces, with everything that can be answered at once."""

    async def scenario():
        line = Line(echo)
        for piece in pieces:
            line.feed(piece)
            await line.settle()
        return line

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    "request_",
    [
        CHUNKED + b"content-length: 3\r\n\r\n0\r\n\r\n",
        PUT + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        PUT + b"content-length: +3\r\n\r\nabc",
        PUT + b"transfer-encoding: gzip\r\n\r\nabc",
        PUT + b"transfer-encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"transfer-encoding: identity\r\n\r\n0\r\n\r\n",
        CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n",
        CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"\r\n3\r\nabcde\r\n0\r\n\r\n",
        PUT + b"content-length : 3\r\n\r\nabc",
        PUT + b"x: 1\r\n content-length: 3\r\n\r\nabc",
        b"GET /a HTTP/1.1\nhost: x\n\n",
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        CHUNKED + b"expect: 100-continue\r\n\r\nzz\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n",
    ],
)
def test_what_others_may_read_otherwise_is_refused_and_nothing_after_it_read(request_, caplog):
    line = exchanged(request_ + GET)
    assert line.statuses() == [501 if b"gzip" in request_ else 400]
    assert line.ended
    assert not caplog.records


@pytest.mark.parametrize("cut", [1, 40, 70, 110, 140, 175])
@pytest.mark.parametrize(
    "framing", [b"content-length: 3\r\n\r\nabc", b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
def test_a_request_that_asks_for_an_upgrade_keeps_its_body(framing, cut):
    """As the client of Java sends them. Its body is not another request, and what follows it is one."""
    both = PUT + UPGRADE + framing + GET
    line = exchanged(both[:cut], both[cut:])
    assert line.statuses() == [200, 200]
    assert b"PUT /a " in line.written
    assert b" abc;" in line.written
    assert b"GET /next " in line.written


def test_what_comes_behind_a_body_is_no_header_of_its_request():
    line = exchanged(CHUNKED + b"\r\n0\r\nauthorization: x\r\n\r\n" + GET)
    assert line.statuses() == [200, 200]
    assert b"authorization" not in line.written


def test_an_older_client_gets_no_chunks_and_no_hint_to_go_on():
    line = exchanged(b"PUT /stream HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc")
    head, _, body = line.written.partition(b"\r\n\r\n")
    assert (line.statuses(), body, line.closed) == ([200], b"PUT /stream expect,content-length abc;", True)
    assert b"chunked" not in head


def test_a_body_that_was_not_asked_for_is_not_waited_for():
    """Whether it comes is not known, so the next request could be taken for it."""

    async def refuse(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def scenario():
        line = Line(refuse)
        line.feed(PUT + b"expect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        assert b"connection: close" in await line.settle()
        assert line.ended

    asyncio.run(scenario())


def test_the_time_for_a_request_stands_while_it_is_not_read():
    """It waits behind another one, which is answered late; its client does nothing wrong."""

    async def scenario():
        until = asyncio.Event()
        line = Line(waiting(until))
        line.feed(GET + WHOLE[:-1])
        assert line.paused
        line.advance(BODY_SECONDS * 10)
        assert not line.aborted
        until.set()
        assert (await line.settle()).count(b"HTTP/1.1 200") == 1
        assert not line.paused
        line.advance(BODY_SECONDS - 1)
        line.feed(WHOLE[-1:])
        assert (await line.settle()).count(b"HTTP/1.1 200") == 2
        line.feed(GET + GET[:-1])
        await line.settle()
        line.advance(HEAD_SECONDS)
        assert line.statuses() == [200, 200, 200, 408]

    asyncio.run(scenario())


def test_reading_again_gives_no_new_time():
    """Each pause would do so, and a body could go on for ever."""

    async def scenario():
        until = asyncio.Event()
        line = Line(waiting(until))
        line.feed(PUT + b"content-length: 900000\r\n\r\n")
        await line.settle()
        line.advance(BODY_SECONDS - 1)
        line.feed(b"x" * 100_000)
        assert line.paused
        line.advance(BODY_SECONDS)
        until.set()
        await line.settle()
        assert (line.paused, line.aborted) == (False, False)
        line.advance(1)
        assert line.aborted

    asyncio.run(scenario())


@pytest.mark.parametrize("rest", [b"", b"GET "])
def test_who_sends_no_more_is_answered_what_it_asked(rest):
    async def scenario():
        until = asyncio.Event()
        line = Line(waiting(until))
        line.feed(WHOLE + GET + rest)
        assert line.eof()
        line.advance(BODY_SECONDS)
        until.set()
        await line.settle()
        assert (line.statuses(), line.closed) == ([200, 200], True)

    asyncio.run(scenario())


def test_who_sends_no_more_and_waits_for_news_is_gone(caplog):
    async def scenario():
        line = Line(waits_for_news)
        line.feed(GET)
        await line.settle()
        assert line.eof()
        assert (await line.settle(), line.closed) == (b"", True)

    asyncio.run(scenario())
    assert not caplog.records


def test_who_waits_for_news_is_heard_though_more_is_asked_behind_it():
    """Else nobody would see it hang up."""

    async def scenario():
        line = Line(waits_for_news)
        for _ in range(2):
            line.feed(GET)
            await line.settle()
        assert not line.paused

    asyncio.run(scenario())


@pytest.mark.parametrize("data", [b"", WHOLE[:-1], GET[:-1]])
def test_half_a_request_is_not_waited_for_where_nothing_more_comes(data):
    async def scenario():
        line = Line(echo)
        line.feed(data)
        assert not line.eof()

    asyncio.run(scenario())


@pytest.mark.parametrize("rest", [b"garbage\0", GET])
def test_what_follows_the_last_request_is_not_its_fault(rest):
    async def scenario():
        until = asyncio.Event()
        line = Line(waiting(until))
        line.feed(GET.replace(b"host", b"connection: close\r\nhost") + rest)
        line.feed(rest)
        until.set()
        await line.settle()
        assert (line.statuses(), line.closed, line.aborted) == ([200], True, False)

    asyncio.run(scenario())


def test_who_reads_slowly_gets_all_of_a_large_answer():
    async def scenario():
        line = Line(waiting(asyncio.Event()))
        line.feed(GET)
        line.unsent = 3 * READ_BYTES_MIN
        line.protocol.pause_writing()
        for _ in range(2):
            line.unsent -= READ_BYTES_MIN
            line.advance(STALLED_SECONDS)
            assert not line.aborted
        line.unsent -= READ_BYTES_MIN - 1
        line.advance(STALLED_SECONDS)
        assert line.aborted

    asyncio.run(scenario())


async def refuse(_scope, _receive, send):
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("how", ["the client closes", "the client goes on", "the server stops"])
def test_who_is_refused_while_it_sends_is_heard_out(how):
    """A reset would undo the answer, or be all that the client looks at."""

    async def scenario():
        line = Line(refuse)
        line.feed(PUT + b"content-length: 900000\r\n\r\n")
        await line.settle()
        line.feed(b"x" * 10_000 + b"no request" + GET)
        await line.settle()
        assert (line.statuses(), line.ended, line.closed, line.paused) == ([413], True, False, False)
        if how == "the client closes":
            assert not line.eof()
        elif how == "the client goes on":
            line.advance(LEAVING_SECONDS)
            assert line.aborted
        else:
            line.protocol.shutdown()
            assert line.closed

    asyncio.run(scenario())
