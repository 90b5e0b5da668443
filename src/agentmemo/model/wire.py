"""How the model's structs cross a wire: requests are strict, responses forgiving."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, dataclass_transform, get_args, get_origin

import msgspec

from agentmemo.errors import InvalidInput
from agentmemo.model.kinds import described


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a caller sends. A field that does not exist is refused with the nearest that does."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What comes back. Unknown fields of a newer server are ignored."""


T = TypeVar("T", bound=Request)
_PATH = re.compile(r" - at `(\$[^`]*)`$")
_PART = re.compile(r"\.[^.\[]+|\[[^\]]*\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*?)`(?: - at `.*`)?$")
_NO_WORD = re.compile(r"Invalid enum value '(?P<word>.*)' - at `\$\.(?P<field>\w+)`", re.DOTALL)
_WORD_SHOWN = 64


def one_of(words: Iterable[str]) -> msgspec.Meta:
    """A mark for `Annotated[str, ...]`: the text is one of a closed vocabulary, which the description lists too."""
    return msgspec.Meta(extra_json_schema={"enum": list(words)})


def words_of(kind: Any) -> tuple[str, ...]:
    """The words that a field of this type takes; none where it takes any text."""
    origin = get_origin(kind)
    if origin is Literal:
        return get_args(kind)
    if origin is Annotated:
        schemas = (meta.extra_json_schema or {} for meta in kind.__metadata__ if isinstance(meta, msgspec.Meta))
        return tuple(word for schema in schemas for word in schema.get("enum", ()))
    if origin in (Union, UnionType):
        return tuple(word for member in get_args(kind) for word in words_of(member))
    return ()


def unknown_word(what: str, word: str, words: Iterable[str]) -> InvalidInput:
    return InvalidInput(f"Unknown {what} {word[:_WORD_SHOWN]!r}.", next_call=f"Use one of: {', '.join(words)}.")


def check_words(request: Request) -> None:
    """Raise InvalidInput where a field of a closed vocabulary holds another word: nothing would fit it, silently."""
    for field, words in _word_fields(type(request)):
        word = getattr(request, field)
        if word is not None and word not in words:
            raise unknown_word(field, word, words)


@cache
def _word_fields(kind: type[msgspec.Struct]) -> list[tuple[str, tuple[str, ...]]]:
    found = [(field.name, words_of(field.type)) for field in msgspec.structs.fields(kind)]
    return [(name, words) for name, words in found if words]


def as_request(data: Any, kind: type[T]) -> T:
    """Check plain data against a request type. Raises InvalidInput naming the path and the next valid call."""
    try:
        return msgspec.convert(data, described(kind), strict=False)
    except msgspec.ValidationError as error:
        raise explain(error, kind) from None


def explain(error: msgspec.ValidationError, kind: type[msgspec.Struct]) -> InvalidInput:
    """Turn the codec's complaint into one that names the nearest valid field."""
    path = found[1] if (found := _PATH.search(str(error))) else "$"
    wanted = _type_at(kind, path)
    fields = [field.encode_name for field in msgspec.structs.fields(wanted)] if _is_struct(wanted) else []
    match = _UNKNOWN.match(str(error))
    if match and fields:
        near = difflib.get_close_matches(match["field"], fields, n=1, cutoff=0.5)
        hint = f"Did you mean `{near[0]}`?" if near else f"Valid fields: {', '.join(fields)}."
        return InvalidInput(
            f"Unknown field `{match['field']}`" + ("." if path == "$" else f" at `{path}`."),
            why="Requests with unknown fields are refused so that a typo never passes as a default.",
            next_call=hint,
            details={"field": match["field"], "valid": fields},
        )
    words = dict(_word_fields(kind))
    if (missed := _NO_WORD.match(str(error))) and missed["field"] in words:
        return unknown_word(missed["field"], missed["word"], words[missed["field"]])
    where = "" if path == "$" else f" at `{path}`"
    return InvalidInput(f"The request does not fit: {error}.", next_call=_what_fits(wanted, where))


