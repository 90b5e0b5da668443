"""How the model's structs cross a wire: requests are strict, responses forgiving."""

from __future__ import annotations

import difflib
import re
from typing import Any, TypeVar, dataclass_transform

import msgspec

from agentmemo.errors import InvalidInput


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a caller sends. A field that does not exist is refused with the nearest that does."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What comes back. Unknown fields of a newer server are ignored."""


T = TypeVar("T", bound=Request)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`(?: - at `(?P<path>.*)`)?")


def as_request(data: Any, kind: type[T]) -> T:
    """Check plain data against a request type. Raises InvalidInput naming the path and the next valid call."""
    try:
        return msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError as error:
        raise explain(error, kind) from None


def explain(error: msgspec.ValidationError, kind: type[msgspec.Struct]) -> InvalidInput:
    """Turn the codec's complaint into one that names the nearest valid field."""
    fields = [field.encode_name for field in msgspec.structs.fields(kind)]
    match = _UNKNOWN.match(str(error))
    if match and not match["path"]:
        near = difflib.get_close_matches(match["field"], fields, n=1, cutoff=0.5)
        hint = f"Did you mean `{near[0]}`?" if near else f"Valid fields: {', '.join(fields)}."
        return InvalidInput(
            f"Unknown field `{match['field']}`.",
            why="Requests with unknown fields are refused so that a typo never passes as a default.",
            next_call=hint,
            details={"field": match["field"], "valid": fields},
        )
    return InvalidInput(f"The request does not fit: {error}.", next_call=f"Send an object with: {', '.join(fields)}.")
