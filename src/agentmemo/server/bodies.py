"""Bodies: how they are read, and what is known of them before they are decoded.

Decoding holds the interpreter: nobody else is served meanwhile. So a large body is counted first, and refused where it
holds more values than can be decoded in a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from agentmemo.errors import InvalidInput, LimitExceeded
from agentmemo.server.problems import Refusal
from agentmemo.server.room import Body
from agentmemo.settings import Settings

Headers = Mapping[bytes, bytes]
Receive = Callable[[], Awaitable[Any]]
# Whatever is in so few bytes is decoded in a moment.
SMALL_BYTES = 64 * 1024
# What an item or member takes at least once it is decoded.
VALUE_BYTES = 64
# Each stands for one item or member, where it is not inside a text; an empty container counts as one.
_MARKS = (b",", b"[", b"{")
T = TypeVar("T")


class Disconnected(Exception):
    """The caller went away before the request was whole."""


async def read_body(receive: Receive, headers: Headers, limit: int, held: Body) -> bytes:
    """The whole body, refused as soon as it is known to be too large, compressed, or more than there is room for."""
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _compressed()
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        chunk = message.get("body", b"")
        if not message.get("more_body"):
            if not chunks:
                if len(chunk) > limit:
                    raise _too_large(limit)
                return chunk  # type: ignore[no-any-return]
            chunks.append(chunk)
            return b"".join(chunks)
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        held.take(len(chunk))
        chunks.append(chunk)


async def decoded(body: bytes, held: Body, settings: Settings, decode: Callable[[], T]) -> T:
    """What `decode` makes of the body; of a large one on another thread, once it is known to hold few values.

    Raises what `decode` raises, LimitExceeded for too many values, and Unavailable where they have no room now.
    """
    if len(body) <= SMALL_BYTES:
        return decode()
    values = await asyncio.to_thread(count_values, body, settings.request_values_max)
    held.take(values * VALUE_BYTES)
    return await asyncio.to_thread(decode)


def count_values(body: bytes, limit: int) -> int:
    """At least as many items and members as the JSON has. Raises LimitExceeded above the limit."""
    most = _marks_in(body, 0, len(body))
    if most <= limit:
        return most
    if _marks_outside_texts(body, limit) > limit:
        raise LimitExceeded(
            f"The body holds more than {limit} values.",
            why="While they are read, nobody else is served.",
            next_call="Store them in parts, or as one text, or raise AGENTMEMO_REQUEST_VALUES_MAX on the plane.",
            details={"limit": limit},
        )
    return limit


def _marks_in(body: bytes, start: int, end: int) -> int:
    return sum(body.count(mark, start, end) for mark in _MARKS)


def _marks_outside_texts(body: bytes, limit: int) -> int:
    """Counted until it is known to be more. Bytes that are no JSON may be counted wrongly: they are refused anyway."""
    body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    count = start = texts = 0
    # Each item or member has at most two texts, so more of them are no JSON.
    while count <= limit and texts <= 2 * count + 2:
        opening = body.find(b'"', start)
        count += _marks_in(body, start, len(body) if opening < 0 else opening)
        closing = body.find(b'"', opening + 1) if opening >= 0 else -1
        if closing < 0:
            break
        start, texts = closing + 1, texts + 1
    return count


def _compressed() -> Refusal:
    error = InvalidInput(
        "Compressed bodies are not read.",
        why="A few bytes could stand for all of the plane's memory. Large values are compressed where they are kept.",
        next_call="Send the body as it is, without Content-Encoding.",
    )
    return Refusal(error, 415, [(b"accept-encoding", b"identity"), (b"connection", b"close")])


def _too_large(limit: int) -> Refusal:
    error = LimitExceeded(
        f"The body is larger than {limit} bytes.",
        next_call="Send it in parts, or raise AGENTMEMO_REQUEST_BYTES_MAX on the plane.",
        details={"limit": limit},
    )
    # The rest of the body is not read, so the connection cannot be used again.
    return Refusal(error, 413, [(b"connection", b"close")])