def _what_fits(wanted: Any, where: str) -> str:
    if not _is_struct(wanted):
        return f"Send {getattr(wanted, '__name__', str(wanted).replace('None', 'null'))}{where}."
    fields = msgspec.structs.fields(wanted)
    needed = [field.encode_name for field in fields if field.required]
    others = [field.encode_name for field in fields if not field.required]
    more = f"; and, where wanted: {', '.join(others)}" if needed and others else ""
    return f"Send{where} an object with: {', '.join(needed or others)}{more}."


def _type_at(kind: Any, path: str) -> Any:
    """The type at the codec's path, such as `$.suggested_actions[0]`; of a union the one that has parts."""
    found = _with_parts(kind)
    for part in _PART.findall(path):
        if part.startswith("."):
            fields = (
                {field.encode_name: field.type for field in msgspec.structs.fields(found)} if _is_struct(found) else {}
            )
            found = fields.get(part[1:], Any)
        else:
            found = (get_args(found) or (Any,))[-1]
        found = _with_parts(found)
    return found


def _with_parts(kind: Any) -> Any:
    members = get_args(kind) if isinstance(kind, UnionType) else ()
    return next((member for member in members if _is_struct(member) or get_args(member)), kind)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


class _Field(NamedTuple):
    """What one field of a request may hold: exactly these types, or what the codec converts to its type."""

    name: str
    exact: frozenset[type]
    plain: bool  # nothing but `exact`
    type: Any
    empty: list[Any] | None  # of a list


_PLAIN = {str: (str,), int: (int,), float: (float, int), bool: (bool,), NoneType: (NoneType,)}


def fitting(request: T) -> T:
    """A request made in Python, as strict as one from a wire; a dict that stands for a struct becomes one.

    Arguments of Python calls meet no codec, and a wrong one that is stored would harm whoever reads it later.
    Raises InvalidInput.
    """
    kind: type[Request] = type(request)
    changed: dict[str, Any] = {}
    for field in _fields(kind):
        value = getattr(request, field.name)
        if type(value) in field.exact or (isinstance(value, str) and str in field.exact):
            if type(value) is float and not math.isfinite(value):
                raise InvalidInput(
                    f"`{field.name}` of {kind.__name__} is {value}.",
                    why="No wire can say it: it would come as no number at all.",
                    next_call="Send a finite number, or leave it out.",
                    details={"field": field.name},
                )
            continue
        if value == field.empty and type(value) is list:
            continue
        try:
            if field.plain:
                msgspec.convert(value, described(field.type))
            else:
                msgspec.convert(msgspec.to_builtins(value), described(field.type))
                changed[field.name] = msgspec.convert(value, described(field.type), from_attributes=True)
        except (TypeError, ValueError, msgspec.ValidationError) as error:
            if isinstance(value, str) and (words := words_of(field.type)):
                raise unknown_word(field.name, value, words) from None
            raise InvalidInput(
                f"`{field.name}` of {kind.__name__} does not fit: {error}.",
                next_call=f"Send it as {getattr(field.type, '__name__', field.type)}.",
                details={"field": field.name},
            ) from None
    return msgspec.structs.replace(request, **changed) if changed else request


@cache
def _fields(kind: type[Request]) -> tuple[_Field, ...]:
    found = []
    for field in msgspec.structs.fields(kind):
        members = get_args(field.type) if isinstance(field.type, UnionType) else (field.type,)
        if field.type is Any or field.name == "calls":  # values are checked where they are encoded
            continue
        plain = all(member in _PLAIN for member in members)
        exact = frozenset(kind for member in members for kind in _PLAIN.get(member, ()))
        empty: list[Any] | None = [] if get_origin(field.type) is list else None
        found.append(_Field(field.name, exact, plain, field.type, empty))
    return tuple(found)
