"""Clients that are slow, silent, flooding or do not read: they are told why, cut off, and harm nobody else."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import signal
import socket
from functools import partial

import pytest
from served import SECONDS, Server

TRIES = 1000
# What must not be over while a test is still at it.
LONG = str(SECONDS)
BOUNDS = {
    "AGENTMEMO_HEAD_BYTES_MAX": "8000",
    "AGENTMEMO_HEAD_SECONDS": LONG,
    "AGENTMEMO_BODY_SECONDS": LONG,
    "AGENTMEMO_STALLED_SECONDS": "0.3",
    "AGENTMEMO_CONNECTIONS_MAX": "8",
    "AGENTMEMO_WATCHERS_MAX": "3",
    "AGENTMEMO_WATCHERS_PER_ACTOR_MAX": "2",
    "AGENTMEMO_BODIES_BYTES_MAX": "100000",
}
HASTE = {"AGENTMEMO_HEAD_SECONDS": "1", "AGENTMEMO_BODY_SECONDS": "1"}
WATCH = (
    "GET /v1/changes/ns?after=0 HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer %s\r\n\r\n"
)


@contextlib.contextmanager
def served(folder, environment):
    made = Server(folder / "agentmemo.db", **environment)
    yield made
    # Whatever they sent, it is nothing that the log should hold.
    assert made.stop() == (-signal.SIGTERM, "")


@pytest.fixture(scope="module")
def bounded(tmp_path_factory):
    with served(tmp_path_factory.mktemp("bounded"), BOUNDS) as server:
        yield server


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    with served(tmp_path_factory.mktemp("hasty"), HASTE) as server:
        yield server


@pytest.fixture
def connect():
    """`connect(server, data)` opens a connection, sends, and keeps it until the test ends."""
    with contextlib.ExitStack() as stack:

        def made(server, data=b""):
            place = ("127.0.0.1", int(server.url.rpartition(":")[2]))
            connection = stack.enter_context(socket.create_connection(place, timeout=SECONDS))
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
            return connection

        yield made


@pytest.fixture
def dial(bounded, connect):
    """`dial(data)` connects to a server that has time for everybody."""
    return partial(connect, bounded)


@pytest.fixture
def dial_hasty(hasty, connect):
    """As `dial`, to one that has none: it stands still meanwhile, so that its time does not begin before it is told."""

    def made(data=b""):
        hasty.process.send_signal(signal.SIGSTOP)
        try:
            return connect(hasty, data)
        finally:
            hasty.process.send_signal(signal.SIGCONT)

    return made


def everything(connection):
    """What comes until the server hangs up."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            found += piece
    return found


def answer_of(connection):
    """One answer that leaves the connection open, or the beginning of a stream."""
    found = connection.recv(65536)
    length = re.search(rb"content-length: (\d+)", found)
    while length and len(found.partition(b"\r\n\r\n")[2]) < int(length[1]):
        found += connection.recv(65536)
    return found


