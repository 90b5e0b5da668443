"""The operations table as routes, matched on the raw path so that a key may hold any percent-encoded character."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from agentmemo.api.operation import Operation
from agentmemo.api.operations import OPERATIONS
from agentmemo.errors import InvalidInput, NotFound
from agentmemo.server.problems import Refusal

PREFIX = b"/v1/"
DESCRIPTION = "/v1/openapi.json"
# Short names that HTTP users expect, beside the field they stand for.
ALIASES = {"wait": "wait_seconds"}


class Route:
    """One operation as HTTP sees it, with everything precomputed that a request needs."""

    __slots__ = (
        "by_path_alone",
        "field_types",
        "fields",
        "has_version",
        "kind",
        "literals",
        "operation",
        "path_names",
        "precondition",
        "text_fields",
        "waits",
    )

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.kind = operation.request
        parts = operation.path.lstrip("/").split("/")
        self.fields = [(at, part[1:-1]) for at, part in enumerate(parts) if part.startswith("{")]
        # Beside the first part, which is never a name: by it the place is found.
        self.literals = [(at, part.encode()) for at, part in enumerate(parts) if at and not part.startswith("{")]
        self.path_names = frozenset(name for _, name in self.fields)
        fields = msgspec.structs.fields(operation.request)
        self.field_types: dict[str, Any] = {field.name: field.type for field in fields}
        self.text_fields = frozenset(field.name for field in fields if field.type in (str, str | None))
        self.precondition = "if_version" in self.field_types
        self.has_version = operation.name in ("state.get", "state.set")
        self.waits = "wait_seconds" in self.field_types
        required = {field.name for field in fields if field.required}
        # The constructor does not check types, so this shortcut is for requests that are nothing but texts.
        self.by_path_alone = required <= self.path_names <= self.text_fields

    @property
    def reads_body(self) -> bool:
        return self.operation.method != "GET"


class Place:
    """One path of the table and its routes by method."""

    __slots__ = ("literals", "routes")

    def __init__(self, literals: list[tuple[int, bytes]]) -> None:
        self.literals = literals
        self.routes: dict[str, Route] = {}

    def is_at(self, parts: list[bytes]) -> bool:
        return all(parts[at] == literal for at, literal in self.literals)


class Routes:
    """Finds the route of a method and raw path. A path that is spelled out goes before one with a name in its place."""

    def __init__(self) -> None:
        self._places: dict[tuple[bytes, int], list[Place]] = {}
        for operation in OPERATIONS:
            route = Route(operation)
            first, *others = operation.path.lstrip("/").split("/")
            places = self._places.setdefault((first.encode(), len(others) + 1), [])
            place = next((known for known in places if known.literals == route.literals), None)
            if place is None:
                place = Place(route.literals)
                places.append(place)
            place.routes[operation.method] = route
        for places in self._places.values():
            places.sort(key=lambda place: -len(place.literals))

    def find(self, method: str, raw_path: bytes) -> tuple[Route, list[bytes]]:
        """The route and the path's raw parts. Raises Refusal with 404 or 405."""
        parts = raw_path[len(PREFIX) :].split(b"/")
        for place in self._places.get((parts[0], len(parts)), ()):
            if place.is_at(parts):
                if method in place.routes:
                    return place.routes[method], parts
                raise _wrong_method(method, parts, sorted(place.routes))
        raise _nothing_at(parts)


def _path_of(parts: list[bytes]) -> str:
    return "/v1/" + b"/".join(parts).decode("ascii", "replace")[:200]


def _nothing_at(parts: list[bytes]) -> Refusal:
    error = NotFound(
        f"There is nothing at {_path_of(parts)}.",
        why="A `/` inside a name or key must be sent as %2F.",
        next_call=f"GET {DESCRIPTION} lists every path.",
    )
    return Refusal(error, 404)


def _wrong_method(method: str, parts: list[bytes], allowed: list[str]) -> Refusal:
    names = ", ".join(allowed + (["HEAD"] if "GET" in allowed else []))
    refused = InvalidInput(f"{_path_of(parts)} does not take {method}.", next_call=f"Use one of: {names}.")
    return Refusal(refused, 405, [(b"allow", names.encode())])


def unquoted(part: bytes, name: str) -> str:
    """One part of a path or query as text. Raises InvalidInput when it is not UTF-8."""
    try:
        return (unquote_to_bytes(part) if b"%" in part else part).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"`{name}` is not UTF-8 at byte {error.start}.", next_call="Percent-encode the UTF-8 bytes of the text."
        ) from None
