"""What is typed as an argument and means more than its letters: JSON values, times, grants."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agentmemo.clock import SECOND, SystemClock, parse_iso
from agentmemo.errors import InvalidInput
from agentmemo.model.access import Grant
from agentmemo.model.values import NOT_JSON

_DISTANCE = re.compile(r"^(\d+(?:\.\d+)?)(s|m|h|d)$")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SHOWN = 40


def read_value(argument: str, *, text: bool = False) -> Any:
    """The JSON value of an argument; `-` stands for standard input and `@file` for a file's content.

    With `text` the content is the value, as a string, exactly as it stands. Raises InvalidInput.
    """
    content = _content(argument)
    if text:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"The text is not UTF-8: {error.reason} at byte {error.start}.", next_call="Convert it to UTF-8 first."
            ) from None
    try:
        return msgspec.json.decode(content)
    except NOT_JSON as error:
        shown = content.decode(errors="replace").strip()
        shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
        raise InvalidInput(
            f"The value is not JSON: {error}.",
            why="A value is JSON, so that 1, true and null are never confused with texts.",
            next_call=f"For the text {shown!r} add --text, or quote it as JSON: '\"...\"'.",
        ) from None


def read_time(argument: str | None, *, ahead: bool = False) -> int | None:
    """UTC microseconds of an ISO 8601 time, or of `90s`, `15m`, `2h`, `7d` before now, or `ahead` of it.

    Raises InvalidInput.
    """
    if argument is None:
        return None
    if match := _DISTANCE.match(argument):
        distance = round(float(match[1]) * _UNIT_SECONDS[match[2]] * SECOND)
        return SystemClock().now_us() + (distance if ahead else -distance)
    try:
        return parse_iso(argument)
    except ValueError:
        raise InvalidInput(
            f"{argument!r} is not a time.",
            next_call=f"Use 2026-11-23T14:00 (UTC), or 15m, 2h, 7d for {'after' if ahead else 'before'} now.",
        ) from None


def read_grants(arguments: Sequence[str]) -> list[Grant] | None:
    """Grants typed as `permission,permission@namespace,namespace`; without `@` they hold for every namespace."""
    grants = []
    for argument in arguments:
        permissions, _, namespaces = argument.partition("@")
        grants.append(
            Grant(
                permissions=tuple(filter(None, permissions.split(","))),
                namespaces=tuple(filter(None, namespaces.split(","))) or ("*",),
            )
        )
        if not grants[-1].permissions:
            raise InvalidInput(f"The grant {argument!r} names no permission.", next_call="Use state:read@team/*.")
    return grants or None


def show_grants(grants: Sequence[Grant]) -> str:
    """The same form, for a table."""
    return " ".join(
        ",".join(grant.permissions) + ("" if grant.namespaces == ("*",) else "@" + ",".join(grant.namespaces))
        for grant in grants
    )


def _content(argument: str) -> bytes:
    if argument == "-":
        return sys.stdin.buffer.read()
    if argument.startswith("@"):
        return read_file(argument[1:])
    return argument.encode(errors="surrogateescape")


def read_file(name: str) -> bytes:
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"The file {name!r} cannot be read: {error.strerror}.",
            next_call="Name a file that you may read, or use - and standard input.",
        ) from None
