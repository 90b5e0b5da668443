"""JSON values: kept exactly, or refused with the path. Nothing is ever coerced."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from agentmemo.errors import InvalidInput, LimitExceeded
from agentmemo.model.kinds import described

DEPTH_MAX = 200
# Python itself reads and writes no integer of more than 4300 digits.
INTEGER_BITS_MAX = 14_000
_TEXT_SHOWN = 60


def _exact(value: Any) -> Any:
    """A text, number or truth of a class of its own is what JSON says of it."""
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_encoder = msgspec.json.Encoder(enc_hook=_exact)
_sorted_encoder = msgspec.json.Encoder(enc_hook=_exact, order="sorted")
_decoder = msgspec.json.Decoder()
# What decoding raises where bytes or a text are no JSON, or JSON that is nested beyond all measure.
NOT_JSON = (msgspec.MsgspecError, UnicodeError, RecursionError)


def encode(value: Any) -> bytes:
    """JSON bytes of a value that JSON can say exactly.

    Accepts None, bool, int, finite float, str, list, tuple (as an array), dict with str keys. Raises InvalidInput
    with the path for everything else (NaN, lone surrogates, other keys, other types) and LimitExceeded beyond
    DEPTH_MAX levels.
    """
    return encode_and_decode(value)[0]


def encode_result(value: Any) -> bytes:
    """Like `encode`, and accepts what msgspec knows (structs, dataclasses, datetimes, enums) inside as well."""
    return encode_and_decode_result(value)[0]


def encode_and_decode_result(value: Any) -> tuple[bytes, Any]:
    """The bytes of `encode_result`, and the plain JSON that whoever reads them meets."""
    try:
        return encode_and_decode(value)
    except InvalidInput:
        try:
            plain = msgspec.to_builtins(_plain_models(value))
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            check(value)
            raise InvalidInput(
                f"The result cannot be stored as JSON: {error}.", next_call="Return JSON types."
            ) from None
        return encode_and_decode(plain)


def encode_and_decode(value: Any) -> tuple[bytes, Any]:
    """The bytes of `encode`, and what whoever reads them meets: a tuple has become a list."""
    try:
        content = _encoder.encode(value)
        plain = _decoder.decode(content)
        # A value that survives the round trip is plain JSON; only the rest pays for the walk that names the path.
        if plain == value:
            if content.count(b"[") + content.count(b"{") > DEPTH_MAX:
                check(value)
            return content, plain
    except (RecursionError, TypeError, UnicodeEncodeError, ValueError, OverflowError, msgspec.MsgspecError):
        pass
    check(value)
    content = _encoder.encode(value)
    return content, _decoder.decode(content)


def encode_sorted(value: Any) -> bytes:
    """Canonical bytes: keys sorted, no spaces. For fingerprints, after `encode` has checked the value."""
    return _sorted_encoder.encode(value)


def decode(content: bytes) -> Any:
    return _decoder.decode(content)


def decode_as(content: bytes, kind: Any) -> Any:
    """Decode into a declared type: dataclass, msgspec, pydantic model or builtin. Raises InvalidInput on misfit."""
    if kind is None or kind is Any:
        return _decoder.decode(content)
    try:
        if hasattr(kind, "model_validate_json"):
            return kind.model_validate_json(content)
        return msgspec.json.decode(content, type=described(kind))
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"The stored result does not fit the declared type {getattr(kind, '__name__', kind)}: {error}.",
            why="A step returns the stored value decoded into its declared or annotated type, first run and replay.",
            next_call="Correct the annotation, or pass returns=None to get plain JSON.",
        ) from None


def check(value: Any, path: str = "$", depth: int = 0) -> None:
    """Raise InvalidInput at the first thing JSON cannot say, naming its path."""
    if depth > DEPTH_MAX:
        raise LimitExceeded(
            f"The value is nested deeper than {DEPTH_MAX} levels at {path[:_TEXT_SHOWN]}.",
            next_call="Flatten the value, or store its parts under several keys.",
        )
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        _check_integer(value, path)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(path, f"{value!r} is not a JSON number", "Use null or a string instead.")
    elif isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, dict):
        _check_object(value, path, depth)
    else:
        raise _refused(path, f"{type(value).__name__} is not a JSON type", "Convert it to JSON types first.")


def _check_integer(value: int, path: str) -> None:
    if value.bit_length() > INTEGER_BITS_MAX:
        raise LimitExceeded(
            f"The integer at {path[:_TEXT_SHOWN]} has more than {INTEGER_BITS_MAX} bits.", next_call="Store it as text."
        )


def _check_object(value: dict[Any, Any], path: str, depth: int) -> None:
    for key, item in value.items():
        if not isinstance(key, str):
            raise _refused(path, f"the key {key!r} is {type(key).__name__}, not str", "Use string keys.")
        _check_text(key, path)
        check(item, f"{path}.{key[:_TEXT_SHOWN]}", depth + 1)


def _check_text(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _refused(
            path, f"the text holds a lone surrogate at position {error.start}", "Replace or remove it."
        ) from None


def _refused(path: str, why: str, next_call: str) -> InvalidInput:
    return InvalidInput(f"The value at {path} cannot be stored: {why}.", next_call=next_call, details={"path": path})


def _plain_models(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump else value
