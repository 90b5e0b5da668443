"""Answers in whatever pieces they come, and what is no answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmemo.client.http_answer import HEAD_BYTES_MAX, Answer, NotHttp

OK = b"HTTP/1.1 200 OK\r\n"
# What came, what its body is, and whether its connection may be used again.
WHOLE = {
    "a length": (OK + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
    "an empty body": (OK + b"content-length: 0\r\n\r\n", b"", True),
    "chunks": (OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello", True),
    "no chunk": (OK + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", b"", True),
    "trailers": (OK + b"transfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n", b"0123456789", True),
    "a hint before": (b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK + b"content-length: 1\r\n\r\n1", b"1", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "the last one": (OK + b"connection: close\r\ncontent-length: 1\r\n\r\n1", b"1", False),
    "an older version": (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n1", b"1", False),
    "a line end in it": (OK + b"content-length: 4\r\n\r\n\r\n\r\n", b"\r\n\r\n", True),
}  # fmt: skip


def fed(data, cuts=()):
    answer = Answer()
    edges = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(data)), len(data)]
    for start, end in pairwise(edges):
        assert not answer.whole
        answer.feed(data[start:end])
    return answer


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(1, 120), max_size=8))
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(name, cuts):
    data, body, reusable = WHOLE[name]
    answer = fed(data, cuts)
    assert (answer.whole, answer.body, answer.reusable) == (True, body, reusable)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_an_answer_is_whole_with_its_last_byte(name):
    data, body, _ = WHOLE[name]
    answer = fed(data[:-1], range(len(data)))
    with pytest.raises(ConnectionResetError):
        answer.end()
    assert answer.feed(data[-1:])
    assert answer.body == body


def test_a_body_without_a_length_ends_with_the_connection():
    answer = fed(OK + b"\r\nhel", [3])
    answer.feed(b"lo")
    assert not answer.whole
    answer.end()
    assert (answer.whole, answer.body, answer.reusable) == (True, b"hello", False)


@pytest.mark.parametrize("name", ["a length", "chunks", "an empty body"])
def test_bytes_behind_an_answer_are_no_other_answer(name):
    data, body, _ = WHOLE[name]
    answer = fed(data + OK)
    assert (answer.body, answer.reusable) == (body, False)


@pytest.mark.parametrize(
    "data",
    [
        b"220 mail ready\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: 1, 1\r\n\r\n",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        OK + b"transfer-encoding: gzip\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n-1\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n0x1\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
        OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        OK + b"x" * HEAD_BYTES_MAX,
    ],
)
def test_what_is_no_answer_is_refused(data):
    with pytest.raises(NotHttp):
        fed(data)
