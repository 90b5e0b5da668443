"""A request from its path, query, headers and body. Whatever does not fit is refused with the next valid call."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from agentmemo.errors import InvalidInput, LimitExceeded
from agentmemo.model.access import Claim
from agentmemo.model.kinds import described
from agentmemo.model.wire import Request, explain, unknown_word, words_of
from agentmemo.server.bodies import Headers
from agentmemo.server.routes import ALIASES, Route, unquoted

IDEMPOTENCY_KEY_MAX = 128
_CLAIM = re.compile(r"^(?P<run>[^@\s]{1,64})@(?P<epoch>\d{1,15})(?:;step=(?P<step>.{1,1024}))?$")
_ETAG = re.compile(rb'^(?:W/)?"(\d{1,15})"$')
_HALF_A_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
_VERSION = "if_version"


def decode_request(route: Route, parts: list[bytes], query: bytes, headers: Headers, body: bytes) -> Request:
    """Merge path, query, conditional headers and body into the operation's request. Raises InvalidInput."""
    fields: dict[str, Any] = {}
    for at, name in route.fields:
        fields[name] = unquoted(parts[at], name)
    if not query and not body and route.by_path_alone and not route.precondition:
        return route.kind(**fields)
    if query:
        _merge(fields, _read_query(route, query), route)
    if body:
        _merge(fields, _read_json(body), route)
    if route.precondition:
        _merge(fields, _read_precondition(headers), route)
    try:
        return msgspec.convert(fields, described(route.kind))
    except msgspec.ValidationError as error:
        raise explain(error, route.kind) from None


def read_claim(headers: Headers) -> Claim | None:
    """`AgentMemo-Claim: run_x@3`, optionally with `;step=name/key`."""
    given = headers.get(b"agentmemo-claim")
    if given is None:
        return None
    match = _CLAIM.match(unquoted(given.strip(), "AgentMemo-Claim"))
    if match is None:
        raise InvalidInput(
            "The header AgentMemo-Claim does not fit.",
            next_call="Send the run's handle and epoch: AgentMemo-Claim: run_01j9x2k7m3q8w4ez@3.",
        )
    return Claim(run=match["run"], epoch=int(match["epoch"]), step=match["step"])


def read_idempotency_key(headers: Headers) -> str | None:
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    text = given.decode("latin-1").strip().strip('"')
    if not 0 < len(text) <= IDEMPOTENCY_KEY_MAX or not (text.isascii() and text.isprintable()):
        raise InvalidInput(
            f"An Idempotency-Key has 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters.",
            next_call="Send a fresh UUID for each request, and the same one when you repeat it.",
        )
    return text


def is_unchanged(headers: Headers, version: int) -> bool:
    """Whether If-None-Match names this version, so that 304 says it all."""
    given = headers.get(b"if-none-match")
    if given is None:
        return False
    tags = [tag.strip().removeprefix(b"W/") for tag in given.split(b",")]
    return b"*" in tags or b'"%d"' % version in tags


def _merge(fields: dict[str, Any], more: dict[str, Any], route: Route) -> None:
    for name, value in more.items():
        if name in fields and fields[name] != value:
            where = "the path" if name in route.path_names else "another place"
            raise InvalidInput(f"`{name}` is given twice, differently.", next_call=f"Leave it out beside {where}.")
        fields[name] = value


def _read_query(route: Route, query: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in query.split(b"&"):
        if not pair:
            continue
        raw_name, equals, raw_value = pair.partition(b"=")
        name = unquoted(raw_name.replace(b"+", b" "), "query")
        name = ALIASES.get(name, name) if route.waits else name
        if name in found:
            raise InvalidInput(f"`{name}` is given twice in the query.", next_call="Send it once.")
        text = unquoted(raw_value.replace(b"+", b" "), name) if equals else "true"
        found[name] = _from_text(route, name, text)
    return found


def _from_text(route: Route, name: str, text: str) -> Any:
    """A query's text as the field's type; texts stay as they are, also when they look like something else."""
    if name in route.text_fields or name not in route.field_types:
        return text
    kind = route.field_types[name]
    if kind is Any:
        raise InvalidInput(f"`{name}` can be any JSON, so it cannot stand in the query.", next_call="Send a JSON body.")
    if words := words_of(kind):
        if text not in words:
            raise unknown_word(name, text, words)
        return text
    try:
        value = msgspec.convert(text, described(kind), strict=False)
    except msgspec.ValidationError:
        raise InvalidInput(
            f"`{name}={text[:100]}` does not fit.", next_call=f"Send {_named(kind)} for `{name}`."
        ) from None
    if value is None:
        raise InvalidInput(f"A query has no null: `{name}={text[:100]}`.", next_call=f"Leave `{name}` out.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"`{name}` must be a finite number.", next_call=f"Leave `{name}` out, or send a number.")
    return value


def _named(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind)).replace(" | None", "")


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"The body is not UTF-8 at byte {error.start}.", next_call="Send JSON encoded as UTF-8."
        ) from None
    except RecursionError:
        raise LimitExceeded(
            "The body is nested too deeply.", next_call="Flatten it, or store its parts under several keys."
        ) from None
    except msgspec.MsgspecError as error:
        # The codec takes half a pair for the end of the text.
        half = _HALF_A_PAIR.search(body)
        raise InvalidInput(
            f"The body is not JSON: {f'half of a surrogate pair at byte {half.start()}' if half else error}.",
            why="NaN, Infinity and lone surrogates (\\ud800 without its other half) are not JSON either.",
            next_call="Send one JSON object in UTF-8.",
        ) from None
    if not isinstance(value, dict):
        raise InvalidInput(
            f"The body is {_json_name(value)}, not an object.", next_call='Send an object, such as {"value": ...}.'
        )
    return value


def _json_name(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", list: "an array"}
    return names.get(type(value), "a number")


def _read_precondition(headers: Headers) -> dict[str, Any]:
    """If-Match: "3" is if_version=3, If-None-Match: * is if_version=0."""
    found: dict[str, Any] = {}
    match = headers.get(b"if-match")
    if match is not None:
        tag = _ETAG.match(match.strip())
        if tag is None:
            raise InvalidInput(
                "If-Match takes one version in quotes.", next_call='Send the ETag you read, such as If-Match: "3".'
            )
        found[_VERSION] = int(tag[1])
    absent = headers.get(b"if-none-match")
    if absent is not None:
        if absent.strip() != b"*" or match is not None:
            raise InvalidInput(
                "If-None-Match on a change takes only *, alone.",
                next_call='Use If-None-Match: * for "must be absent", If-Match: "3" for "must be version 3".',
            )
        found[_VERSION] = 0
    return found
