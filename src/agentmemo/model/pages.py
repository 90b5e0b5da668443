"""Pages and cursors. A cursor is versioned and bound to its filter, so it cannot be used with another one."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import msgspec

from agentmemo.errors import InvalidInput
from agentmemo.model.wire import Response

_VERSION = 1


class Page(Response, kw_only=True):
    """`items` and the cursor of the next page; `cursor` is None on the last."""

    items: list[Any]
    cursor: str | None = None


def make_cursor(operation: str, filter_fields: object, position: object) -> str:
    body = msgspec.json.encode([_VERSION, operation, _binding(filter_fields), position])
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def read_cursor(cursor: str | None, operation: str, filter_fields: object) -> Any:
    """The position inside a cursor, or None without one. Raises InvalidInput for a foreign or altered cursor."""
    if cursor is None:
        return None
    try:
        body = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        version, name, binding, position = msgspec.json.decode(body)
    except (ValueError, TypeError, msgspec.MsgspecError):
        raise InvalidInput("The cursor is not one of ours.", next_call="Start again without a cursor.") from None
    if (version, name, binding) != (_VERSION, operation, _binding(filter_fields)):
        raise InvalidInput(
            "The cursor belongs to another query.",
            why="A cursor is bound to the operation and filter that made it.",
            next_call="Repeat the query with its first filter, or start without a cursor.",
        )
    return position


def _binding(filter_fields: object) -> int:
    return zlib.crc32(msgspec.json.encode(filter_fields, order="sorted"))
