"""Pages and cursors. A cursor is versioned and bound to its filter, so it cannot be used with another one."""

from __future__ import annotations

import base64
import zlib
from typing import Any, TypeVar, cast

import msgspec

from agentmemo.errors import InvalidInput
from agentmemo.model.values import NOT_JSON
from agentmemo.model.wire import Response

_VERSION = 1
_NUMBER_MAX = 1 << 62
_Position = TypeVar("_Position", int, str, list[int], list[str])


class Page(Response, kw_only=True):
    """`items` and the cursor of the next page; `cursor` is None on the last."""

    items: list[Any]
    cursor: str | None = None


def make_cursor(operation: str, filter_fields: object, position: object) -> str:
    body = msgspec.json.encode([_VERSION, operation, _binding(filter_fields), position])
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def read_cursor(cursor: str | None, operation: str, filter_fields: object, start: _Position) -> _Position:
    """The position inside a cursor, which is of the kind that `start` is; `start` without one.

    Raises InvalidInput for a foreign or altered cursor.
    """
    if cursor is None:
        return start
    try:
        body = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        version, name, binding, position = msgspec.json.decode(body)
    except (*NOT_JSON, ValueError, TypeError):
        raise _not_ours() from None
    if (version, name, binding) != (_VERSION, operation, _binding(filter_fields)):
        raise InvalidInput(
            "The cursor belongs to another query.",
            why="A cursor is bound to the operation and filter that made it.",
            next_call="Repeat the query with its first filter, or start without a cursor.",
        )
    if not _is_like(position, start):
        raise _not_ours()
    return cast("_Position", position)


def _is_like(position: object, start: object) -> bool:
    """Whether it can be a position where `start` is one: numbers are counted from 0, texts are storable."""
    if isinstance(start, int):
        return type(position) is int and 0 <= position <= _NUMBER_MAX
    if isinstance(start, str):
        return isinstance(position, str) and "\0" not in position
    places = cast("list[object]", start)
    return isinstance(position, list) and len(position) == len(places) and all(map(_is_like, position, places))


def _not_ours() -> InvalidInput:
    return InvalidInput("The cursor is not one of ours.", next_call="Start again without a cursor.")


def _binding(filter_fields: object) -> int:
    return zlib.crc32(msgspec.json.encode(filter_fields, order="sorted"))