def refusal(answer):
    """Its status, headers and problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    return int(line.split()[1]), dict(header.split(": ", 1) for header in headers), json.loads(body)


def test_who_says_nothing_is_hung_up_on(dial_hasty):
    refused_unread = dial_hasty(b"PUT /v1/state/ns/k HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
    assert answer_of(refused_unread).startswith(b"HTTP/1.1 401 ")
    with contextlib.suppress(ConnectionError):  # where this process was held up, the time for the body is over
        refused_unread.sendall(b"{}")
    silent = [dial_hasty(), dial_hasty(b"\r\n"), refused_unread]
    assert [everything(connection) for connection in silent] == [b"", b"", b""]


def test_a_head_that_does_not_end_is_refused_in_time(dial_hasty):
    status, headers, problem = refusal(everything(dial_hasty(b"GET /healthz HTTP/1.1\r\nx-a: 1\r\n")))
    assert (status, problem["code"], headers["connection"]) == (408, "timed_out", "close")


def test_a_body_that_does_not_end_is_given_up(dial_hasty, hasty):
    head = "PUT /v1/state/ns/k HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: 900\r\n\r\n{"
    assert everything(dial_hasty((head % hasty.key).encode())) == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n" + b"x-a: 1\r\n" * 2000 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nx-a: " + b"1" * 20_000 + b"\r\n\r\n",
        b"GET /healthz?" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nx-a: " + b"1" * 400_000,
    ],
    ids=["many headers", "a long header", "a long path", "a header without an end"],
)
def test_large_heads_are_refused(dial, head):
    status, _, problem = refusal(everything(dial(head)))
    assert (status, problem["code"], problem["details"]) == (431, "limit_exceeded", {"limit": 8000})


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 99]
)
def test_what_is_not_http_is_refused(dial, garbage):
    status, _, problem = refusal(everything(dial(garbage)))
    assert (status, problem["code"]) == (400, "invalid_input")


def test_garbage_behind_a_request_does_not_stand_in_its_answer(dial):
    answer = everything(dial(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n\0\0\0garbage"))
    assert b"\r\nHTTP/" not in answer[answer.find(b"\r\n\r\n") + 4 :]


def test_a_flood_of_requests_on_one_connection_is_cut_off(dial):
    assert everything(dial(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 5000)).count(b"HTTP/1.1 200") <= 17


def test_an_upgrade_is_not_taken(dial):
    request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    connection = dial(request)
    assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_who_does_not_read_is_cut_off(dial, bounded):
    # More answers than the sockets' buffers hold; the server would keep the rest for ever.
    one = b"GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"
    connection = dial(one * 17)
    with pytest.raises(ConnectionError):
        while True:
            connection.sendall(b"\r\n" * 1000)
    del bounded


def test_compressed_bodies_are_refused_unread(dial, bounded):
    bomb = gzip.compress(b"0" * 1_000_000)
    head = (
        f"PUT /v1/state/ns/k HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {bounded.key}\r\ncontent-encoding: gzip\r\n"
        f"content-length: {len(bomb)}\r\n\r\n"
    )
    status, headers, problem = refusal(everything(dial(head.encode() + bomb)))
    assert (status, problem["code"], headers["accept-encoding"]) == (415, "invalid_input", "identity")


def test_more_connections_than_it_takes_are_told_to_come_back(dial):
    kept = [dial() for _ in range(8)]
    status, headers, problem = refusal(everything(dial()))
    assert (status, headers["retry-after"], problem["code"], problem["retry_safe"]) == (503, "1", "unavailable", True)
    for connection in kept:
        connection.close()


def test_watchers_have_a_share_each_and_a_limit_together(dial, bounded):
    def watch(key):
        connection = dial((WATCH % key).encode())
        return connection, answer_of(connection)

    person = bounded.started["person_key"]
    first, answer = watch(bounded.key)
    assert answer.startswith(b"HTTP/1.1 200")
    assert watch(bounded.key)[1].startswith(b"HTTP/1.1 200")
    answer = watch(bounded.key)[1]
    status, headers, problem = refusal(answer)
    assert (status, headers["retry-after"], problem["retry_safe"]) == (503, "1", True)
    assert "WATCHERS_PER_ACTOR_MAX" in problem["next_call"]
    assert watch(person)[1].startswith(b"HTTP/1.1 200")
    refused, answer = watch(person)
    refused.close()
    assert "WATCHERS_MAX" in refusal(answer)[2]["next_call"]
    first.close()
    answer = b""
    while not answer.startswith(b"HTTP/1.1 200"):
        connection, answer = watch(person)
        connection.close()


def test_a_watcher_is_missed_though_requests_wait_behind_it(dial, bounded):
    """Two requests on one connection, of which the first waits: when it is lost, its place is free."""
    both = (WATCH % bounded.key).encode() + b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    places = int(BOUNDS["AGENTMEMO_WATCHERS_MAX"])
    taken = 0
    for _ in range(TRIES):
        with dial(both) as connection:
            taken += answer_of(connection).startswith(b"HTTP/1.1 200")
        if taken > places:
            break
    assert taken > places


def test_bodies_have_room_together(dial, bounded):
    def send(size):
        head = f"PUT /v1/state/ns/k HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {bounded.key}\r\n"
        return dial(f"{head}content-length: 300000\r\n\r\n".encode() + b" " * size)

    held = send(90_000)
    status, headers, problem = refusal(answer_of(send(290_000)))
    assert (status, headers["retry-after"], problem["retry_safe"]) == (503, "1", True)
    # Alone, one has as much room as a request may have.
    held.sendall(b" " * 210_000)
    assert answer_of(held).startswith(b"HTTP/1.1 400")
    with dial(
        f"PUT /v1/state/ns/k HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {bounded.key}\r\n"
        f"content-length: 300012\r\n\r\n".encode()
        + b'{"value": "'
        + b"x" * 299_999
        + b'"}'
    ) as alone:
        assert alone.recv(65536).startswith(b"HTTP/1.1 200")
